//! A log that somebody had their hands in.

use std::path::PathBuf;

use proptest::prelude::*;
use ztsa_proto::jws::{Signer as _, SoftwareKey};

use super::super::tests::{Folder, lines, record};
use super::super::{Activity, Audit, Outcome};
use super::*;
use crate::config;

/// A log of some lines, with checkpoints of this key.
async fn written(folder: &Folder, key: &SoftwareKey, events: usize) -> PathBuf {
    let mut config = config::Audit::at(folder.file());
    config.checkpoint.events = 7;
    let audit = Audit::with_key(&config, SoftwareKey::from_pkcs8(key.to_pkcs8().expose()).unwrap()).unwrap();
    for _ in 0..events {
        audit.record(record(Activity::Connect, Outcome::Success));
        audit.flush().await;
    }
    folder.file()
}

fn findings(file: &PathBuf, against: &Against) -> Vec<String> {
    let report = verify(std::slice::from_ref(file), against).unwrap();
    report.findings.iter().map(|finding| format!("{}: {}", finding.line, finding.fault.code())).collect()
}

/// What somebody does to a file of lines.
#[derive(Clone, Debug)]
enum Hand {
    Flip(usize, u8),
    Remove(usize),
    Swap(usize, usize),
    Repeat(usize, usize),
    Cut(usize),
}

fn hand() -> impl Strategy<Value = Hand> {
    let any = 0..usize::MAX;
    prop_oneof![
        (any.clone(), 1..=255_u8).prop_map(|(at, with)| Hand::Flip(at, with)),
        any.clone().prop_map(Hand::Remove),
        (any.clone(), any.clone()).prop_map(|(one, other)| Hand::Swap(one, other)),
        (any.clone(), any.clone()).prop_map(|(which, to)| Hand::Repeat(which, to)),
        any.prop_map(Hand::Cut),
    ]
}

fn changed(text: &[u8], hand: &Hand) -> Vec<u8> {
    let mut lines: Vec<&[u8]> = text.split_inclusive(|byte| *byte == b'\n').collect();
    let count = lines.len();
    match hand {
        Hand::Flip(at, with) => {
            let mut text = text.to_vec();
            let at = at % text.len();
            text[at] ^= with;
            return text;
        }
        Hand::Remove(which) => drop(lines.remove(which % count)),
        Hand::Swap(one, other) => lines.swap(one % count, other % count),
        Hand::Repeat(which, to) => lines.insert(to % (count + 1), lines[which % count]),
        Hand::Cut(at) => return text[..at % text.len()].to_vec(),
    }
    lines.concat()
}

#[test]
fn any_flip_removal_swap_repetition_and_cut_is_found() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let folder = Folder::new();
    let key = SoftwareKey::generate().unwrap();
    let file = runtime.block_on(written(&folder, &key, 30));
    let text = std::fs::read(&file).unwrap();
    let against = Against { key: Some(key.public_key().clone()), complete: true, ..Against::default() };
    assert_eq!(findings(&file, &against), Vec::<String>::new());
    proptest!(ProptestConfig::with_cases(2000), |(hand in hand())| {
        let other = changed(&text, &hand);
        prop_assume!(other != text);
        std::fs::write(&file, &other).unwrap();
        prop_assert!(!findings(&file, &against).is_empty(), "{hand:?}");
    });
}

#[tokio::test]
async fn what_is_wrong_is_named_with_its_place() {
    let folder = Folder::new();
    let key = SoftwareKey::generate().unwrap();
    let file = written(&folder, &key, 9).await;
    let text = std::fs::read_to_string(&file).unwrap();
    let whole: Vec<&str> = text.lines().collect();
    // the eighth is a checkpoint, the last one too
    assert_eq!(whole.len(), 11);
    let against = Against::default();
    let table: [(Vec<&str>, &[&str]); 5] = [
        ([&whole[..3], &[whole[3].replace("db-prod", "db-test").leak()], &whole[4..]].concat(), &["4: changed"]),
        ([&whole[..2], &whole[3..]].concat(), &["3: gap"]),
        ([&whole[..2], &whole[1..]].concat(), &["3: again"]),
        ([&whole[..2], &[whole[3], whole[2]], &whole[4..]].concat(), &["3: gap", "4: again"]),
        ([&whole[..5], &["{\"a\":1}"], &whole[5..]].concat(), &["6: foreign"]),
    ];
    for (lines, wanted) in table {
        std::fs::write(&file, lines.join("\n") + "\n").unwrap();
        assert_eq!(findings(&file, &against), wanted);
    }
    let report = verify(std::slice::from_ref(&file), &against).unwrap();
    let words = report.findings[0].to_string();
    assert!(words.ends_with("audit.ndjson:6: the line is no event of this log, or its end was changed"), "{words}");
}

