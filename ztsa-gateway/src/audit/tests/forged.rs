//! What somebody without the key writes while the gateway is down: a later checkpoint never makes it the gateway's.

use ztsa_proto::jws::Signer as _;

use super::super::chain::{Head, Link};
use super::super::log::Log;
use super::super::note;
use super::*;

/// Writes some events, and ends.
fn run(file: &Path, events: usize) {
    let audit = open(file);
    (0..events).for_each(|_| audit.record(record(Activity::Connect, Outcome::Success)));
}

/// Lines behind `head` that anybody can make: right numbers, right hashes, no signature.
fn made(mut head: Head, events: usize) -> Vec<u8> {
    let mut out = Vec::new();
    for _ in 0..events {
        let event = json!({"metadata": {"event_code": "connect"}, "message": "let in by Mallory"});
        head.seal(event.as_object().unwrap().clone(), 1, &mut out);
    }
    out
}

fn append(file: &Path, lines: &[u8]) {
    let mut file = std::fs::OpenOptions::new().append(true).open(file).unwrap();
    std::io::Write::write_all(&mut file, lines).unwrap();
}

fn end(file: &Path) -> Head {
    let text = std::fs::read_to_string(file).unwrap();
    Link::read(text.lines().last().unwrap().as_bytes()).unwrap().head
}

/// What a check with the gateway's key finds: the faults, and what the log itself tells.
fn found(files: &[PathBuf]) -> (Vec<String>, u64) {
    let key = Some(key().public_key().clone());
    let report = verify(files, &Against { key, complete: true, ..Against::default() }).unwrap();
    (report.findings.iter().map(|finding| finding.fault.code().to_owned()).collect(), report.losses)
}

fn own(file: &Path, code: &str) -> Vec<Value> {
    lines(file).into_iter().filter(|line| line["metadata"]["event_code"] == code).collect()
}

#[test]
fn a_chain_that_replaced_the_log_while_the_gateway_was_down_is_never_signed() {
    let folder = Folder::new();
    let file = folder.file();
    run(&file, 5);
    let genuine = end(&file);
    std::fs::write(&file, made(Head::new(), 9)).unwrap();
    run(&file, 2);
    // the chain goes on as it stood, and what was there instead is kept
    let told = own(&file, "replaced").remove(0);
    assert_eq!((&told["severity"], &told["metadata"]["sequence"]), (&json!("High"), &json!(genuine.sequence + 1)));
    let aside = folder.0.join("audit.ndjson.replaced-000000000006");
    assert!(told["message"].as_str().unwrap().ends_with(&format!("moved to {}", aside.display())), "{told}");
    assert_eq!(lines(&aside).len(), 9);
    assert_eq!(found(std::slice::from_ref(&file)), (vec!["gap".to_owned(), "replaced".to_owned()], 1));
    // and once only
    run(&file, 2);
    assert_eq!(own(&file, "replaced").len(), 1);
}

#[test]
fn a_line_in_the_last_one_s_place_is_not_the_gateway_s_either() {
    let folder = Folder::new();
    let file = folder.file();
    run(&file, 5);
    let text = std::fs::read_to_string(&file).unwrap();
    let kept: Vec<&str> = text.lines().take(5).collect();
    std::fs::write(&file, kept.join("\n") + "\n").unwrap();
    let before = end(&file);
    append(&file, &made(before.clone(), 1));
    run(&file, 1);
    assert_eq!(own(&file, "replaced").len(), 1);
    // the same with more lines than there were
    let other = Folder::new();
    let file = other.file();
    run(&file, 5);
    std::fs::write(&file, made(Head { chain: end(&file).chain, ..Head::new() }, 20)).unwrap();
    run(&file, 1);
    assert_eq!(own(&file, "replaced").len(), 1);
}

#[test]
fn lines_added_behind_the_last_checkpoint_are_signed_only_with_a_line_that_says_so() {
    let folder = Folder::new();
    let file = folder.file();
    run(&file, 5);
    append(&file, &made(end(&file), 3));
    run(&file, 2);
    let told = own(&file, "unvouched").remove(0);
    assert_eq!((&told["count"], &told["severity"]), (&json!(3), &json!("High")));
    assert_eq!(told["unmapped"]["unvouched"], json!({"from": 7, "to": 9}));
    assert_eq!(found(std::slice::from_ref(&file)), (vec!["unvouched".to_owned()], 1));
    // it stays so, however many checkpoints follow
    run(&file, 2);
    assert_eq!(found(std::slice::from_ref(&file)), (vec!["unvouched".to_owned()], 1));
}

