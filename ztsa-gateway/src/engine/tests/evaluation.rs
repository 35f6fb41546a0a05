use std::sync::Arc;
use std::time::Duration;

use ztsa_proto::event::EventKind;
use ztsa_proto::posture::{Accepted, Assurance, Check, ClientInfo, Os, Privilege, Report, State};
use ztsa_proto::problem::Retry;

use super::World;
use super::world::{PEER, thumbprint};
use crate::authn::Session;
use crate::engine::Changed;
use crate::lease::{Access, Lease, Selector};
use crate::store::Subject;

pub(super) fn about(session: &Session) -> Subject {
    Subject::User(session.identity.user.clone())
}

pub(super) fn state(lease: &Lease) -> String {
    match lease.tunnel().access() {
        Access::Open => "open".to_owned(),
        Access::Suspended(problem) => format!("suspended {}", problem.code),
        Access::Ended(problem) => format!("ended {}", problem.code),
    }
}

pub(super) fn report(world: &World, checks: &[(&str, State)]) -> Accepted {
    let at = world.engine.now();
    let checks = checks.iter().map(|(id, state)| Check {
        id: (*id).to_owned(),
        state: *state,
        reason: None,
        value: None,
        source: "test".to_owned(),
        assurance: Assurance::SelfReported,
        at,
        ttl: 3_600,
        took_ms: 0,
    });
    let report = Report {
        v: 1,
        id: "r".to_owned(),
        os: Os::default(),
        privilege: Privilege::User,
        client: ClientInfo::default(),
        checks: checks.collect(),
        partial: false,
        evidence: std::collections::BTreeMap::new(),
    };
    Accepted { report, nonce: None, jti: "1".to_owned(), issued_at: at }
}

#[test]
fn risk_ends_exactly_the_tunnels_concerned_and_access_returns_without_a_new_login() {
    let world = World::new();
    let alice = world.session("alice", &["dev"], "laptop");
    let bob = world.session("bob", &["dev"], "desktop");
    let mut events = world.engine.events(&alice).unwrap();
    let (hers, other) = (world.open(&alice, "wiki").unwrap(), world.open(&alice, "db").unwrap());
    let his = world.open(&bob, "wiki").unwrap();
    let changed = world.engine.risk_set(&about(&alice), 90, "lost laptop", Some(Duration::from_secs(3_600)));
    assert_eq!(changed, Changed { ended: 2, suspended: 0, restored: 0 });
    assert_eq!(
        (state(&hers), state(&other), state(&his)),
        ("ended risk.user".into(), "ended risk.user".into(), "open".into())
    );
    let event = events.try_recv().unwrap();
    assert_eq!(event.kind, EventKind::Ended);
    let problem = event.problem.unwrap();
    assert!(problem.detail.contains("lost laptop"), "the reason reaches the person: {problem}");
    assert_eq!(world.open(&alice, "wiki").unwrap_err().code, "risk.user");
    world.engine.risk_clear(&about(&alice)).unwrap();
    assert!(world.open(&alice, "wiki").is_ok());
    assert_eq!(state(&hers), "ended risk.user", "what has ended stays ended");
}

#[test]
fn a_middling_risk_pauses_and_its_falling_resumes() {
    let world = World::new();
    let alice = world.session("alice", &["dev"], "laptop");
    let mut events = world.engine.events(&alice).unwrap();
    let lease = world.open(&alice, "wiki").unwrap();
    let watch = lease.access();
    assert_eq!(world.engine.risk_set(&about(&alice), 70, "odd hours", None).suspended, 1);
    assert_eq!(state(&lease), "suspended risk.user");
    assert!(watch.has_changed().unwrap());
    world.hand.advance(Duration::from_secs(59));
    assert_eq!(world.engine.sweep(), Changed::default());
    assert_eq!(world.engine.risk_clear(&about(&alice)).unwrap().restored, 1);
    assert_eq!(state(&lease), "open");
    let kinds: Vec<EventKind> = std::iter::from_fn(|| events.try_recv().ok()).map(|event| event.kind).collect();
    assert_eq!(kinds, [EventKind::Suspended, EventKind::Restored]);
}

