//! The path of a TCP tunnel: `/.well-known/masque/tcp/{target_host}/{target_port}/`
//! (draft-ietf-httpbis-connect-tcp section 3, the default template).

use crate::name::Destination;

/// The upgrade token by which ztsa names the protocol.
pub const PROTOCOL: &str = "connect-tcp";
/// The tokens that the gateway accepts: the registered one and the draft's for interoperability.
pub const PROTOCOLS: [&str; 2] = [PROTOCOL, "connect-tcp-12"];
/// What stands before the target in a path.
pub const PREFIX: &str = "/.well-known/masque/tcp/";

/// Returns the template as an absolute URL under `base` (a gateway's public URL).
#[must_use]
pub fn url(base: &str) -> String {
    format!("{}{PREFIX}{{target_host}}/{{target_port}}/", base.trim_end_matches('/'))
}

/// Returns the path that asks for a tunnel to `to`. Colons of an IPv6 address are percent-encoded.
#[must_use]
pub fn path(to: &Destination) -> String {
    let host = to.host.to_string();
    let host = host.trim_start_matches('[').trim_end_matches(']').replace(':', "%3A");
    format!("{PREFIX}{host}/{}/", to.port)
}

/// Reads the target from a path. `None` when the path is not a tunnel's, or names no valid target.
#[must_use]
pub fn parse(path: &str) -> Option<Destination> {
    let path = path.split('?').next()?;
    let rest = path.strip_prefix(PREFIX)?;
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let (host, port) = rest.split_once('/')?;
    if port.is_empty() || port.len() > 5 || !port.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let host = percent_decode(host)?;
    let text = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    text.parse().ok()
}

fn percent_decode(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('%') {
        out.push_str(before);
        let byte = u8::from_str_radix(after.get(..2)?, 16).ok()?;
        if !byte.is_ascii() {
            return None;
        }
        out.push(char::from(byte));
        rest = after.get(2..)?;
    }
    out.push_str(rest);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn destination(text: &str) -> Destination {
        text.parse().unwrap()
    }

    #[test]
    fn a_path_names_its_target() {
        for (target, expected) in [
            ("db-prod:5432", "/.well-known/masque/tcp/db-prod/5432/"),
            ("db.prod.internal:5432", "/.well-known/masque/tcp/db.prod.internal/5432/"),
            ("[2001:db8::1]:22", "/.well-known/masque/tcp/2001%3Adb8%3A%3A1/22/"),
        ] {
            assert_eq!(path(&destination(target)), expected);
            assert_eq!(parse(expected), Some(destination(target)));
        }
        assert_eq!(parse("/.well-known/masque/tcp/DB-Prod./5432"), Some(destination("db-prod:5432")));
    }

    #[test]
    fn a_path_that_names_no_target_is_none() {
        for text in [
            "",
            "/",
            "/.well-known/masque/tcp/",
            "/.well-known/masque/tcp/db",
            "/.well-known/masque/tcp/db/",
            "/.well-known/masque/tcp/db/0/",
            "/.well-known/masque/tcp/db/65536/",
            "/.well-known/masque/tcp/db/+22/",
            "/.well-known/masque/tcp//22/",
            "/.well-known/masque/tcp/a%2/22/",
            "/.well-known/masque/tcp/a%ff/22/",
            "/.well-known/masque/tcp/a%2fb/22/",
            "/.well-known/masque/tcp/a/22/extra/",
            "/.well-known/masque/udp/a/22/",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_path_is_refused_or_read(text in "\\PC{0,80}") {
            let _ = parse(&text);
            let _ = parse(&format!("{PREFIX}{text}"));
        }
    }
}