#[test]
fn whoever_takes_the_note_away_or_writes_one_gets_nothing_signed() {
    for forged in [None, Some(String::from("{}")), Some(String::new())] {
        let folder = Folder::new();
        let file = folder.file();
        run(&file, 5);
        std::fs::write(&file, made(Head::new(), 9)).unwrap();
        match forged {
            None => std::fs::remove_file(note::of(&file)).unwrap(),
            Some(mut text) => {
                if text.is_empty() {
                    text = json!({"chain": end(&file).chain, "sequence": 9, "hash": end(&file).hash}).to_string();
                }
                std::fs::write(note::of(&file), text).unwrap();
            }
        }
        run(&file, 2);
        assert_eq!(own(&file, "unvouched")[0]["unmapped"]["unvouched"], json!({"from": 1, "to": 9}));
        assert_eq!(found(std::slice::from_ref(&file)), (vec!["unvouched".to_owned()], 2));
    }
    // a log that ends with a checkpoint is known by that
    let folder = Folder::new();
    let file = folder.file();
    run(&file, 5);
    std::fs::remove_file(note::of(&file)).unwrap();
    run(&file, 2);
    assert_eq!(own(&file, "unnoted").len(), 1);
    assert_eq!(found(std::slice::from_ref(&file)), (Vec::new(), 1));
}

#[tokio::test]
async fn what_a_gateway_wrote_before_it_was_killed_is_its_own() {
    let (folder, after) = (Folder::new(), Folder::new());
    let (file, copy) = (folder.file(), after.file());
    let audit = open(&file);
    for _ in 0..5 {
        audit.record(record(Activity::Connect, Outcome::Success));
        audit.flush().await;
    }
    std::fs::copy(note::of(&file), note::of(&copy)).unwrap();
    std::fs::copy(&file, &copy).unwrap();
    run(&copy, 1);
    assert_eq!(found(std::slice::from_ref(&copy)), (Vec::new(), 0));
    // killed between a line and its note, or by a power failure that took the note: the line is not known to be its own
    std::fs::copy(note::of(&file), note::of(&copy)).unwrap();
    audit.record(record(Activity::Connect, Outcome::Success));
    audit.flush().await;
    std::fs::copy(&file, &copy).unwrap();
    run(&copy, 1);
    assert_eq!(own(&copy, "unvouched")[0]["unmapped"]["unvouched"], json!({"from": 6, "to": 6}));
    assert_eq!(found(&[copy]), (vec!["unvouched".to_owned()], 1));
}

#[test]
fn a_note_older_than_a_checkpoint_accuses_nobody() {
    let folder = Folder::new();
    let file = folder.file();
    run(&file, 5);
    let old = std::fs::read(note::of(&file)).unwrap();
    run(&file, 5);
    std::fs::write(note::of(&file), old).unwrap();
    run(&file, 1);
    assert_eq!(found(&[file]), (Vec::new(), 0));
}

#[test]
fn a_start_that_could_not_write_leaves_it_to_the_next_one_to_say_what_is_wrong() {
    let folder = Folder::new();
    let file = folder.file();
    run(&file, 5);
    append(&file, &made(end(&file), 3));
    // the disk is full, and the gateway is ended before it has room
    drop(Log::open(&file, &key()).unwrap());
    run(&file, 2);
    assert_eq!(own(&file, "unvouched").len(), 1);
    assert!(found(std::slice::from_ref(&file)).0.contains(&"unvouched".to_owned()));
    let other = Folder::new();
    let file = other.file();
    run(&file, 5);
    std::fs::write(&file, made(Head::new(), 9)).unwrap();
    drop(Log::open(&file, &key()).unwrap());
    assert_eq!(std::fs::read(&file).unwrap(), b"");
    run(&file, 2);
    assert_eq!(own(&file, "replaced").len(), 1);
    run(&file, 2);
    assert_eq!(own(&file, "replaced").len(), 1, "and once only");
}