#[test]
fn a_telling_that_failed_silences_nothing_that_comes_after_it() {
    let world = World::new();
    let alice = world.session("alice", &["dev"], "laptop");
    let mut events = world.engine.events(&alice).unwrap();
    let lease = world.open(&alice, "wiki").unwrap();
    std::thread::scope(|scope| {
        let failing = scope.spawn(|| {
            let _telling = world.engine.inner.telling.lock();
            panic!("while telling, on purpose");
        });
        assert!(failing.join().is_err());
    });
    world.engine.risk_set(&about(&alice), 70, "odd hours", None);
    assert_eq!(state(&lease), "suspended risk.user");
    assert_eq!(events.try_recv().unwrap().kind, EventKind::Suspended);
}

#[test]
fn a_session_is_told_of_its_end_after_its_tunnels_while_somebody_else_tells() {
    let world = World::new();
    let alice = world.session("alice", &["dev"], "laptop");
    let mut events = world.engine.events(&alice).unwrap();
    let _lease = world.open(&alice, "wiki").unwrap();
    std::thread::scope(|scope| {
        let telling = world.engine.inner.telling.lock().unwrap();
        let revoking = scope.spawn(|| world.engine.revoke(&Selector::User(alice.identity.user.clone()), "bye"));
        while world.engine.inner.words.lock().unwrap().is_empty() {
            std::thread::yield_now();
        }
        drop(telling);
        revoking.join().unwrap();
    });
    let told: Vec<_> = std::iter::from_fn(|| events.try_recv().ok()).map(|event| event.kind).collect();
    assert_eq!(told, [EventKind::Ended, EventKind::SessionEnded]);
}

#[test]
fn a_pause_ends_the_tunnel_when_its_grace_time_is_over() {
    let world = World::new();
    let alice = world.session("alice", &["dev"], "laptop");
    let lease = world.open(&alice, "wiki").unwrap();
    world.engine.risk_set(&about(&alice), 70, "odd hours", None);
    world.hand.advance(Duration::from_secs(30));
    world.engine.risk_set(&about(&alice), 75, "odder hours", None);
    world.hand.advance(Duration::from_secs(30));
    assert_eq!(world.engine.sweep().ended, 1, "a new reason does not prolong the pause");
    assert_eq!(state(&lease), "ended risk.user");
}

#[test]
fn another_reason_for_a_pause_is_told_with_the_wait_that_is_left() {
    let world = World::with(
        "@id(\"dev\") permit (principal in Group::\"dev\", action, resource);\n\
         @id(\"disk\") @code(\"posture.disk_encryption\") @on_change(\"suspend\")\n\
         forbid (principal, action, resource) when { context.device.posture.disk_root.state == \"fail\" };",
    );
    let alice = world.session("alice", &["dev"], "laptop");
    let early = world.open(&alice, "wiki").unwrap();
    let device = thumbprint("laptop");
    world.engine.posture_reported(&device, report(&world, &[("disk.root", State::Fail)]));
    world.hand.advance(Duration::from_secs(25));
    let mut events = world.engine.events(&alice).unwrap();
    world.engine.risk_set(&about(&alice), 70, "odd hours", None);
    let told = events.try_recv().unwrap().problem.unwrap();
    assert_eq!((told.code.as_str(), told.waits), ("risk.user", Some(35)));
    let Access::Suspended(problem) = early.tunnel().access() else { panic!("not paused") };
    assert_eq!(problem.waits, Some(35), "in band too");
    world.hand.advance(Duration::from_secs(35));
    assert_eq!(world.engine.sweep().ended, 1, "which is true");
}

