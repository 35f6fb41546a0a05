//! The `Proxy-Status` item (RFC 9209) as a structured field (RFC 9651).

/// Writes an item: the gateway's name, a registered error, and a detail.
pub(super) fn item(gateway: &str, error: &str, details: &str) -> String {
    let name = if is_token(gateway) { gateway.to_owned() } else { string(gateway) };
    format!("{name}; error={error}; details={}", string(details))
}

/// Whether a text may stand as a token (RFC 9651 section 3.3.4).
fn is_token(text: &str) -> bool {
    let starts_well = text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '*');
    starts_well && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~:/".contains(&byte))
}

/// Writes a string (RFC 9651 section 3.3.3): quotes and backslashes are escaped; what it cannot hold becomes `?`.
fn string(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            ' '..='~' => quoted.push(character),
            _ => quoted.push('?'),
        }
    }
    quoted.push('"');
    quoted
}
