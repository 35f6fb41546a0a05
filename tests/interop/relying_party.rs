//! Our development issuer against a relying party that others wrote and certified.

use serde_json::{Value, json};

use crate::folder::Folder;
use crate::process::finish;
use crate::program::idp::Idp;
use crate::program::node::node;

#[test]
fn openid_client_finds_ztsa_idp_to_keep_every_rule() {
    let folder = Folder::new("relying-party");
    let resource = "https://gw.example.com";
    let idp = Idp::start(&["--dpop-nonce", "--audience", resource]);
    let script = include_str!("oidc_provider/relying_party.mjs");
    let report = finish(node(&folder, "relying_party.mjs", script).args([&idp.issuer, resource])).ok();
    let report: Value = serde_json::from_str(&report).unwrap_or_else(|error| panic!("{report}: {error}"));
    let consent = "Let ztsa command line act for you?";
    let expected = json!({
        "discovery": {"same": true, "pkce": true},
        "code": {"type": "dpop", "sub": "alice", "acr": "pwd", "amr": ["pwd"], "groups": ["dev"], "iss": true,
            "pages": ["Sign in", consent]},
        "denied": "access_denied",
        "step_up": {"pages": ["Sign in + code", consent], "acr": "mfa", "amr": ["pwd", "otp", "mfa"], "fresh": true},
        "prompt_login": ["Sign in", consent],
        "prompt_none": "consent_required",
        "access": {"acr": "mfa", "client": "ztsa-cli", "bound": true},
        "wrong_verifier": "invalid_grant",
        "code_twice": "invalid_grant",
        "after_code_twice": false,
        "eager": ["authorization_pending", "slow_down"],
        "approved": "Approved",
        "device": {"type": "dpop", "sub": "alice", "groups": ["dev"]},
        "device_denied": "access_denied",
        "userinfo": {"email": "alice@example.com", "groups": ["dev"]},
        "userinfo_other_key": "invalid_token",
        "userinfo_bearer": "invalid_token",
        "introspection": {"active": true, "sub": "alice", "bound": true, "audience": resource},
        "introspection_public": "OAUTH_WWW_AUTHENTICATE_CHALLENGE",
        "refresh_other_key": "invalid_grant",
        "renewed": {"type": "dpop", "rotated": true, "same_sign_in": true},
        "reused": "invalid_grant",
        "family": "invalid_grant",
        "revoked_by_another_client": true,
        "revoked": {"active": false, "refresh": "invalid_grant"},
        "logout": "http://127.0.0.1:45678/callback?state=out",
        "after_logout": ["Sign in", consent],
    });
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(&report[name], value, "{name} in {report:#}");
    }
    assert_eq!(report.as_object().unwrap().len(), expected.as_object().unwrap().len(), "{report:#}");
}
