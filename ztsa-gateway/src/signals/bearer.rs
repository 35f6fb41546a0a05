//! Who asks: a bearer credential (RFC 6750), compared in constant time.

use http::HeaderMap;
use http::header::AUTHORIZATION;
use ztsa_proto::secret::Secret;

/// Takes the credential out of `Authorization: Bearer TOKEN`; `None` for anything else, and for two of them.
pub(super) fn token(headers: &HeaderMap) -> Option<Secret<String>> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let value = values.next()?.to_str().ok()?;
    if values.next().is_some() {
        return None;
    }
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| Secret::new(token.trim().to_owned()))
}

/// Says whether a request shows a credential.
pub(super) fn shows(headers: &HeaderMap, wanted: &Secret<String>) -> bool {
    token(headers).is_some_and(|token| token == *wanted)
}
