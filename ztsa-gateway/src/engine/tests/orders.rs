use std::net::IpAddr;
use std::time::Duration;

use ztsa_proto::problem::Retry;

use ztsa_proto::why::Decision;

use super::World;
use super::evaluation::about;
use super::world::{PEER, POLICIES, thumbprint};
use crate::authn::{AuthnError, ExchangeFailure};
use crate::engine::{Explained, OrderError, Revoked};
use crate::lease::{Access, Selector};
use crate::policy::case::Expect;
use crate::store::DeviceState;

fn explain(world: &World, user: &str, app: &str) -> Explained {
    let user = format!("https://idp.example|{user}").parse().unwrap();
    let mut explained = world.engine.explain_user(&user, &app.parse().unwrap()).unwrap();
    assert_eq!(explained.len(), 1, "{explained:?}");
    explained.remove(0)
}

#[test]
fn a_revocation_ends_what_it_names_and_a_new_sign_in_works() {
    let world = World::new();
    let laptop = world.session("alice", &["dev"], "laptop");
    let desktop = world.session("alice", &["dev"], "desktop");
    let bob = world.session("bob", &["dev"], "tablet");
    let leases = [&laptop, &desktop, &bob].map(|session| world.open(session, "wiki").unwrap());
    world
        .engine
        .ticket(
            &laptop,
            &ztsa_proto::grant::TicketRequest { app: "db".parse().unwrap(), for_seconds: None, uses: None },
            PEER,
        )
        .unwrap();
    let revoked = world.engine.revoke(&Selector::Session(laptop.id.clone()), "left on a train");
    assert_eq!(revoked, Revoked { sessions: 1, tunnels: 1, tickets: 1 });
    let [first, second, third] = &leases;
    let Access::Ended(problem) = first.tunnel().access() else { panic!("still open") };
    assert_eq!((problem.code.as_str(), problem.detail.as_str()), ("session.revoked", "left on a train"));
    assert_eq!(second.tunnel().access(), Access::Open);
    let later = world.open(&laptop, "wiki").unwrap_err();
    assert_eq!((later.code.as_str(), later.detail.as_str()), ("session.revoked", "left on a train"));
    let revoked = world.engine.revoke(&Selector::User(laptop.identity.user.clone()), "");
    assert_eq!(revoked.tunnels, 1);
    assert_eq!(third.tunnel().access(), Access::Open);
    world.hand.advance(Duration::from_secs(1));
    let again = world.session("alice", &["dev"], "laptop");
    assert!(world.open(&again, "wiki").is_ok());
}

#[test]
fn revoking_an_app_ends_its_tunnels_and_leaves_the_sessions() {
    let world = World::new();
    let alice = world.session("alice", &["dev"], "laptop");
    let (wiki, db) = (world.open(&alice, "wiki").unwrap(), world.open(&alice, "db").unwrap());
    let revoked = world.engine.revoke(&Selector::App("db".parse().unwrap()), "maintenance");
    assert_eq!(revoked, Revoked { sessions: 0, tunnels: 1, tickets: 0 });
    assert_eq!(wiki.tunnel().access(), Access::Open);
    let Access::Ended(problem) = db.tunnel().access() else { panic!("still open") };
    assert_eq!(problem.detail, "maintenance");
    let remedy = problem.remedy.clone().unwrap_or_default();
    assert!(!remedy.contains("login"), "signing in again would change nothing: {remedy}");
    assert_eq!(problem.retry, Retry::After { seconds: None });
    assert!(world.open(&alice, "db").is_ok());
}

#[test]
fn everybody_can_be_sent_away_at_once() {
    let world = World::new();
    let sessions: Vec<_> = (0..20).map(|number| world.session(&format!("user{number}"), &["dev"], "shared")).collect();
    let leases: Vec<_> = sessions.iter().map(|session| world.open(session, "wiki").unwrap()).collect();
    let revoked = world.engine.revoke(&Selector::All, "incident 7");
    assert_eq!((revoked.sessions, revoked.tunnels), (20, 20));
    assert!(leases.iter().all(|lease| lease.tunnel().access() != Access::Open));
    assert!(sessions.iter().all(|session| world.open(session, "wiki").is_err()));
    assert!(world.engine.list_sessions().is_empty());
}

