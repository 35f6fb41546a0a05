//! What happens between a look and the deed that follows from it.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use ztsa_proto::event::EventKind;
use ztsa_proto::grant::TicketRequest;

use super::World;
use super::evaluation::state;
use super::world::PEER;
use crate::lease::{Lease, Selector};
use crate::policy::step;

#[test]
fn a_session_that_is_renewed_while_it_is_found_lapsed_stays_with_its_tunnels() {
    let world = Rc::new(World::new());
    let alice = world.session("alice", &["dev"], "laptop");
    let mut events = world.engine.events(&alice).unwrap();
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
    let ended = |lease: &Lease| (EventKind::Ended, Some(lease.id()));
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
    assert_eq!(state(&lease), "ended session.lapsed");
}

#[test]
fn a_ticket_opens_nothing_while_it_is_being_taken_back() {
    let world = Rc::new(World::new());
    let alice = world.session("alice", &["dev"], "laptop");
    for app in [true, false] {
        let request = TicketRequest { app: "db".parse().unwrap(), for_seconds: None, uses: None };
        let ticket = world.engine.ticket(&alice, &request, PEER).unwrap();
        let late = Rc::new(RefCell::new(None));
        let (there, opened) = (Rc::clone(&world), Rc::clone(&late));
        let secret = ticket.ticket.expose().clone();
        step::at("ending", move || {
            opened.replace(Some(there.engine.open_ticket(&secret, &"db:5432".parse().unwrap(), PEER)));
        });
        let selector = if app { Selector::App("db".parse().unwrap()) } else { Selector::Ticket(ticket.id) };
        assert_eq!(world.engine.revoke(&selector, "maintenance").tickets, 1);
        assert_eq!(late.take().unwrap().unwrap_err().code, "ticket.invalid", "{selector}");
        assert!(world.engine.leases().is_empty());
    }
}

#[test]
fn as_many_follow_a_session_as_may_and_one_that_leaves_makes_room() {
    let world = World::new();
    let alice = world.session("alice", &["dev"], "laptop");
    let bob = world.session("bob", &["dev"], "desktop");
    let mut listeners: Vec<_> = (0..256).map(|_| world.engine.events(&alice).unwrap()).collect();
    let refused = world.engine.events(&alice).unwrap_err();
    assert_eq!(refused.code, "gateway.limit");
    assert!(refused.detail.contains("256 programs"), "{refused}");
    assert!(world.engine.events(&bob).is_ok(), "nobody else is kept out");
    listeners.pop();
    assert!(world.engine.events(&alice).is_ok());
}
