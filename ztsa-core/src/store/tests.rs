use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::{
    config::{TpmChoice, TpmPlace},
    http::script::TempDir,
    tpm::{TpmError, tests::SoftTpm},
};

fn store(dir: &TempDir, choice: StoreChoice) -> Store {
    let mut config = Config::new("https://gw.example.com").unwrap();
    config.state = Some(dir.path().join("state"));
    config.store = choice;
    config.tpm = TpmChoice::Off;
    Store::open(&config).unwrap()
}

async fn text(store: &Store, record: Record) -> Option<String> {
    store.load(record).await.unwrap().map(|bytes| String::from_utf8(bytes.to_vec()).unwrap())
}

#[tokio::test]
async fn what_is_saved_is_there_for_the_next_process_and_unreadable_on_disk() {
    let dir = TempDir::new();
    let large = "refresh-token ".repeat(1000);
    store(&dir, StoreChoice::File).save(Record::Credentials, large.as_bytes()).await.unwrap();
    let next = store(&dir, StoreChoice::File);
    assert_eq!(text(&next, Record::Credentials).await, Some(large));
    assert_eq!(text(&next, Record::Session).await, None);
    assert_eq!(next.kind().await.unwrap().to_string(), "file");
    let profile = next.dir().unwrap().to_owned();
    assert!(profile.ends_with("state/profiles/default"));
    assert_eq!(profile.metadata().unwrap().permissions().mode() & 0o777, 0o700);
    let mut files = 0;
    for file in std::fs::read_dir(&profile).unwrap().flatten() {
        files += 1;
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", file.path());
        let content = std::fs::read(file.path()).unwrap();
        assert!(!content.windows(13).any(|bytes| bytes == b"refresh-token"), "{:?}", file.path());
    }
    assert_eq!(files, 2, "the record and its key, nothing temporary");
    next.remove(Record::Credentials).await.unwrap();
    next.remove(Record::Credentials).await.unwrap();
    assert_eq!(text(&next, Record::Credentials).await, None);
}

#[tokio::test]
async fn broken_state_is_put_aside_and_said() {
    for content in [&b""[..], b"garbage", b"ztsa1f", b"ztsa1fxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", b"ztsa1z"] {
        let dir = TempDir::new();
        let store = store(&dir, StoreChoice::File);
        store.save(Record::Device, b"key").await.unwrap();
        let path = store.dir().unwrap().join("credentials");
        std::fs::write(&path, content).unwrap();
        assert_eq!(text(&store, Record::Credentials).await, None, "{content:?}");
        assert!(!path.exists() && path.with_extension("unreadable").exists());
        assert!(store.notes()[0].contains("put aside"), "{:?}", store.notes());
        store.save(Record::Credentials, b"new").await.unwrap();
        assert_eq!(text(&store, Record::Credentials).await.as_deref(), Some("new"));
        assert_eq!(text(&store, Record::Device).await.as_deref(), Some("key"), "the others are untouched");
    }
}

#[tokio::test]
async fn one_record_cannot_stand_in_for_another() {
    let dir = TempDir::new();
    let store = store(&dir, StoreChoice::File);
    store.save(Record::Session, b"session").await.unwrap();
    let profile = store.dir().unwrap();
    std::fs::copy(profile.join("session"), profile.join("credentials")).unwrap();
    assert_eq!(text(&store, Record::Credentials).await, None);
}

#[tokio::test]
async fn a_lost_key_means_signing_in_again_and_nothing_worse() {
    let dir = TempDir::new();
    store(&dir, StoreChoice::File).save(Record::Credentials, b"old").await.unwrap();
    let next = store(&dir, StoreChoice::File);
    std::fs::remove_file(next.dir().unwrap().join("key")).unwrap();
    assert_eq!(text(&next, Record::Credentials).await, None);
    assert!(next.notes()[0].contains("sign in again"));
    next.save(Record::Credentials, b"new").await.unwrap();
    assert_eq!(text(&next, Record::Credentials).await.as_deref(), Some("new"));
    assert!(next.dir().unwrap().join("credentials.unreadable").exists(), "the old one is kept aside");
}