#[test]
fn devices_are_found_by_the_beginning_of_their_id() {
    let world = World::new();
    world.session("alice", &["dev"], "laptop");
    let id = thumbprint("laptop");
    let start: String = id.as_str().chars().take(6).collect();
    assert_eq!(world.engine.find_device(&start), Ok(id.clone()));
    assert!(matches!(world.engine.find_device("nothing-like-it"), Err(OrderError::UnknownDevice(_))));
    assert!(matches!(world.engine.find_device(""), Err(OrderError::UnknownDevice(_))));
    (0..200).for_each(|number| drop(world.session("alice", &["dev"], &format!("d{number}"))));
    let first: String = id.as_str().chars().take(1).collect();
    assert!(matches!(world.engine.find_device(&first), Err(OrderError::AmbiguousDevice(_, few)) if few.len() <= 5));
}

#[test]
fn blocking_a_device_ends_its_tunnels_and_removing_it_its_sessions() {
    let world = World::new();
    let alice = world.session("alice", &["dev"], "laptop");
    let lease = world.open(&alice, "wiki").unwrap();
    let (device, changed) = world.engine.device_set(&alice.device, DeviceState::Blocked).unwrap();
    assert_eq!((device.state, changed.ended), (DeviceState::Blocked, 1));
    drop(lease);
    world.engine.device_remove(&alice.device).unwrap();
    assert!(world.engine.store().device(&alice.device).is_none(), "it is not on the list any more");
    assert!(world.engine.device_remove(&alice.device).is_err());
    let later = world.open(&alice, "wiki").unwrap_err();
    assert_eq!(
        (later.code.as_str(), later.detail.as_str()),
        ("session.revoked", "an administrator removed this device")
    );
    world.hand.advance(Duration::from_secs(1));
    let again = world.session("alice", &["dev"], "laptop");
    assert!(world.open(&again, "wiki").is_ok());
    assert_eq!(world.engine.store().device(&alice.device).unwrap().state, DeviceState::Unmanaged);
    assert!(world.engine.device_set(&thumbprint("nothing"), DeviceState::Blocked).is_err());
}

#[test]
fn signing_out_ends_the_session_and_its_tunnels() {
    let world = World::new();
    let alice = world.session("alice", &["dev"], "laptop");
    let lease = world.open(&alice, "wiki").unwrap();
    assert_eq!(world.engine.end_session(&alice, PEER).tunnels, 1);
    assert_ne!(lease.tunnel().access(), Access::Open);
    assert!(world.open(&alice, "wiki").is_err());
}

#[tokio::test]
async fn where_somebody_signs_in_renews_and_signs_out_is_on_record() {
    let world = World::new();
    let alice = world.session("alice", &["dev"], "laptop");
    let (there, home): (IpAddr, IpAddr) = ("192.0.2.7".parse().unwrap(), "2001:db8::7".parse().unwrap());
    world.engine.begin_session(&alice, there, true).unwrap();
    world.engine.end_session(&alice, home);
    let log = world.log().await;
    let from = |code: &str| {
        let of = log.iter().filter(|line| line["metadata"]["event_code"] == code);
        of.map(|line| line["src_endpoint"]["ip"].as_str().unwrap_or_default()).collect::<Vec<_>>()
    };
    assert_eq!((from("sign-in"), from("renew")), (vec!["127.0.0.1"], vec!["192.0.2.7"]));
    assert_eq!(from("sign-out"), ["2001:db8::7"]);
}

