use std::net::IpAddr;

use proptest::prelude::*;

use super::*;

#[test]
fn app_names_are_one_lower_case_label() {
    for good in ["a", "db-prod", "3scale", "x1", &"a".repeat(63)] {
        assert_eq!(good.parse::<AppName>().unwrap().to_string(), good);
    }
    for (bad, told) in [
        ("", "is empty"),
        ("Db", "holds 'D'"),
        ("db prod", "holds ' '"),
        ("db.prod", "holds '.'"),
        ("-db", "shape"),
        ("db-", "shape"),
        ("42", "shape"),
        ("0x7f", "shape"),
        ("ä", "holds 'ä'"),
        (&"a".repeat(64), "at most 63"),
    ] {
        let error = bad.parse::<AppName>().unwrap_err().to_string();
        assert!(error.contains(told), "{bad}: {error}");
    }
}

#[test]
fn host_names_are_folded_and_addresses_found() {
    for (text, canonical) in [
        ("DB.Prod.Internal", "db.prod.internal"),
        ("db.prod.internal.", "db.prod.internal"),
        ("_sip._tcp.example", "_sip._tcp.example"),
        ("127.0.0.1", "127.0.0.1"),
        ("[::1]", "::1"),
        ("2001:DB8:0::1", "2001:db8::1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("xn--zrich-kva.example", "xn--zrich-kva.example"),
        ("1.example", "1.example"),
    ] {
        assert_eq!(text.parse::<HostName>().unwrap().to_string(), canonical, "{text}");
    }
    assert_eq!("127.0.0.1".parse::<HostName>().unwrap().ip(), Some(IpAddr::from([127, 0, 0, 1])));
    assert_eq!("localhost".parse::<HostName>().unwrap().ip(), None);
    assert_eq!("localhost".parse::<HostName>().unwrap().dns(), Some("localhost"));
}

#[test]
fn odd_hosts_are_refused() {
    let long = ["a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(63)].join(".");
    for bad in [
        "",
        ".",
        "..",
        "a..b",
        ".a",
        "-oProxyCommand=x",
        "-a",
        "a-",
        "a b",
        "a/b",
        "a:b",
        "a\0b",
        "zürich.example",
        "[::1",
        "[127.0.0.1]",
        "fe80::1%eth0",
        "127.1",
        "0x7f.0.0.1",
        "0X7F000001",
        "2130706433",
        "010.0.0.1",
        "1.2.3.4.5",
        "256.1.1.1",
        "a.0x",
        "user@host",
        &"a".repeat(64),
        &long,
    ] {
        assert!(bad.parse::<HostName>().is_err(), "{bad}");
    }
}

#[test]
fn destinations_need_a_host_and_a_port() {
    for good in ["db-prod:5432", "10.0.0.5:22", "[::1]:22", "a.example:65535"] {
        assert_eq!(good.parse::<Destination>().unwrap().to_string(), good);
    }
    for bad in ["", "a", "a:", "a:0", "a:65536", "a:+1", "a: 1", ":22", "::1:22", "[::1]", "a:b:1", "a:1\n"] {
        assert!(bad.parse::<Destination>().is_err(), "{bad}");
    }
}

#[test]
fn ids_are_opaque_and_bounded() {
    assert_eq!("aZ9_-".parse::<SessionId>().unwrap().as_str(), "aZ9_-");
    for bad in ["", "a b", "a\n", "ä", "a.b", &"a".repeat(65)] {
        assert!(bad.parse::<SessionId>().is_err(), "{bad}");
    }
    let (one, other) = (GrantId::random(), GrantId::random());
    assert_ne!(one, other);
    assert_eq!(one.as_str().len(), 22);
    assert_eq!(one.to_string().parse::<GrantId>().unwrap(), one);
    assert_eq!("7".parse::<TunnelId>().unwrap(), TunnelId(7));
    for bad in ["", "+7", "-7", " 7", "18446744073709551616"] {
        assert!(bad.parse::<TunnelId>().is_err(), "{bad}");
    }
}

#[test]
fn device_ids_are_thumbprints() {
    let id = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I";
    assert_eq!(id.parse::<DeviceId>().unwrap().as_str(), id);
    for bad in ["", "0ZcOCORZNYy", &id.replace('-', "+"), &id.replace("A4I", "A4J"), &format!("{id}=")] {
        assert!(bad.parse::<DeviceId>().is_err(), "{bad}");
    }
}

#[test]
fn users_are_issuer_and_subject() {
    let user: UserId = "https://idp.example.com|auth0|248".parse().unwrap();
    assert_eq!((user.issuer.as_str(), user.subject.as_str()), ("https://idp.example.com", "auth0|248"));
    assert_eq!(user.to_string(), "https://idp.example.com|auth0|248");
    for bad in ["", "|", "https://idp.example.com|", "|x", "alice", "https://a|b\u{1b}[2J"] {
        assert!(bad.parse::<UserId>().is_err(), "{bad}");
    }
    assert!(UserId::new("a|b", "c").is_err());
}

#[test]
fn json_holds_names_as_text_and_checks_them() {
    let app: AppName = serde_json::from_str("\"db-prod\"").unwrap();
    assert_eq!(serde_json::to_string(&app).unwrap(), "\"db-prod\"");
    assert_eq!(serde_json::from_str::<AppName>("\"d\\u0062\"").unwrap().as_str(), "db");
    assert!(serde_json::from_str::<AppName>("\"DB\"").unwrap_err().to_string().contains("lower-case"));
    assert_eq!(serde_json::to_string(&TunnelId(7)).unwrap(), "\"7\"");
}

proptest! {
    #[test]
    fn whatever_parses_prints_and_parses_again(text in "[ -~]{0,80}|[a-z0-9.:\\[\\]-]{0,30}") {
        if let Ok(name) = text.parse::<AppName>() {
            prop_assert_eq!(name.to_string(), &*text);
            prop_assert_eq!(text.parse::<HostName>().unwrap(), HostName::from(&name));
        }
        if let Ok(host) = text.parse::<HostName>() { prop_assert_eq!(host.to_string().parse::<HostName>().unwrap(), host); }
        if let Ok(to) = text.parse::<Destination>() { prop_assert_eq!(to.to_string().parse::<Destination>().unwrap(), to); }
        if let Ok(user) = text.parse::<UserId>() { prop_assert_eq!(user.to_string(), &*text); }
        if let Ok(id) = text.parse::<SessionId>() { prop_assert_eq!(id.to_string(), &*text); }
    }

    #[test]
    fn every_address_is_a_host_and_a_destination(address: IpAddr, port in 1u16..) {
        let host = address.to_string().parse::<HostName>().unwrap();
        prop_assert_eq!(host.ip(), Some(address.to_canonical()));
        let to = Destination::new(host, port).unwrap();
        prop_assert_eq!(to.to_string().parse::<Destination>().unwrap(), to);
    }
}
