//! What the store keeps, over restarts, beside other programs, on a full disk.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ztsa_proto::jws::{Signer as _, SoftwareKey};
use ztsa_proto::name::{DeviceId, SessionId, TicketId, UserId};
use ztsa_proto::secret::Secret;
use ztsa_proto::time::UnixTime;

use super::{DeviceState, FindUserError, NewSignal, SessionRow, Store, StoreError, Subject, Ticket, User};
use crate::config::StoreUrl;

const NOW: UnixTime = UnixTime(1_795_000_000);

/// A directory of its own, removed when the test is over.
struct Dir(PathBuf);

impl Dir {
    fn new() -> Dir {
        let path = std::env::temp_dir().join(format!("ztsa-store-{}", ztsa_proto::jws::random_id()));
        std::fs::create_dir(&path).unwrap();
        Dir(path)
    }

    fn file(&self) -> PathBuf {
        self.0.join("ztsa.db")
    }

    fn open(&self) -> Result<Store, StoreError> {
        Store::open(&StoreUrl::Sqlite(self.file()))
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

fn user(name: &str) -> UserId {
    UserId::new("https://idp.example.com", name).unwrap()
}

fn device() -> DeviceId {
    SoftwareKey::generate().unwrap().public_key().thumbprint()
}

fn ticket(session: &SessionRow) -> Ticket {
    Ticket {
        id: TicketId::random(),
        secret_sha256: "hash".to_owned(),
        app: "db".parse().unwrap(),
        user: session.user.clone(),
        device: session.device.clone(),
        session: session.id.clone(),
        issued_at: NOW,
        expires_at: NOW.plus(Duration::from_secs(600)),
        uses_left: Some(3),
        used: 1,
        identity: "{}".to_owned(),
    }
}

fn session(user: &UserId, device: &DeviceId) -> SessionRow {
    SessionRow {
        id: SessionId::random(),
        user: user.clone(),
        device: device.clone(),
        started_at: NOW,
        login_at: NOW,
        ends_at: NOW.plus(Duration::from_secs(3600)),
        identity: "{}".into(),
    }
}

fn signal(subject: Subject) -> NewSignal {
    NewSignal {
        subject,
        kind: "admin".to_owned(),
        score: 90,
        reason: "it's \"odd\"".to_owned(),
        source: "admin".to_owned(),
        cause: String::new(),
        at: NOW,
        expires_at: Some(NOW.plus(Duration::from_secs(60))),
        half_life: None,
    }
}

#[tokio::test]
async fn everything_outlives_a_restart() {
    let dir = Dir::new();
    let (alice, laptop) = (user("alice|x"), device());
    let row = session(&alice, &laptop);
    let ticket = ticket(&row);
    let store = dir.open().unwrap();
    store.upsert_seen(&alice, &laptop, NOW);
    store.upsert_seen(&alice, &laptop, NOW.plus(Duration::from_secs(9)));
    store.set_device_state(&laptop, DeviceState::Approved).unwrap();
    store.record_user(User { id: alice.clone(), name: Some("Alice".to_owned()), email: None });
    store.keep_session(row.clone());
    store.revoke(Subject::User(alice.clone()), NOW, "why");
    store.revoke(Subject::Device(laptop.clone()), NOW, "");
    let first = store.insert_signal(signal(Subject::User(alice.clone())));
    let second = store.insert_signal(signal(Subject::Session(row.id.clone())));
    assert!(store.delete_signal(first.id) && !store.delete_signal(first.id));
    store.put_ticket(ticket.clone());
    let key = store.secret_key("k", || Ok::<_, StoreError>(Secret::new(vec![7; 32]))).unwrap();
    store.flush().await.unwrap();
    drop(store);

    let store = dir.open().unwrap();
    let kept = store.device(&laptop).unwrap();
    assert_eq!(
        (kept.state, kept.first_seen, kept.last_seen),
        (DeviceState::Approved, NOW, NOW.plus(Duration::from_secs(9)))
    );
    assert_eq!(store.user(&alice).unwrap().name.as_deref(), Some("Alice"));
    assert_eq!(store.session(&row.id), Some(row.clone()));
    assert_eq!(store.cutoff(&Subject::User(alice.clone())), Some(NOW));
    assert_eq!(store.cutoff_of(&user("bob"), &laptop, &SessionId::random()), Some(NOW));
    assert_eq!(store.signals(), std::slice::from_ref(&second));
    assert!(store.insert_signal(signal(Subject::Device(laptop))).id > second.id, "numbers are not used again");
    assert_eq!(store.tickets(), [ticket]);
    let again = store.secret_key("k", || Ok::<_, StoreError>(Secret::new(vec![8; 32]))).unwrap();
    assert_eq!(again.expose(), key.expose());
}

#[tokio::test]
async fn a_revoked_session_takes_its_sign_in_along_and_a_signed_out_one_does_not() {
    let dir = Dir::new();
    let (alice, laptop) = (user("alice"), device());
    let rows = [session(&alice, &laptop), session(&alice, &laptop)];
    let store = dir.open().unwrap();
    for row in &rows {
        store.keep_session(row.clone());
    }
    let login = Subject::Login(alice.clone(), laptop.clone());
    let later = NOW.plus(Duration::from_secs(5));
    store.end_session(&rows[0].id, later);
    assert_eq!((store.cutoff(&Subject::Session(rows[0].id.clone())), store.cutoff(&login)), (Some(later), None));
    assert_eq!(store.sessions(later).len(), 1);
    store.revoke(Subject::Session(rows[1].id.clone()), later, "");
    assert_eq!(store.cutoff(&login), Some(later));
    assert!(store.sessions(later).is_empty());
    drop(store);
    let store = dir.open().unwrap();
    assert_eq!(store.cutoff(&login), Some(later), "written without being asked, when the store closes");
    store.revoke(login.clone(), NOW, "");
    assert_eq!(store.cutoff(&login), Some(later), "a cutoff never moves back");
}

#[tokio::test]
async fn what_ended_long_ago_is_forgotten_and_revoked_people_are_not() {
    let dir = Dir::new();
    let (alice, laptop) = (user("alice"), device());
    let rows = [session(&alice, &laptop), session(&alice, &laptop)];
    let store = dir.open().unwrap();
    for row in &rows {
        store.keep_session(row.clone());
    }
    store.revoke(Subject::User(alice.clone()), NOW, "");
    store.revoke(Subject::Session(rows[0].id.clone()), NOW, "");
    let out = Subject::SignOut(alice.clone(), laptop.clone());
    store.sign_out(&rows[0].id, &alice, &laptop, NOW);
    let month = |days: u64| NOW.plus(Duration::from_secs(days * 24 * 3600));
    store.prune(month(31));
    assert!(store.session(&rows[0].id).is_some(), "not a second early");
    assert_eq!(store.cutoff(&out), Some(NOW));
    store.keep_session(SessionRow { ends_at: month(40), ..rows[1].clone() });
    store.prune(month(32));
    drop(store);
    let store = dir.open().unwrap();
    assert!(store.session(&rows[0].id).is_none() && store.session(&rows[1].id).is_some());
    assert_eq!(store.cutoff(&Subject::Session(rows[0].id.clone())), None);
    assert_eq!(store.cutoff(&out), None);
    assert_eq!(store.cutoff(&Subject::User(alice.clone())), Some(NOW));
    assert_eq!(store.cutoff(&Subject::Login(alice, laptop)), Some(NOW));
}

#[tokio::test]
async fn of_what_a_person_began_and_ended_again_and_again_the_last_is_remembered() {
    let dir = Dir::new();
    let (alice, bob, laptop) = (user("alice"), user("bob"), device());
    let store = dir.open().unwrap();
    let (others, ticketed) = (session(&bob, &laptop), session(&alice, &laptop));
    let mut begun = vec![ticketed.clone()];
    begun.extend((1..600).map(|second| {
        let started_at = NOW.plus(Duration::from_secs(second));
        SessionRow {
            started_at,
            login_at: started_at,
            ends_at: NOW.plus(Duration::from_secs(3600)),
            ..session(&alice, &laptop)
        }
    }));
    // the only one that tells when its person signed in
    begun[1].identity = r#"{"auth_time":1795000000}"#.into();
    store.keep_session(others.clone());
    store.put_ticket(ticket(&ticketed));
    for row in &begun {
        store.keep_session(row.clone());
        store.end_session(&row.id, row.started_at);
    }
    let live = SessionRow { started_at: NOW.plus(Duration::from_secs(600)), ..session(&alice, &laptop) };
    store.keep_session(live.clone());
    let remembered = |store: &Store| {
        let mut rows = store.sessions_of(&alice);
        rows.sort_by_key(|row| row.started_at);
        rows.into_iter().map(|row| row.id).collect::<Vec<_>>()
    };
    let last = [&begun[..2], &begun[600 - super::memory::ENDED_MOST..], std::slice::from_ref(&live)].concat();
    let last: Vec<SessionId> = last.into_iter().map(|row| row.id).collect();
    assert_eq!(
        remembered(&store),
        last,
        "the ticket's, what a revocation counts on, the last that ended, and the one that goes on"
    );
    assert_eq!(store.people_on(&laptop, live.started_at), [alice.clone(), bob.clone()]);
    assert!(store.sessions_of(&bob) == [others]);
    // what is forgotten is still refused while a token of it could live, and a day later is not spoken of
    let (early, day) = (Subject::Session(begun[2].id.clone()), Duration::from_secs(24 * 3600));
    assert_eq!(store.cutoff(&early), Some(begun[2].started_at));
    store.prune(begun[2].started_at.plus(day));
    assert_eq!(store.cutoff(&early), Some(begun[2].started_at));
    store.prune(NOW.plus(day + day));
    assert_eq!(store.cutoff(&early), None);
    assert!(store.cutoff(&Subject::Session(begun[599].id.clone())).is_some());
    drop(store);
    assert_eq!(remembered(&dir.open().unwrap()), last);
}

#[test]
fn a_person_is_found_by_what_they_are_called_or_not_at_all() {
    let store = Store::open(&StoreUrl::Memory).unwrap();
    let person = |id: &str, name: &str, email: &str| User {
        id: user(id),
        name: Some(name.to_owned()),
        email: Some(email.to_owned()),
    };
    store.record_user(person("1", "Alice", "alice@example.com"));
    store.record_user(person("2", "Bob", "bob@example.com"));
    store.record_user(person("3", "bob", "3@example.com"));
    for text in ["https://idp.example.com|1", "ALICE@example.com", "1", "alice"] {
        assert_eq!(store.find_user(text), Ok(user("1")), "{text}");
    }
    assert_eq!(store.find_user("carol"), Err(FindUserError::Unknown("carol".to_owned())));
    assert_eq!(
        store.find_user("https://idp.example.com|9").unwrap_err(),
        FindUserError::Unknown("https://idp.example.com|9".to_owned())
    );
    let error = store.find_user("Bob").unwrap_err();
    assert_eq!(
        error.to_string(),
        "\"Bob\" means several people; name one of: https://idp.example.com|2, https://idp.example.com|3"
    );
}

#[test]
fn the_file_is_for_its_owner_alone() {
    let dir = Dir::new();
    std::fs::write(dir.file(), "").unwrap();
    std::fs::set_permissions(dir.file(), std::fs::Permissions::from_mode(0o644)).unwrap();
    let store = dir.open().unwrap();
    store.upsert_seen(&user("a"), &device(), NOW);
    for entry in std::fs::read_dir(&dir.0).unwrap() {
        let entry = entry.unwrap();
        assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o077, 0, "{}", entry.path().display());
    }
}

#[test]
fn a_store_of_the_first_version_is_carried_over() {
    let (dir, id) = (Dir::new(), device());
    let first = rusqlite::Connection::open(dir.file()).unwrap();
    first.execute_batch(super::schema::SCHEMA).unwrap();
    first.execute("INSERT INTO devices VALUES (?, 'i', 's', 'approved', 1, 2)", [id.to_string()]).unwrap();
    drop(first);
    let store = dir.open().unwrap();
    assert_eq!(store.device(&id).unwrap().state, DeviceState::Approved);
    store.describe_device(&id, Some("laptop".to_owned()), Some("debian 13".to_owned()));
    store.describe_device(&id, None, Some("debian 14".to_owned()));
    drop(store);
    let known = dir.open().unwrap().device(&id).unwrap();
    assert_eq!((known.name.as_deref(), known.os.as_deref()), (Some("laptop"), Some("debian 14")));
}

#[test]
fn a_token_is_bound_to_a_few_devices_until_it_ends_even_across_a_restart() {
    let (dir, now, until) = (Dir::new(), NOW, NOW.plus(Duration::from_secs(60)));
    let (one, two, three) = (device(), device(), device());
    let store = dir.open().unwrap();
    assert_eq!(store.bind_token("t", &one, 2, until, now), Ok(()));
    assert_eq!(store.bind_token("t", &two, 2, until, now), Ok(()));
    assert_eq!(store.bind_token("t", &three, 2, until, now), Err(super::BindError::Shared));
    drop(store);
    let store = dir.open().unwrap();
    assert_eq!(store.bind_token("t", &three, 2, until, now), Err(super::BindError::Shared));
    assert_eq!(store.bind_token("t", &one, 2, until, now), Ok(()));
    assert_eq!(store.bind_token("t", &three, 2, until, until), Ok(()), "a token that has ended binds nothing");
}

#[test]
fn a_file_that_will_not_do_is_refused_with_the_reason() {
    let dir = Dir::new();
    let held = dir.open().unwrap();
    assert!(matches!(dir.open(), Err(StoreError::Held { .. })));
    drop(held);
    drop(dir.open().unwrap());
    let change = |sql: &str| rusqlite::Connection::open(dir.file()).unwrap().execute_batch(sql).unwrap();
    change("PRAGMA user_version = 9");
    assert!(matches!(dir.open(), Err(StoreError::Newer { found: 9, known: 3, .. })));
    change("PRAGMA user_version = 0");
    assert!(matches!(dir.open(), Err(StoreError::Foreign { .. })), "tables of somebody else");
    change(
        "PRAGMA user_version = 3; INSERT INTO devices VALUES ('no thumbprint', 'i', 's', 'approved', 1, 1, NULL, NULL)",
    );
    assert!(matches!(dir.open(), Err(StoreError::Foreign { .. })), "a row that does not read");
    std::fs::write(dir.file(), "SQLite it is not, but long enough to look like something".repeat(9)).unwrap();
    for leftover in ["ztsa.db-wal", "ztsa.db-shm"] {
        drop(std::fs::remove_file(dir.0.join(leftover)));
    }
    let error = dir.open().unwrap_err();
    assert!(matches!(error, StoreError::Foreign { .. }), "{error}");
    let nowhere = Store::open(&StoreUrl::Sqlite(Path::new("/nowhere/at/all.db").to_owned())).unwrap_err();
    assert!(matches!(nowhere, StoreError::Open { .. }), "{nowhere}");
}

#[test]
fn a_device_in_a_state_that_nobody_knows_stays_out() {
    let dir = Dir::new();
    let laptop = device();
    let store = dir.open().unwrap();
    store.upsert_seen(&user("a"), &laptop, NOW);
    drop(store);
    rusqlite::Connection::open(dir.file()).unwrap().execute_batch("UPDATE devices SET state = 'quarantined'").unwrap();
    assert!(dir.open().unwrap().is_blocked(&laptop));
}

#[tokio::test]
async fn a_store_that_cannot_be_written_says_so_and_heals() {
    let dir = Dir::new();
    let store = dir.open().unwrap();
    store.flush().await.unwrap();
    // another program holds the write lock, as a stuck backup does
    let other = rusqlite::Connection::open(dir.file()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    store.revoke(Subject::User(user("a")), NOW, "");
    assert_eq!(store.cutoff(&Subject::User(user("a"))), Some(NOW), "it holds at once all the same");
    let error = store.flush().await.unwrap_err();
    assert!(error.to_string().contains("locked"), "{error}");
    assert!(!store.healthy() && store.outage().is_some());
    other.execute_batch("COMMIT").unwrap();
    store.flush().await.unwrap();
    assert!(store.healthy());
    drop(store);
    assert_eq!(dir.open().unwrap().cutoff(&Subject::User(user("a"))), Some(NOW), "nothing was lost");
}

#[tokio::test]
async fn a_full_disk_loses_nothing_that_was_there() {
    let dir = Dir::new();
    let url = StoreUrl::Sqlite(dir.file());
    let opened = super::schema::open(&url).unwrap();
    opened.connection.pragma_update(None, "max_page_count", 24).unwrap();
    let store = Store::start(opened, &url).unwrap();
    store.upsert_seen(&user("first"), &device(), NOW);
    store.flush().await.unwrap();
    for n in 0..500 {
        store.record_user(User { id: user(&format!("{n}")), name: Some("x".repeat(200)), email: None });
    }
    let error = store.flush().await.unwrap_err();
    assert!(error.to_string().contains("full") && error.to_string().contains("Free the disk"), "{error}");
    assert!(store.outage().unwrap().contains("full"));
    drop(store);
    let store = dir.open().unwrap();
    assert_eq!(store.devices().len(), 1);
    store.record_user(User { id: user("499"), name: None, email: None });
    store.flush().await.unwrap();
    assert!(store.healthy());
}

proptest::proptest! {
    #[test]
    fn subjects_read_back(issuer in "https://[a-z.]{1,20}(/[a-z]{1,5})?", subject in "[^\\p{C}]{1,40}") {
        let (user, device) = (UserId::new(&issuer, &subject).unwrap(), device());
        for subject in [Subject::User(user.clone()), Subject::Device(device.clone()), Subject::Session(SessionId::random()), Subject::Login(user, device)] {
            proptest::prop_assert_eq!(Subject::parse(subject.kind(), &subject.key()), Some(subject));
        }
    }

    #[test]
    fn any_subject_is_answered(kind in "user|device|session|login|x", key in ".{0,80}") {
        let _ = Subject::parse(&kind, &key);
    }
}