#[tokio::test]
async fn a_chain_that_somebody_made_themselves_is_not_signed_by_the_gateway() {
    let (folder, elsewhere) = (Folder::new(), Folder::new());
    let (key, other) = (SoftwareKey::generate().unwrap(), SoftwareKey::generate().unwrap());
    let file = written(&folder, &key, 9).await;
    let kept = lines(&file)[7]["unmapped"]["checkpoint"].as_str().unwrap().to_owned();
    let against = Against { key: Some(key.public_key().clone()), checkpoint: Some(kept), complete: true };
    assert_eq!(findings(&file, &against), Vec::<String>::new());
    // the chain alone is right
    let forged = written(&elsewhere, &other, 9).await;
    assert_eq!(findings(&forged, &Against::default()), Vec::<String>::new());
    assert_eq!(findings(&forged, &against), ["8: signature", "11: signature", "0: checkpoint_missing"]);
    // one that ends before the checkpoint that was kept
    let text = std::fs::read_to_string(&file).unwrap();
    let short: Vec<&str> = text.lines().take(5).collect();
    std::fs::write(&forged, short.join("\n") + "\n").unwrap();
    assert_eq!(findings(&forged, &against), ["0: unsigned", "0: checkpoint_missing"]);
    let wrong = Against { key: Some(other.public_key().clone()), ..against };
    let error = verify(&[file], &wrong).unwrap_err();
    assert!(error.to_string().starts_with("the checkpoint that was given does not count"), "{error}");
}

/// A line that is right by itself: anybody can make one.
fn sealed(from: &Head, event: serde_json::Value) -> (String, Head) {
    let (mut head, mut out) = (from.clone(), Vec::new());
    let serde_json::Value::Object(event) = event else { panic!("{event}") };
    head.seal(event, 1, &mut out);
    (String::from_utf8(out).unwrap(), head)
}

#[tokio::test]
async fn a_chain_that_was_made_again_without_its_checkpoints_is_not_whole_for_whoever_has_the_key() {
    let folder = Folder::new();
    let key = SoftwareKey::generate().unwrap();
    let file = written(&folder, &key, 9).await;
    let events: Vec<_> = lines(&file);
    let mut head = Head { chain: "another".to_owned(), ..Head::new() };
    let mut forged = String::new();
    for event in events.into_iter().filter(|event| event["metadata"]["event_code"] != "checkpoint") {
        // as somebody would who wants another app in it
        let text = event.to_string().replace("db-prod", "db-test");
        let (line, next) = sealed(&head, without(&text));
        forged += &line;
        head = next;
    }
    std::fs::write(&file, forged).unwrap();
    assert_eq!(findings(&file, &Against::default()), Vec::<String>::new(), "the chain alone is right");
    let against = Against { key: Some(key.public_key().clone()), ..Against::default() };
    assert_eq!(findings(&file, &against), ["0: unsigned"]);
}

#[test]
fn nothing_at_all_is_not_whole() {
    let folder = Folder::new();
    std::fs::write(folder.file(), "").unwrap();
    assert_eq!(findings(&folder.file(), &Against::default()), ["0: empty"]);
}

#[test]
fn numbers_at_their_ends_are_findings() {
    let folder = Folder::new();
    let signed = SoftwareKey::generate().unwrap();
    let numbered = |number: u64| {
        let from = Head { sequence: number.wrapping_sub(1), ..Head::new() };
        let claims = checkpoint::sign(&signed, &from, 1).unwrap();
        let (line, _) = sealed(&from, serde_json::json!({"metadata": {}, "unmapped": {"checkpoint": claims}}));
        line
    };
    // `seal` counts on from the largest number without going around: written by hand
    let zero = numbered(1).replace("-1\"", "-0\"").replace("\"sequence\":1", "\"sequence\":0");
    let body = zero.split(",\"hash\":\"").next().unwrap();
    let zero = format!("{body},\"hash\":\"{}\"}}}}}}\n", super::super::chain::hash(body.as_bytes()));
    let last = numbered(u64::MAX);
    let changed = last.replace("\"logged_time\":1", "\"logged_time\":2");
    std::fs::write(folder.file(), [zero, last, changed].concat()).unwrap();
    assert_eq!(findings(&folder.file(), &Against::default()), ["2: other_chain", "3: changed"]);
}

#[tokio::test]
async fn a_line_longer_than_any_is_one_finding_and_takes_little_memory() {
    let folder = Folder::new();
    let key = SoftwareKey::generate().unwrap();
    let file = written(&folder, &key, 3).await;
    let text = std::fs::read_to_string(&file).unwrap();
    let (first, rest) = text.split_once('\n').unwrap();
    let long = "x".repeat(usize::try_from(3 * LONGEST).unwrap() + 17);
    let whole = format!("{first}\n{long}\n{rest}");
    std::fs::write(&file, &whole).unwrap();
    assert_eq!(findings(&file, &Against::default()), ["2: foreign"]);
    let report = verify(std::slice::from_ref(&file), &Against::default()).unwrap();
    assert_eq!(report.bytes, u64::try_from(whole.len()).unwrap());
}

/// Takes the chain out of an event.
fn without(text: &str) -> serde_json::Value {
    let mut event: serde_json::Value = serde_json::from_str(text).unwrap();
    event["unmapped"].as_object_mut().unwrap().remove("chain");
    event
}
