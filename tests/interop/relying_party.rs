//! Our development issuer against a relying party that others wrote and certified.

use serde_json::{Value, json};

use crate::binary::{command, ours};
use crate::folder::Folder;
use crate::process::{Process, finish};
use crate::program::node::node;

#[test]
fn openid_client_signs_in_at_ztsa_idp_both_ways_and_refreshes() {
    let folder = Folder::new("relying-party");
    let resource = "https://gw.example.com";
    let mut idp = command(ours("ztsa-idp"));
    idp.args(["--approve", "alice", "--json", "--dpop-nonce", "--audience", resource]);
    let mut idp = Process::start("ztsa-idp", &folder, &mut idp);
    let ready: Value = serde_json::from_str(&idp.line("\"ready\"")).unwrap();
    let issuer = ready["issuer"].as_str().unwrap();
    let script = include_str!("oidc_provider/relying_party.mjs");
    let report = finish(node(&folder, "relying_party.mjs", script).args([issuer, resource])).ok();
    let report: Value = serde_json::from_str(&report).unwrap_or_else(|error| panic!("{report}: {error}"));
    assert_eq!(report["device"], json!({"type": "dpop", "sub": "alice", "groups": ["dev"]}));
    assert_eq!(report["userinfo"]["email"], "alice@example.com", "{report}");
    assert_eq!(report["renewed"], json!({"type": "dpop", "rotated": true}));
    assert_eq!(report["reused"], "invalid_grant", "a spent refresh token must be refused");
    assert_eq!(report["browser"], json!({"type": "dpop", "sub": "alice"}));
}
