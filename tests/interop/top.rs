//! `ztsa-gateway top` at a terminal: what it shows as it changes, and what it leaves.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use crate::gateway::Gateway;
use crate::home::Home;
use crate::process::PATIENCE;

/// The alternate screen, a hidden cursor and lines that are cut; and the end of all three.
const ENTER: &str = "\u{1b}[?1049h\u{1b}[?25l\u{1b}[?7l";
const LEAVE: &str = "\u{1b}[?7h\u{1b}[?25h\u{1b}[?1049l";

/// What the screen shows now: all of what was drawn last.
fn screen(log: &str) -> Option<&str> {
    let (drawn, _) = log.rsplit_once("\u{1b}[J")?;
    Some(drawn.rsplit_once("\u{1b}[H")?.1)
}

/// The cells of the line about this app.
fn row(screen: &str, app: &str) -> Option<Vec<String>> {
    let rows = screen.lines().map(|line| line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()));
    let mut rows = rows.map(|cells| cells.map(str::to_owned).collect::<Vec<_>>());
    rows.find(|cells| cells.get(2).is_some_and(|cell| cell == app))
}

#[test]
fn who_is_connected_is_shown_as_it_changes_and_q_gives_the_terminal_back() {
    let gateway = Gateway::dev(&[]);
    let home = Home::signed_in(&gateway);
    let (_forward, address) = home.forward("echo");
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut answer = [0; 5_000];
    stream.write_all(b"hello").unwrap();
    stream.read_exact(&mut answer[..5]).unwrap();

    let mut terminal = home.at_terminal(&format!(
        "before=$(stty -g); ztsa-gateway top --interval 1 --admin {}; code=$?; \
         [ \"$before\" = \"$(stty -g)\" ] && echo as before; exit $code",
        gateway.socket().display()
    ));
    let open = terminal.shows("the tunnel", |log| row(screen(log)?, "echo"));
    assert_eq!((open[0].as_str(), &open[3..6]), ("Alice", &["1", "open", "0"].map(str::to_owned)[..]), "{open:?}");
    assert_eq!(open[8..10], ["5 B", "5 B"], "{open:?}");
    stream.write_all(&answer).unwrap();
    stream.read_exact(&mut answer).unwrap();
    terminal.shows("more bytes", |log| row(screen(log)?, "echo").filter(|row| row[8..10] == ["5.0 kB", "5.0 kB"]));
    drop(stream);
    terminal.shows("nobody", |log| screen(log).filter(|screen| screen.contains("nobody is connected")).map(drop));

    terminal.types("q");
    assert_eq!(terminal.ended().code(), Some(0), "{}", terminal.log());
    let log = terminal.log();
    let (drawn, after) = log.split_once(LEAVE).unwrap_or_else(|| panic!("the screen is not given back: {log:?}"));
    assert!(drawn.starts_with(ENTER), "{drawn:?}");
    assert_eq!(after.trim_end(), "as before");
}
