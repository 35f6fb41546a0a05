//! Disks that are full, for a while or for good.

use std::os::unix::fs::symlink;
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::*;
use crate::config::WhenFull;

/// A log whose disk is full until [`mend`].
fn full(folder: &Folder, queue: usize, when_full: WhenFull) -> Audit {
    // a device whose disk is always full
    symlink("/dev/full", folder.file()).unwrap();
    start(&config::Audit { queue, when_full, ..config::Audit::at(folder.file()) })
}

fn mend(folder: &Folder) {
    std::fs::remove_file(folder.file()).unwrap();
}

async fn written(audit: &Audit) {
    let asked = Instant::now();
    while audit.state().outage.is_some() || audit.state().waiting > 0 {
        assert!(asked.elapsed() < Duration::from_secs(30), "{:?}", audit.state());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    audit.flush().await;
}

#[tokio::test]
async fn a_disk_that_is_full_for_a_while_loses_nothing_and_stops_nobody() {
    let folder = Folder::new();
    let audit = full(&folder, 1000, WhenFull::Drop);
    let asked = Instant::now();
    for _ in 0..500 {
        audit.record(record(Activity::Connect, Outcome::Success));
    }
    assert!(asked.elapsed() < Duration::from_secs(30));
    audit.flush().await;
    let state = audit.state();
    assert!(state.outage.unwrap().contains("No space left on device") && state.lost == 0);
    mend(&folder);
    written(&audit).await;
    assert_eq!((lines(&folder.file()).len(), audit.lost()), (500, 0));
    drop(audit);
    assert!(check(&[folder.file()]).is_whole());
}

#[tokio::test]
async fn what_a_full_queue_does_not_take_is_counted_in_the_chain() {
    let folder = Folder::new();
    let audit = full(&folder, 64, WhenFull::Drop);
    // what the thread has in its hands is not in the queue
    audit.record(record(Activity::SignIn, Outcome::Success));
    audit.flush().await;
    for _ in 0..100 {
        audit.record(record(Activity::Connect, Outcome::Success));
        assert!(!audit.refuses());
    }
    assert_eq!((audit.lost(), audit.state().waiting), (36, 64));
    mend(&folder);
    written(&audit).await;
    let lines = lines(&folder.file());
    let lost = lines.iter().find(|line| line["metadata"]["event_code"] == "lost").unwrap();
    assert_eq!((lines.len(), &lost["count"], &lost["severity"]), (66, &json!(36), &json!("High")));
    drop(audit);
    let report = check(&[folder.file()]);
    assert_eq!((report.is_whole(), report.losses), (true, 1));
}

#[tokio::test]
async fn what_was_lost_is_told_where_it_is_missing() {
    let folder = Folder::new();
    let audit = full(&folder, 1000, WhenFull::Drop);
    audit.record(record(Activity::SignIn, Outcome::Success));
    audit.flush().await;
    for _ in 0..1500 {
        audit.record(record(Activity::Connect, Outcome::Success));
    }
    assert_eq!((audit.lost(), audit.state().waiting), (500, 1000));
    mend(&folder);
    written(&audit).await;
    audit.record(record(Activity::SignOut, Outcome::Success));
    audit.flush().await;
    let lines = lines(&folder.file());
    let at = lines.iter().position(|line| line["metadata"]["event_code"] == "lost").unwrap();
    assert_eq!(
        (at, &lines[at]["count"], lines.len()),
        (1001, &json!(500), 1003),
        "behind all that waited, before the next"
    );
}

#[tokio::test]
async fn a_gateway_that_must_write_everything_admits_nothing_while_it_cannot() {
    let folder = Folder::new();
    let audit = full(&folder, 64, WhenFull::Refuse);
    audit.record(record(Activity::SignIn, Outcome::Success));
    audit.flush().await;
    let mut admitted = 0;
    while !audit.refuses() {
        audit.record(record(Activity::Connect, Outcome::Success));
        admitted += 1;
    }
    assert_eq!(admitted, 48, "a quarter is left for those who are connected");
    for _ in 0..1000 {
        audit.record(record(Activity::Connect, Outcome::Failure));
    }
    (0..16).for_each(|_| audit.record(record(Activity::End, Outcome::Success)));
    assert_eq!(audit.lost(), 0, "nobody who tries again and again uses it up");
    mend(&folder);
    written(&audit).await;
    assert!(!audit.refuses());
    let lines = lines(&folder.file());
    let refused = lines.iter().find(|line| line["metadata"]["event_code"] == "refused").unwrap();
    assert_eq!((lines.len(), &refused["count"]), (66, &json!(1000)));
}

#[tokio::test]
async fn what_a_full_disk_never_takes_is_counted_when_the_gateway_ends() {
    let folder = Folder::new();
    let audit = full(&folder, 1000, WhenFull::Drop);
    (0..50).for_each(|_| audit.record(record(Activity::Connect, Outcome::Success)));
    let ended = Instant::now();
    drop(audit);
    assert!(ended.elapsed() < Duration::from_secs(30), "it does not wait for a disk that takes nothing");
}

/// The limit of a file's size is the process's: a process of its own fills a file to the brim.
#[tokio::test]
async fn a_line_that_only_half_fits_on_the_disk_is_written_whole_later() {
    const INSIDE: &str = "ZTSA_TEST_FILE_SIZE";
    if let Some(path) = std::env::var_os(INSIDE) {
        return brim(Path::new(&path)).await;
    }
    let folder = Folder::new();
    let name = "audit::tests::trouble::a_line_that_only_half_fits_on_the_disk_is_written_whole_later";
    let run = format!("trap '' XFSZ; exec {} --exact {name}", std::env::current_exe().unwrap().display());
    let output = std::process::Command::new("/bin/sh").args(["-c", &run]).env(INSIDE, folder.file()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
    let report = check(&[folder.file()]);
    assert!(report.is_whole() && report.lines > 300, "{report:?}");
    assert_eq!(report.losses, 0);
}

async fn brim(path: &Path) {
    let before = getrlimit(Resource::Fsize);
    let limit = 50_000;
    setrlimit(Resource::Fsize, Rlimit { current: Some(limit), ..before }).unwrap();
    let audit = open(path);
    for _ in 0..300 {
        audit.record(record(Activity::Connect, Outcome::Success));
        audit.flush().await;
    }
    assert!(audit.state().outage.unwrap().contains("File too large"));
    let text = std::fs::read(path).unwrap();
    assert!(text.len() > 40_000 && text.ends_with(b"\n"), "only whole lines stand in the file");
    setrlimit(Resource::Fsize, before).unwrap();
    written(&audit).await;
    assert_eq!((lines(path).len(), audit.lost()), (300, 0));
}

/// Counts how often the writers of this process's logs woke up.
fn wakes() -> u64 {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().map(|task| task.unwrap().path());
    let writers = tasks
        .filter(|task| std::fs::read_to_string(task.join("comm")).is_ok_and(|name| name.trim_end() == "ztsa-audit"));
    let woke = writers.filter_map(|task| {
        let status = std::fs::read_to_string(task.join("status")).ok()?;
        status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?.trim().parse::<u64>().ok()
    });
    woke.sum()
}

async fn rests() {
    let before = wakes();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let woke = wakes() - before;
    assert!(woke < 100, "it tried {woke} times");
}

#[tokio::test]
async fn a_checkpoint_that_is_due_on_a_full_disk_is_tried_now_and_then() {
    let folder = Folder::new();
    let checkpoint = config::Checkpoints { events: 10_000, every: Duration::from_millis(1200) };
    let audit = start(&config::Audit { checkpoint, ..config::Audit::at(folder.file()) });
    audit.record(record(Activity::Connect, Outcome::Success));
    audit.flush().await;
    std::fs::rename(folder.file(), folder.file().with_extension("old")).unwrap();
    symlink("/dev/full", folder.file()).unwrap();
    let asked = Instant::now();
    while audit.state().outage.is_none() {
        assert!(asked.elapsed() < Duration::from_secs(30), "nothing was due");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    rests().await;
}

#[tokio::test]
async fn a_file_that_cannot_be_moved_away_is_tried_now_and_then_and_goes_on() {
    let folder = Folder::new();
    // the name that it would get is longer than a name can be
    let file = folder.file().with_file_name("a".repeat(240));
    let rotate = Rotate { size: 1 << 30, age: Some(Duration::from_millis(50)), keep: None };
    let audit = start(&config::Audit { rotate: Some(rotate), ..config::Audit::at(file.clone()) });
    audit.record(record(Activity::Connect, Outcome::Success));
    audit.flush().await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    rests().await;
    for _ in 0..20 {
        audit.record(record(Activity::Connect, Outcome::Success));
        audit.flush().await;
    }
    let signed = lines(&file).iter().filter(|line| line["metadata"]["event_code"] == "checkpoint").count();
    assert!(signed <= 1, "{signed} checkpoints: not one for each event");
    drop(audit);
    assert!(check(&[file]).is_whole());
}
