//! The page of issuers: what it tells administrators to write is what the gateway takes, and the tests that it names exist.

use std::fs;

use crate::binary::{command, ours};
use crate::folder::Folder;
use crate::process::finish;
use crate::program::certificate::Authority;

const PAGE: &str = include_str!("../../docs/reference/issuers.md");

/// The issuers that issue 3 names, and those that our tests run.
const ISSUERS: [&str; 13] = [
    "ztsa-idp",
    "oidc-provider",
    "Glewlwyd",
    "Keycloak",
    "Entra ID",
    "Okta",
    "Auth0",
    "Google",
    "authentik",
    "Zitadel",
    "Dex",
    "Authelia",
    "Kanidm",
];

fn section(name: &str) -> &'static str {
    let heading = format!("\n## {name}\n");
    let rest = PAGE.split_once(&heading).unwrap_or_else(|| panic!("no section on {name}")).1;
    rest.split("\n## ").next().unwrap()
}

#[test]
fn the_gateway_takes_every_configuration_of_the_page() {
    let (folder, authority) = (Folder::new("page"), Authority::new());
    let (cert, key) = authority.sign("gateway", "DNS:gw.example.com");
    folder.write("introspection.secret", "secret");
    folder.write("policies/empty.cedar", "");
    let mut checked = 0;
    for name in ISSUERS {
        let blocks: Vec<&str> =
            section(name).split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
        assert!(!blocks.is_empty(), "{name} has no configuration");
        for block in blocks {
            let config = format!(
                "public_url = \"https://gw.example.com\"\n[tls]\ncert = \"{}\"\nkey = \"{}\"\n{block}",
                cert.display(),
                key.display()
            );
            let config = folder.write("gateway.toml", &config);
            let mut check = command(ours("ztsa-gateway"));
            let outcome = finish(check.args(["check", "--config"]).arg(config));
            assert_eq!(outcome.code, Some(0), "{name}: {outcome}\n{block}");
            checked += 1;
        }
    }
    assert_eq!(checked, PAGE.matches("```toml\n").count(), "a configuration stands outside of the sections");
}

#[test]
fn every_issuer_is_marked_with_how_it_was_learnt_and_the_named_tests_exist() {
    let tests = fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/interop")).unwrap().flatten();
    let sources: String = tests.filter_map(|file| fs::read_to_string(file.path()).ok()).collect();
    for name in ISSUERS {
        let (row, text) = (PAGE.lines().find(|line| line.starts_with(&format!("| [{name}]("))).unwrap(), section(name));
        assert_eq!(row.contains("**tested**"), text.starts_with("\n**tested**"), "{name}");
        if text.starts_with("\n**tested**") {
            let names: Vec<&str> =
                text.split('`').filter(|word| word.len() > 20 && word.contains('_') && !word.contains(' ')).collect();
            let named: Vec<&&str> = names.iter().filter(|word| word.matches('_').count() >= 3).collect();
            assert!(!named.is_empty(), "{name} names no test");
            for test in named {
                assert!(sources.contains(&format!("fn {test}()")), "{name} names {test}, which is no test");
            }
        } else {
            assert!(text.starts_with("\n*From its documentation*: ["), "{name} does not name its documents");
            assert!(text.contains("](https://"), "{name} gives no address");
        }
    }
}
