//! What the gateway notices by itself, from the event to the live tunnel.

use std::net::IpAddr;
use std::time::Duration;

use ztsa_proto::grant::{GrantRequest, TicketRequest};
use ztsa_proto::name::{AppName, Destination};
use ztsa_proto::posture::State;
use ztsa_proto::time::UnixTime;

use super::evaluation::report;
use super::world::{PEER, World, thumbprint};
use crate::audit::Activity;
use crate::authn::{AuthnError, ExchangeFailure, Session, TokenFault};
use crate::lease::Access;
use crate::store::Subject;

const TO_ALL: &str = r#"
@id("dev") @on_change("suspend") permit (principal in Group::"dev", action == Action::"connect", resource == App::"wiki");
"#;

fn user(session: &Session) -> Subject {
    Subject::User(session.identity.user.clone())
}

/// The kinds of the signals about somebody, with what they count now.
fn signals(world: &World, about: &Subject) -> Vec<(String, u8)> {
    let scores = world.engine.score_of(about);
    scores.signals.iter().map(|counted| (counted.signal.kind.clone(), counted.points)).collect()
}

fn ask(world: &World, session: &std::sync::Arc<Session>, app: &str) -> String {
    let request = GrantRequest { app: app.parse().unwrap(), reason: None };
    world.engine.grant(session, &request, PEER).map_or_else(|problem| problem.code.clone(), |_| "granted".to_owned())
}

#[tokio::test]
async fn trying_one_door_after_the_other_pauses_what_is_open_until_it_fades() {
    let world = World::configured(TO_ALL, "[risk.signals.grant.refused]\nweight = 70\ncount = 4\n");
    let alice = world.session("alice", &["dev"], "laptop");
    let bob = world.session("bob", &["dev"], "desktop");
    let (hers, his) = (world.open(&alice, "wiki").unwrap(), world.open(&bob, "wiki").unwrap());
    let mut news = world.engine.news();
    for app in ["payroll", "db", "salaries"] {
        assert_ne!(ask(&world, &alice, app), "granted");
    }
    assert_eq!(hers.tunnel().access(), Access::Open);
    ask(&world, &alice, "hr");
    let Access::Suspended(problem) = hers.tunnel().access() else { panic!("{:?}", hers.tunnel().access()) };
    assert_eq!(problem.code, "risk.user");
    assert!(problem.detail.contains("4 requests within 10m for what you may not open"), "{problem:?}");
    assert_eq!(his.tunnel().access(), Access::Open, "not his risk");
    let told = news.try_recv().unwrap();
    assert!(matches!(&told, crate::engine::News::Risk(subject) if *subject == user(&alice)), "{told:?}");
    // what risk refuses does not raise it
    for _ in 0..50 {
        assert_eq!(ask(&world, &alice, "wiki"), "risk.user");
    }
    assert_eq!(signals(&world, &user(&alice)), [("grant.refused".to_owned(), 70)]);
    let log = world.log().await;
    let noticed: Vec<_> = log.iter().filter(|event| event["status_code"] == "grant.refused").collect();
    assert_eq!(noticed.len(), 1, "{noticed:?}");
    assert!(noticed[0].to_string().contains("70 of 100: 4 requests within 10m"), "{}", noticed[0]);
    // half an hour later it counts a quarter less: below the threshold
    world.hand.advance(Duration::from_secs(1800));
    let alice = world.renew(&alice, &["dev"]);
    let bob = world.renew(&bob, &["dev"]);
    world.engine.tick();
    assert_eq!(signals(&world, &user(&alice)), [("grant.refused".to_owned(), 53)]);
    assert_eq!(hers.tunnel().access(), Access::Open);
    drop((hers, his, bob));
}

