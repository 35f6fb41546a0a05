//! inotify for files, `poll` for the tables of mounts and swap areas, process descriptors for programs.

use std::{
    collections::{BTreeMap, HashMap},
    ffi::CStr,
    fs::File,
    mem::MaybeUninit,
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
};

use futures_util::future::select_all;
use rustix::{
    fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags},
    process::{Pid, PidfdFlags, pidfd_open},
};
use tokio::io::{Interest, unix::AsyncFd};
use ztsa_proto::posture::Wanted;

use crate::posture::{Sys, linux};

/// The most programs whose end is waited for.
const MOST: usize = 16;

/// The names that matter in each directory; none means all.
type Places = BTreeMap<PathBuf, Vec<String>>;

/// A queue of events, and the names that matter by the place that is watched.
type Files = (AsyncFd<OwnedFd>, HashMap<i32, Vec<String>>);

#[derive(Debug)]
pub(super) struct Watch {
    files: Option<Files>,
    /// Tables of the kernel that tell when they change.
    tables: Vec<AsyncFd<File>>,
    /// Programs that end.
    programs: Vec<AsyncFd<OwnedFd>>,
}

impl Watch {
    pub(super) fn new(wanted: &[Wanted], files: &[PathBuf]) -> Self {
        let sys = Sys::this();
        let mut places = places(wanted, linux::home_of(&sys).as_deref());
        for file in files {
            add(&mut places, file);
        }
        let asks = |start: &str| wanted.iter().any(|wanted| wanted.id.starts_with(start));
        let tables: &[&str] = if asks("disk.") { &["/proc/self/mountinfo", "/proc/swaps"] } else { &[] };
        let table = |path: &&str| register(File::open(path).ok()?, Interest::PRIORITY);
        let program = |pid: u32| {
            let pid = Pid::from_raw(i32::try_from(pid).ok()?)?;
            register(pidfd_open(pid, PidfdFlags::NONBLOCK).ok()?, Interest::READABLE)
        };
        Self {
            files: notify(&places),
            tables: tables.iter().filter_map(table).collect(),
            programs: linux::pids_of(wanted, &sys).into_iter().take(MOST).filter_map(program).collect(),
        }
    }

    pub(super) async fn changed(&mut self) {
        let (files, tables, programs) = (&self.files, &self.tables, &self.programs);
        let files = async {
            match files {
                Some((queue, names)) => concerned(queue, names).await,
                None => std::future::pending().await,
            }
        };
        let tables = any(tables, Interest::PRIORITY);
        let programs = any(programs, Interest::READABLE);
        tokio::select! {
            () = files => {}
            () = tables => {}
            () = programs => {}
        }
    }
}

#[expect(
    deprecated,
    reason = "its successor is unsafe; an owned descriptor stays what it is, which is all that it asks"
)]
fn register<F: std::os::fd::AsRawFd>(descriptor: F, interest: Interest) -> Option<AsyncFd<F>> {
    AsyncFd::with_interest(descriptor, interest).ok()
}

/// Waits until one of them is ready.
async fn any<F: AsFd + std::os::fd::AsRawFd>(all: &[AsyncFd<F>], interest: Interest) {
    let ready = all.iter().map(|one| {
        Box::pin(async move {
            match one.ready(interest).await {
                Ok(mut ready) => ready.clear_ready(),
                Err(_) => std::future::pending().await,
            }
        })
    });
    let ready: Vec<_> = ready.collect();
    if ready.is_empty() { std::future::pending().await } else { drop(select_all(ready).await) }
}

/// Waits for an event of a name that matters.
async fn concerned(queue: &AsyncFd<OwnedFd>, names: &HashMap<i32, Vec<String>>) {
    loop {
        let Ok(mut ready) = queue.readable().await else { return std::future::pending().await };
        let mut buffer = [MaybeUninit::uninit(); 4_096];
        let mut events = Reader::new(queue.get_ref(), &mut buffer);
        let mut matters = false;
        while let Ok(event) = events.next() {
            let lost = event.events().intersects(ReadFlags::QUEUE_OVERFLOW);
            let wanted = names.get(&event.wd()).is_some_and(|names| {
                let name = event.file_name().map(CStr::to_string_lossy).unwrap_or_default();
                names.is_empty() || name.is_empty() || names.iter().any(|wanted| *wanted == name)
            });
            matters |= lost || wanted;
        }
        ready.clear_ready();
        if matters {
            return;
        }
    }
}

