//! The files as people have them: databases of MaxMind's format and lists, whole and damaged.

use std::path::{Path, PathBuf};

use super::*;
use crate::config::Config;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lookup/fixtures").join(name)
}

fn configured(geoip: &[PathBuf], destinations: &[PathBuf]) -> Risk {
    let text = "public_url = \"https://gw.example\"\n[tls]\ncert = \"c\"\nkey = \"k\"\n[[issuer]]\nname = \"i\"\nissuer = \"https://idp.example\"\nclient_id = \"c\"\n";
    let mut config = Config::parse(text, Path::new("/")).unwrap();
    config.risk.geoip = geoip.to_vec();
    config.risk.destinations = destinations.to_vec();
    config.risk
}

/// What the fixtures hold.
pub(crate) fn lookup() -> Lookup {
    let geoip = [fixture("places.mmdb"), fixture("networks.mmdb")];
    Lookup::read(&configured(&geoip, &[fixture("bad.txt")])).unwrap()
}

fn place(lookup: &Lookup, address: &str) -> Place {
    lookup.place(address.parse().unwrap())
}

#[test]
fn an_address_has_the_place_of_one_database_and_the_network_of_another() {
    let lookup = lookup();
    let berlin = place(&lookup, "192.0.2.10");
    assert_eq!(berlin.country, Some(Country { code: "DE".to_owned(), name: "Germany".to_owned() }));
    assert_eq!(berlin.city.as_deref(), Some("Berlin"));
    assert_eq!(berlin.network.to_string(), "Example Telekom (AS64496)");
    assert_eq!(berlin.point.map(|point| point.radius), Some(20.0));
    assert_eq!(place(&lookup, "::ffff:192.0.2.10"), berlin, "an IPv4 address in IPv6 clothes is the same place");
    assert_eq!(place(&lookup, "2001:db8:1::7").city.as_deref(), Some("Berlin"));
    let oslo = place(&lookup, "198.51.100.1");
    let way = berlin.point.unwrap().distance(&oslo.point.unwrap());
    assert!((780.0..820.0).contains(&way), "Berlin to Oslo is 838 km, less 40 km of uncertainty: {way}");
    assert_eq!(lookup.country("203.0.113.200".parse().unwrap()), "US");
}

#[test]
fn an_address_that_nobody_knows_has_a_network_and_no_country() {
    for lookup in [lookup(), Lookup::default()] {
        for (address, network) in [("10.1.2.3", "10.1.2.0/24"), ("2001:db8:ffff:1::2", "2001:db8:ffff::/48")] {
            let found = place(&lookup, address);
            assert_eq!((found.country, found.point, found.network.id.as_str()), (None, None, network));
            assert_eq!(lookup.country(address.parse().unwrap()), "");
        }
    }
}

#[test]
fn a_list_means_its_names_and_what_is_below_them_and_its_addresses() {
    let lookup = lookup();
    for (name, entry) in [
        ("bad.example", Some("bad.example")),
        ("BAD.example.", Some("bad.example")),
        ("cdn.ads.bad.test", Some("ads.bad.test")),
        ("a.wild.example", Some("wild.example")),
        ("trailing.example", Some("trailing.example")),
        ("xn--bcher-kva.example", Some("xn--bcher-kva.example")),
        ("notbad.example", None),
        ("bad.test", None),
        ("example", None),
        ("localhost", None),
    ] {
        let found = lookup.listed_name(name);
        assert_eq!(found.as_ref().map(|found| found.entry.as_str()), entry, "{name}");
        assert!(found.is_none_or(|found| found.list == "bad.txt"));
    }
    for (address, entry) in [
        ("203.0.113.9", Some("203.0.113.9")),
        ("::ffff:203.0.113.9", Some("203.0.113.9")),
        ("203.0.113.100", Some("203.0.113.64/26")),
        ("2001:db8:bad:1::1", Some("2001:db8:bad::/48")),
        ("203.0.113.10", None),
        ("2001:db8:bae::1", None),
        ("127.0.0.1", None),
        ("0.0.0.0", None),
    ] {
        let found = lookup.listed_address(address.parse().unwrap());
        assert_eq!(found.map(|found| found.entry).as_deref(), entry, "{address}");
    }
}

#[test]
fn a_file_that_is_missing_or_damaged_is_named_with_what_to_do() {
    let dir = std::env::temp_dir().join(format!("ztsa-lookup-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let whole = std::fs::read(fixture("places.mmdb")).unwrap();
    let mut holed = whole.clone();
    holed[700..800].fill(0xff);
    for (name, bytes) in
        [("cut.mmdb", &whole[..whole.len() / 2]), ("text.mmdb", b"no database"), ("holed.mmdb", &holed)]
    {
        std::fs::write(dir.join(name), bytes).unwrap();
        let error = Lookup::read(&configured(&[dir.join(name)], &[])).unwrap_err().to_string();
        assert!(error.contains(name) && error.contains("Download it again"), "{error}");
    }
    for (text, line, said) in [
        ("bad.example\nhttps://bad.example/x\n", 2, "is no name"),
        ("bad.example good.example\n", 1, "is no address"),
        ("# list\n\n10.0.0.0/33\n", 3, "is no name"),
        ("\u{feff}# as some editors begin a file\n10.0.0.0/33\n", 2, "is no name"),
    ] {
        std::fs::write(dir.join("list.txt"), text).unwrap();
        let error = Lookup::read(&configured(&[], &[dir.join("list.txt")])).unwrap_err().to_string();
        assert!(error.contains(&format!("list.txt:{line}: ")) && error.contains(said), "{error}");
    }
    let absent = dir.join("absent");
    for risk in [
        configured(std::slice::from_ref(&absent), &[]),
        configured(&[], &[absent]),
        configured(&[], std::slice::from_ref(&dir)),
    ] {
        let error = Lookup::read(&risk).unwrap_err().to_string();
        assert!(error.contains("cannot be read") && error.contains("Check the path"), "{error}");
    }
    std::fs::remove_dir_all(&dir).unwrap();
}

#[test]
fn a_database_that_somebody_damaged_says_so_or_answers_and_never_ends_the_gateway() {
    use proptest::prelude::*;
    let dir = std::env::temp_dir().join(format!("ztsa-lookup-any-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let file = dir.join("any.mmdb");
    let whole = std::fs::read(fixture("places.mmdb")).unwrap();
    let addresses = ["192.0.2.10", "198.51.100.1", "203.0.113.200", "2001:db8:2::1", "255.255.255.255", "::"];
    proptest!(ProptestConfig::with_cases(1500), |(hands in prop::collection::vec((0..whole.len(), any::<u8>()), 1..6))| {
        let mut bytes = whole.clone();
        for (at, with) in hands {
            bytes[at] = with;
        }
        std::fs::write(&file, &bytes).unwrap();
        if let Ok(lookup) = Lookup::read(&configured(std::slice::from_ref(&file), &[])) {
            for address in addresses {
                let found = place(&lookup, address);
                let text = serde_json::to_string(&found).unwrap();
                prop_assert!(serde_json::from_str::<Place>(&text).is_ok(), "it can be kept and restored: {}", text);
            }
        }
    });
    std::fs::remove_dir_all(&dir).unwrap();
}
