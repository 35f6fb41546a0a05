use super::*;
use crate::config::User;
use crate::sign_in::Acr;

const NOW: UnixTime = UnixTime(1000);
const TTL: Duration = Duration::from_secs(100);
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

fn key(letter: char) -> DeviceId {
    letter.to_string().repeat(43).parse().unwrap()
}

fn grant(key: Option<DeviceId>) -> Grant {
    Grant {
        id: "grant".into(),
        ask: Ask { client: "cli".into(), scope: Scope::parse("openid"), resources: vec![], nonce: None, key },
        sign_in: Authentication { user: User::new("alice", &[]), at: NOW, acr: Acr::Password },
    }
}

fn families() -> Families {
    Families::new(hmac::Key::new(hmac::HMAC_SHA256, &[7; 32]))
}

#[test]
fn a_code_is_exchanged_once_and_only_by_who_asked_for_it() {
    let shown =
        Redemption { code: "c", client: "cli", redirect: Some("http://127.0.0.1:1/"), verifier: VERIFIER, key: None };
    let (right, wrong) = (key('A'), key('E'));
    let table = [
        (Redemption { code: "d", ..shown }, CodeError::Unknown),
        (Redemption { client: "other", ..shown }, CodeError::Unknown),
        (Redemption { redirect: None, ..shown }, CodeError::Redirect),
        (Redemption { redirect: Some("http://127.0.0.1:2/"), ..shown }, CodeError::Redirect),
        (Redemption { verifier: "x", ..shown }, CodeError::Verifier),
        (shown, CodeError::Key),
        (Redemption { key: Some(&wrong), ..shown }, CodeError::Key),
    ];
    let mut codes = Codes::new();
    let code = (grant(Some(right.clone())), "http://127.0.0.1:1/".to_owned(), CHALLENGE.to_owned());
    codes.add("c".into(), code, NOW.plus(TTL), NOW);
    for (shown, error) in table {
        assert_eq!(codes.redeem(shown, NOW).unwrap_err(), error, "{shown:?}");
    }
    let shown = Redemption { key: Some(&right), ..shown };
    assert_eq!(codes.redeem(shown, NOW).unwrap().id, "grant");
    assert_eq!(codes.redeem(shown, NOW).unwrap_err(), CodeError::Reused("grant".into()));
    assert_eq!(codes.redeem(shown, NOW.plus(TTL)).unwrap_err(), CodeError::Unknown);
}

#[test]
fn a_used_refresh_token_ends_the_family() {
    let mut families = families();
    let first = families.start(grant(None), None, TTL, NOW);
    let second = families.rotate(&first, ("cli", None), TTL, NOW).unwrap().token;
    let third = families.rotate(&second, ("cli", None), TTL, NOW).unwrap().token;
    assert_ne!(second, third);
    let reused = families.rotate(&first, ("cli", None), TTL, NOW).unwrap_err();
    assert_eq!(reused, RefreshError::Reused("grant".into()));
    assert_eq!(families.rotate(&third, ("cli", None), TTL, NOW).unwrap_err(), RefreshError::Unknown);
}

#[test]
fn a_wrong_key_client_or_forged_token_changes_nothing() {
    let mut families = families();
    let bound = key('A');
    let first = families.start(grant(None), Some(bound.clone()), TTL, NOW);
    let forged = first.replacen(".0.", ".1.", 1);
    let longer = format!("{first}.x");
    let table = [
        (first.as_str(), "cli", None, RefreshError::Key),
        (first.as_str(), "cli", Some(key('E')), RefreshError::Key),
        (first.as_str(), "other", Some(bound.clone()), RefreshError::Unknown),
        (forged.as_str(), "cli", Some(bound.clone()), RefreshError::Unknown),
        (longer.as_str(), "cli", Some(bound.clone()), RefreshError::Unknown),
        ("", "cli", Some(bound.clone()), RefreshError::Unknown),
        ("a.b.c", "cli", Some(bound.clone()), RefreshError::Unknown),
    ];
    for (token, client, key, error) in table {
        assert_eq!(families.rotate(token, (client, key.as_ref()), TTL, NOW).unwrap_err(), error, "{token} {client}");
    }
    assert!(families.rotate(&first, ("cli", Some(&bound)), TTL, NOW).is_ok());
}

#[test]
fn a_refresh_token_lives_from_its_last_use() {
    let mut families = families();
    let first = families.start(grant(None), None, TTL, NOW);
    let second = families.rotate(&first, ("cli", None), TTL, UnixTime(1099)).unwrap().token;
    assert!(families.current(&second, UnixTime(1198)).is_some());
    assert_eq!(families.rotate(&second, ("cli", None), TTL, UnixTime(1199)).unwrap_err(), RefreshError::Unknown);
}

proptest::proptest! {
    #[test]
    fn text_that_is_not_a_token_is_unknown(id in "[a-z.]{0,8}", generation in "[0-9]{0,25}", mac in "\\PC{0,50}") {
        let mut families = families();
        families.start(grant(None), None, TTL, NOW);
        for token in [format!("{id}.{generation}.{mac}"), format!("grant.{generation}.{mac}"), mac] {
            let refused = families.rotate(&token, ("cli", None), TTL, NOW).unwrap_err();
            proptest::prop_assert_eq!(refused, RefreshError::Unknown);
        }
    }
}
