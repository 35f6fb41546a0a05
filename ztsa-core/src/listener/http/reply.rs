//! How the local port answers in HTTP: problem documents, as JSON, as text or as a page, whichever the client likes.

use std::fmt::Write as _;

use ztsa_proto::problem::Problem;

/// The name that this proxy goes by in `Proxy-Status` (RFC 9209) and `Via`.
pub(crate) const NAME: &str = "ztsa";

/// What asks a client for the listener's password.
pub(crate) const CHALLENGE: &str = "Basic realm=\"ztsa\", charset=\"UTF-8\"";

/// An answer that is ready to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reply {
    /// The status.
    pub(crate) status: u16,
    /// The fields, besides those of framing.
    pub(crate) fields: Vec<(&'static str, String)>,
    /// The content.
    pub(crate) body: Vec<u8>,
}

impl Reply {
    /// Says why not. `accept` is the client's `Accept` field: without a wish it gets `application/problem+json`.
    pub(crate) fn problem(problem: &Problem, accept: Option<&str>) -> Self {
        // a 401 or 407 would need a challenge, and no challenge of this port brings a person nearer to the app
        let status = if matches!(problem.status, 401 | 407) { 403 } else { problem.status };
        let shown = Problem { status, ..problem.clone() };
        let (kind, body) = match Form::of(accept) {
            Form::Json => ("application/problem+json", shown.to_json()),
            Form::Text => ("text/plain; charset=utf-8", text(&shown).into_bytes()),
            Form::Page => ("text/html; charset=utf-8", page(&shown).into_bytes()),
        };
        let fields = vec![
            ("content-type", kind.to_owned()),
            ("proxy-status", shown.proxy_status(NAME)),
            ("cache-control", "no-store".to_owned()),
            ("x-content-type-options", "nosniff".to_owned()),
            ("content-security-policy", "default-src 'none'; style-src 'unsafe-inline'".to_owned()),
        ];
        Self { status, fields, body }
    }

    /// Asks for the listener's password.
    pub(crate) fn password() -> Self {
        Self {
            status: 407,
            fields: vec![
                ("proxy-authenticate", CHALLENGE.to_owned()),
                ("content-type", "text/plain; charset=utf-8".to_owned()),
            ],
            body: b"This ztsa proxy wants its password.\n".to_vec(),
        }
    }

    /// Writes the whole answer for a connection that ends with it.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let reason = ::http::StatusCode::from_u16(self.status).ok().and_then(|status| status.canonical_reason());
        let mut head = format!("HTTP/1.1 {} {}\r\n", self.status, reason.unwrap_or("Refused"));
        for (name, value) in &self.fields {
            // writing to a String cannot fail
            let _ = write!(head, "{name}: {value}\r\n");
        }
        let _ = write!(head, "content-length: {}\r\nconnection: close\r\n\r\n", self.body.len());
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(&self.body);
        bytes
    }
}

enum Form {
    Json,
    Text,
    Page,
}

impl Form {
    /// The first of our forms that the client names and does not refuse; order and weights beyond that do not matter,
    /// because no client that names several minds which it gets.
    fn of(accept: Option<&str>) -> Self {
        let wishes = accept.unwrap_or_default().split(',').map(|wish| {
            let mut parts = wish.split(';').map(str::trim);
            let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
            let refused = parts.any(|part| matches!(part, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"));
            (kind, refused)
        });
        for (kind, refused) in wishes {
            match kind.as_str() {
                _ if refused => {}
                "text/html" | "application/xhtml+xml" => return Self::Page,
                "text/plain" | "text/*" => return Self::Text,
                "application/problem+json" | "application/json" => return Self::Json,
                _ => {}
            }
        }
        Self::Json
    }
}

fn text(problem: &Problem) -> String {
    let mut text = format!("{} ({})\n", problem.title, problem.code);
    let remedy = problem.remedy.as_deref().unwrap_or_default();
    for line in [problem.detail.as_str(), remedy].into_iter().filter(|line| !line.is_empty()) {
        text.push_str(line);
        text.push('\n');
    }
    text
}

fn page(problem: &Problem) -> String {
    let mut paragraphs = String::new();
    let remedy = problem.remedy.as_deref().unwrap_or_default();
    for line in [problem.detail.as_str(), remedy].into_iter().filter(|line| !line.is_empty()) {
        let _ = writeln!(paragraphs, "<p>{}</p>", escaped(line));
    }
    let decision = problem.decision.as_deref().map(|id| format!(" · decision {}", escaped(id))).unwrap_or_default();
    format!(
        "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>{title}</title>\n\
         <style>body{{font:16px/1.5 system-ui,sans-serif;max-width:36em;margin:4em auto;padding:0 1em}}\
         small{{color:#666}}</style>\n<h1>{title}</h1>\n{paragraphs}<p><small>ztsa · {code}{decision}</small></p>\n</html>\n",
        title = escaped(&problem.title),
        code = escaped(&problem.code),
    )
}

fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            other => safe.push(other),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;
    use ztsa_proto::problem;

    #[test]
    fn the_client_gets_the_form_that_it_asks_for() {
        let table = [
            (None, "application/problem+json"),
            (Some("*/*"), "application/problem+json"),
            (Some("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"), "text/html; charset=utf-8"),
            (Some("text/plain"), "text/plain; charset=utf-8"),
            (Some("application/json"), "application/problem+json"),
            (Some("text/html;q=0, text/plain"), "text/plain; charset=utf-8"),
            (Some(";;,,"), "application/problem+json"),
        ];
        for (accept, kind) in table {
            let reply = Reply::problem(&problem::new("policy.no_match"), accept);
            assert_eq!(reply.status, 403);
            assert!(reply.fields.contains(&("content-type", kind.to_owned())), "{accept:?}");
        }
    }

    #[test]
    fn the_page_tells_the_reason_and_the_remedy_and_runs_nothing() {
        let problem = problem::new("policy.forbidden")
            .with_detail("<script>alert(1)</script> & more")
            .with_remedy("Ask \"ops\"")
            .with_decision("d1");
        let page = String::from_utf8(Reply::problem(&problem, Some("text/html")).body).unwrap();
        assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt; &amp; more"));
        assert!(page.contains("Ask &quot;ops&quot;"));
        assert!(page.contains("policy.forbidden"));
        assert!(!page.contains("<script"));
    }

    #[test]
    fn a_login_that_is_needed_is_not_a_challenge() {
        let reply = Reply::problem(&problem::new("auth.required"), None);
        assert_eq!(reply.status, 403);
        let body: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
        assert_eq!((body["code"].as_str(), body["status"].as_u64()), (Some("auth.required"), Some(403)));
    }

    #[test]
    fn the_answer_says_its_length_and_closes() {
        let bytes = String::from_utf8(Reply::password().to_bytes()).unwrap();
        let (head, body) = bytes.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 407 "));
        assert!(head.contains("proxy-authenticate: Basic"));
        assert!(head.contains(&format!("content-length: {}\r\nconnection: close", body.len())));
    }
}
