//! A client that others could have written: public libraries and the standards alone, at our gateway.

use serde_json::{Value, json};

use crate::folder::Folder;
use crate::gateway::{App, Gateway, Issuer, future_url};
use crate::process::finish;
use crate::program::certificate::Authority;
use crate::program::http_server::{HttpServer, PAGE};
use crate::program::idp::Idp;
use crate::program::node::node;
use crate::program::oidc_provider::{OidcProvider, SCOPES};

/// Wants more of who opens the vault than a password.
pub const STRONGER: &str = r#"
@id("interop-vault")
@reason("The vault wants a second factor.")
@step_up("mfa")
@max_age("5m")
forbid (principal, action == Action::"connect", resource == App::"vault")
unless { context.auth.acr == "mfa" && context.auth.age <= 300 };
"#;

fn goes_the_whole_road(issuer: &str, audience: &str, port: u16) {
    let folder = Folder::new("outsider");
    let (server, authority) = (HttpServer::start(), Authority::new());
    let issuer = Issuer { url: issuer, audience, port, scopes: &SCOPES };
    let apps = [App("handbook", "http", server.port, &[]), App("vault", "http", server.port, &[])];
    let gateway = Gateway::run_with(&apps, &authority, &issuer, "", STRONGER);
    let mut outsider = node(&folder, "outsider.mjs", include_str!("oidc_provider/outsider.mjs"));
    outsider.args([&gateway.url, "handbook", "vault"]).env("NODE_EXTRA_CA_CERTS", &gateway.ca);
    let report = finish(&mut outsider).ok();
    let report: Value = serde_json::from_str(&report).unwrap_or_else(|error| panic!("{report}: {error}"));
    assert_eq!(report["discovery"], json!({"resource": true, "dpop": true, "header": ["header"]}), "{report:#}");
    let session = &report["session"];
    assert_eq!((&session["type"], &session["bound"]), (&json!("dpop"), &json!(true)), "{report:#}");
    assert_eq!(session["issued"], "urn:ietf:params:oauth:token-type:access_token", "{report:#}");
    assert_eq!(session["signed_in"], "number", "{report:#}");
    assert_eq!(report["apps"], json!([["handbook", "open"], ["vault", "step_up"]]), "{report:#}");
    assert_eq!(report["bearer"], 401, "a token that is bound to a key is no bearer's: {report:#}");
    assert_eq!(report["extended_connect"], true, "{report:#}");
    assert_eq!((&report["tunnel"]["status"], &report["tunnel"]["capsules"]), (&json!(200), &json!("?1")), "{report:#}");
    assert!(report["tunnel"]["text"].as_str().unwrap().ends_with(PAGE), "{report:#}");
    assert_eq!(report["unknown"], 404, "{report:#}");
    let challenge =
        json!({"status": 401, "error": "insufficient_user_authentication", "acr_values": "mfa", "max_age": "300"});
    assert_eq!(report["step_up"], challenge, "{report:#}");
    assert_eq!(report["stepped_up"], json!({"same_session": true, "acr": "mfa", "status": 200}), "{report:#}");
    assert_eq!(server.requests().matches("GET / ").count(), 2);
}

#[test]
fn a_client_of_public_libraries_goes_the_whole_road_behind_oidc_provider() {
    let (audience, port) = future_url();
    let provider = OidcProvider::start(&audience);
    goes_the_whole_road(&provider.issuer, &audience, port);
}

#[test]
fn a_client_of_public_libraries_goes_the_whole_road_behind_ztsa_idp() {
    let (audience, port) = future_url();
    let idp = Idp::start(&["--dpop-nonce", "--audience", &audience]);
    goes_the_whole_road(&idp.issuer, &audience, port);
}
