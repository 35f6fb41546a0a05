use std::collections::HashSet;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::text::printable;

/// The proxy error types of RFC 9209 section 2.3 that this project uses.
const REGISTERED: [&str; 8] = [
    "destination_not_found",
    "destination_unavailable",
    "connection_refused",
    "connection_terminated",
    "connection_timeout",
    "connection_limit_reached",
    "http_request_denied",
    "http_request_error",
];

#[test]
fn every_code_tells_a_person_and_a_program_what_to_do() {
    let mut seen = HashSet::new();
    for row in table::rows() {
        let code = row.code;
        assert!(seen.insert(code), "{code} stands twice");
        assert!(code.contains('.') && code.bytes().all(|b| b.is_ascii_lowercase() || b"._".contains(&b)), "{code}");
        assert!((400..600).contains(&row.status), "{code}");
        assert!(row.title.starts_with(char::is_uppercase) && !row.title.ends_with('.'), "{code}: {}", row.title);
        assert!(row.remedy.starts_with(char::is_uppercase) && row.remedy.ends_with('.'), "{code}: {}", row.remedy);
        assert!(row.remedy.split(' ').count() >= 4, "{code}: {}", row.remedy);
        assert!(REGISTERED.contains(&row.proxy_error) || row.proxy_error == "proxy_internal_error", "{code}");
        assert!(matches!(row.exit, 2..=6 | 8), "{code}");
        assert_eq!(row.retry == Retry::AfterStepUp, row.exit == 8, "{code}");
        assert!(row.retry != Retry::AfterLogin || (row.status == 401 && row.exit == 3), "{code}");
        assert_eq!(code.starts_with("posture."), row.exit == 5, "{code}");
        let problem = new(code);
        assert_eq!((problem.status, problem.exit()), (row.status, row.exit));
        assert_eq!(Problem::from_json(&problem.to_json()), Ok(problem));
    }
    assert_eq!(codes().count(), seen.len());
}

#[test]
fn the_codes_of_the_protocol_keep_status_exit_and_retry() {
    let after = |seconds| Retry::After { seconds };
    for (code, status, exit, retry) in [
        ("auth.required", 401, 3, Retry::AfterLogin),
        ("auth.expired", 401, 3, Retry::AfterLogin),
        ("auth.proof", 401, 3, after(None)),
        ("auth.issuer", 503, 6, after(Some(10))),
        ("auth.step_up", 401, 8, Retry::AfterStepUp),
        ("app.unknown", 404, 4, Retry::Never),
        ("app.unreachable", 502, 6, after(None)),
        ("app.refused", 502, 6, after(None)),
        ("app.timeout", 504, 6, after(None)),
        ("policy.no_match", 403, 4, Retry::Never),
        ("policy.forbidden", 403, 4, Retry::Never),
        ("policy.error", 403, 4, Retry::Never),
        ("risk.user", 403, 4, after(None)),
        ("risk.device", 403, 4, after(None)),
        ("risk.session", 403, 4, after(None)),
        ("posture.disk_encryption", 403, 5, after(None)),
        ("posture.x_acme_edr", 403, 5, after(None)),
        ("device.blocked", 403, 4, Retry::Never),
        ("session.revoked", 401, 3, Retry::AfterLogin),
        ("session.expired", 401, 3, Retry::AfterLogin),
        ("session.lapsed", 503, 6, after(None)),
        ("grant.expired", 403, 4, after(None)),
        ("grant.unknown", 403, 4, after(None)),
        ("ticket.invalid", 407, 4, Retry::Never),
        ("gateway.unavailable", 503, 6, after(Some(5))),
        ("gateway.limit", 503, 6, after(Some(5))),
        ("gateway.draining", 503, 6, after(Some(1))),
        ("request.invalid", 400, 2, Retry::Never),
        ("network.lost", 502, 6, after(None)),
        ("never.heard_of", 403, 4, Retry::Never),
    ] {
        let problem = new(code);
        assert_eq!((problem.code.as_str(), problem.status, problem.exit(), problem.retry), (code, status, exit, retry));
        assert!(problem.remedy.is_some_and(|remedy| !remedy.is_empty()), "{code}");
    }
}

#[test]
fn what_ends_an_open_tunnel_exits_otherwise_than_what_refuses_one() {
    for (code, exit) in [
        ("session.revoked", 7),
        ("risk.user", 7),
        ("policy.no_match", 7),
        ("posture.disk_encryption", 7),
        ("auth.step_up", 8),
        ("network.lost", 6),
        ("app.unreachable", 6),
    ] {
        assert_eq!(new(code).exit_when_open(), exit, "{code}");
    }
}

