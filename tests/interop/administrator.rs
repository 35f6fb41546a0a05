//! The administrator's commands as they are typed: what each prints, and that it ends exactly what it names.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use serde_json::Value;

use crate::gateway::Gateway;
use crate::home::Home;
use crate::process::{PATIENCE, Process, finish, until};
use crate::program::idp::Idp;

/// A person at a machine of theirs, with one tunnel to `echo` open.
struct Seat {
    home: Home,
    login: Vec<String>,
    session: String,
    device: String,
    _forward: Process,
    address: String,
    stream: TcpStream,
}

impl Seat {
    fn take(gateway: &Gateway, issuer: &str) -> Self {
        let login = ["login", "--device", "--no-open", "--issuer", issuer, &gateway.url].map(str::to_owned).to_vec();
        Self::signed_in(Home::new(gateway), login, gateway)
    }

    fn signed_in(home: Home, login: Vec<String>, gateway: &Gateway) -> Self {
        let login_line: Vec<&str> = login.iter().map(String::as_str).collect();
        // a sign-in of the second in which everything before it was revoked is revoked with it
        until("a sign-in that counts", PATIENCE, || {
            let done = finish(&mut home.ztsa(&login_line));
            assert!(done.code == Some(0) || done.stderr.contains("access was revoked"), "{done}");
            (done.code == Some(0)).then_some(())
        });
        let status = json(&finish(&mut home.ztsa(&["status", "--json"])).ok());
        let session = status["session"]["session"].as_str().unwrap().to_owned();
        let device = listed(gateway).into_iter().find(|row| row["session"] == *session).unwrap();
        let device = device["device"].as_str().unwrap().to_owned();
        let (forward, address) = home.forward("echo");
        let stream = open(&address);
        Self { home, login, session, device, _forward: forward, address, stream }
    }

    /// The same person at the same machine signs in anew.
    fn again(self, gateway: &Gateway) -> Self {
        Self::signed_in(self.home, self.login, gateway)
    }

    /// Opens another tunnel without a sign-in.
    fn reopens(&mut self) {
        self.stream = open(&self.address);
    }

    #[track_caller]
    fn works(&mut self) {
        echo(&mut self.stream);
    }

    /// Waits until the tunnel has ended.
    #[track_caller]
    fn has_ended(&mut self) {
        let end = self.stream.read(&mut [0; 1]);
        let kind = end.as_ref().map_err(std::io::Error::kind);
        let cut = [std::io::ErrorKind::ConnectionReset, std::io::ErrorKind::ConnectionAborted];
        assert!(matches!(kind, Ok(0)) || kind.is_err_and(|kind| cut.contains(&kind)), "the tunnel goes on: {end:?}");
    }
}

fn open(address: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    echo(&mut stream);
    stream
}

#[track_caller]
fn echo(stream: &mut TcpStream) {
    let mut answer = [0; 5];
    stream.write_all(b"hello").unwrap();
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"hello");
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn listed(gateway: &Gateway) -> Vec<Value> {
    json(&gateway.admin(&["sessions", "list", "--json"]).ok())["sessions"].as_array().unwrap().clone()
}

/// The cells of a table, line by line.
fn cells(table: &str) -> Vec<Vec<&str>> {
    fn cells(line: &str) -> Vec<&str> {
        line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect()
    }
    table.lines().map(cells).collect()
}

/// Alice at two machines, by the gateway's own issuer, and bob, by another.
fn house() -> (Idp, Gateway, [Seat; 3]) {
    let other = Idp::start(&["--approve", "bob", "--audience", "https://other.example"]);
    let issuer = format!(
        "[[issuer]]\nname = \"other\"\nissuer = \"{}\"\nclient_id = \"ztsa-cli\"\n\
         scopes = [\"openid\", \"profile\", \"email\", \"groups\", \"offline_access\"]\n\
         audiences = [\"https://other.example\"]\nresource = \"https://other.example\"\n",
        other.issuer
    );
    let gateway = Gateway::dev_with(&[], &issuer);
    let seats = ["dev", "dev", "other"].map(|issuer| Seat::take(&gateway, issuer));
    (other, gateway, seats)
}