/// What somebody is counted for who asks in every way for an app that is not there, or that they may not know of.
fn counted(hidden: bool) -> String {
    let world = World::configured(TO_ALL, "[risk.signals.grant.refused]\ncount = 2\nagain = \"1m\"\n");
    let mallory = world.session("mallory", &[], "laptop");
    let name = if hidden { "payroll" } else { "salaries" };
    let app: AppName = name.parse().unwrap();
    for _ in 0..4 {
        world.hand.advance(Duration::from_secs(61));
        assert_eq!(ask(&world, &mallory, name), "app.unknown");
        let request = TicketRequest { app: app.clone(), for_seconds: None, uses: None };
        assert_eq!(world.engine.ticket(&mallory, &request, PEER).unwrap_err().code, "app.unknown");
        assert_eq!(world.engine.why(&mallory, &app, PEER).unwrap_err().code, "app.unknown");
        for to in [format!("{name}:80"), format!("{name}.ztsa:80"), format!("{name}:443")] {
            let to: Destination = to.parse().unwrap();
            let refused = match world.engine.find(&to.host, to.port) {
                Ok(app) => world.engine.open(&mallory, &app, &to, PEER, None).unwrap_err(),
                Err(_) => world.engine.not_found(Activity::Connect, &mallory, PEER, &to.to_string()),
            };
            assert_eq!(refused.code, "app.unknown");
        }
    }
    serde_json::to_string(&world.engine.session_info(&mallory).risk).unwrap()
}

#[test]
fn the_risk_does_not_tell_a_hidden_app_from_one_that_is_not_there() {
    let hidden = counted(true);
    assert!(hidden.contains("12 requests within 10m"), "{hidden}");
    assert_eq!(hidden, counted(false));
}

/// What the question why alone is counted for.
fn why_counted(name: &str) -> String {
    let world = World::configured(TO_ALL, "[risk.signals.grant.refused]\ncount = 3\n");
    let mallory = world.session("mallory", &[], "laptop");
    for _ in 0..3 {
        world.engine.why(&mallory, &name.parse().unwrap(), PEER).unwrap_err();
    }
    serde_json::to_string(&world.engine.session_info(&mallory).risk).unwrap()
}

#[test]
fn neither_does_the_question_why() {
    let hidden = why_counted("payroll");
    assert!(hidden.contains("3 requests within 10m"), "{hidden}");
    assert_eq!(hidden, why_counted("salaries"));
}

#[test]
fn a_stranger_raises_nobodys_risk() {
    let world = World::configured(TO_ALL, "[risk.signals.login.failed]\ncount = 2\nweight = 90\n");
    let alice = world.session("alice", &["dev"], "laptop");
    let lease = world.open(&alice, "wiki").unwrap();
    let failure = |device: &str, proof: &str, error| ExchangeFailure {
        error,
        user: None,
        device: Some(thumbprint(device)),
        session: None,
        proof: Some(proof.to_owned()),
    };
    let forged =
        || AuthnError::Refused { issuer: "corp".to_owned(), what: "access token", fault: TokenFault::Signature };
    // keys that nobody knows, as many as one likes; and without any
    for number in 0..200 {
        world.engine.exchange_failed(&failure(&format!("stranger-{number}"), "p", forged()), PEER);
        world.engine.exchange_failed(&ExchangeFailure { device: None, ..failure("-", "p", forged()) }, PEER);
    }
    // one proof of hers that somebody overheard
    for _ in 0..200 {
        world.engine.exchange_failed(&failure("laptop", "overheard", forged()), PEER);
        let replay = || AuthnError::Replay {
            device: alice.device.clone(),
            session: Some(alice.id.clone()),
            proof: "overheard".to_owned(),
        };
        world.engine.request_refused(&replay());
    }
    // what has another reason than somebody's doing
    for number in 0..200 {
        let expired = AuthnError::Refused {
            issuer: "corp".to_owned(),
            what: "access token",
            fault: TokenFault::Expired(Duration::from_secs(60)),
        };
        world.engine.exchange_failed(&failure("laptop", &format!("a{number}"), expired), PEER);
        let out = AuthnError::Unavailable("disk".to_owned());
        world.engine.exchange_failed(&failure("laptop", &format!("b{number}"), out), PEER);
    }
    world.engine.tick();
    assert_eq!(world.engine.signals(None), []);
    assert_eq!(lease.tunnel().access(), Access::Open);
    // the device's own key, twice, with forged tokens
    world.engine.exchange_failed(&failure("laptop", "mine", forged()), PEER);
    let about = Subject::Device(alice.device.clone());
    assert_eq!(signals(&world, &about), [("login.failed".to_owned(), 90)]);
    assert!(matches!(lease.tunnel().access(), Access::Ended(problem) if problem.code == "risk.device"));
}

