use serde_json::{Value, json};

use super::*;

fn document() -> Value {
    let at = |path: &str| format!("https://gw.example/ztsa/v1/{path}");
    json!({
        "resource": "https://gw.example",
        "authorization_servers": ["https://idp.example"],
        "bearer_methods_supported": ["header"],
        "dpop_signing_alg_values_supported": ["ES256"],
        "dpop_bound_access_tokens_required": true,
        "scopes_supported": ["a member of the RFC that nobody reads here"],
        "ztsa": {
            "version": 1, "later": {"x": 1},
            "token_endpoint": at("token"), "session_endpoint": at("session"), "apps_endpoint": at("apps"),
            "grants_endpoint": at("grants"), "tickets_endpoint": at("tickets"), "why_endpoint": at("why"),
            "posture_endpoint": at("posture"), "events_endpoint": at("events"),
            "tunnel_template": "https://gw.example/.well-known/masque/tcp/{target_host}/{target_port}/",
            "issuers": [{"issuer": "https://idp.example", "name": "corp", "client_id": "ztsa-cli", "device_flow": true, "later": 1}],
            "workload": [{"name": "deploy", "issuer": "https://ci.example", "audience": "https://gw.example", "later": 1}],
        },
    })
}

fn read(document: &Value, gateway: &str) -> Result<ResourceMetadata, MetadataError> {
    ResourceMetadata::from_json(document.to_string().as_bytes(), &Url::parse(gateway).unwrap())
}

#[test]
fn reads_a_newer_gateways_document_and_writes_it_again() {
    let metadata = read(&document(), "https://gw.example/").unwrap();
    assert_eq!(metadata.ztsa.issuers.first().unwrap().client_id, "ztsa-cli");
    assert_eq!(metadata.ztsa.workload.first().unwrap().audience, "https://gw.example");
    assert!(metadata.ztsa.tunnel_template.ends_with("/{target_host}/{target_port}/"));
    assert_eq!(read(&serde_json::to_value(&metadata).unwrap(), "https://gw.example"), Ok(metadata));
}

#[test]
fn the_resource_must_be_the_gateway_that_was_asked() {
    for found in [
        "https://gw.example.evil",
        "http://gw.example",
        "https://gw.example:8443",
        "https://gw.example/x",
        "x\u{1b}[2J",
    ] {
        let mut document = document();
        document["resource"] = json!(found);
        let error = read(&document, "https://gw.example").unwrap_err();
        assert!(matches!(error, MetadataError::Resource { .. }), "{found}: {error}");
        assert!(!error.to_string().contains('\u{1b}'));
    }
}

#[test]
fn every_endpoint_must_lie_at_the_gateway() {
    let names = document()["ztsa"].as_object().unwrap().clone();
    let endpoints = names.keys().filter(|name| name.ends_with("_endpoint") || *name == "tunnel_template");
    let mut walked = 0;
    for name in endpoints {
        for elsewhere in
            ["https://evil.example/ztsa/v1/x", "http://gw.example/x", "/ztsa/v1/x", "https://u@gw.example/x"]
        {
            let mut document = document();
            document["ztsa"][name] = json!(elsewhere);
            let error = read(&document, "https://gw.example").unwrap_err();
            assert!(matches!(error, MetadataError::Endpoint { name: told } if told == name), "{name}: {error}");
        }
        walked += 1;
    }
    assert_eq!(walked, 9);
}

#[test]
fn another_version_says_so_even_in_another_form() {
    let later = json!({"ztsa": {"version": 2, "everything": "changed"}});
    assert_eq!(read(&later, "https://gw.example"), Err(MetadataError::Version { found: 2 }));
}

#[test]
fn other_answers_are_refused() {
    let gateway = Url::parse("https://gw.example").unwrap();
    for answer in ["", "<html>Please sign in to the hotel's network</html>", "{}", "[]", "null"] {
        assert_eq!(
            ResourceMetadata::from_json(answer.as_bytes(), &gateway),
            Err(MetadataError::NotMetadata),
            "{answer}"
        );
    }
    let large = vec![b' '; 64 * 1024 + 1];
    assert_eq!(ResourceMetadata::from_json(&large, &gateway), Err(MetadataError::TooLarge));
}