#[test]
fn a_document_has_the_members_of_the_rfc_and_ours() {
    let problem = new("auth.step_up")
        .with_detail("db-prod wants a second factor")
        .with_policy(["prod-mfa"])
        .with_step_up(Some("mfa".to_owned()), Some(300))
        .with_decision("d1");
    assert_eq!(
        serde_json::to_value(&problem).unwrap(),
        json!({"type": "urn:ztsa:problem:auth.step_up", "title": "A stronger sign-in is needed", "status": 401,
            "detail": "db-prod wants a second factor", "code": "auth.step_up",
            "remedy": "Sign in again with `ztsa login` and confirm with your second factor.", "retry": "after_step_up",
            "policy": ["prod-mfa"], "acr_values": "mfa", "max_age": 300, "decision": "d1"})
    );
    assert_eq!(Problem::from_json(&problem.to_json()), Ok(problem));
    let waiting = new("gateway.limit").with_retry(Retry::After { seconds: Some(30) });
    let written = serde_json::to_value(&waiting).unwrap();
    assert_eq!((&written["retry"], &written["retry_after"]), (&json!("after"), &json!(30)));
    assert_eq!(Problem::from_json(&waiting.to_json()), Ok(waiting));
}

#[test]
fn shows_the_detail_or_else_the_title() {
    assert_eq!(new("app.unknown").to_string(), "No such app");
    assert_eq!(new("app.unknown").with_detail("There is no app db-pord").to_string(), "There is no app db-pord");
}

#[test]
fn hostile_documents_become_harmless() {
    let hostile = json!({
        "code": "policy.no_match\u{1b}[2J", "type": "urn:ztsa:problem:risk.user", "status": 70_000, "title": 7,
        "detail": format!("\u{1b}]0;owned\u{7}\u{1b}[31mno\u{202e}\naccess{}", "x".repeat(5_000)),
        "remedy": ["x"], "retry": "now", "retry_after": -1, "policy": ["a\u{1b}[0mb", 7, {"x": 1}], "max_age": "x",
        "decision": "d".repeat(1_000), "acr_values": {}, "unknown": {"deep": [[[]]]},
    });
    let problem = Problem::from_json(hostile.to_string().as_bytes()).unwrap();
    let known = new("policy.forbidden");
    assert_eq!((problem.code.as_str(), problem.status, &problem.title), ("policy.forbidden", 403, &known.title));
    assert!(problem.detail.starts_with("no accessxxx") && problem.detail.ends_with('…'));
    assert_eq!((problem.remedy, problem.retry, problem.max_age), (known.remedy, Retry::Never, None));
    assert_eq!(problem.policy, ["ab"]);
    assert_eq!(problem.decision.unwrap().chars().count(), 64);
}

#[test]
fn missing_members_come_from_the_table() {
    let read = |json: Value| Problem::from_json(json.to_string().as_bytes()).unwrap();
    assert_eq!(read(json!({"code": "risk.user"})), new("risk.user"));
    assert_eq!(read(json!({"type": "urn:ztsa:problem:risk.user"})), new("risk.user"));
    let later = read(json!({"code": "risk.velocity", "title": "Too fast"}));
    assert_eq!((later.code.as_str(), later.title.as_str(), later.status), ("risk.velocity", "Too fast", 403));
    assert_eq!(read(json!({"code": "gateway.limit", "retry_after": 9})).retry, Retry::After { seconds: Some(9) });
    for (status, code) in [
        (json!(401), "auth.required"),
        (json!(403), "policy.forbidden"),
        (json!(404), "app.unknown"),
        (json!(407), "ticket.invalid"),
        (json!(422), "request.invalid"),
        (json!(429), "gateway.limit"),
        (json!(500), "gateway.unavailable"),
        (json!(502), "app.unreachable"),
        (json!(504), "app.timeout"),
        (json!(99), "policy.forbidden"),
        (json!("401"), "policy.forbidden"),
    ] {
        let foreign =
            read(json!({"type": "https://example.com/out-of-credit", "title": "No credit", "status": status}));
        assert_eq!((foreign.code.as_str(), foreign.title.as_str()), (code, "No credit"), "{status}");
    }
}

