use proptest::prelude::*;
use tokio::io::duplex;
use ztsa_proto::problem;

use super::*;

/// Plays a client that sends `bytes` and ends; returns what came of it and what it was told.
async fn play(bytes: &[u8], password: Option<&str>) -> (Result<String, SocksError>, Vec<u8>) {
    let (mut client, server) = duplex(4096);
    client.write_all(bytes).await.unwrap();
    client.shutdown().await.unwrap();
    let password = password.map(|password| Secret::new(password.to_owned()));
    let asked = ask(Intake::new(server), password.as_ref()).await.map(|asked| asked.to.to_string());
    let mut told = Vec::new();
    client.read_to_end(&mut told).await.unwrap();
    (asked, told)
}

fn named(command: u8, host: &[u8], port: u16) -> Vec<u8> {
    let mut bytes = vec![5, command, 0, 3, u8::try_from(host.len()).unwrap()];
    bytes.extend_from_slice(host);
    bytes.extend_from_slice(&port.to_be_bytes());
    bytes
}

const OPEN: &[u8] = &[5, 1, 0];

#[tokio::test]
async fn destinations_are_read_and_made_the_same() {
    let four = [OPEN, &[5, 1, 0, 1, 10, 0, 0, 5, 0, 80]].concat();
    let mut six = [OPEN, &[5, 1, 0, 4]].concat();
    six.extend_from_slice(&std::net::Ipv6Addr::LOCALHOST.octets());
    six.extend_from_slice(&[0, 22]);
    let mapped = [OPEN, &[5, 1, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF, 127, 0, 0, 1, 0, 22]].concat();
    let table = [
        (four, "10.0.0.5:80"),
        (six, "[::1]:22"),
        (mapped, "127.0.0.1:22"),
        ([OPEN, &named(1, b"wiki", 80)].concat(), "wiki:80"),
        ([OPEN, &named(1, b"WIKI.Corp.Example.", 443)].concat(), "wiki.corp.example:443"),
        // an address in a name's clothes is an address
        ([OPEN, &named(1, b"127.0.0.1", 22)].concat(), "127.0.0.1:22"),
        ([OPEN, &named(1, b"[::1]", 22)].concat(), "[::1]:22"),
        ([OPEN, &named(1, b"::ffff:10.0.0.1", 22)].concat(), "10.0.0.1:22"),
    ];
    for (bytes, to) in table {
        let (asked, told) = play(&bytes, None).await;
        assert_eq!(asked.unwrap(), to);
        assert_eq!(told, [5, 0], "{to}");
    }
}

#[tokio::test]
async fn what_cannot_be_served_is_answered_with_its_code() {
    let table: [(&str, Vec<u8>, u8); 8] = [
        ("BIND", named(2, b"wiki", 80), 7),
        ("UDP ASSOCIATE", named(3, b"wiki", 80), 7),
        ("an unknown command", named(9, b"wiki", 80), 7),
        ("an unknown address type", vec![5, 1, 0, 2, 0, 0, 0, 0, 0, 80], 8),
        ("port 0", named(1, b"wiki", 0), 4),
        ("a name with a space", named(1, b"a b", 80), 4),
        ("an address that other programs would read otherwise", named(1, b"0x7f.1", 80), 4),
        ("an empty name", named(1, b"", 80), 4),
    ];
    for (what, request, code) in table {
        let (asked, told) = play(&[OPEN, &request].concat(), None).await;
        assert!(asked.is_err(), "{what}");
        assert_eq!(told.get(..4), Some(&[5, 0, 5, code][..]), "{what}");
    }
}

#[tokio::test]
async fn without_a_password_everybody_is_let_in() {
    let request = named(1, b"wiki", 80);
    let credentials = |user: &[u8], password: &[u8]| {
        let length = |text: &[u8]| u8::try_from(text.len()).unwrap();
        [&[1, length(user)], user, &[length(password)], password].concat()
    };
    let table: [(Vec<u8>, &[u8]); 5] = [
        (vec![5, 1, 0], &[5, 0]),
        // curl and git with a user name, Java: both methods
        (vec![5, 2, 2, 0], &[5, 0]),
        // a client that insists on a password: any will do, Java's empty one too
        ([vec![5, 1, 2], credentials(b"me", b"x")].concat(), &[5, 2, 1, 0]),
        ([vec![5, 1, 2], credentials(b"me", b"")].concat(), &[5, 2, 1, 0]),
        ([vec![5, 1, 2], credentials(b"", b"")].concat(), &[5, 2, 1, 0]),
    ];
    for (greeting, told) in table {
        let (asked, heard) = play(&[greeting.clone(), request.clone()].concat(), None).await;
        assert_eq!(asked.unwrap(), "wiki:80", "{greeting:?}");
        assert_eq!(heard, told);
    }
    // nothing that we know: GSSAPI alone
    let (asked, heard) = play(&[5, 1, 1], None).await;
    assert!(matches!(asked, Err(SocksError::Password)));
    assert_eq!(heard, [5, 0xFF]);
}

