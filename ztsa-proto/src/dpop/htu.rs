//! Comparing the URL of a proof with the URL of a request (RFC 9449 section 4.3, RFC 3986 section 6.2).

use url::Url;

/// Cuts query and fragment off.
pub(super) fn without_query(url: &str) -> &str {
    url.split(['?', '#']).next().unwrap_or(url)
}

/// Whether two URLs mean the same resource: scheme and host in any case, default port or none, equal percent-encodings
/// and dot segments resolved; query and fragment do not count. A URL with a user name is never the same.
pub(super) fn same(one: &str, other: &str) -> bool {
    let (one, other) = (without_query(one), without_query(other));
    let (Some(one), Some(other)) = (normal(one), normal(other)) else { return false };
    one == other
}

#[derive(PartialEq)]
struct Normal {
    origin: url::Origin,
    path: String,
}

fn normal(url: &str) -> Option<Normal> {
    let url = Url::parse(url).ok()?;
    let is_web = matches!(url.scheme(), "https" | "http");
    let is_plain = url.username().is_empty() && url.password().is_none();
    (is_web && is_plain).then(|| Normal { origin: url.origin(), path: normal_path(url.path()) })
}

/// Writes each percent-encoding in one way: unreserved characters plain, the others with upper-case digits.
fn normal_path(path: &str) -> String {
    let mut rest = path;
    let mut normal = String::with_capacity(path.len());
    while let Some((before, after)) = rest.split_once('%') {
        normal.push_str(before);
        let digits = after.get(..2).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok().map(|byte| (digits, byte))) {
            Some((_, byte)) if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => normal.push(char::from(byte)),
            Some((digits, _)) => {
                normal.push('%');
                normal.push_str(&digits.to_ascii_uppercase());
            }
            None => {
                normal.push('%');
                rest = after;
                continue;
            }
        }
        rest = after.get(2..).unwrap_or_default();
    }
    normal.push_str(rest);
    normal
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn compares_what_the_urls_mean() {
        for (one, other) in [
            ("https://gw.example/a", "https://gw.example/a"),
            ("HTTPS://GW.Example/a", "https://gw.example/a"),
            ("https://gw.example:443/a", "https://gw.example/a"),
            ("http://gw.example:80/a", "http://gw.example/a"),
            ("https://gw.example", "https://gw.example/"),
            ("https://gw.example/a?x=1#y", "https://gw.example/a"),
            ("https://gw.example/a#y", "https://gw.example/a?z"),
            ("https://gw.example/%7euser/%2f", "https://gw.example/~user/%2F"),
            ("https://gw.example/a/./b/../c", "https://gw.example/a/c"),
            ("https://[::1]:8443/a", "https://[0:0::1]:8443/a"),
        ] {
            assert!(same(one, other), "{one} {other}");
        }
        for (one, other) in [
            ("https://gw.example/a", "http://gw.example/a"),
            ("https://gw.example/a", "https://gw.example:8443/a"),
            ("https://gw.example/a", "https://gw.example/A"),
            ("https://gw.example/a", "https://gw.example/a/"),
            ("https://gw.example/a%2Fb", "https://gw.example/a/b"),
            ("https://gw.example/a", "https://gw.example.evil/a"),
            ("https://u@gw.example/a", "https://gw.example/a"),
            ("https://gw.example/a", "/a"),
            ("ftp://gw.example/a", "ftp://gw.example/a"),
            ("", ""),
        ] {
            assert!(!same(one, other), "{one} {other}");
        }
    }

    #[test]
    fn stray_percent_signs_stay() {
        assert_eq!(normal_path("/%zz%4%"), "/%zz%4%");
        assert_eq!(normal_path("/%%41"), "/%A");
        assert_eq!(normal_path("/%é"), "/%é");
    }

    proptest! {
        #[test]
        fn any_text_compares_without_a_panic(one in any::<String>(), path in any::<String>()) {
            let _ = same(&one, &path);
            let url = format!("https://gw.example/{path}");
            prop_assert!(same(&url, &url));
        }
    }
}
