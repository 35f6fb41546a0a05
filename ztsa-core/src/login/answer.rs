//! A token endpoint's answer, read leniently where issuers differ and strictly where it matters.

use std::time::Duration;

use oauth2::DeviceCodeErrorResponseType as Code;
use serde::{Deserialize, Deserializer, de};
use ztsa_proto::{secret::Secret, text::printable, time::UnixTime};

use super::{Flow, IssuerTokens};
use crate::http::{HttpError, Response};

/// How long an access token is taken to live when the issuer does not say (RFC 6749 5.1 makes it optional).
const DEFAULT_LIFETIME: u64 = 300;
/// What is kept of an error's description, in characters.
const SAID_LIMIT: usize = 400;

/// A well-formed OAuth error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: Code,
    description: Option<String>,
}

impl Refusal {
    /// Reads an error from an answer of any status: some issuers send errors with 200.
    pub(crate) fn read(response: &Response) -> Option<Self> {
        let read: oauth2::DeviceCodeErrorResponse = serde_json::from_slice(&response.body).ok()?;
        Some(Self { code: read.error().clone(), description: read.error_description().map(|text| plain(text)) })
    }

    /// The error as a person reads it.
    pub(crate) fn said(&self) -> String {
        let code = plain(self.code.as_ref());
        match &self.description {
            Some(text) if !text.is_empty() => format!("{text} ({code})"),
            _ => code,
        }
    }

    /// Whether the organisation forbids this flow, rather than the person or the code being wrong.
    pub(crate) fn is_policy(&self, flow: Flow) -> bool {
        is_policy(flow, self.code.as_ref(), self.description.as_deref().unwrap_or_default())
    }

    #[cfg(test)]
    pub(super) fn new(code: &str, description: Option<&str>) -> Self {
        let code = serde_json::from_value(serde_json::json!(code)).unwrap();
        Self { code, description: description.map(str::to_owned) }
    }
}

/// Entra ID's numbers for a flow that the organisation has blocked by Conditional Access.
const BLOCKED: [&str; 5] = ["AADSTS53003", "AADSTS530032", "AADSTS530033", "AADSTS530034", "AADSTS530035"];
/// Entra ID's numbers for a device that policy wants to know, which the device flow can never show (53000 to 53002), and
/// for a client that may not sign in without a secret there (7000218).
const BLOCKED_DEVICE: [&str; 4] = ["AADSTS53000", "AADSTS53001", "AADSTS53002", "AADSTS7000218"];

/// Whether an error says that the organisation forbids this flow.
pub(super) fn is_policy(flow: Flow, code: &str, text: &str) -> bool {
    let device: &[&str] = if flow == Flow::Device { &BLOCKED_DEVICE } else { &[] };
    let named = |number: &&str| text.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| word == *number);
    BLOCKED.iter().chain(device).any(named)
        || matches!(code, "unauthorized_client" | "unsupported_grant_type" | "unsupported_response_type")
}

/// Whether a body ends in the middle: an empty one, or the beginning of JSON.
pub(super) fn is_cut(body: &[u8]) -> bool {
    serde_json::from_slice::<de::IgnoredAny>(body).is_err_and(|error| error.is_eof())
}

/// Says that an answer was cut.
pub(super) fn cut(response: &Response) -> HttpError {
    HttpError::Broken { host: response.host.clone(), reason: "it ends in the middle".to_owned() }
}

/// Reads tokens; `now` is the time by the issuer's clock.
///
/// # Errors
/// Says what is wrong with the answer.
pub(crate) fn read_tokens(body: &[u8], now: UnixTime) -> Result<IssuerTokens, String> {
    #[derive(Deserialize)]
    struct Raw {
        access_token: Secret<String>,
        #[serde(default)]
        token_type: Option<String>,
        #[serde(default, deserialize_with = "seconds")]
        expires_in: Option<u64>,
        #[serde(default)]
        refresh_token: Option<Secret<String>>,
        /// Not of any standard: Keycloak writes it, and others the alias.
        #[serde(default, alias = "refresh_token_expires_in", deserialize_with = "seconds")]
        refresh_expires_in: Option<u64>,
        #[serde(default)]
        id_token: Option<Secret<String>>,
    }
    let raw: Raw = serde_json::from_slice(body).map_err(|error| format!("no tokens in it: {error}"))?;
    if raw.access_token.expose().is_empty() {
        return Err("its access token is empty".to_owned());
    }
    let bound = match raw.token_type.as_deref().map(str::to_ascii_lowercase).as_deref() {
        None | Some("bearer") => false,
        Some("dpop") => true,
        Some(other) => return Err(format!("its token type `{}` is not known", plain(other))),
    };
    let lifetime = Duration::from_secs(raw.expires_in.unwrap_or(DEFAULT_LIFETIME));
    let some = |token: Option<Secret<String>>| token.filter(|token| !token.expose().is_empty());
    Ok(IssuerTokens {
        access_token: raw.access_token,
        bound,
        expires_at: now.plus(lifetime),
        refresh_token: some(raw.refresh_token),
        // Keycloak writes 0 for one that does not end by itself
        refresh_ends: raw.refresh_expires_in.filter(|seconds| *seconds > 0).map(|s| now.plus(Duration::from_secs(s))),
        id_token: some(raw.id_token),
    })
}

