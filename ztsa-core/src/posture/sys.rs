//! The system that is looked at: this machine, or a tree of files that stands for one.

use std::{
    collections::HashMap,
    io::Read as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use ztsa_proto::posture::Reason;

use super::command::{self, Call};

/// The largest file that is read, in bytes.
const LIMIT: u64 = 256 * 1024;

/// The system that is looked at: this machine, or a tree of files that stands for one.
///
/// Programs that it asks are asked once, however many checks want to know.
#[derive(Clone, Debug)]
pub struct Sys {
    root: PathBuf,
    uid: u32,
    groups: Vec<u32>,
    run: fn(&Call<'_>) -> Result<String, Reason>,
    answers: Arc<Mutex<HashMap<String, Result<String, Reason>>>>,
}

impl Sys {
    /// This machine, as the user that runs this process.
    pub fn this() -> Self {
        #[cfg(unix)]
        let (uid, groups) = {
            let own = rustix::process::getegid();
            let all = rustix::process::getgroups().unwrap_or_default();
            (
                rustix::process::geteuid().as_raw(),
                all.into_iter().chain([own]).map(rustix::process::Gid::as_raw).collect(),
            )
        };
        #[cfg(not(unix))]
        let (uid, groups) = (0, Vec::new());
        Self { root: PathBuf::from("/"), uid, groups, run: command::run, answers: Arc::default() }
    }

    /// A tree of files, seen as this user in these groups; it has no programs.
    pub fn at(root: impl Into<PathBuf>, uid: u32, groups: &[u32]) -> Self {
        Self { root: root.into(), uid, groups: groups.to_vec(), run: |_| Err(Reason::Absent), answers: Arc::default() }
    }

    /// Answers for programs with a function.
    #[cfg(test)]
    pub(super) fn with_programs(self, run: fn(&Call<'_>) -> Result<String, Reason>) -> Self {
        Self { run, ..self }
    }

    pub(super) fn uid(&self) -> u32 {
        self.uid
    }

    pub(super) fn groups(&self) -> &[u32] {
        &self.groups
    }

    pub(super) fn path(&self, path: &str) -> PathBuf {
        if self.root == Path::new("/") { PathBuf::from(path) } else { self.root.join(path.trim_start_matches('/')) }
    }

    pub(super) fn read(&self, path: &str) -> Result<String, Reason> {
        read(&self.path(path), LIMIT)
    }

    /// Reads a file of up to this many bytes; what is longer is cut.
    pub(super) fn read_up_to(&self, path: &str, limit: u64) -> Result<String, Reason> {
        read(&self.path(path), limit)
    }

    /// Says whether something is there; a missing permission is not a missing file.
    pub(super) fn exists(&self, path: &str) -> Result<bool, Reason> {
        match std::fs::symlink_metadata(self.path(path)) {
            Ok(_) => Ok(true),
            Err(error) if reason(&error) == Reason::Absent => Ok(false),
            Err(error) => Err(reason(&error)),
        }
    }

    /// Lists the names in a directory, sorted.
    pub(super) fn names(&self, dir: &str) -> Result<Vec<String>, Reason> {
        names(&self.path(dir)).map_err(|error| reason(&error))
    }

    /// Asks a program by its absolute path, without environment.
    pub(super) fn run(&self, program: &str, arguments: &[&str]) -> Result<String, Reason> {
        self.ask(&Call { program, arguments, ..Call::default() })
    }

    pub(super) fn ask(&self, call: &Call<'_>) -> Result<String, Reason> {
        let key = format!("{call:?}");
        let known = self.answers.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        if let Some(answer) = known {
            return answer;
        }
        let answer = (self.run)(call);
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).insert(key, answer.clone());
        answer
    }
}

/// Reads a small file; what is not there is told from what may not be read.
pub(super) fn read(path: &Path, limit: u64) -> Result<String, Reason> {
    let mut bytes = Vec::new();
    let file = open(path)?;
    file.take(limit).read_to_end(&mut bytes).map_err(|error| reason(&error))?;
    String::from_utf8(bytes).map_err(|_| Reason::Parse)
}

/// Opens a file to read it; a pipe without a writer is no file, and is not waited for.
pub(super) fn open(path: &Path) -> Result<std::fs::File, Reason> {
    let mut options = std::fs::File::options();
    options.read(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.custom_flags(i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or_default());
    }
    options.open(path).map_err(|error| reason(&error))
}

pub(super) fn names(dir: &Path) -> std::io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

pub(super) fn reason(error: &std::io::Error) -> Reason {
    use std::io::ErrorKind;
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => Reason::Absent,
        ErrorKind::PermissionDenied => Reason::Permission,
        ErrorKind::TimedOut => Reason::Timeout,
        _ => Reason::Parse,
    }
}