#[test]
fn a_word_that_runs_out_resumes_by_itself() {
    let world = World::new();
    let alice = world.session("alice", &["dev"], "laptop");
    let lease = world.open(&alice, "wiki").unwrap();
    world.engine.risk_set(&about(&alice), 70, "odd hours", Some(Duration::from_secs(20)));
    world.hand.advance(Duration::from_secs(20));
    assert_eq!(world.engine.sweep().restored, 1);
    assert_eq!(state(&lease), "open");
}

#[test]
fn a_policy_change_ends_what_it_no_longer_permits_and_a_bad_one_changes_nothing() {
    let world = World::new();
    let alice = world.session("alice", &["dev"], "laptop");
    let (wiki, db) = (world.open(&alice, "wiki").unwrap(), world.open(&alice, "db").unwrap());
    world.policies("permit (principal in Group::\"dev\", action, resource) when { 1 };");
    assert!(world.engine.reload_policies().is_err());
    assert_eq!((state(&wiki), state(&db)), ("open".into(), "open".into()));
    world.policies(
        "@id(\"dev\") permit (principal in Group::\"dev\", action, resource);\n\
         @id(\"freeze\") @reason(\"no production on Sundays\") forbid (principal, action, resource in Tag::\"prod\");",
    );
    world.engine.tick();
    let changed = world.engine.tick();
    assert_eq!(changed, Changed::default(), "the reload has already judged them all");
    assert_eq!((state(&wiki), state(&db)), ("open".into(), "ended policy.forbidden".into()));
    let refused = world.open(&alice, "db").unwrap_err();
    assert_eq!(
        (refused.detail.as_str(), refused.policy.as_slice()),
        ("no production on Sundays", &["freeze".to_owned()][..])
    );
}

#[test]
fn a_worse_posture_is_felt_at_once_and_a_better_one_resumes() {
    let world = World::with(
        "@id(\"dev\") permit (principal in Group::\"dev\", action, resource);\n\
         @id(\"disk\") @code(\"posture.disk_encryption\") @on_change(\"suspend\")\n\
         forbid (principal, action, resource) unless { context.device.posture.disk_root.state == \"pass\" };",
    );
    let alice = world.session("alice", &["dev"], "laptop");
    assert_eq!(world.open(&alice, "wiki").unwrap_err().code, "posture.disk_encryption", "unknown is not pass");
    let device = thumbprint("laptop");
    world.engine.posture_reported(&device, report(&world, &[("disk.root", State::Pass)]));
    let lease = world.open(&alice, "wiki").unwrap();
    world.engine.posture_reported(&device, report(&world, &[("disk.root", State::Fail)]));
    assert_eq!(state(&lease), "suspended posture.disk_encryption");
    world.engine.posture_reported(&device, report(&world, &[("disk.root", State::Pass)]));
    assert_eq!(state(&lease), "open");
    let why = world.engine.why(&alice, &"wiki".parse().unwrap(), PEER).unwrap();
    assert_eq!(why.decision, ztsa_proto::why::Decision::Allow);
}

#[test]
fn losing_a_group_at_renewal_ends_what_it_gave() {
    let world = World::new();
    let alice = world.session("alice", &["dev"], "laptop");
    let lease = world.open(&alice, "wiki").unwrap();
    world.hand.advance(Duration::from_secs(200));
    world.renew(&alice, &[]);
    assert_eq!(state(&lease), "ended app.unknown");
}