#[tokio::test]
async fn files_that_others_could_read_are_closed() {
    let dir = TempDir::new();
    let store = store(&dir, StoreChoice::File);
    store.save(Record::Session, b"s").await.unwrap();
    let path = store.dir().unwrap().join("session");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    store.load(Record::Session).await.unwrap();
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn twenty_processes_that_begin_at_once_share_one_key() {
    let dir = TempDir::new();
    let stores: Vec<Store> = (0..20).map(|_| store(&dir, StoreChoice::File)).collect();
    let saves = stores.iter().map(|store| store.save(Record::Session, b"shared"));
    futures_util::future::try_join_all(saves).await.unwrap();
    assert_eq!(text(&store(&dir, StoreChoice::File), Record::Session).await.as_deref(), Some("shared"));
}

#[tokio::test]
async fn memory_writes_nothing() {
    let dir = TempDir::new();
    let store = store(&dir, StoreChoice::Memory);
    store.save(Record::Session, b"s").await.unwrap();
    assert_eq!(text(&store.clone(), Record::Session).await.as_deref(), Some("s"));
    assert_eq!(store.kind().await.unwrap().to_string(), "memory");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_state_directory_that_cannot_be_made_names_itself() {
    let dir = TempDir::new();
    std::fs::write(dir.path().join("state"), b"a file").unwrap();
    let mut config = Config::new("https://gw.example.com").unwrap();
    config.state = Some(dir.path().join("state"));
    let error = Store::open(&config).unwrap_err();
    assert!(error.to_string().contains("state/profiles/default"), "{error}");
    assert!(error.hint().contains("permissions"));
}

fn sealed_by(dir: &TempDir, soft: &SoftTpm) -> Store {
    let mut config = Config::new("https://gw.example.com").unwrap();
    config.state = Some(dir.path().join("state"));
    config.store = StoreChoice::File;
    config.tpm = TpmChoice::At(soft.place());
    Store::open(&config).unwrap()
}

#[tokio::test]
async fn what_the_tpm_sealed_is_worth_nothing_on_another_machine() {
    let (dir, soft, other) = (TempDir::new(), SoftTpm::start(), SoftTpm::start());
    let mine = sealed_by(&dir, &soft);
    mine.save(Record::Credentials, b"refresh-token").await.unwrap();
    assert_eq!(mine.kind().await.unwrap(), StoreKind::Tpm);
    assert_eq!(text(&sealed_by(&dir, &soft), Record::Credentials).await.as_deref(), Some("refresh-token"));
    // the whole directory, key file and all, with another TPM and with none
    let stolen = TempDir::new();
    let copied = std::process::Command::new("cp").arg("-a").arg(dir.path()).arg(stolen.path().join("copy")).status();
    assert!(copied.unwrap().success());
    let at = |place| {
        let mut config = Config::new("https://gw.example.com").unwrap();
        config.state = Some(stolen.path().join("copy/state"));
        config.store = StoreChoice::File;
        config.tpm = place;
        Store::open(&config).unwrap()
    };
    let bare = at(TpmChoice::At(TpmPlace::Device("/dev/no-tpm".into())));
    assert_eq!(text(&bare, Record::Credentials).await, None);
    assert!(bare.notes()[0].contains("a TPM that this machine does not have; sign in again"), "{:?}", bare.notes());
    assert!(matches!(at(TpmChoice::Off).load(Record::Credentials).await, Err(StoreError::TpmOff)));
    let thief = at(TpmChoice::At(other.place()));
    assert_eq!(text(&thief, Record::Credentials).await, None);
    assert!(thief.notes()[0].contains("another TPM sealed it"), "{:?}", thief.notes());
}

#[tokio::test]
async fn a_tpm_that_is_silent_for_a_while_signs_nobody_out() {
    let (dir, mut soft) = (TempDir::new(), SoftTpm::start());
    sealed_by(&dir, &soft).save(Record::Credentials, b"c").await.unwrap();
    // a socket that nobody listens on any more
    soft.stop();
    drop(std::os::unix::net::UnixListener::bind(soft.socket()).unwrap());
    let error = sealed_by(&dir, &soft).load(Record::Credentials).await.unwrap_err();
    assert!(matches!(&error, StoreError::Tpm { source: TpmError::Io { .. } }), "{error}");
    assert_eq!(error.retry(), ztsa_proto::problem::Retry::After { seconds: None });
    soft.restart(false);
    assert_eq!(text(&sealed_by(&dir, &soft), Record::Credentials).await.as_deref(), Some("c"));
}

#[tokio::test]
async fn a_profile_that_is_sealed_by_a_file_stays_so_when_the_machine_gets_a_tpm() {
    let (dir, soft) = (TempDir::new(), SoftTpm::start());
    store(&dir, StoreChoice::File).save(Record::Device, b"d").await.unwrap();
    let next = sealed_by(&dir, &soft);
    assert_eq!(text(&next, Record::Device).await.as_deref(), Some("d"));
    next.save(Record::Credentials, b"c").await.unwrap();
    assert_eq!(text(&store(&dir, StoreChoice::File), Record::Credentials).await.as_deref(), Some("c"));
}

#[tokio::test]
async fn what_a_newer_version_wrote_is_left_as_it_is() {
    let dir = TempDir::new();
    let store = store(&dir, StoreChoice::File);
    store.save(Record::Device, b"d").await.unwrap();
    let path = store.dir().unwrap().join("credentials");
    std::fs::write(&path, b"ztsa2 something new").unwrap();
    let error = store.load(Record::Credentials).await.unwrap_err();
    assert!(error.to_string().contains("newer ztsa") && error.hint().contains("update"), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), b"ztsa2 something new");
}

#[tokio::test]
async fn what_could_not_be_written_is_kept_and_written_when_it_can_be() {
    let dir = TempDir::new();
    let store = store(&dir, StoreChoice::File);
    store.save(Record::Credentials, b"old").await.unwrap();
    let profile = store.dir().unwrap().to_owned();
    let away = profile.with_extension("away");
    // nothing can be written to a directory that is not there
    std::fs::rename(&profile, &away).unwrap();
    store.save(Record::Credentials, b"new").await.unwrap_err();
    assert_eq!(text(&store, Record::Credentials).await.as_deref(), Some("new"), "for this process");
    store.save(Record::Credentials, b"newer").await.unwrap_err();
    std::fs::rename(&away, &profile).unwrap();
    std::fs::remove_file(profile.join("credentials")).unwrap();
    assert_eq!(text(&store, Record::Credentials).await.as_deref(), Some("newer"));
    let next = self::store(&dir, StoreChoice::File);
    assert_eq!(
        text(&next, Record::Credentials).await.as_deref(),
        Some("newer"),
        "the first use that found room wrote it"
    );
}

#[tokio::test]
async fn a_record_that_another_process_wrote_meanwhile_counts() {
    let dir = TempDir::new();
    let (one, other) = (store(&dir, StoreChoice::File), store(&dir, StoreChoice::File));
    one.save(Record::Credentials, b"old").await.unwrap();
    let profile = one.dir().unwrap().to_owned();
    let away = profile.with_extension("away");
    std::fs::rename(&profile, &away).unwrap();
    one.save(Record::Credentials, b"unsaved").await.unwrap_err();
    std::fs::rename(&away, &profile).unwrap();
    other.save(Record::Credentials, b"another sign-in").await.unwrap();
    assert_eq!(text(&one, Record::Credentials).await.as_deref(), Some("another sign-in"));
}

#[tokio::test]
async fn room_is_taken_before_and_given_back_after() {
    let dir = TempDir::new();
    let store = store(&dir, StoreChoice::File);
    store.save(Record::Credentials, b"old").await.unwrap();
    let files = || std::fs::read_dir(store.dir().unwrap()).unwrap().count();
    let before = files();
    std::fs::write(store.dir().unwrap().join("credentials.xyz.tmp"), b"left by a killed process").unwrap();
    let room = store.room(Record::Credentials, 100).await.unwrap();
    assert_eq!(files(), before + 1, "one reservation, and what was left is gone");
    store.save_into(room, Record::Credentials, b"new").await.unwrap();
    assert_eq!((files(), text(&store, Record::Credentials).await.as_deref()), (before, Some("new")));
    drop(store.room(Record::Credentials, 100).await.unwrap());
    assert_eq!(files(), before);
    let room = store.room(Record::Credentials, 1).await.unwrap();
    let large = "x".repeat(100_000);
    store.save_into(room, Record::Credentials, large.as_bytes()).await.unwrap();
    assert_eq!((files(), text(&store, Record::Credentials).await), (before, Some(large)));
}

#[tokio::test]
async fn why_the_key_store_is_not_used_is_known_to_the_next_process() {
    let dir = TempDir::new();
    store(&dir, StoreChoice::File).save(Record::Session, b"s").await.unwrap();
    store(&dir, StoreChoice::File).save(Record::Credentials, b"c").await.unwrap();
    let next = store(&dir, StoreChoice::Auto);
    next.kind().await.unwrap();
    assert_eq!(next.reason().await.as_deref(), Some("as at the sign-in"), "it was chosen");
    next.inner.keys.tell("no key store: there is\u{1b} none").await;
    let later = store(&dir, StoreChoice::Auto);
    later.kind().await.unwrap();
    assert_eq!(later.reason().await.as_deref(), Some("no key store: there is none"));
}
