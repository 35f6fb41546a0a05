use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;

use super::*;
use crate::authn::{Identity, Session};
use crate::config::Config;
use crate::measure::{Outcome, Why};

const CONFIG: &str = r#"
public_url = "https://gw.example"
[tls]
cert = "gw.pem"
key = "gw.key"
[[issuer]]
name = "corp"
issuer = "https://idp.example"
client_id = "ztsa-cli"
[limits]
max_tunnels = 20000
tunnels_per_person = 15000
tunnels_per_session = 12000
[[app]]
name = "a0"
kind = "tcp"
target = "10.0.0.1:1"
[[app]]
name = "a1"
kind = "tcp"
target = "10.0.0.1:2"
"#;

fn config() -> Config {
    Config::parse(CONFIG, Path::new("/")).unwrap()
}

fn session(user: u8, device: u8, number: u8) -> Arc<Session> {
    let identity = Identity {
        user: user_id(user),
        name: None,
        email: None,
        groups: Vec::new(),
        acr: None,
        amr: Vec::new(),
        auth_time: None,
        issuer: "corp".to_owned(),
    };
    Arc::new(Session {
        id: format!("s{user}-{device}-{number}").parse().unwrap(),
        identity: Arc::new(identity),
        device: device_id(device),
        started_at: UnixTime(0),
        issued_at: UnixTime(0),
        expires_at: UnixTime(300),
    })
}

fn user_id(user: u8) -> UserId {
    UserId { issuer: "https://idp.example".to_owned(), subject: user.to_string() }
}

fn device_id(device: u8) -> DeviceId {
    ztsa_proto::jws::sha256_base64url(&[device]).parse().unwrap()
}

fn opening(config: &Config, session: Arc<Session>, app: usize) -> Opening {
    Opening {
        session,
        app: Arc::clone(&config.apps[app]),
        peer: IpAddr::V4(Ipv4Addr::LOCALHOST),
        grant: None,
        ticket: None,
        decision: "d".to_owned(),
        on_change: None,
        at: UnixTime(0),
    }
}

fn grant_id(number: u8) -> GrantId {
    format!("grant-{number}").parse().unwrap()
}

fn ticket_id(number: u8) -> TicketId {
    format!("ticket-{number}").parse().unwrap()
}

fn reason(code: &str) -> Arc<Problem> {
    Arc::new(problem::new(code))
}

#[test]
fn a_lease_that_is_dropped_is_gone_and_reported_once() {
    let reports = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&reports);
    let config = config();
    let leases = Leases::new(config.limits, Arc::default(), move |closed| {
        assert_eq!((closed.tunnel.up(), closed.tunnel.down()), (3, 4));
        assert_eq!(closed.end, End::Completed);
        counted.fetch_add(1, Ordering::SeqCst);
    });
    let lease = leases.open(opening(&config, session(1, 1, 1), 0)).unwrap();
    lease.count_up(3);
    lease.count_down(4);
    lease.finish(End::Completed);
    lease.finish(End::App);
    drop(lease);
    assert_eq!(reports.load(Ordering::SeqCst), 1);
    assert!(leases.is_empty());
    assert_eq!(leases.table().keys(), 0);
}

#[test]
fn what_has_ended_never_changes_again() {
    let config = config();
    let leases = Leases::new(config.limits, Arc::default(), |closed| assert_eq!(closed.end.as_str(), "risk.user"));
    let lease = leases.open(opening(&config, session(1, 1, 1), 0)).unwrap();
    assert_eq!(leases.end(&Selector::User(user_id(1)), &reason("risk.user"), None).len(), 1);
    assert_eq!(leases.end(&Selector::All, &reason("session.revoked"), None).len(), 0);
    assert!(!leases.restore(lease.tunnel()));
    assert!(!leases.suspend(lease.tunnel(), &reason("risk.user"), UnixTime(1), None));
    assert_eq!((leases.suspended(), leases.waits_until(lease.id())), (0, None), "nor does it wait");
    assert!(leases.end_overdue(UnixTime(100), None).is_empty());
    assert_eq!(*lease.access().borrow(), Access::Ended(reason("risk.user")));
    lease.finish(End::Completed);
}

#[tokio::test]
async fn those_who_watch_are_told_of_every_change() {
    let config = config();
    let leases = Leases::new(config.limits, Arc::default(), |_| ());
    let lease = leases.open(opening(&config, session(1, 1, 1), 0)).unwrap();
    let mut access = lease.access();
    leases.suspend(lease.tunnel(), &reason("risk.user"), UnixTime(10), None);
    access.changed().await.unwrap();
    assert!(matches!(*access.borrow_and_update(), Access::Suspended(_)));
    leases.restore(lease.tunnel());
    access.changed().await.unwrap();
    assert_eq!(*access.borrow_and_update(), Access::Open);
    assert!(leases.end_overdue(UnixTime(100), None).is_empty(), "a pause that is over leaves no deadline");
    leases.end(&Selector::All, &reason("risk.user"), None);
    access.changed().await.unwrap();
    assert!(matches!(*access.borrow_and_update(), Access::Ended(_)));
}