#[test]
fn requests_that_come_again_count_against_the_session_and_a_new_sign_in_is_free_of_it() {
    let world = World::configured(TO_ALL, "[risk.signals.dpop.replay]\nweight = 70\n");
    let alice = world.session("alice", &["dev"], "laptop");
    let lease = world.open(&alice, "wiki").unwrap();
    for proof in ["p1", "p2", "p3"] {
        let (device, session) = (alice.device.clone(), Some(alice.id.clone()));
        world.engine.request_refused(&AuthnError::Replay { device, session, proof: proof.to_owned() });
    }
    assert!(matches!(lease.tunnel().access(), Access::Suspended(problem) if problem.code == "risk.session"));
    world.hand.advance(Duration::from_secs(1));
    let again = world.session("alice", &["dev"], "laptop");
    assert!(world.open(&again, "wiki").is_ok());
}

#[test]
fn a_check_that_fails_now_counts_until_it_passes_again() {
    let world = World::with(TO_ALL);
    let alice = world.session("alice", &["dev"], "laptop");
    let about = Subject::Device(alice.device.clone());
    let tell = |states: &[(&str, State)]| {
        world.engine.posture_reported(&alice.device, report(&world, states));
        signals(&world, &about).len()
    };
    assert_eq!(tell(&[("disk.root", State::Fail), ("fw.enabled", State::Pass)]), 0, "it never passed");
    assert_eq!(tell(&[("disk.root", State::Pass), ("fw.enabled", State::Pass)]), 0);
    assert_eq!(tell(&[("disk.root", State::Fail), ("fw.enabled", State::Unknown)]), 1, "not to know is not to fail");
    assert_eq!(tell(&[("disk.root", State::Fail), ("fw.enabled", State::Pass)]), 1);
    assert_eq!(tell(&[("disk.root", State::Fail), ("fw.enabled", State::Fail)]), 2);
    assert_eq!(tell(&[("disk.root", State::Pass), ("fw.enabled", State::Fail)]), 1, "one is mended");
    let left = world.engine.signals(Some(&about));
    assert!(left[0].reason.contains("the check fw.enabled of this device"), "{left:?}");
    assert_eq!(tell(&[("disk.root", State::Pass), ("fw.enabled", State::Pass)]), 0);
    // back for a moment does not make it unseen
    assert_eq!(tell(&[("fw.enabled", State::Fail)]), 1);
    assert_eq!(tell(&[("fw.enabled", State::Pass)]), 0);
    assert_eq!(tell(&[("fw.enabled", State::Fail)]), 1);
    assert_eq!(tell(&[("fw.enabled", State::Pass)]), 0);
    // nor does a night's sleep, after which nothing is known until the next report
    world.hand.advance(Duration::from_secs(12 * 3600));
    assert_eq!(tell(&[("fw.enabled", State::Fail)]), 1);
}

#[test]
fn a_job_has_no_habits_however_much_it_moves() {
    const JOBS: &str = "[[workload]]\nname = \"ci\"\nissuer = \"https://ci.example\"\nmatch = { sub = \"repo:*\" }\n";
    let world = World::configured(TO_ALL, JOBS);
    let person = world.session("alice", &["dev"], "laptop");
    let user = ztsa_proto::name::UserId { issuer: "https://ci.example".to_owned(), subject: "repo:one".to_owned() };
    let identity = crate::authn::Identity { user: user.clone(), ..(*person.identity).clone() };
    let job = std::sync::Arc::new(Session { identity: std::sync::Arc::new(identity), ..(*person).clone() });
    let lease = world.open(&job, "wiki").unwrap();
    lease.count_down(5 << 30);
    world.engine.tick();
    drop(lease);
    world.engine.tick();
    assert_eq!(world.engine.habits(&user), None);
}

