//! What a person at a terminal sees of `ztsa connect` while their access is paused.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;

use crate::gateway::Gateway;
use crate::home::{Home, address};
use crate::process::PATIENCE;

/// The seconds that were counted down so far.
fn counted(log: &str) -> Vec<u64> {
    let told = log.split("echo paused, ").skip(1);
    told.filter_map(|rest| rest.split_once(" s left")?.0.parse().ok()).collect()
}

#[test]
fn a_pause_is_counted_down_and_what_is_sent_meanwhile_arrives_after_it() {
    let gateway = Gateway::dev(&[]);
    let home = Home::signed_in(&gateway);
    let mut terminal = home.at_terminal("exec ztsa connect echo --listen 127.0.0.1:0");
    let mut stream = TcpStream::connect(address(&terminal.line("127.0.0.1:"))).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut answer = [0; 6];
    stream.write_all(b"before").unwrap();
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"before");

    let set = gateway.admin(&["risk", "set", "alice", "70", "--reason", "a badge was lost"]).ok();
    assert!(set.contains("1 tunnel suspended"), "{set}");
    stream.write_all(b"during").unwrap();
    let told = terminal.line("suspended");
    assert!(
        told.contains("echo") && told.contains("a badge was lost") && told.contains("stays open and waits"),
        "{told}"
    );
    let seconds = terminal.shows("two seconds of a countdown", |log| {
        let seconds = counted(log);
        (seconds.first() != seconds.last()).then_some(seconds)
    });
    assert!(seconds.is_sorted_by(|before, after| before >= after), "{seconds:?}");
    assert!(seconds.iter().all(|left| (1..=60).contains(left)), "{seconds:?}");
    stream.set_nonblocking(true).unwrap();
    assert_eq!(stream.peek(&mut answer).unwrap_err().kind(), ErrorKind::WouldBlock, "bytes came through the pause");
    stream.set_nonblocking(false).unwrap();

    let cleared = gateway.admin(&["risk", "clear", "alice"]).ok();
    assert!(cleared.contains("1 tunnel restored"), "{cleared}");
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"during");
    let on = terminal.line("restored");
    assert!(on.contains("echo") && on.contains("after "), "{on}");
    // Ctrl-C
    terminal.types("\u{3}");
    assert_eq!(terminal.ended().code(), Some(130), "{}", terminal.log());
    let log = terminal.log();
    let (_, after) = log.rsplit_once("restored").unwrap();
    assert!(counted(after).is_empty(), "the countdown goes on: {after:?}");
}