/// Seconds as a number, or as a string as some issuers write them.
pub(super) fn seconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Raw {
        Whole(u64),
        Fraction(f64),
        Text(String),
    }
    match Option::<Raw>::deserialize(deserializer)? {
        None => Ok(None),
        Some(Raw::Whole(value)) => Ok(Some(value)),
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range is checked")]
        Some(Raw::Fraction(value)) if (0.0..=1e12).contains(&value) => Ok(Some(value as u64)),
        Some(Raw::Fraction(value)) => Err(de::Error::custom(format!("{value} seconds"))),
        Some(Raw::Text(text)) => text.trim().parse().map(Some).map_err(de::Error::custom),
    }
}

/// Text from outside, fit for a terminal.
pub(super) fn plain(text: &str) -> String {
    printable(text, SAID_LIMIT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn tokens_are_read_in_the_forms_that_issuers_write() {
        let now = UnixTime(1000);
        for (body, bound, expires) in [
            (r#"{"access_token":"a","token_type":"Bearer","expires_in":60}"#, false, 1060),
            (r#"{"access_token":"a","token_type":"dpop","expires_in":"60"}"#, true, 1060),
            (r#"{"access_token":"a","token_type":"DPoP","expires_in":60.0}"#, true, 1060),
            (r#"{"access_token":"a"}"#, false, 1300),
            (r#"{"access_token":"a","expires_in":null,"refresh_token":"","refresh_expires_in":0}"#, false, 1300),
        ] {
            let tokens = read_tokens(body.as_bytes(), now).unwrap();
            assert_eq!((tokens.bound, tokens.expires_at.0), (bound, expires), "{body}");
            assert!(tokens.refresh_token.is_none() && tokens.refresh_ends.is_none());
        }
        for name in ["refresh_expires_in", "refresh_token_expires_in"] {
            let body = format!(r#"{{"access_token":"a","refresh_token":"r","{name}":1800}}"#);
            assert_eq!(read_tokens(body.as_bytes(), now).unwrap().refresh_ends, Some(UnixTime(2800)));
        }
        for body in [
            "",
            "{}",
            r#"{"access_token":""}"#,
            r#"{"access_token":"a","token_type":"mac"}"#,
            r#"{"access_token":"a","expires_in":-1}"#,
        ] {
            assert!(read_tokens(body.as_bytes(), now).is_err(), "{body}");
        }
    }

    #[test]
    fn a_blocked_flow_is_told_from_a_denied_person() {
        // what Entra ID writes when a device must be known: nothing that a code on another device can show
        let unknown = Some("AADSTS53000: Device is not in required device state: compliant.");
        for (code, text, device, browser) in [
            ("unauthorized_client", None, true, true),
            ("unsupported_grant_type", None, true, true),
            ("access_denied", Some("AADSTS53003: Access has been blocked by Conditional Access policies."), true, true),
            ("invalid_grant", Some("AADSTS530032: blocked by security defaults"), true, true),
            ("interaction_required", unknown, true, false),
            ("access_denied", Some("AADSTS50105: not assigned to a role for the application"), false, false),
            ("access_denied", Some("the user said no"), false, false),
            ("invalid_grant", None, false, false),
        ] {
            let refusal = Refusal::new(code, text);
            assert_eq!(
                (refusal.is_policy(Flow::Device), refusal.is_policy(Flow::Browser)),
                (device, browser),
                "{code}"
            );
        }
    }

    #[test]
    fn a_cut_answer_is_told_from_a_wrong_one() {
        for (body, cut) in [
            ("", true),
            (r#"{"access_token":"a","expi"#, true),
            ("{", true),
            ("{}", false),
            ("<html>", false),
            ("hello", false),
            (r#"{"access_token":"a"}"#, false),
        ] {
            assert_eq!(is_cut(body.as_bytes()), cut, "{body}");
        }
    }

    proptest! {
        #[test]
        fn no_answer_is_too_much(body in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = read_tokens(&body, UnixTime(0));
        }
    }
}