#[test]
fn a_session_that_is_not_renewed_ends_after_a_grace_time() {
    let world = World::new();
    let alice = world.session("alice", &["dev"], "laptop");
    let bob = world.session("bob", &["dev"], "desktop");
    let (hers, his) = (world.open(&alice, "wiki").unwrap(), world.open(&bob, "wiki").unwrap());
    let mut events = world.engine.events(&alice).unwrap();
    world.hand.advance(Duration::from_secs(300));
    world.renew(&bob, &["dev"]);
    world.engine.sweep();
    assert_eq!(state(&hers), "open", "a laptop that slept has a minute");
    world.hand.advance(Duration::from_secs(60));
    assert_eq!(world.engine.sweep().ended, 1);
    assert_eq!((state(&hers), state(&his)), ("ended session.lapsed".into(), "open".into()));
    let told: Vec<_> = std::iter::from_fn(|| events.try_recv().ok()).collect();
    assert_eq!(told.iter().map(|event| event.kind).collect::<Vec<_>>(), [EventKind::Ended, EventKind::SessionEnded]);
    for event in told {
        let problem = event.problem.unwrap();
        // it passes: who comes back renews it, and need not sign in
        assert_eq!((problem.code.as_str(), problem.retry), ("session.lapsed", Retry::After { seconds: None }));
    }
}

#[test]
fn a_step_up_pauses_a_live_tunnel_and_a_fresh_sign_in_resumes_it() {
    let world = World::with(
        "@id(\"dev\") permit (principal in Group::\"dev\", action, resource);\n\
         @id(\"fresh\") @step_up(\"mfa\") @max_age(\"10m\") forbid (principal, action, resource)\n\
         when { context.auth.age > 600 };",
    );
    let alice = world.session("alice", &["dev"], "laptop");
    let mut events = world.engine.events(&alice).unwrap();
    let lease = world.open(&alice, "wiki").unwrap();
    world.hand.advance(Duration::from_secs(601));
    assert_eq!(world.engine.tick().suspended, 1);
    assert_eq!(state(&lease), "suspended auth.step_up");
    let event = events.try_recv().unwrap();
    assert_eq!(event.kind, EventKind::StepUp);
    let problem = event.problem.unwrap();
    assert_eq!((problem.acr_values.as_deref(), problem.max_age), (Some("mfa"), Some(600)));
    let now = world.engine.now();
    let identity = crate::authn::Identity { auth_time: Some(now), ..(*alice.identity).clone() };
    let fresh = Session {
        identity: Arc::new(identity),
        issued_at: now,
        expires_at: now.plus(Duration::from_secs(300)),
        ..(*alice).clone()
    };
    world.engine.begin_session(&Arc::new(fresh), PEER, true).unwrap();
    assert_eq!(state(&lease), "open");
}

#[test]
fn a_tunnel_opened_while_things_change_is_never_left_behind() {
    let world = World::new();
    let alice = world.session("alice", &["dev"], "laptop");
    std::thread::scope(|scope| {
        let opener = scope.spawn(|| {
            let mut leases = Vec::new();
            for _ in 0..500 {
                leases.extend(world.open(&alice, "wiki").ok());
            }
            leases
        });
        world.engine.risk_set(&about(&alice), 90, "now", None);
        let leases = opener.join().unwrap();
        assert!(leases.iter().all(|lease| state(lease) == "ended risk.user"));
    });
}

#[test]
fn ending_one_person_of_thousands_touches_nobody_else() {
    let world = World::new();
    let bob = world.session("bob", &["dev"], "desktop");
    let many: Vec<Lease> = (0..9_999).map(|_| world.open(&bob, "wiki").unwrap()).collect();
    let alice = world.session("alice", &["dev"], "laptop");
    let hers = world.open(&alice, "wiki").unwrap();
    let watches: Vec<_> = many.iter().map(Lease::access).collect();
    drop(crate::policy::step::taken());
    let changed = world.engine.risk_set(&about(&alice), 90, "now", None);
    let steps = crate::policy::step::taken();
    let count = |wanted: &str| steps.iter().filter(|step| **step == wanted).count();
    assert_eq!((count("judge"), count("change")), (1, 1), "one question, one tunnel: {steps:?}");
    assert_eq!((changed, state(&hers)), (Changed { ended: 1, ..Changed::default() }, "ended risk.user".into()));
    assert!(watches.iter().all(|watch| !watch.has_changed().unwrap()), "nobody else's relay was woken");
    assert!(many.iter().all(|lease| state(lease) == "open"));
    assert_eq!(world.engine.leases().count(&Selector::All), 10_000);
    // each of the others can be named alone, too
    let last = many.last().unwrap();
    let session = Selector::Session(bob.id.clone());
    assert_eq!(world.engine.leases().select(&session).len(), many.len());
    let problem = Arc::new(ztsa_proto::problem::new("session.revoked"));
    assert!(world.engine.leases().end_tunnel(last.tunnel(), &problem, None));
    assert_eq!(crate::policy::step::taken(), ["change"]);
}

