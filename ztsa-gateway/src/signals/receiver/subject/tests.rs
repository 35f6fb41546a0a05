use std::path::Path;

use serde_json::{Value, json};
use ztsa_proto::jws::sha256_base64url;
use ztsa_proto::set::Subject as Named;
use ztsa_proto::time::UnixTime;

use super::*;
use crate::config::{Config, StoreUrl};
use crate::store::{SessionRow, User};

const NOW: UnixTime = UnixTime(1_000);
const CORP: &str = "https://corp.example";
const OTHER: &str = "https://other.example";

fn user(issuer: &str, subject: &str) -> UserId {
    UserId::new(issuer, subject).unwrap()
}

fn device(name: &str) -> DeviceId {
    sha256_base64url(name.as_bytes()).parse().unwrap()
}

/// Two issuers, each with a Jane at the same address, each with a device and a session.
fn store() -> Store {
    let store = Store::open(&StoreUrl::Memory).unwrap();
    for (issuer, subject, name) in
        [(CORP, "jane", "corp-laptop"), (OTHER, "jane", "other-laptop"), (CORP, "joe", "desk")]
    {
        let id = user(issuer, subject);
        let email = Some(format!("{subject}@corp.example"));
        store.record_user(User { id: id.clone(), name: None, email });
        store.upsert_seen(&id, &device(name), UnixTime(1));
        store.keep_session(SessionRow {
            id: name.parse().unwrap(),
            user: id,
            device: device(name),
            started_at: UnixTime(1),
            login_at: UnixTime(1),
            ends_at: UnixTime(9_999_999_999),
            identity: "{}".into(),
        });
    }
    store
}

fn transmitter(more: &str) -> std::sync::Arc<Transmitter> {
    let text = format!(
        "public_url = \"https://gw.example\"\n[tls]\ncert = \"a\"\nkey = \"b\"\n\
         [[issuer]]\nname = \"corp\"\nissuer = \"{CORP}\"\nclient_id = \"c\"\n\
         [[issuer]]\nname = \"other\"\nissuer = \"{OTHER}\"\nclient_id = \"c\"\n\
         [[signals.transmitter]]\nname = \"t\"\nissuer = \"https://t.example/\"\npush_token_file = \"p\"\n{more}\n"
    );
    Config::parse(&text, Path::new("/etc")).unwrap().signals.transmitters[0].clone()
}

fn find(more: &str, takes: bool, subject: &Value) -> Found {
    let (store, config) = (store(), transmitter(more));
    let critical = ["tenant".to_owned(), "zone".to_owned()];
    let finder =
        Finder { config: &config, resource: "https://gw.example", store: &store, critical: &critical, takes, now: NOW };
    finder.find(Some(&Named::read(subject).unwrap()))
}

fn about(more: &str, subject: &Value) -> Vec<String> {
    match find(more, true, subject) {
        Found::Some { about, .. } => about.iter().map(ToString::to_string).collect(),
        Found::Nobody(_) => Vec::new(),
    }
}

const ONE: &str = "people = [\"corp\"]\nemail_domains = [\"Corp.example\"]";

#[test]
fn a_person_is_found_by_issuer_and_subject_and_by_what_stands_for_them() {
    let jane = [format!("user {CORP}|jane")];
    let by = |iss: &str| json!({"format": "iss_sub", "iss": iss, "sub": "jane"});
    assert_eq!(about(ONE, &by(CORP)), jane);
    assert_eq!(about(ONE, &by("https://corp.example/")), jane);
    assert_eq!(about(ONE, &by("https://t.example/")), jane, "its own identifier means its only issuer");
    assert_eq!(about(ONE, &by(OTHER)), [""; 0], "of these people it may not speak");
    assert_eq!(about("people = [\"corp\", \"other\"]", &by("https://t.example")), [""; 0], "it could be either's");
    let alias = "people = [\"corp\"]\naliases = { \"https://corp.example/oauth2/default\" = \"corp\" }";
    assert_eq!(about(alias, &by("https://corp.example/oauth2/default")), jane);
    assert_eq!(about(ONE, &json!({"format": "opaque", "id": "jane"})), jane);
    assert_eq!(about(ONE, &json!({"format": "iss_sub", "iss": CORP, "sub": "nobody"})), [""; 0]);
    let aliases =
        json!({"format": "aliases", "identifiers": [by(CORP), {"format": "email", "email": "jane@corp.example"}]});
    assert_eq!(about(ONE, &aliases), jane);
}

#[test]
fn an_address_means_people_of_its_own_issuer_only_and_only_of_a_domain_that_it_speaks_for() {
    let jane = [format!("user {CORP}|jane")];
    let at = |address: &str| json!({"format": "email", "email": address});
    assert_eq!(about(ONE, &at("Jane@Corp.Example")), jane, "the Jane of the other issuer is another person");
    assert_eq!(about("people = [\"corp\"]", &at("jane@corp.example")), [""; 0], "it speaks for no domain");
    assert_eq!(about(ONE, &at("jane@evil.example")), [""; 0]);
    assert_eq!(about(ONE, &at("jane@corp.example@evil.example")), [""; 0]);
    assert_eq!(about(ONE, &at("corp.example")), [""; 0]);
    assert_eq!(about(ONE, &json!({"format": "account", "uri": "acct:jane@corp.example"})), jane);
}