#[test]
fn what_is_revoked_ends_and_nothing_else_does() {
    let (_other, gateway, [mut laptop, mut desktop, mut bob]) = house();
    let revoke = |whom: &[&str]| gateway.admin(&[&["sessions", "revoke"], whom].concat()).ok();

    let told = revoke(&["--session", &laptop.session, "--reason", "left on a train"]);
    assert_eq!(told, format!("revoked session {}: 1 session and 1 tunnel ended\n", laptop.session));
    laptop.has_ended();
    desktop.works();
    bob.works();
    let known = listed(&gateway);
    assert!(
        known.len() == 2 && known.iter().all(|row| row["session"] != *laptop.session),
        "it is off the list: {known:?}"
    );
    let refused = finish(&mut laptop.home.ztsa(&["connect", "echo", "--", "true"]));
    assert!(refused.code != Some(0) && refused.stderr.contains("left on a train"), "{refused}");

    let told = revoke(&["--app", "echo"]);
    assert_eq!(told, "revoked app echo: 0 sessions and 2 tunnels ended\n");
    desktop.has_ended();
    bob.has_ended();
    // their sessions stay
    desktop.reopens();
    bob.reopens();

    let mut laptop = laptop.again(&gateway);
    let told = revoke(&["--device", &desktop.device[..12]]);
    assert_eq!(told, format!("revoked device {}: 1 session and 1 tunnel ended\n", desktop.device));
    desktop.has_ended();
    laptop.works();
    bob.works();

    let mut desktop = desktop.again(&gateway);
    let told = revoke(&["alice"]);
    assert!(told.starts_with("revoked user ") && told.ends_with("|alice: 2 sessions and 2 tunnels ended\n"), "{told}");
    laptop.has_ended();
    desktop.has_ended();
    bob.works();

    let mut laptop = laptop.again(&gateway);
    let told = revoke(&["--all"]);
    assert_eq!(told, "revoked everything: 2 sessions and 2 tunnels ended\n");
    laptop.has_ended();
    bob.has_ended();
    assert_eq!(gateway.admin(&["sessions", "list"]).ok(), "nobody is signed in\n");
    let unclear = gateway.admin(&["sessions", "revoke", "alice", "--all"]).exits(2);
    assert!(unclear.stderr.contains("cannot be used with"), "{unclear}");
}

#[test]
fn who_is_connected_from_what_is_listed_and_a_device_is_blocked_and_approved() {
    let (other, gateway, [mut laptop, mut desktop, mut bob]) = house();
    let table = gateway.admin(&["sessions", "list"]).ok();
    let [head, rows @ ..] = &cells(&table)[..] else { panic!("{table}") };
    assert_eq!(head[..2], ["USER", "SESSION"], "{table}");
    let ids = [&laptop, &desktop, &bob].map(|seat| seat.session.clone());
    let mut seen: Vec<_> = rows.iter().map(|row| [row[1], row[0], row[4], row[5], row[8]]).collect();
    let mut wanted = [("Alice", 0), ("Alice", 1), ("Bob", 2)].map(|(user, seat)| [&*ids[seat], user, "0", "1", "echo"]);
    seen.sort_unstable();
    wanted.sort_unstable();
    assert_eq!(seen, wanted, "{table}");

    let rows = until("all bytes to be counted", PATIENCE, || {
        let rows = json(&gateway.admin(&["top", "--json"]).ok())["rows"].as_array().unwrap().clone();
        rows.iter().all(|row| row["up"] == 5 && row["down"] == 5).then_some(rows)
    });
    assert!(rows.len() == 3 && rows.iter().all(|row| row["app"] == "echo"), "{rows:?}");
    assert!(ids.iter().all(|id| rows.iter().any(|row| row["session"] == **id)), "{rows:?}");
    let table = gateway.admin(&["top", "--once", "--sort", "user"]).ok();
    let seen: Vec<_> = cells(&table).iter().skip(1).map(|row| [row[0], row[2], row[3], row[4], row[8]]).collect();
    let row = |user| [user, "echo", "1", "open", "5 B"];
    assert_eq!(seen, [row("Alice"), row("Alice"), row("Bob")], "{table}");

    let told = gateway.admin(&["devices", "block", &laptop.device]).ok();
    assert_eq!(told, format!("device {} is blocked: 1 tunnel ended\n", laptop.device));
    laptop.has_ended();
    desktop.works();
    bob.works();
    let told = gateway.admin(&["devices", "approve", &laptop.device[..12]]).ok();
    assert_eq!(told, format!("device {} is approved: no live tunnel changed\n", laptop.device));
    // without a sign-in
    let (_forward, address) = laptop.home.forward("echo");
    laptop.stream = open(&address);
    let table = gateway.admin(&["devices", "list"]).ok();
    let approved: Vec<_> = table.lines().filter(|line| line.contains("  approved  ")).collect();
    assert!(matches!(approved[..], [line] if line.starts_with(&laptop.device)), "{table}");
    assert_eq!((table.lines().count(), table.matches("  unmanaged  ").count()), (4, 2), "{table}");

    let explained = gateway.admin(&["policy", "explain", "--user", "bob", "--app", "echo"]).ok();
    let first = format!("session {} on device {} from 127.0.0.1: allow", bob.session, bob.device);
    assert_eq!(explained.lines().next(), Some(&*first), "{explained}");

    let told = gateway.admin(&["risk", "forget", "alice"]).ok();
    assert_eq!(told, "the habits of Alice are forgotten\n");
    let nobody = format!("{}|mallory", other.issuer);
    let told = gateway.admin(&["risk", "forget", &nobody]).ok();
    assert!(told.ends_with(" had not been remembered\n"), "{told}");

    laptop.works();
    desktop.works();
    bob.works();
}