#[tokio::test]
async fn a_saved_policy_file_is_felt_by_live_tunnels_without_a_word() {
    let world = World::new();
    let alice = world.session("alice", &["dev"], "laptop");
    let lease = world.open(&alice, "wiki").unwrap();
    let mut access = lease.access();
    let scope = ztsa_net::task::Scope::new();
    let engine = world.engine.clone();
    scope.spawn(async move { engine.run().await });
    world.policies("@id(\"closed\") forbid (principal, action, resource);");
    tokio::time::timeout(Duration::from_secs(20), access.changed()).await.unwrap().unwrap();
    assert_eq!(state(&lease), "ended app.unknown");
}

#[tokio::test]
async fn one_device_with_a_stolen_token_pushes_out_its_own_sessions_not_its_owners() {
    let world = World::new();
    let mut owners = Vec::new();
    for number in 1..crate::engine::SESSIONS_PER_USER {
        owners.push(world.session("alice", &["dev"], &format!("device-{number}")));
        world.hand.advance(Duration::from_secs(1));
    }
    for _ in 0..2 * crate::engine::SESSIONS_PER_USER {
        world.session("alice", &["dev"], "thief");
    }
    let left = world.engine.list_sessions();
    let stayed = owners.iter().filter(|owner| left.iter().any(|row| row.id == owner.id)).count();
    assert_eq!((stayed, left.len()), (crate::engine::SESSIONS_PER_USER - 1, crate::engine::SESSIONS_PER_USER));
}

#[tokio::test]
async fn a_session_too_many_takes_the_place_of_the_one_used_longest_ago() {
    let world = World::new();
    let mut sessions = Vec::new();
    for number in 0..crate::engine::SESSIONS_PER_USER {
        sessions.push(world.session("alice", &["dev"], &format!("device-{number}")));
        world.hand.advance(Duration::from_secs(1));
    }
    let oldest = world.open(&sessions[0], "wiki").unwrap();
    let bob = world.session("bob", &["dev"], "phone");
    let mut events = world.engine.events(&sessions[1]).unwrap();
    let newest = world.session("alice", &["dev"], "one-more");
    let left = world.engine.list_sessions();
    assert_eq!(left.len(), crate::engine::SESSIONS_PER_USER + 1, "and one of bob");
    let is_left = |session: &Session| left.iter().any(|row| row.id == session.id);
    assert!(is_left(&sessions[0]) && is_left(&newest) && is_left(&bob));
    assert!(!is_left(&sessions[1]), "the first without a tunnel gave way");
    let told = events.try_recv().unwrap();
    assert_eq!((told.kind, told.problem.unwrap().code.as_str()), (EventKind::SessionEnded, "session.expired"));
    assert_eq!(state(&oldest), "open");
    let leases: Vec<_> = sessions[2..].iter().chain([&newest]).map(|it| world.open(it, "wiki").unwrap()).collect();
    let last = Session { id: ztsa_proto::name::SessionId::random(), ..(*newest).clone() };
    world.engine.store().keep_session(crate::store::SessionRow {
        id: last.id.clone(),
        ..world.engine.store().session(&newest.id).unwrap()
    });
    let refused = world.engine.begin_session(&Arc::new(last.clone()), PEER, false).unwrap_err();
    assert_eq!(refused.code, "gateway.limit");
    assert!(!world.engine.list_sessions().iter().any(|row| row.id == last.id), "and it is none");
    assert!(leases.iter().all(|lease| state(lease) == "open"));
}