#[test]
fn the_time_to_the_last_byte_is_measured_once_for_each_stop_that_was_felt() {
    let config = config();
    let measures = Arc::<Measures>::default();
    let leases = Leases::new(config.limits, Arc::clone(&measures), |_| ());
    let lease = leases.open(opening(&config, session(1, 1, 1), 0)).unwrap();
    let (cause, later) = (Some(Cause::now(Why::Posture)), Some(Cause::now(Why::Administrator)));
    let counts = || -> Vec<(Why, Outcome, u64)> {
        let read = measures.to_last_byte().map(|(why, outcome, read)| (why, outcome, read.count));
        read.filter(|(_, _, count)| *count > 0).collect()
    };
    leases.suspend(lease.tunnel(), &reason("risk.user"), UnixTime(10), cause);
    drop(lease.access());
    lease.stopped();
    assert_eq!(counts(), [], "no byte could have moved before the relay began");
    leases.restore(lease.tunnel());
    lease.stopped();
    assert_eq!(counts(), [], "what goes on has not stopped");
    leases.suspend(lease.tunnel(), &reason("risk.user"), UnixTime(10), cause);
    leases.suspend(lease.tunnel(), &reason("risk.device"), UnixTime(10), later);
    lease.stopped();
    lease.stopped();
    assert_eq!(counts(), [(Why::Posture, Outcome::Suspended, 1)], "another reason stops nothing anew");
    leases.end(&Selector::All, &reason("risk.user"), later);
    lease.stopped();
    let ended = (Why::Administrator, Outcome::Ended, 1);
    assert_eq!(counts(), [ended, (Why::Posture, Outcome::Suspended, 1)]);
}

#[test]
fn limits_hold_and_say_so() {
    let config = config();
    let leases = Leases::new(config.limits, Arc::default(), |_| ());
    let open = |user: u8| leases.open(opening(&config, session(user, 1, 1), 0));
    let first: Vec<Lease> = (0..12_000).map(|_| open(1).unwrap()).collect();
    let refused = open(1).unwrap_err();
    assert!(refused.code == "gateway.limit" && refused.detail.contains("this session has 12000"), "{refused}");
    let elsewhere = || leases.open(opening(&config, session(1, 2, 1), 0));
    let more: Vec<Lease> = (0..3_000).map(|_| elsewhere().unwrap()).collect();
    let refused = elsewhere().unwrap_err();
    assert!(refused.code == "gateway.limit" && refused.detail.contains("you have 15000"), "{refused}");
    let second: Vec<Lease> = (0..5_000).map(|_| open(2).unwrap()).collect();
    let refused = open(3).unwrap_err();
    assert!(refused.detail.contains("20000"), "{refused}");
    drop((first, more));
    assert!(open(3).is_ok());
    assert_eq!(leases.len(), second.len());
}

#[test]
fn ten_thousand_leases_are_cheap() {
    let config = config();
    let leases = Leases::new(config.limits, Arc::default(), |_| ());
    let session = session(1, 1, 1);
    // the code that does it is in memory, too: before it is measured
    drop(leases.open(opening(&config, Arc::clone(&session), 0)).unwrap());
    let before = resident();
    let open: Vec<Lease> =
        (0..10_000).map(|_| leases.open(opening(&config, Arc::clone(&session), 0)).unwrap()).collect();
    let each = resident().saturating_sub(before) / open.len();
    assert!(each < 1_024, "{each} bytes for each");
}

/// The resident memory of this process, in bytes.
fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    text.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap_or_default() * 4_096
}

#[derive(Debug, Clone)]
enum Step {
    Open { user: u8, device: u8, app: usize, grant: Option<u8>, ticket: Option<u8> },
    Drop(usize),
    End(Which),
    Suspend(Which, u64),
    Restore(Which),
    Overdue(u64),
}

#[derive(Debug, Clone)]
enum Which {
    All,
    User(u8),
    Device(u8),
    Session(u8, u8),
    App(usize),
    Grant(u8),
    Ticket(u8),
}

fn which() -> impl Strategy<Value = Which> {
    prop_oneof![
        Just(Which::All),
        (0..3_u8).prop_map(Which::User),
        (0..3_u8).prop_map(Which::Device),
        (0..3_u8, 0..3_u8).prop_map(|(user, device)| Which::Session(user, device)),
        (0..2_usize).prop_map(Which::App),
        (0..2_u8).prop_map(Which::Grant),
        (0..2_u8).prop_map(Which::Ticket),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => (0..3_u8, 0..3_u8, 0..2_usize, proptest::option::of(0..2_u8), proptest::option::of(0..2_u8))
            .prop_map(|(user, device, app, grant, ticket)| Step::Open { user, device, app, grant, ticket }),
        3 => (0..20_usize).prop_map(Step::Drop),
        1 => which().prop_map(Step::End),
        2 => (which(), 0..100_u64).prop_map(|(which, until)| Step::Suspend(which, until)),
        2 => which().prop_map(Step::Restore),
        1 => (0..100_u64).prop_map(Step::Overdue),
    ]
}