/// Three weeks of mornings, from one address, with one app.
fn mornings(world: &World, name: &str, days: u64) -> std::sync::Arc<Session> {
    let start = world.engine.now();
    let mut session = world.session(name, &["dev"], "laptop");
    for day in 0..days {
        world.hand.set(UnixTime(start.0 + day * 86_400));
        session = world.session(name, &["dev"], "laptop");
        world.engine.arrived(&session, PEER, false);
        let lease = world.open(&session, "wiki").unwrap();
        lease.count_down(50 << 20);
        drop(lease);
        world.engine.tick();
    }
    session
}

#[tokio::test]
async fn habits_are_learnt_by_use_outlive_a_restart_and_go_with_the_last_device() {
    let mut world = World::with(TO_ALL);
    let alice = mornings(&world, "alice", 21);
    assert_eq!(world.engine.signals(None), [], "three weeks of habit");
    let before = world.engine.habits(&alice.identity.user).unwrap();
    assert_eq!(before.days_before(world.engine.now()).count(), 20);
    world.restart(86_400).await;
    assert_eq!(world.engine.habits(&alice.identity.user).unwrap().networks(), before.networks());
    // the next night, from elsewhere, with far more bytes than ever
    world.hand.advance(Duration::from_secs(12 * 3600));
    let alice = world.session("alice", &["dev"], "laptop");
    let elsewhere: IpAddr = "198.51.100.7".parse().unwrap();
    let lease = world.engine.open(&alice, &world.app("wiki"), &world.to("wiki"), elsewhere, None).unwrap();
    lease.count_down(3 << 30);
    world.engine.tick();
    let told: Vec<String> = signals(&world, &user(&alice)).into_iter().map(|(kind, _)| kind).collect();
    assert_eq!(told, ["volume.unusual", "network.new", "hours.unusual"]);
    let info = world.engine.session_info(&alice);
    assert_eq!(info.risk.user, 50);
    let reasons: Vec<&str> = info.risk.signals.iter().map(|signal| signal.reason.as_str()).collect();
    assert!(reasons[0].starts_with("3.0 GiB today; on a usual day you move 50.0 MiB"), "{reasons:?}");
    // bytes are counted once, however often it is looked
    world.engine.tick();
    drop(lease);
    world.engine.tick();
    assert_eq!(world.engine.habits(&alice.identity.user).unwrap().today(world.engine.now()).bytes, 3 << 30);
    world.engine.device_remove(&thumbprint("laptop")).unwrap();
    assert_eq!(world.engine.habits(&alice.identity.user), None);
}

#[test]
fn a_connection_that_is_left_open_overnight_makes_no_habit() {
    let world = World::with(TO_ALL);
    let morning = mornings(&world, "alice", 21);
    let nights = world.engine.now();
    for hour in 1..20 {
        world.hand.set(UnixTime(nights.0 + hour * 3600));
        let session = world.renew(&morning, &["dev"]);
        world.engine.arrived(&session, PEER, true);
        world.engine.tick();
    }
    let habits = world.engine.habits(&morning.identity.user).unwrap();
    assert_eq!(habits.today(world.engine.now()).hours, 0, "nobody was at work");
    assert_eq!(world.engine.signals(None), [], "nor is it told");
    // in the hour of a renewal, from where it came
    let session = world.renew(&morning, &["dev"]);
    world.open(&session, "wiki").unwrap();
    assert_eq!(signals(&world, &user(&session)), [("hours.unusual".to_owned(), 10)]);
    assert_eq!(world.engine.habits(&session.identity.user).unwrap().today(world.engine.now()).hours.count_ones(), 1);
}

#[test]
fn a_ticket_says_nothing_about_where_its_person_is() {
    let world = World::with(TO_ALL);
    let alice = mornings(&world, "alice", 21);
    let request = TicketRequest { app: "wiki".parse().unwrap(), for_seconds: None, uses: None };
    let ticket = world.engine.ticket(&alice, &request, PEER).unwrap();
    let to = "wiki:80".parse().unwrap();
    let _open = world.engine.open_ticket(ticket.ticket.expose(), &to, "198.51.100.7".parse().unwrap()).unwrap();
    assert_eq!(world.engine.signals(None), []);
}

