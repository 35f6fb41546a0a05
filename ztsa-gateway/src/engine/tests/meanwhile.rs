//! What happens between a look and the deed that follows from it.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use ztsa_proto::event::EventKind;

use super::World;
use super::evaluation::state;
use crate::policy::step;

#[test]
fn a_session_that_is_renewed_while_it_is_found_lapsed_stays_with_its_tunnels() {
    let world = Rc::new(World::new());
    let alice = world.session("alice", &["dev"], "laptop");
    let mut events = world.engine.events(&alice);
    let early = world.open(&alice, "wiki").unwrap();
    world.hand.advance(Duration::from_secs(360));
    let late = Rc::new(RefCell::new(None));
    let (there, opened) = (Rc::clone(&world), Rc::clone(&late));
    step::at("lapsed", move || {
        let renewed = there.renew(&alice, &["dev"]);
        opened.replace(Some(there.open(&renewed, "db").unwrap()));
    });
    assert_eq!(world.engine.sweep().ended, 0);
    let late = late.take().unwrap();
    assert_eq!((state(&early), state(&late)), ("open".into(), "open".into()));
    assert!(events.try_recv().is_err(), "nobody is told of an end that is none");
    world.hand.advance(Duration::from_secs(360));
    assert_eq!(world.engine.sweep().ended, 2, "both are of a session that can lapse");
    let told: Vec<_> = std::iter::from_fn(|| events.try_recv().ok()).map(|event| (event.kind, event.tunnel)).collect();
    let ended = |lease: &crate::lease::Lease| (EventKind::Ended, Some(lease.id()));
    assert_eq!(told, [ended(&early), ended(&late), (EventKind::SessionEnded, None)]);
}

#[test]
fn a_tunnel_that_is_opened_while_its_session_lapses_is_not_left_behind() {
    let world = Rc::new(World::new());
    let alice = world.session("alice", &["dev"], "laptop");
    world.hand.advance(Duration::from_secs(360));
    let there = Rc::clone(&world);
    step::at("judge", move || assert_eq!(there.engine.sweep().ended, 0));
    let lease = world.open(&alice, "wiki").unwrap();
    assert_eq!(world.engine.sweep().ended, 1);
    assert_eq!(state(&lease), "ended session.expired");
}
