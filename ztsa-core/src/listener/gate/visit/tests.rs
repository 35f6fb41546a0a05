use proptest::prelude::*;
use ztsa_proto::app::Access;

use super::*;

fn doors(kind: Kind) -> Doors {
    let app = AppInfo {
        name: "wiki".parse().unwrap(),
        kind,
        hosts: vec!["wiki.corp.example".parse().unwrap()],
        port: 80,
        local_port: None,
        tags: Vec::new(),
        access: Access::open(),
        needs: Vec::new(),
    };
    Doors::new(&"wiki:80".parse().unwrap(), Some(&app))
}

/// Why a head is refused by an app of either kind; nothing when it passes.
fn judged(head: &str) -> Option<Why> {
    let by = Some("192.0.2.7".parse().unwrap());
    let [http, tcp] = [Kind::Http, Kind::Tcp].map(|kind| match doors(kind).judge(head.as_bytes(), by) {
        Verdict::Pass => None,
        Verdict::Refuse(stranger) => Some(stranger.why),
        Verdict::More => panic!("{head} is complete"),
    });
    assert_eq!(http, tcp, "{head}");
    http
}

fn from(host: &str, more: &str) -> Option<Why> {
    judged(&format!("GET /a?b HTTP/1.1\r\nUser-Agent: x\r\nHost: {host}\r\n{more}\r\n"))
}

#[test]
fn a_request_names_this_machine_or_the_app() {
    let own = [
        "127.0.0.1:22625",
        "127.0.0.1",
        "localhost:22625",
        "LOCALHOST",
        "[::1]:22625",
        "127.8.8.8:1",
        "wiki",
        "wiki.ztsa:22625",
        "wiki.corp.example",
        "Wiki.Corp.Example.:22625",
        "192.0.2.7:22625",
    ];
    for host in own {
        assert_eq!(from(host, ""), None, "{host}");
    }
    let foreign = [
        "evil.example:22625",
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.evil.example:22625",
        "wiki.evil.example",
        "192.0.2.8:22625",
        "0.0.0.0:22625",
        "",
        "127.0.0.1:x",
        "127.0.0.1@evil.example",
        "\u{fffd}",
    ];
    for host in foreign {
        assert_eq!(from(host, ""), Some(Why::Host), "{host}");
    }
    assert_eq!(from("127.0.0.1", "host: evil.example\r\n"), Some(Why::Host), "either may be what the app goes by");
    assert_eq!(judged("GET / HTTP/1.0\r\n\r\n"), None, "no page leaves it out");
}

#[test]
fn a_page_of_another_origin_is_refused_and_a_person_who_follows_a_link_is_not() {
    let here = "127.0.0.1:22625";
    for more in [
        "Origin: http://127.0.0.1:22625\r\nSec-Fetch-Site: same-origin\r\n",
        "Sec-Fetch-Site: none\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\n",
        "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\n",
        "Upgrade: websocket\r\nOrigin: http://127.0.0.1:22625\r\n",
    ] {
        assert_eq!(from(here, more), None, "{more}");
    }
    for more in [
        "Origin: http://evil.example\r\n",
        "Origin: null\r\n",
        "ORIGIN:http://127.0.0.1:3000\r\n",
        "Origin : http://evil.example\r\n",
        "Upgrade: websocket\r\nOrigin: http://evil.example\r\n",
        "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: no-cors\r\nSec-Fetch-Dest: image\r\n",
        "Sec-Fetch-Site: same-site\r\nSec-Fetch-Mode: cors\r\n",
        "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: iframe\r\n",
        "Origin: http://evil.example\r\nSec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\n",
    ] {
        assert_eq!(from(here, more), Some(Why::Origin), "{more}");
    }
    let form = "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-Dest: document\r\n";
    assert_eq!(judged(&format!("POST / HTTP/1.1\r\nHost: {here}\r\n{form}\r\n")), Some(Why::Origin));
    assert_eq!(from("wiki.corp.example", "Origin: http://wiki.corp.example\r\n"), None);
}

#[test]
fn what_no_page_can_begin_with_passes_at_its_first_bytes() {
    for said in [
        &b"\x16\x03\x01\x02\x00\x01"[..],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"SSH-2.0-OpenSSH_10.0 Debian\r\n",
        b"\x00\x00\x00\x08\x04\xd2\x16\x2f",
        b"*1\r\n$4\r\nPING\r\n",
        b"GET http://other.example/ HTTP/1.1\r\nHost: other.example\r\n\r\n",
        b"CONNECT other.example:443 HTTP/1.1\r\n\r\n",
        b"GET /key\r\n",
        b"\r\n",
    ] {
        for kind in [Kind::Http, Kind::Tcp] {
            assert_eq!(doors(kind).judge(said, None), Verdict::Pass, "{}", said.escape_ascii());
        }
    }
    // the server's answer to these may be what the program waits for
    for said in ["x", "hello", "USER alice", "PING", "GET", "GET "] {
        assert_eq!(doors(Kind::Tcp).judge(said.as_bytes(), None), Verdict::Pass, "{said}");
    }
}

#[test]
fn a_head_is_waited_for_up_to_its_bound() {
    let head = "POST /a HTTP/1.1\r\nHost: evil.example\r\n\r\n";
    for cut in 1..head.len() {
        assert_eq!(doors(Kind::Http).judge(&head.as_bytes()[..cut], None), Verdict::More, "cut at {cut}");
    }
    for cut in "POST /".len()..head.len() {
        assert_eq!(doors(Kind::Tcp).judge(&head.as_bytes()[..cut], None), Verdict::More, "cut at {cut}");
    }
    assert_eq!(judged(head), Some(Why::Host));
    assert_eq!(judged(&head.replace("\r\n", "\n")), Some(Why::Host));
    let long = |length: usize| format!("GET /{} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", "a".repeat(length));
    assert_eq!(judged(&long(LONGEST - 100)), None);
    assert_eq!(judged(&long(LONGEST)), Some(Why::TooLarge));
    assert_eq!(judged(&format!("GET /{}", "a".repeat(LONGEST))), Some(Why::TooLarge));
}

#[test]
fn every_refusal_says_what_to_do() {
    for (why, status) in [(Why::Host, 403), (Why::Origin, 403), (Why::TooLarge, 431), (Why::TooSlow, 408)] {
        let stranger = Stranger { why, accept: Some("text/html".to_owned()) };
        let (problem, accept) = stranger.problem();
        assert_eq!((problem.status, accept), (status, Some("text/html")));
        assert!(problem.remedy.is_some() && problem.detail.contains(&why.to_string()), "{problem:?}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_judged_without_a_panic_and_alike_however_they_are_cut(
        text in "(GET|POST|x)? ?/?[ -~\r\n]{0,30}(HTTP/1.1)?\r?\n(Host: (evil|localhost)\r\n)?(Origin: [a-z:/]{0,9}\r\n)?\r?\n?",
        bytes: Vec<u8>,
    ) {
        for said in [text.as_bytes(), &bytes] {
            let whole = doors(Kind::Http).judge(said, None);
            let first = (1..=said.len()).map(|cut| doors(Kind::Http).judge(&said[..cut], None)).find(|at| *at != Verdict::More);
            // what is decided early is decided as with all of it in view
            if let Some(first) = first {
                prop_assert_eq!(first, whole);
            }
        }
    }
}