fn notify(places: &Places) -> Option<Files> {
    let queue = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).ok()?;
    let changes = WatchFlags::CLOSE_WRITE
        | WatchFlags::CREATE
        | WatchFlags::DELETE
        | WatchFlags::MOVED_FROM
        | WatchFlags::MOVED_TO
        | WatchFlags::ATTRIB
        | WatchFlags::DELETE_SELF;
    let mut names: HashMap<i32, Vec<String>> = HashMap::new();
    for (place, wanted) in places {
        // What is not there, or may not be watched, is looked at once a minute.
        if let Ok(watch) = inotify::add_watch(&queue, place, changes) {
            names.insert(watch, wanted.clone());
        }
    }
    Some((register(queue, Interest::READABLE)?, names))
}

/// Where what is asked for lies.
fn places(wanted: &[Wanted], home: Option<&str>) -> Places {
    let mut places = Places::new();
    for wanted in wanted {
        let (family, name) = wanted.id.split_once('.').unwrap_or((&wanted.id, ""));
        let files: &[&str] = match (family, name) {
            ("fw", _) => &["/etc/ufw/ufw.conf", "/sys/fs/cgroup/system.slice/firewalld.service", "/etc/nftables.conf"],
            ("lock", _) => &["/etc/xdg/kscreenlockerrc"],
            ("os", "version" | "eol") => &["/etc/os-release"],
            ("os", "domain") => &["/etc/krb5.keytab", "/sys/fs/cgroup/system.slice/sssd.service"],
            ("updates", "auto") => &["/etc/apt/apt.conf.d/20auto-upgrades", "/etc/rpm-ostreed.conf"],
            ("updates", "reboot") => &["/run/reboot-required"],
            ("ca", _) => &["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt"],
            _ => &[],
        };
        for file in files {
            add(&mut places, Path::new(file));
        }
        if let ("file", Some(path)) = (family, wanted.path.on("linux")) {
            add(&mut places, Path::new(path));
        }
        if let ("lock", Some(home)) = (family, home) {
            add(&mut places, &Path::new(home).join(".config/dconf/user"));
            add(&mut places, &Path::new(home).join(".config/kscreenlockerrc"));
        }
    }
    places
}

/// A file is watched in its directory: it may be replaced, or not be there yet.
fn add(places: &mut Places, file: &Path) {
    if let (Some(dir), Some(name)) = (file.parent(), file.file_name().and_then(|name| name.to_str())) {
        places.entry(dir.to_owned()).or_default().push(name.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::time::Duration;

    use super::*;
    use crate::http::script::TempDir;
    use ztsa_proto::posture::Paths;

    fn wanted(id: &str, path: &Path) -> Wanted {
        let linux = path.to_str().map(str::to_owned);
        Wanted { path: Paths { linux, ..Paths::default() }, ..Wanted::from(id) }
    }

    async fn soon(watch: &mut Watch) -> bool {
        tokio::time::timeout(Duration::from_secs(60), watch.changed()).await.is_ok()
    }

    #[tokio::test]
    async fn a_file_that_goes_or_comes_is_noticed_and_its_neighbours_are_not() {
        let dir = TempDir::new();
        let file = dir.path().join("agent.conf");
        std::fs::write(&file, "a").unwrap();
        let mut watch = Watch::new(&[wanted("file.agent", &file)], &[]);
        std::fs::write(dir.path().join("other"), "b").unwrap();
        let neighbour = tokio::time::timeout(Duration::from_millis(100), watch.changed()).await;
        assert!(neighbour.is_err(), "{neighbour:?}");
        std::fs::remove_file(&file).unwrap();
        assert!(soon(&mut watch).await);
        std::fs::write(&file, "c").unwrap();
        assert!(soon(&mut watch).await);
    }

    #[tokio::test]
    async fn a_program_that_ends_is_noticed() {
        // a program that waits for its input, and that nobody else runs
        let dir = TempDir::new();
        let path = std::fs::canonicalize(dir.path()).unwrap().join("waits");
        std::fs::copy("/bin/cat", &path).unwrap();
        let mut cat = std::process::Command::new(&path);
        let mut child = cat.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped()).spawn().unwrap();
        // once it answers it is that program in the kernel's eyes, too
        child.stdin.as_mut().unwrap().write_all(b"?").unwrap();
        child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        let mut watch = Watch::new(&[wanted("process.waits", &path)], &[]);
        assert!(!watch.programs.is_empty());
        let quiet = tokio::time::timeout(Duration::from_millis(50), watch.changed()).await;
        child.kill().unwrap();
        assert!(soon(&mut watch).await, "{quiet:?}");
        child.wait().unwrap();
    }

    #[tokio::test]
    async fn the_tables_of_disks_are_watched_when_disks_are_asked_for() {
        let watch = Watch::new(&[Wanted::from("disk.root")], &[]);
        assert_eq!(watch.tables.len(), 2);
        assert_eq!(Watch::new(&[Wanted::from("os.kernel")], &[]).tables.len(), 0);
    }
}