#[test]
fn devices_and_sessions_are_found_by_our_own_names_for_them() {
    let laptop = device("corp-laptop");
    let opaque = |id: &str| json!({"format": "opaque", "id": id});
    assert_eq!(about(ONE, &opaque(laptop.as_str())), [format!("device {laptop}")]);
    assert_eq!(about(ONE, &opaque("corp-laptop")), ["session corp-laptop"]);
    let ours = json!({"format": "iss_sub", "iss": "https://gw.example/", "sub": laptop.as_str()});
    assert_eq!(about(ONE, &ours), [format!("device {laptop}")]);
    let uri = format!("urn:ietf:params:oauth:jwk-thumbprint:sha-256:{laptop}");
    assert_eq!(about(ONE, &json!({"format": "uri", "uri": uri})), [format!("device {laptop}")]);
    assert_eq!(about(ONE, &opaque(device("other-laptop").as_str())), [""; 0], "of another issuer's person");
    assert_eq!(about(ONE, &opaque("other-laptop")), [""; 0]);
}

#[test]
fn a_device_stays_its_persons_while_they_have_a_session_there_whoever_else_signs_in() {
    let (config, store, laptop) = (transmitter(ONE), store(), device("corp-laptop"));
    let find = || {
        let named = json!({"format": "opaque", "id": laptop.as_str()});
        let finder = Finder { config: &config, resource: "", store: &store, critical: &[], takes: true, now: NOW };
        finder.find(Some(&Named::read(&named).unwrap()))
    };
    let found = Found::Some { about: vec![Subject::Device(laptop.clone())], wider: false };
    // the same key, with a token of another issuer
    store.upsert_seen(&user(OTHER, "jane"), &laptop, NOW);
    assert_eq!(find(), found);
    store.end_session(&"corp-laptop".parse().unwrap(), NOW);
    assert_eq!(find(), Found::Nobody("its subject is nobody here"));
    store.upsert_seen(&user(CORP, "jane"), &laptop, NOW);
    assert_eq!(find(), found);
}

#[test]
fn members_of_a_complex_subject_narrow_one_another() {
    let user = json!({"format": "iss_sub", "iss": CORP, "sub": "jane"});
    let id = |id: &str| json!({"format": "opaque", "id": id});
    let laptop = device("corp-laptop");
    let complex = |members: Value| {
        let mut subject = members;
        subject["format"] = json!("complex");
        subject
    };
    let pair = format!("login {laptop} {CORP}|jane");
    assert_eq!(about(ONE, &complex(json!({"user": user, "device": id(laptop.as_str())}))), [pair]);
    assert_eq!(about(ONE, &complex(json!({"user": user, "session": id("corp-laptop")}))), ["session corp-laptop"]);
    assert_eq!(about(ONE, &complex(json!({"user": user, "session": id("desk")}))), [""; 0], "that is somebody else's");
    let jane = [format!("user {CORP}|jane")];
    // what is not known here widens what takes trust away, and hinders what gives it
    let unknown = complex(json!({"user": user, "session": id("dMTlD|1600802906337.16")}));
    assert_eq!(find(ONE, true, &unknown), Found::Some { about: vec![Subject::User(user_of(&jane[0]))], wider: true });
    assert!(matches!(find(ONE, false, &unknown), Found::Nobody(_)));
    // a person who is nobody here has no sessions here
    let nobody = json!({"format": "iss_sub", "iss": CORP, "sub": "nobody"});
    assert_eq!(about(ONE, &complex(json!({"user": nobody, "session": id("corp-laptop")}))), [""; 0]);
    // a tenant alone would be everybody
    assert_eq!(about(ONE, &complex(json!({"group": id("g")}))), [""; 0]);
    // a member that must be understood and is not
    assert_eq!(about(ONE, &complex(json!({"user": user, "zone": id("z")}))), [""; 0]);
    assert_eq!(about(ONE, &complex(json!({"user": user, "tenant": id("1")}))), [""; 0]);
    assert_eq!(about(ONE, &complex(json!({"user": user, "group": id("g")}))), jane);
    let tenant = format!("{ONE}\ntenant = \"1\"");
    assert_eq!(about(&tenant, &complex(json!({"user": user, "tenant": id("1")}))), jane);
    assert_eq!(about(&tenant, &complex(json!({"user": user, "tenant": id("2")}))), [""; 0]);
    assert_eq!(about(ONE, &complex(json!({"user": user, "application": id("https://gw.example/")}))), jane);
    assert_eq!(about(ONE, &complex(json!({"user": user, "application": id("salesforce")}))), [""; 0]);
}

fn user_of(text: &str) -> UserId {
    text.strip_prefix("user ").unwrap().parse().unwrap()
}

#[test]
fn what_nobody_here_can_know_means_nobody() {
    for subject in [
        json!({"format": "phone_number", "phone_number": "+12065550123"}),
        json!({"format": "did", "url": "did:example:123"}),
        json!({"format": "jwt_id", "iss": CORP, "jti": "x"}),
        json!({"format": "saml_assertion_id", "issuer": CORP, "assertion_id": "x"}),
        json!({"format": "ip-addresses", "ip-addresses": ["127.0.0.1"]}),
        json!({"format": "catalog_item", "catalog_id": "x"}),
    ] {
        assert_eq!(find(ONE, true, &subject), Found::Nobody("its subject is nobody here"), "{subject}");
    }
    let config = transmitter(ONE);
    let finder = Finder { config: &config, resource: "", store: &store(), critical: &[], takes: true, now: NOW };
    assert_eq!(finder.find(None), Found::Nobody("it names no subject"));
}