#[tokio::test]
async fn a_password_that_is_wanted_must_be_right() {
    let request = named(1, b"wiki", 80);
    let say = |password: &[u8]| {
        let length = u8::try_from(password.len()).unwrap();
        [&[5, 2, 0, 2, 1, 2, b'm', b'e', length], password, &request].concat()
    };
    let (asked, heard) = play(&say(b"s3cret"), Some("s3cret")).await;
    assert_eq!((asked.unwrap().as_str(), heard.as_slice()), ("wiki:80", &[5, 2, 1, 0][..]));
    for wrong in [&b"S3cret"[..], b"s3cre", b"", b"s3cret\0", b"\xff\xff"] {
        let (asked, heard) = play(&say(wrong), Some("s3cret")).await;
        assert!(matches!(asked, Err(SocksError::Password)), "{wrong:?}");
        assert_eq!(heard, [5, 2, 1, 1], "{wrong:?}");
    }
    let (asked, heard) = play(&[OPEN, &request].concat(), Some("s3cret")).await;
    assert!(matches!(asked, Err(SocksError::Password)));
    assert_eq!(heard, [5, 0xFF]);
}

#[tokio::test]
async fn a_conversation_cut_anywhere_is_an_error() {
    let whole = [&[5, 1, 2, 1, 2, b'm', b'e', 1, b'x'][..], &named(1, b"wiki", 80)].concat();
    for cut in 0..whole.len() {
        let (asked, _) = play(&whole[..cut], None).await;
        assert!(matches!(asked, Err(SocksError::Broken(_))), "cut at {cut}");
    }
    let (asked, _) = play(&whole, None).await;
    assert_eq!(asked.unwrap(), "wiki:80");
}

#[tokio::test]
async fn early_bytes_are_handed_on_behind_the_answer() {
    let (mut client, server) = duplex(4096);
    client.write_all(&[OPEN, &named(1, b"wiki", 80), b"early"].concat()).await.unwrap();
    let asked = ask(Intake::new(server), None).await.unwrap();
    let (_stream, early) = asked.granted().await.unwrap().into_parts();
    assert_eq!(early, "early");
    let mut told = [0; 12];
    client.read_exact(&mut told).await.unwrap();
    assert_eq!(told, [5, 0, 5, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
}

#[test]
fn every_refusal_has_its_reply() {
    let table = [
        ("app.unknown", 4),
        ("app.unreachable", 4),
        ("app.refused", 5),
        ("app.timeout", 6),
        ("auth.required", 1),
        ("auth.proof", 1),
        ("auth.issuer", 1),
        ("auth.expired", 6),
        ("auth.step_up", 2),
        ("session.expired", 6),
        ("session.lapsed", 6),
        ("session.revoked", 2),
        ("grant.expired", 6),
        ("grant.unknown", 2),
        ("ticket.invalid", 2),
        ("policy.no_match", 2),
        ("policy.forbidden", 2),
        ("policy.error", 2),
        ("risk.user", 2),
        ("risk.device", 2),
        ("posture.disk_encryption", 2),
        ("device.blocked", 2),
        ("gateway.unavailable", 3),
        ("gateway.limit", 3),
        ("gateway.draining", 3),
        ("network.lost", 3),
        ("request.invalid", 1),
        ("something.new", 1),
    ];
    for (code, wanted) in table {
        assert_eq!(reply(&problem::new(code)).as_u8(), wanted, "{code}");
    }
}

proptest! {
    #[test]
    fn any_conversation_comes_to_an_end(bytes in proptest::collection::vec(any::<u8>(), 0..600), rest: Vec<u8>) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let _ = play(&bytes, None).await;
            let _ = play(&[OPEN, &rest].concat(), None).await;
            let _ = play(&[&[5, 1, 2, 1], rest.as_slice()].concat(), Some("s3cret")).await;
        });
    }
}
