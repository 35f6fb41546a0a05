//! Everything that changes an answer is felt by live tunnels, and put down to what it was.

use std::sync::Arc;
use std::time::Duration;

use ztsa_proto::posture::State;
use ztsa_proto::problem;

use super::World;
use super::evaluation::{about, report, state};
use super::world::{PEER, thumbprint};
use crate::authn::Session;
use crate::engine::Hold;
use crate::lease::{Access, Selector};
use crate::measure::{Cause, Outcome, Why};
use crate::posture::{Attested, COMPLIANT};
use crate::store::{DeviceState, NewSignal};

const POLICIES: &str = "@id(\"dev\") permit (principal in Group::\"dev\", action, resource);\n\
    @id(\"disk\") @on_change(\"suspend\") forbid (principal, action, resource)\n\
    when { context.device.posture.disk_root.state == \"fail\" };\n\
    @id(\"told\") forbid (principal, action, resource) when { context.device.posture.device_compliant.state == \"fail\" };\n\
    @id(\"fresh\") @step_up(\"mfa\") @max_age(\"10m\") forbid (principal, action, resource)\n\
    when { context.auth.age > 600 };";

/// What happens, and to what it must be put down.
type Story = (&'static str, Why, Outcome, fn(&World, &Arc<Session>));

const STORIES: &[Story] = &[
    ("an administrator sets the risk", Why::Administrator, Outcome::Suspended, |world, alice| {
        world.engine.risk_set(&about(alice), 70, "odd hours", None);
    }),
    ("an administrator revokes", Why::Administrator, Outcome::Ended, |world, alice| {
        world.engine.revoke(&Selector::User(alice.identity.user.clone()), "left");
    }),
    ("a device is blocked", Why::Device, Outcome::Ended, |world, alice| {
        world.engine.device_set(&alice.device, DeviceState::Blocked).unwrap();
    }),
    ("a device is removed", Why::Device, Outcome::Ended, |world, alice| {
        world.engine.device_remove(&alice.device).unwrap();
    }),
    ("another system ends a session", Why::Signal, Outcome::Ended, |world, alice| {
        world.engine.cut(&about(alice), world.engine.now(), "elsewhere");
    }),
    ("another system tells of risk", Why::Signal, Outcome::Suspended, |world, alice| {
        world.engine.raise(signal(world, alice));
    }),
    ("another system tells of a device", Why::Signal, Outcome::Ended, |world, alice| {
        let (at, source) = (world.engine.now(), "mdm".to_owned());
        let told = Attested { state: State::Fail, source, at, expires_at: at.plus(Duration::from_secs(60)) };
        world.engine.attest(&alice.device, vec![(COMPLIANT.to_owned(), told)]);
    }),
    ("another system falls silent", Why::Signal, Outcome::Suspended, |world, alice| {
        let hold = Hold { problem: problem::new("gateway.signals"), live: true };
        world.engine.hold([(alice.identity.user.issuer.clone(), hold)].into());
    }),
    ("the posture gets worse", Why::Posture, Outcome::Suspended, |world, _| {
        world.engine.posture_reported(&thumbprint("laptop"), report(world, &[("disk.root", State::Fail)]));
    }),
    ("the policies are read again", Why::Policy, Outcome::Ended, |world, _| {
        world.policies("@id(\"closed\") forbid (principal, action, resource);");
        world.engine.reload_policies().unwrap();
    }),
    ("the policies change by themselves", Why::Policy, Outcome::Ended, |world, _| {
        world.policies("@id(\"shut\") forbid (principal, action, resource);");
        world.engine.tick();
        world.engine.tick();
    }),
    ("the configuration is read again", Why::Configuration, Outcome::Ended, |world, _| {
        world.edit("10.0.0.1:80", "10.0.0.9:80");
        let reread = world.engine.config().reread().unwrap();
        let adopted = world.engine.adopt(reread.config, &reread.changed, &reread.restart).unwrap();
        world.engine.settle(&adopted);
    }),
    ("the gateway notices something itself", Why::Detector, Outcome::Suspended, |world, alice| {
        world.engine.signal(signal(world, alice));
    }),
    ("a renewal brings other groups", Why::Renewal, Outcome::Ended, |world, alice| {
        world.hand.advance(Duration::from_secs(1));
        world.renew(alice, &[]);
    }),
    ("the person signs out", Why::SignOut, Outcome::Ended, |world, alice| {
        world.engine.end_session(alice, PEER);
    }),
    ("the sign-in gets too old", Why::Time, Outcome::Suspended, |world, _| {
        world.hand.advance(Duration::from_secs(601));
        world.engine.tick();
    }),
    ("the session is not renewed", Why::Time, Outcome::Ended, |world, _| {
        world.hand.advance(Duration::from_secs(361));
        world.engine.sweep();
    }),
];

fn signal(world: &World, alice: &Session) -> NewSignal {
    NewSignal {
        subject: about(alice),
        kind: "story".to_owned(),
        score: 70,
        reason: "a story".to_owned(),
        cause: String::new(),
        source: "test".to_owned(),
        at: world.engine.now(),
        expires_at: None,
        half_life: None,
    }
}

#[test]
fn whatever_changes_an_answer_is_felt_at_once_and_put_down_to_what_it_was() {
    for (story, why, outcome, happens) in STORIES {
        let world = World::with(POLICIES);
        let alice = world.session("alice", &["dev"], "laptop");
        let lease = world.open(&alice, "wiki").unwrap();
        drop(lease.access());
        happens(&world, &alice);
        let felt = match lease.tunnel().access() {
            Access::Open => None,
            Access::Suspended(_) => Some(Outcome::Suspended),
            Access::Ended(_) => Some(Outcome::Ended),
        };
        assert_eq!(felt, Some(*outcome), "{story}: {}", state(&lease));
        lease.stopped();
        let read = world.engine.measures().to_last_byte();
        let counted: Vec<_> = read.filter(|(.., read)| read.count > 0).map(|(why, of, _)| (why, of)).collect();
        assert_eq!(counted, [(*why, *outcome)], "{story}");
    }
    let told: Vec<Why> = STORIES.iter().map(|(_, why, ..)| *why).collect();
    let missing: Vec<&Why> = <Why as crate::measure::Label>::ALL.iter().filter(|why| !told.contains(why)).collect();
    assert!(missing.is_empty(), "no story tells of {missing:?}");
}

#[test]
fn the_time_is_taken_from_when_the_cause_came_and_not_from_when_it_was_acted_on() {
    let world = World::new();
    let alice = world.session("alice", &["dev"], "laptop");
    let lease = world.open(&alice, "wiki").unwrap();
    drop(lease.access());
    let came = std::time::Instant::now().checked_sub(Duration::from_secs(2)).unwrap();
    let engine = world.engine.because(Cause { why: Why::Posture, at: came });
    engine.risk_set(&about(&alice), 90, "two seconds ago", None);
    lease.stopped();
    let (_, _, read) = engine.measures().to_last_byte().find(|(.., read)| read.count > 0).unwrap();
    assert!(read.micros >= 2_000_000, "{read:?}");
    assert!(engine.measures().rounds.read().micros >= 2_000_000);
}