/// What the registry must answer, kept in the simplest way: a list that is gone through each time.
#[derive(Debug, Clone, PartialEq)]
struct Model {
    user: u8,
    device: u8,
    app: usize,
    grant: Option<u8>,
    ticket: Option<u8>,
    access: Access,
    until: Option<u64>,
}

impl Model {
    fn is(&self, which: &Which) -> bool {
        match which {
            Which::All => true,
            Which::User(user) => self.user == *user,
            Which::Device(device) => self.device == *device,
            Which::Session(user, device) => self.user == *user && self.device == *device,
            Which::App(app) => self.app == *app,
            Which::Grant(grant) => self.grant == Some(*grant),
            Which::Ticket(ticket) => self.ticket == Some(*ticket),
        }
    }
}

fn selector(which: &Which) -> Selector {
    match which {
        Which::All => Selector::All,
        Which::User(user) => Selector::User(user_id(*user)),
        Which::Device(device) => Selector::Device(device_id(*device)),
        Which::Session(user, device) => Selector::Session(session(*user, *device, 0).id.clone()),
        Which::App(app) => Selector::App(format!("a{app}").parse().unwrap()),
        Which::Grant(grant) => Selector::Grant(grant_id(*grant)),
        Which::Ticket(ticket) => Selector::Ticket(ticket_id(*ticket)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn the_registry_does_what_a_plain_list_does(steps in proptest::collection::vec(step(), 0..80)) {
        let config = config();
        let leases = Leases::new(config.limits, Arc::default(), |_| ());
        let mut open: BTreeMap<TunnelId, (Lease, Model)> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Open { user, device, app, grant, ticket } => {
                    let opening = Opening {
                        grant: grant.map(grant_id),
                        ticket: ticket.map(ticket_id),
                        ..opening(&config, session(user, device, 0), app)
                    };
                    let lease = leases.open(opening).unwrap();
                    let model = Model { user, device, app, grant, ticket, access: Access::Open, until: None };
                    open.insert(lease.id(), (lease, model));
                }
                Step::Drop(nth) => {
                    let id = open.keys().nth(nth).copied();
                    id.map(|id| open.remove(&id));
                }
                Step::End(which) => {
                    let ended = leases.end(&selector(&which), &reason("risk.user"), None).len();
                    let mut expected = 0;
                    for (_, model) in open.values_mut().filter(|(_, model)| model.is(&which)) {
                        expected += usize::from(!matches!(model.access, Access::Ended(_)));
                        if !matches!(model.access, Access::Ended(_)) {
                            model.access = Access::Ended(reason("risk.user"));
                        }
                    }
                    prop_assert_eq!(ended, expected);
                }
                Step::Suspend(which, until) => {
                    for (lease, model) in open.values_mut().filter(|(_, model)| model.is(&which)) {
                        leases.suspend(lease.tunnel(), &reason("risk.user"), UnixTime(until), None);
                        if model.access == Access::Open {
                            model.access = Access::Suspended(reason("risk.user"));
                            model.until = Some(until);
                        }
                    }
                }
                Step::Restore(which) => {
                    for (lease, model) in open.values_mut().filter(|(_, model)| model.is(&which)) {
                        let restored = leases.restore(lease.tunnel());
                        prop_assert_eq!(restored, matches!(model.access, Access::Suspended(_)));
                        if restored {
                            model.access = Access::Open;
                            model.until = None;
                        }
                    }
                }
                Step::Overdue(now) => {
                    leases.end_overdue(UnixTime(now), None);
                    for (_, model) in open.values_mut() {
                        if matches!(model.access, Access::Suspended(_)) && model.until.is_some_and(|until| until <= now) {
                            model.access = Access::Ended(reason("risk.user"));
                        }
                    }
                }
            }
            prop_assert_eq!(leases.len(), open.len());
            for which in [
                Which::All,
                Which::User(0),
                Which::Device(1),
                Which::Session(2, 2),
                Which::App(1),
                Which::Grant(0),
                Which::Ticket(1),
            ] {
                let mut found: Vec<TunnelId> = leases.select(&selector(&which)).iter().map(|tunnel| tunnel.id).collect();
                found.sort();
                let expected: Vec<TunnelId> = open.iter().filter(|(_, (_, model))| model.is(&which)).map(|(id, _)| *id).collect();
                prop_assert_eq!(leases.count(&selector(&which)), expected.len());
                prop_assert_eq!(found, expected);
            }
            for (lease, model) in open.values() {
                prop_assert_eq!(lease.tunnel().access(), model.access.clone());
                if matches!(model.access, Access::Suspended(_)) {
                    prop_assert_eq!(leases.waits_until(lease.id()), model.until.map(UnixTime));
                }
            }
        }
        drop(open);
        prop_assert_eq!(leases.table().keys(), 0);
    }
}