#[tokio::test]
async fn a_blocked_device_writes_one_line_a_minute_whatever_it_asks_for() {
    let world = World::new();
    let alice = world.session("alice", &["dev"], "laptop");
    world.engine.device_set(&alice.device, DeviceState::Blocked).unwrap();
    let blocked = || AuthnError::DeviceBlocked { device: alice.device.clone() };
    let ask = |number: u32| {
        let (device, proof) = (Some(alice.device.clone()), Some(format!("p{number}")));
        let failure = ExchangeFailure { error: blocked(), user: None, device, session: None, proof };
        world.engine.exchange_failed(&failure, PEER);
        world.engine.request_refused(&blocked());
    };
    (0..100).for_each(ask);
    world.hand.advance(Duration::from_secs(61));
    (100..200).for_each(ask);
    let log = world.log().await;
    let lines: Vec<_> = log.iter().filter(|line| line["status_code"] == "device.blocked").collect();
    assert_eq!(lines.len(), 2, "{lines:#?}");
    assert!(lines.iter().all(|line| line["src_endpoint"]["ip"] == "127.0.0.1"), "{lines:#?}");
}

#[tokio::test]
async fn a_session_is_explained_from_where_its_person_asked_last() {
    let inside = r#"@id("inside") forbid (principal, action, resource)
unless { context.network.ip.isInRange(ip("127.0.0.0/8")) };"#;
    let mut world = World::with(&format!("{POLICIES}{inside}"));
    let alice = world.session("alice", &["dev"], "laptop");
    let told = |world: &World| {
        let Explained { peer, why, .. } = explain(world, "alice", "wiki");
        (peer, why.decision, why.policies.into_iter().map(|policy| policy.id).collect::<Vec<_>>())
    };
    let by = |policy: &str| vec![policy.to_owned()];
    assert_eq!(told(&world), (Some(PEER), Decision::Allow, by("dev")), "where they signed in, without any tunnel");
    let away: IpAddr = "192.0.2.7".parse().unwrap();
    world.engine.apps(&alice, away);
    assert_eq!(told(&world), (Some(away), Decision::Deny, by("inside")));
    world.engine.why(&alice, &"wiki".parse().unwrap(), PEER).unwrap();
    assert_eq!(told(&world).0, Some(PEER));
    let ask = ztsa_proto::grant::TicketRequest { app: "wiki".parse().unwrap(), for_seconds: None, uses: None };
    let ticket = world.engine.ticket(&alice, &ask, PEER).unwrap();
    let _refused = world.engine.open_ticket(ticket.ticket.expose(), &world.to("wiki"), away).unwrap_err();
    assert_eq!(told(&world).0, Some(PEER), "whoever shows a ticket is somebody else");

    world.restart(1).await;
    world.engine.session_info(&alice);
    assert_eq!(told(&world), (None, Decision::Deny, by("inside")), "that nobody knows from where is told");
}

#[test]
fn what_a_policy_in_monitor_mode_would_do_is_told_as_the_whole_would_answer() {
    let watched = r#"
@id("mfa") @mode("monitor") @step_up("mfa") forbid (principal, action, resource == App::"wiki");
@id("all") @mode("monitor") permit (principal, action, resource == App::"wiki");
"#;
    let world = World::with(&format!("{POLICIES}{watched}"));
    let (alice, mallory) = (world.session("alice", &["dev"], "laptop"), world.session("mallory", &[], "phone"));
    let told = |user: &str| {
        let monitored = explain(&world, user, "wiki").monitored.into_iter();
        monitored.map(|one| (one.rule.id, one.would, one.code.unwrap_or_default())).collect::<Vec<_>>()
    };
    let would = |id: &str, would: Expect, code: &str| (id.to_owned(), would, code.to_owned());
    let (step_up, allow) = (would("mfa", Expect::StepUp, "auth.step_up"), would("all", Expect::Allow, ""));
    assert_eq!(told("alice"), [allow.clone(), step_up.clone()]);
    assert_eq!(told("mallory"), [allow]);
    world.engine.risk_set(&about(&alice), 90, "lost", None);
    assert_eq!(told("alice"), [would("all", Expect::Deny, "risk.user"), would("mfa", Expect::Deny, "risk.user")]);
    world.engine.risk_clear(&about(&alice)).unwrap();
    world.engine.device_set(&mallory.device, DeviceState::Blocked).unwrap();
    assert_eq!(told("mallory"), [would("all", Expect::Deny, "device.blocked")], "no permit opens it to this device");
    world.engine.drain();
    assert_eq!(told("alice"), [would("all", Expect::Deny, "gateway.draining"), step_up], "as policy is asked first");
}
