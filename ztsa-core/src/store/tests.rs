use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::http::script::TempDir;

fn store(dir: &TempDir, choice: StoreChoice) -> Store {
    let mut config = Config::new("https://gw.example.com").unwrap();
    config.state = Some(dir.path().join("state"));
    config.store = choice;
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
