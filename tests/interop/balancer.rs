//! HAProxy between the client and the gateway.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;

use crate::gateway::{App, Gateway, Issuer};
use crate::home::Home;
use crate::process::{PATIENCE, Process, finish, free_port, until};
use crate::program::certificate::Authority;
use crate::program::haproxy::HaProxy;
use crate::program::oidc_provider::OidcProvider;
use crate::program::postgres::Postgres;
use crate::sign_in::{begin, end};

/// More than waits on the whole way between an app and a program that does not read.
const BULK: usize = 64 << 20;

/// A gateway behind a balancer, and a signed-in person.
struct Road {
    home: Home,
    gateway: Gateway,
    balancer: HaProxy,
    _provider: OidcProvider,
    _authority: Authority,
}

fn road(app: &App, authority: Authority) -> Road {
    let (front, behind) = (free_port(), free_port());
    let audience = format!("https://127.0.0.1:{front}");
    let provider = OidcProvider::start(&audience);
    let scopes = ["openid", "profile", "email", "groups", "offline_access"];
    let issuer = Issuer { url: &provider.issuer, audience: &audience, port: behind, scopes: &scopes };
    let gateway = Gateway::run(std::slice::from_ref(app), &authority, &issuer);
    let balancer = HaProxy::start(front, behind, &authority);
    let home = Home::new(&gateway);
    let (login, url) = begin(&home, &gateway);
    provider.approve(&url, "alice");
    end(login);
    Road { home, gateway, balancer, _provider: provider, _authority: authority }
}

/// An app whose end of every connection the test holds, and the person's local port for it.
struct Shop {
    listener: TcpListener,
    address: String,
    forward: Process,
    road: Road,
}

impl Shop {
    fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let road = road(&App("shop", "tcp", port, &[]), Authority::new());
        let (forward, address) = road.home.forward("shop");
        Self { listener, address, forward, road }
    }

    /// Connects a program, and returns its end and the app's.
    fn meet(&self) -> [TcpStream; 2] {
        let near = TcpStream::connect(&self.address).unwrap();
        let far = until("a connection at the app", PATIENCE, || self.listener.accept().ok()).0;
        far.set_nonblocking(false).unwrap();
        [near, far].map(|stream| {
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            stream
        })
    }
}

/// Sends a text and waits for it at the other end.
fn pass(from: &mut TcpStream, to: &mut TcpStream, text: &str) {
    from.write_all(text.as_bytes()).unwrap();
    let mut read = vec![0; text.len()];
    to.read_exact(&mut read).unwrap();
    assert_eq!(read, text.as_bytes());
}

/// Reads to the end of a direction.
fn rest(from: &mut TcpStream) -> String {
    let mut text = String::new();
    from.read_to_string(&mut text).unwrap();
    text
}

/// Insists that a stream breaks: an end of file would look like a whole answer.
fn reset(stream: &mut TcpStream) {
    let mut bytes = [0; 65_536];
    loop {
        match stream.read(&mut bytes) {
            Ok(0) => panic!("the stream ended as if all was well"),
            Ok(_) => {}
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
                return;
            }
        }
    }
}

/// Closes a stream with bytes in it that nobody has read, which the system tells the other end by a reset.
fn abandon(mut from: TcpStream, to: TcpStream) -> TcpStream {
    from.write_all(b"unread").unwrap();
    assert!(to.peek(&mut [0; 6]).unwrap() > 0);
    drop(to);
    from
}

#[test]
fn psql_queries_through_haproxy_and_the_gateway() {
    let authority = Authority::new();
    let postgres = Postgres::start(&authority);
    let Road { home, balancer, gateway: _gateway, .. } =
        &road(&App("orders", "postgresql", postgres.port, &[]), authority);
    let mut psql = home.ztsa(&["connect", "orders", "--", "psql", "-U", "app", "-d", "postgres", "-Atc"]);
    assert_eq!(finish(psql.arg("select count(*) from generate_series(1, 100000)")).ok(), "100000\n");
    // an extended CONNECT is an upgrade to HAProxy
    let tunnel = |line: &str| line.contains(" 101 ") && line.contains("/.well-known/masque/tcp/orders/");
    until("HAProxy to tell of the tunnel", PATIENCE, || balancer.log().lines().any(tunnel).then_some(()));
}

#[test]
fn an_app_answers_after_the_last_question_and_a_reset_stays_a_reset_through_haproxy() {
    let shop = Shop::open();
    let [mut near, mut far] = shop.meet();
    near.write_all(b"question").unwrap();
    near.shutdown(Shutdown::Write).unwrap();
    assert_eq!(rest(&mut far), "question");
    pass(&mut far, &mut near, "the app still speaks");
    far.shutdown(Shutdown::Write).unwrap();
    assert_eq!(rest(&mut near), "");

    // the app ends first: what it said arrives, and its end as an end
    let [mut near, mut far] = shop.meet();
    pass(&mut near, &mut far, "a question");
    far.write_all(b"a short answer").unwrap();
    far.shutdown(Shutdown::Write).unwrap();
    assert_eq!(rest(&mut near), "a short answer");
    pass(&mut near, &mut far, "the program still speaks");
    near.shutdown(Shutdown::Write).unwrap();
    assert_eq!(rest(&mut far), "");

    let [mut near, mut far] = shop.meet();
    pass(&mut far, &mut near, "half an answer");
    reset(&mut abandon(near, far));
    let [mut near, mut far] = shop.meet();
    pass(&mut near, &mut far, "half a question");
    reset(&mut abandon(far, near));

    // and so is the end of the balancer itself
    let [mut near, mut far] = shop.meet();
    pass(&mut far, &mut near, "half an answer");
    let Shop { road: Road { balancer, gateway: _gateway, .. }, forward: _forward, .. } = shop;
    drop(balancer);
    reset(&mut near);
    reset(&mut far);
}

#[test]
fn a_pause_its_end_and_a_revocation_are_told_through_haproxy_behind_bulk_that_nobody_reads() {
    let mut shop = Shop::open();
    let [mut near, mut far] = shop.meet();
    pass(&mut near, &mut far, "before");
    let pour = thread::spawn(move || far.write_all(&vec![b'x'; BULK]));
    let gateway = &shop.road.gateway;
    let set = gateway.admin(&["risk", "set", "alice", "70", "--reason", "a badge was lost"]).ok();
    assert!(set.contains("1 tunnel suspended"), "{set}");
    let told = shop.forward.line("\"suspended\"");
    assert!(told.contains("a badge was lost"), "{told}");
    let cleared = gateway.admin(&["risk", "clear", "alice"]).ok();
    assert!(cleared.contains("1 tunnel restored"), "{cleared}");
    shop.forward.line("\"restored\"");
    let mut bulk = vec![0; 1 << 20];
    near.read_exact(&mut bulk).unwrap();
    assert!(bulk.iter().all(|byte| *byte == b'x'), "the pause lost or changed bytes");
    let revoked = gateway.admin(&["sessions", "revoke", "--app", "shop", "--reason", "the shop is closed"]).ok();
    assert!(revoked.contains("1 tunnel"), "{revoked}");
    let told = shop.forward.line("the shop is closed");
    assert!(told.contains("\"closed\""), "{told}");
    reset(&mut near);
    assert!(pour.join().unwrap().is_err(), "the app is told that all was taken");
    // the port stays: the app opens again at once
    let [mut near, mut far] = shop.meet();
    pass(&mut near, &mut far, "after");
}
