//! What is remembered of issuers, so that a gateway cannot send people to another sign-in page unseen.

use std::fmt;

use serde::{Deserialize, Serialize};
use url::Url;
use ztsa_proto::{
    metadata::{IssuerInfo, ResourceMetadata},
    text::printable,
};

use super::IssuerMetadata;

/// An issuer as it was when a person first met it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Written")]
pub struct Pin {
    /// Its identifier.
    pub issuer: String,
    /// The client that people signed in as.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// The origin of its sign-in page, once somebody has signed in there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub page: Option<String>,
}

/// A pin as it stands in a file: in full, or the issuer alone.
#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Issuer(String),
    Full {
        issuer: String,
        #[serde(default)]
        client_id: Option<String>,
        #[serde(default)]
        page: Option<String>,
    },
}

impl From<Written> for Pin {
    fn from(written: Written) -> Self {
        match written {
            Written::Issuer(issuer) => Self { issuer, client_id: None, page: None },
            Written::Full { issuer, client_id, page } => Self { issuer, client_id, page },
        }
    }
}

/// Something about a sign-in that is not as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What has changed.
    pub what: Changed,
    /// As it was, fit to print.
    pub before: String,
    /// As it is now, fit to print.
    pub now: String,
}

/// What of a sign-in can change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changed {
    /// The gateway names another issuer.
    Issuer,
    /// The issuer is the same, the client to sign in as is not.
    Client,
    /// The issuer is the same, its sign-in page is at another place.
    Page,
}

impl fmt::Display for Changed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Issuer => "issuer",
            Self::Client => "client",
            Self::Page => "sign-in page",
        })
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} -> {}", self.what, self.before, self.now)
    }
}

/// Compares the issuer that a person is about to sign in at with what is pinned; nothing pinned means a first login.
///
/// An issuer that the gateway names besides, and that nobody signs in at, is no change; nor is one that is gone.
pub fn changes(pins: &[Pin], info: &IssuerInfo, metadata: &IssuerMetadata) -> Vec<Change> {
    if pins.is_empty() {
        return Vec::new();
    }
    let change = |what, before: &str, now: &str| Change { what, before: shown(before), now: shown(now) };
    let Some(pin) = pins.iter().find(|pin| pin.issuer == info.issuer) else {
        let before: Vec<&str> = pins.iter().map(|pin| pin.issuer.as_str()).collect();
        return vec![change(Changed::Issuer, &before.join(", "), &info.issuer)];
    };
    let pairs = [
        (Changed::Client, pin.client_id.clone(), Some(info.client_id.clone())),
        (Changed::Page, pin.page.clone(), page(metadata)),
    ];
    let differs = |(what, before, now): (_, Option<String>, Option<String>)| match (before, now) {
        (Some(before), Some(now)) if before != now => Some(change(what, &before, &now)),
        _ => None,
    };
    pairs.into_iter().filter_map(differs).collect()
}

/// Pins the issuer that somebody signed in at; at a first login, all that the gateway names.
pub fn pinned(
    mut pins: Vec<Pin>,
    gateway: &ResourceMetadata,
    info: &IssuerInfo,
    metadata: &IssuerMetadata,
) -> Vec<Pin> {
    if pins.is_empty() {
        pins = gateway.ztsa.issuers.iter().map(of).collect();
    }
    let page = page(metadata);
    match pins.iter_mut().find(|pin| pin.issuer == info.issuer) {
        Some(pin) => *pin = Pin { page: page.or(pin.page.take()), ..of(info) },
        None => pins.push(Pin { page, ..of(info) }),
    }
    pins
}

/// The issuers that a gateway names and nobody has met.
pub fn strangers<'m>(pins: &[Pin], gateway: &'m ResourceMetadata) -> Vec<&'m str> {
    let met = |issuer: &&str| pins.is_empty() || pins.iter().any(|pin| pin.issuer == **issuer);
    gateway.authorization_servers.iter().map(String::as_str).filter(|issuer| !met(issuer)).collect()
}

fn of(info: &IssuerInfo) -> Pin {
    Pin { issuer: info.issuer.clone(), client_id: Some(info.client_id.clone()), page: None }
}

/// The origin of the page that people give their password to.
fn page(metadata: &IssuerMetadata) -> Option<String> {
    let url = Url::parse(metadata.authorization_endpoint.as_deref()?).ok()?;
    Some(url.origin().ascii_serialization())
}

fn shown(text: &str) -> String {
    printable(text, 300)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn info(issuer: &str, client: &str) -> IssuerInfo {
        serde_json::from_value(json!({"issuer": issuer, "name": "corp", "client_id": client})).unwrap()
    }

    fn metadata(page: &str) -> IssuerMetadata {
        serde_json::from_value(json!({
            "issuer": "https://idp", "token_endpoint": "https://idp/token", "authorization_endpoint": page,
        }))
        .unwrap()
    }

    #[test]
    fn a_change_of_issuer_client_or_page_is_seen_and_a_new_neighbour_is_none() {
        let full = |issuer: &str| Pin {
            issuer: issuer.to_owned(),
            client_id: Some("ztsa".to_owned()),
            page: Some("https://idp".to_owned()),
        };
        let bare = Pin::from(Written::Issuer("https://idp".to_owned()));
        let (same, page) = (info("https://idp", "ztsa"), metadata("https://idp/authorize"));
        for (pins, info, metadata, expected) in [
            (vec![], &same, &page, ""),
            (vec![full("https://idp")], &same, &page, ""),
            (vec![full("https://old"), full("https://idp")], &same, &page, ""),
            (vec![bare], &same, &page, ""),
            (vec![full("https://old")], &same, &page, "issuer: https://old -> https://idp"),
            (vec![full("https://idp")], &info("https://idp", "other"), &page, "client: ztsa -> other"),
            (
                vec![full("https://idp")],
                &same,
                &metadata("https://evil.example/authorize"),
                "sign-in page: https://idp -> https://evil.example",
            ),
        ] {
            let found: Vec<String> = changes(&pins, info, metadata).iter().map(ToString::to_string).collect();
            assert_eq!(found.join("; "), expected, "{pins:?}");
        }
    }

    #[test]
    fn pins_of_both_forms_are_read() {
        let pins: Vec<Pin> =
            serde_json::from_str(r#"["https://a", {"issuer": "https://b", "client_id": "c"}]"#).unwrap();
        assert_eq!((pins[0].issuer.as_str(), pins[1].client_id.as_deref()), ("https://a", Some("c")));
        let again: Vec<Pin> = serde_json::from_str(&serde_json::to_string(&pins).unwrap()).unwrap();
        assert_eq!(pins, again);
    }
}
