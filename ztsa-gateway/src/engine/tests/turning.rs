//! What is open follows what holds now, not what held when it was opened.

use std::sync::Arc;
use std::time::Duration;

use ztsa_proto::grant::TicketRequest;

use super::World;
use super::evaluation::state;
use super::world::PEER;
use crate::config::Config;
use crate::engine::Changed;

#[test]
fn what_is_open_is_paused_or_ended_as_the_policies_say_now() {
    let permit =
        |annotation: &str| format!("@id(\"dev\") {annotation} permit (principal in Group::\"dev\", action, resource);");
    let (pauses, ends) = ("@on_change(\"suspend\")", "@on_change(\"terminate\")");
    for (before, after, end) in [
        (pauses, ends, "ended app.unknown"),
        (pauses, "", "ended app.unknown"),
        (ends, pauses, "suspended app.unknown"),
        ("", pauses, "suspended app.unknown"),
    ] {
        let world = World::with(&permit(before));
        let alice = world.session("alice", &["dev"], "laptop");
        let lease = world.open(&alice, "wiki").unwrap();
        world.policies(&permit(after));
        world.engine.reload_policies().unwrap();
        assert_eq!(state(&lease), "open");
        world.hand.advance(Duration::from_secs(1));
        world.renew(&alice, &[]);
        assert_eq!(state(&lease), end, "{before:?} became {after:?}");
    }
}

#[test]
fn tunnels_to_the_old_and_to_the_new_place_of_an_app_are_told_apart_in_any_order() {
    for old_first in [true, false] {
        let world = World::new();
        let alice = world.session("alice", &["dev"], "laptop");
        let old = world.open(&alice, "wiki").unwrap();
        world.edit("10.0.0.1:80", "10.0.0.9:80");
        let config = Config::load(&world.dir().join("gateway.toml")).unwrap();
        world.engine.adopt(config, &[], &[]).unwrap();
        let new = world.open(&alice, "wiki").unwrap();
        let mut tunnels = vec![Arc::clone(old.tunnel()), Arc::clone(new.tunnel())];
        if !old_first {
            tunnels.reverse();
        }
        let changed = world.engine.reevaluate_tunnels(tunnels);
        assert_eq!(changed, Changed { ended: 1, ..Changed::default() });
        assert_eq!((state(&old), state(&new)), ("ended app.moved".into(), "open".into()));
    }
}

#[tokio::test]
async fn a_ticket_opens_what_its_person_may_open_now() {
    let mut world = World::new();
    let alice = world.session("alice", &["ops"], "laptop");
    let request = TicketRequest { app: "payroll".parse().unwrap(), for_seconds: Some(3600), uses: None };
    let ticket = world.engine.ticket(&alice, &request, PEER).unwrap();
    let open = |world: &World| {
        let opened = world.engine.open_ticket(ticket.ticket.expose(), &"payroll:80".parse().unwrap(), PEER);
        opened.map(drop).map_err(|problem| problem.code.clone())
    };
    assert_eq!(open(&world), Ok(()));
    world.hand.advance(Duration::from_secs(1));
    world.renew(&alice, &[]);
    assert_eq!(open(&world), Err("app.unknown".to_owned()));
    world.hand.advance(Duration::from_secs(361));
    world.engine.sweep();
    assert_eq!(open(&world), Err("app.unknown".to_owned()), "nor when the session has lapsed");
    world.restart(1).await;
    assert_eq!(open(&world), Err("app.unknown".to_owned()), "nor after a restart");
}

#[test]
fn a_clock_that_is_set_neither_ends_nor_prolongs_a_session_or_a_pause() {
    let dev = "@id(\"dev\") permit (principal in Group::\"dev\", action, resource);";
    let closed = "@id(\"closed\") @on_change(\"suspend\") forbid (principal, action, resource == App::\"db\");";
    for back in [false, true] {
        let world = World::with(dev);
        let alice = world.session("alice", &["dev"], "laptop");
        let bob = world.session("bob", &["dev"], "desktop");
        let (hers, his) = (world.open(&alice, "wiki").unwrap(), world.open(&bob, "wiki").unwrap());
        let paused = world.open(&alice, "db").unwrap();
        world.policies(&format!("{dev}\n{closed}"));
        world.engine.reload_policies().unwrap();
        let hour = Duration::from_secs(3600);
        let now = world.engine.now();
        world.hand.set(if back { now.minus(hour) } else { now.plus(hour) });
        assert_eq!(world.engine.sweep(), Changed::default());
        world.hand.advance(Duration::from_secs(59));
        assert_eq!(world.engine.sweep(), Changed::default());
        assert_eq!(world.engine.waits_left(paused.id()), Some(Duration::from_secs(1)));
        world.hand.advance(Duration::from_secs(1));
        assert_eq!(world.engine.sweep().ended, 1);
        assert_eq!(state(&paused), "ended policy.forbidden");
        let renewed = world.renew(&bob, &["dev"]);
        world.engine.seen(&bob);
        assert!(Arc::ptr_eq(&world.engine.newest(&bob), &renewed), "whatever the clock said when the first was issued");
        world.hand.advance(Duration::from_secs(299));
        assert_eq!(world.engine.sweep().ended, 0);
        world.hand.advance(Duration::from_secs(1));
        assert_eq!(world.engine.sweep().ended, 1);
        assert_eq!((state(&hers), state(&his)), ("ended session.lapsed".into(), "open".into()), "back: {back}");
        world.hand.advance(Duration::from_secs(60));
        assert_eq!(world.engine.sweep().ended, 1, "renewed a minute later");
    }
}
