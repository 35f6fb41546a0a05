//! Parameters of a request, from a form or a query.

use std::collections::HashMap;

use http::HeaderMap;
use http::header::CONTENT_TYPE;

/// Parameters by name. An empty value counts as absent (RFC 6749 section 3.1).
#[derive(Debug, Default)]
pub(crate) struct Form {
    values: HashMap<String, String>,
    resources: Vec<String>,
}

/// Why parameters cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FormError {
    #[error("the body must be application/x-www-form-urlencoded")]
    NotForm,
    #[error("the parameter '{0}' is given more than once")]
    Repeated(String),
    #[error("there are more than {MAX_FIELDS} parameters")]
    TooMany,
}

const MAX_FIELDS: usize = 64;

impl Form {
    /// Reads a body.
    pub(crate) fn body(headers: &HeaderMap, body: &[u8]) -> Result<Self, FormError> {
        let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        if !kind.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            return Err(FormError::NotForm);
        }
        Self::parse(body)
    }

    /// Reads `name=value&..`. Only `resource` may be repeated (RFC 8707).
    pub(crate) fn parse(text: &[u8]) -> Result<Self, FormError> {
        let mut form = Self::default();
        for (count, (name, value)) in url::form_urlencoded::parse(text).enumerate() {
            if count >= MAX_FIELDS {
                return Err(FormError::TooMany);
            }
            if value.is_empty() {
                continue;
            }
            if name == "resource" {
                form.resources.push(value.into_owned());
            } else if form.values.contains_key(name.as_ref()) {
                return Err(FormError::Repeated(name.chars().filter(char::is_ascii_graphic).take(64).collect()));
            } else {
                form.values.insert(name.into_owned(), value.into_owned());
            }
        }
        Ok(form)
    }

    pub(crate) fn value(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    pub(crate) fn resources(&self) -> &[String] {
        &self.resources
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_resource_may_be_repeated_and_empty_is_absent() {
        let form = Form::parse(b"a=1&resource=x&resource=y&b=&c=%20z").unwrap();
        assert_eq!((form.value("a"), form.value("b"), form.value("c")), (Some("1"), None, Some(" z")));
        assert_eq!(form.resources(), ["x", "y"]);
        assert_eq!(Form::parse(b"a=1&a=1").unwrap_err(), FormError::Repeated("a".into()));
        assert_eq!(Form::parse("a&".repeat(65).as_bytes()).unwrap_err(), FormError::TooMany);
    }

    #[test]
    fn a_body_of_another_kind_is_refused() {
        let mut headers = HeaderMap::new();
        assert_eq!(Form::body(&headers, b"a=1").unwrap_err(), FormError::NotForm);
        headers.insert(CONTENT_TYPE, "Application/X-www-form-urlencoded; charset=utf-8".parse().unwrap());
        assert!(Form::body(&headers, b"a=1").is_ok());
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            let _ = Form::parse(&bytes);
        }

        #[test]
        fn what_was_encoded_is_read_back(name in "[a-q]{1,9}", value in "\\PC{1,40}") {
            let text = url::form_urlencoded::Serializer::new(String::new()).append_pair(&name, &value).finish();
            let form = Form::parse(text.as_bytes()).unwrap();
            proptest::prop_assert_eq!(form.value(&name), Some(value.as_str()));
        }
    }
}