#[tokio::test]
async fn policies_see_the_country_and_so_does_a_replay() {
    let fixtures = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lookup/fixtures");
    let geoip = format!("[risk]\ngeoip = {:?}\n", fixtures.join("places.mmdb"));
    let only = r#"permit (principal, action, resource) when { ["DE", "JP"].contains(context.network.country) };"#;
    let world = World::configured(only, &geoip);
    let alice = world.session("alice", &["dev"], "laptop");
    let (wiki, to) = (world.app("wiki"), world.to("wiki"));
    let opens = |from: &str| world.engine.open(&alice, &wiki, &to, from.parse().unwrap(), None).is_ok();
    for (from, expected) in [("192.0.2.1", true), ("2001:db8:2::1", true), ("198.51.100.1", false), ("10.0.0.1", false)]
    {
        assert_eq!(opens(from), expected, "{from}");
    }
    let countries: Vec<String> = world.log().await.iter().map(|event| event["unmapped"].to_string()).collect();
    assert!(countries.iter().any(|unmapped| unmapped.contains("\"country\":\"NO\"")), "{countries:?}");
}

#[tokio::test]
async fn strangers_do_not_fill_the_audit_log_and_are_counted() {
    let world = World::with(TO_ALL);
    world.session("alice", &["dev"], "laptop");
    let fail = |device: &str| {
        let error =
            AuthnError::Refused { issuer: "corp".to_owned(), what: "access token", fault: TokenFault::Signature };
        let (device, proof) = (Some(thumbprint(device)), Some("p".to_owned()));
        world.engine.exchange_failed(&ExchangeFailure { error, user: None, device, session: None, proof }, PEER);
    };
    (0..5000).for_each(|number| fail(&format!("stranger-{number}")));
    (0..50).for_each(|_| fail("laptop"));
    world.hand.advance(Duration::from_secs(2));
    (0..500).for_each(|number| fail(&format!("other-{number}")));
    let log = world.log().await;
    let refused = |of: &dyn Fn(&str) -> bool| {
        let sign_ins =
            log.iter().filter(|event| event["metadata"]["event_code"] == "sign-in" && event["status_id"] == 2);
        sign_ins.filter(|event| of(event["device"]["uid"].as_str().unwrap())).count()
    };
    let hers = thumbprint("laptop").to_string();
    assert_eq!((refused(&|uid| uid == hers), refused(&|uid| uid != hers)), (50, 120));
    assert!(log.iter().any(|event| event["message"].as_str().is_some_and(|text| text.contains("(and 4900 more of"))));
}

#[tokio::test]
async fn what_one_device_is_refused_fills_no_log_and_is_counted() {
    let world = World::configured(TO_ALL, "[risk.signals.grant.refused]\nweight = 0\n");
    let (alice, bob) = (world.session("alice", &["dev"], "laptop"), world.session("bob", &["dev"], "desk"));
    let refused = |session, times| {
        (0..times).for_each(|_| drop(world.engine.not_found(Activity::Connect, session, PEER, "nowhere:1")));
    };
    refused(&alice, 1000);
    refused(&bob, 1);
    // what lets somebody in always has its line
    let opened: Vec<_> = (0..3).map(|_| world.open(&alice, "wiki").unwrap()).collect();
    let signed_in = "the signature is wrong";
    for _ in 0..10 {
        let error =
            AuthnError::Refused { issuer: "corp".to_owned(), what: "access token", fault: TokenFault::Signature };
        let device = Some(alice.device.clone());
        let failure = ExchangeFailure { error, user: None, device, session: None, proof: None };
        world.engine.exchange_failed(&failure, PEER);
    }
    world.hand.advance(Duration::from_secs(1));
    refused(&alice, 2);
    let log = world.log().await;
    let lines = |device: &Session, words: &str| {
        let of = log.iter().filter(|event| event["device"]["uid"] == device.device.to_string());
        of.filter(|event| event["message"].as_str().is_some_and(|text| text.contains(words))).count()
    };
    assert_eq!((lines(&alice, "asked for nowhere"), lines(&bob, "asked for nowhere")), (301, 1));
    assert_eq!(lines(&alice, "(and 710 more of this device, not written down one by one)"), 1);
    assert_eq!(lines(&alice, signed_in), 0);
    let decided = log.iter().filter(|event| event["metadata"]["event_code"] == "connect" && event["status_id"] == 1);
    assert_eq!(decided.count(), opened.len());
}