#[test]
fn other_answers_are_no_problem_documents() {
    for answer in ["", "<html>", "[]", "null", "\"x\"", "{\"a\":1", &"[".repeat(10_000)] {
        assert_eq!(Problem::from_json(answer.as_bytes()), Err(ProblemError::NotJson), "{answer:.20}");
    }
    assert_eq!(Problem::from_json(&vec![b' '; 16 * 1024 + 1]), Err(ProblemError::TooLarge));
}

#[test]
fn proxy_status_is_a_structured_field_item() {
    assert_eq!(
        new("policy.no_match").proxy_status("gw"),
        r#"gw; error=http_request_denied; details="policy.no_match""#
    );
    assert_eq!(
        new("app.refused").proxy_status("gw.example:8443"),
        r#"gw.example:8443; error=connection_refused; details="app.refused""#
    );
    let odd = Problem { code: "a\"b\\c\r\nX: y€".to_owned(), ..new("x") };
    assert_eq!(
        odd.proxy_status("10.0.0.1 \"gw\""),
        r#""10.0.0.1 \"gw\""; error=http_request_denied; details="a\"b\\c??X: y?""#
    );
    assert_eq!(new("app.unknown").proxy_status(""), r#"""; error=destination_not_found; details="app.unknown""#);
}

/// Reads a structured-field string back, as RFC 9651 section 4.2.5 says; gives it with what follows.
fn unquoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.strip_prefix('"')?.chars();
    loop {
        match characters.next()? {
            '"' => return Some((value, characters.as_str())),
            '\\' => value.push(characters.next().filter(|c| matches!(c, '"' | '\\'))?),
            character @ ' '..='~' => value.push(character),
            _ => return None,
        }
    }
}

fn retries() -> impl Strategy<Value = Retry> {
    prop_oneof![
        Just(Retry::Never),
        any::<Option<u64>>().prop_map(|seconds| Retry::After { seconds }),
        Just(Retry::AfterLogin),
        Just(Retry::AfterStepUp),
    ]
}

proptest! {
    #[test]
    fn whatever_is_written_is_read(
        code in "[a-z]{1,10}\\.[a-z_]{1,20}", status in 100u16..600, title in "[a-zA-Z]{1,20}", detail in "([a-z]+( [a-z]+)*)?",
        remedy in proptest::option::of("[a-z]{1,20}"), retry in retries(), policy in proptest::collection::vec("[a-z]{1,9}", 0..16),
        acr_values in proptest::option::of("[a-z]{1,20}"), max_age: Option<u64>, decision in proptest::option::of("[a-z]{1,20}"),
    ) {
        let known = new(&code);
        let remedy = remedy.or(known.remedy.clone());
        let seconds = if let Retry::After { seconds } = known.retry { seconds } else { None };
        prop_assume!(retry != Retry::After { seconds: None } || seconds.is_none());
        let problem = Problem { title, status, detail, remedy, retry, policy, acr_values, max_age, decision, ..known };
        prop_assert_eq!(Problem::from_json(&problem.to_json()), Ok(problem));
    }

    #[test]
    fn no_bytes_make_the_reader_panic(bytes: Vec<u8>) {
        let _ = Problem::from_json(&bytes);
    }

    #[test]
    fn every_text_that_was_read_is_fit_to_print(text in any::<String>()) {
        let json = json!({"code": text, "title": text, "detail": text, "remedy": text, "policy": [text], "decision": text,
            "acr_values": text, "retry": text, "status": 403});
        if let Ok(problem) = Problem::from_json(json.to_string().as_bytes()) {
            let texts = [Some(&problem.title), Some(&problem.detail), problem.remedy.as_ref(), problem.acr_values.as_ref(),
                problem.decision.as_ref(), problem.policy.first()];
            for text in texts.into_iter().flatten() {
                prop_assert_eq!(&printable(text, 1024), text);
            }
            prop_assert!(problem.code.is_ascii());
        }
    }

    #[test]
    fn proxy_status_always_parses(name in any::<String>(), code in any::<String>()) {
        let item = Problem { code: code.clone(), ..new("x") }.proxy_status(&name);
        prop_assert!(item.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{item}");
        let rest = unquoted(&item).map_or_else(|| item.split_once("; ").unwrap().1, |(_, rest)| &rest[2..]);
        let (error, details) = rest.strip_prefix("error=").unwrap().split_once("; details=").unwrap();
        prop_assert!(error.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'));
        let (details, end) = unquoted(details).unwrap();
        prop_assert_eq!(end, "");
        prop_assert_eq!(details.chars().count(), code.chars().count());
    }
}
