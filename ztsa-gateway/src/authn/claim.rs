//! Finds a claim by its name, along dots, or by a JSON pointer.

use serde_json::{Map, Value};

/// Finds a claim: by its whole name, else along its dots (`realm_access.roles`, `kubernetes.io.namespace`), or, when it begins
/// with `/`, as a JSON pointer (RFC 6901).
///
/// A name that holds dots itself is tried whole before its parts.
pub(super) fn find<'a>(claims: &'a Map<String, Value>, path: &str) -> Option<&'a Value> {
    if let Some(pointer) = path.strip_prefix('/') {
        let mut parts = pointer.split('/').map(|part| part.replace("~1", "/").replace("~0", "~"));
        let first = claims.get(&parts.next()?)?;
        return parts.try_fold(first, |value, part| value.as_object()?.get(&part));
    }
    if let Some(value) = claims.get(path) {
        return Some(value);
    }
    path.match_indices('.').find_map(|(at, _)| {
        let (name, rest) = (path.get(..at)?, path.get(at + 1..)?);
        find_within(claims.get(name)?, rest)
    })
}

fn find_within<'a>(value: &'a Value, rest: &str) -> Option<&'a Value> {
    // a pointer begins at the top only
    if rest.starts_with('/') { value.as_object()?.get(rest) } else { find(value.as_object()?, rest) }
}

/// Says whether a claim is one of these values, or a list that holds one; numbers and booleans are compared as JSON writes them.
pub(super) fn is_one_of(claim: &Value, wanted: &[String]) -> bool {
    let is = |value: &Value| match value {
        Value::String(text) => wanted.iter().any(|wanted| wanted == text),
        Value::Number(_) | Value::Bool(_) => wanted.contains(&value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => false,
    };
    match claim {
        Value::Array(several) => several.iter().any(is),
        one => is(one),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_claim_is_found_by_name_dots_and_pointer() {
        let claims = json!({
            "sub": "s", "a.b": 1, "a": {"b": 2, "c": {"d": 3}}, "/x": 4, "": {"y": 5},
            "https://x.example/groups": 6,
            "kubernetes.io": {"namespace": "ci", "serviceaccount": {"name": "runner"}, "a/b~c": 7},
        });
        let claims = claims.as_object().unwrap();
        for (path, wanted) in [
            ("sub", json!("s")),
            ("a.b", json!(1)),
            ("a.c.d", json!(3)),
            ("/a/b", json!(2)),
            ("https://x.example/groups", json!(6)),
            ("kubernetes.io.namespace", json!("ci")),
            ("kubernetes.io.serviceaccount.name", json!("runner")),
            ("/kubernetes.io/serviceaccount/name", json!("runner")),
            ("/kubernetes.io/a~1b~0c", json!(7)),
        ] {
            assert_eq!(find(claims, path), Some(&wanted), "{path}");
        }
        for path in ["", ".", "b", "a.", ".b", "a.c.d.e", "/a", "/x", "/sub/0", "kubernetes.io/namespace"] {
            let found = find(claims, path);
            assert!(found.is_none_or(Value::is_object), "{path}: {found:?}");
        }
    }

    #[test]
    fn a_value_is_compared_whole() {
        let wanted = ["main".to_owned(), "17".to_owned(), "true".to_owned()];
        for (claim, is) in [
            (json!("main"), true),
            (json!("main2"), false),
            (json!("MAIN"), false),
            (json!(17), true),
            (json!(true), true),
            (json!(["x", "main"]), true),
            (json!([["main"]]), false),
            (json!({"main": "main"}), false),
            (json!(null), false),
            (json!([]), false),
        ] {
            assert_eq!(is_one_of(&claim, &wanted), is, "{claim}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_path_is_answered(path in "[a./~0]{0,12}") {
            let claims = json!({"a": {"a": {"a.a": 1, "": 2}}, "a.a": {"a": 3}});
            let _ = find(claims.as_object().unwrap(), &path);
        }
    }
}
