use serde_json::json;

use super::*;
use crate::problem;

const JKT: &str = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I";

#[test]
fn claims_have_the_names_of_the_standards() {
    let claims = SessionClaims {
        iss: "https://gw.example".to_owned(),
        aud: "https://gw.example".to_owned(),
        sub: "https://idp.example|248".parse().unwrap(),
        client_id: "ztsa-cli".to_owned(),
        iat: UnixTime(1),
        exp: UnixTime(301),
        jti: "j".to_owned(),
        sid: "s".parse().unwrap(),
        cnf: Confirmation { jkt: JKT.parse().unwrap() },
        acr: Some("mfa".to_owned()),
        amr: vec!["pwd".to_owned(), "otp".to_owned()],
        auth_time: Some(UnixTime(1)),
        ztsa: SessionIdentity {
            issuer: "corp".to_owned(),
            name: None,
            email: None,
            groups: vec!["dev".to_owned()],
            started_at: UnixTime(1),
        },
    };
    let json = json!({"iss": "https://gw.example", "aud": "https://gw.example", "sub": "https://idp.example|248",
        "client_id": "ztsa-cli", "iat": 1, "exp": 301, "jti": "j", "sid": "s", "cnf": {"jkt": JKT}, "acr": "mfa",
        "amr": ["pwd", "otp"], "auth_time": 1, "ztsa": {"issuer": "corp", "groups": ["dev"], "started_at": 1}});
    assert_eq!(serde_json::to_value(&claims).unwrap(), json);
    assert_eq!(serde_json::from_value::<SessionClaims>(json.clone()).unwrap(), claims);
    for needed in ["iss", "aud", "sub", "client_id", "iat", "exp", "jti", "sid", "cnf", "ztsa"] {
        let mut cut = json.clone();
        cut.as_object_mut().unwrap().remove(needed);
        assert!(serde_json::from_value::<SessionClaims>(cut).is_err(), "{needed}");
    }
}

#[test]
fn a_newer_gateways_token_response_reads_and_hides_its_token() {
    let response: TokenResponse = serde_json::from_value(json!({
        "access_token": "s3cret", "token_type": "DPoP", "expires_in": 300, "later": 1,
        "ztsa": {"session": "s", "expires_at": 301, "later": {},
            "user": {"issuer": "https://idp.example", "subject": "248", "name": "Al\u{1b}[2Jice", "groups": ["dev"], "later": 1},
            "device": {"id": JKT, "state": "quarantined"},
            "risk": {"user": 40, "signals": [{"kind": "login_failures", "score": 40, "reason": "five\nin a row", "later": 1}]}}
    }))
    .unwrap();
    assert_eq!(response.access_token.expose(), "s3cret");
    assert!(!format!("{response:?}").contains("s3cret"));
    assert_eq!(response.ztsa.user.name.as_deref(), Some("Alice"));
    assert_eq!(response.ztsa.device.state, DeviceState::Unmanaged);
    assert_eq!(response.ztsa.risk.signals.first().unwrap().reason, "five in a row");
    let info = response.ztsa;
    assert_eq!(serde_json::from_value::<SessionInfo>(serde_json::to_value(&info).unwrap()).unwrap(), info);
}

#[test]
fn device_states_have_one_word() {
    for state in [DeviceState::Unmanaged, DeviceState::Approved, DeviceState::Blocked] {
        assert_eq!(serde_json::to_value(state).unwrap(), state.as_str());
        assert_eq!(serde_json::from_value::<DeviceState>(json!(state.as_str())).unwrap(), state);
    }
}

#[test]
fn an_oauth_error_carries_the_problem_beside_it() {
    let blocked = problem::new("device.blocked").with_decision("d1");
    let error = OAuthError::new("access_denied", "This device is blocked", Some(blocked));
    let json = serde_json::to_value(&error).unwrap();
    assert_eq!(
        (&json["error"], &json["code"], &json["decision"]),
        (&json!("access_denied"), &json!("device.blocked"), &json!("d1"))
    );
    assert_eq!(OAuthError::from_json(json.to_string().as_bytes()), Some(error.clone()));
    assert_eq!(error.to_string(), "This device is blocked");
}

#[test]
fn plain_oauth_errors_and_other_answers() {
    let plain = OAuthError::from_json(b"{\"error\":\"invalid_grant\",\"error_uri\":\"x\"}").unwrap();
    assert_eq!((plain.problem.as_ref(), plain.to_string().as_str()), (None, "invalid_grant"));
    assert_eq!(serde_json::to_value(&plain).unwrap(), json!({"error": "invalid_grant"}));
    let hostile = OAuthError::from_json(b"{\"error\":\"x\",\"error_description\":\"\\u001b[2Jgo\"}").unwrap();
    assert_eq!(hostile.error_description.as_deref(), Some("go"));
    for answer in ["", "{}", "<html>", "[]", "{\"error\":7}", "{\"error\":\"\"}"] {
        assert_eq!(OAuthError::from_json(answer.as_bytes()), None, "{answer}");
    }
    assert_eq!(
        OAuthError::from_json(format!("{{\"error\":\"x\",\"pad\":\"{}\"}}", "x".repeat(16_384)).as_bytes()),
        None
    );
}
