//! Answers that say no.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use ztsa_proto::problem::{self, Problem, Retry};

use super::{BODY_MAX, Parts};
use crate::authn::AuthnError;

/// A refusal: the problem and the headers that go with it.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) problem: Arc<Problem>,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
}

impl Refused {
    pub(super) fn new(problem: impl Into<Arc<Problem>>) -> Self {
        Self { problem: problem.into(), headers: Vec::new() }
    }

    /// Adds a challenge when the problem asks for another sign-in or a stronger one.
    pub(super) fn decided(parts: &Parts, problem: Arc<Problem>) -> Self {
        let headers = match problem.retry {
            Retry::AfterStepUp => parts.authn.step_up(&problem, parts.clock.now()),
            _ => Vec::new(),
        };
        Self { problem, headers }
    }

    pub(super) fn unauthenticated(parts: &Parts, error: &AuthnError) -> Self {
        parts.engine.request_refused(error);
        let headers = parts.authn.challenge(error, parts.clock.now());
        Self { problem: Arc::new(error.problem()), headers }
    }

    /// Refuses a body that is larger than any request needs.
    pub(super) fn too_large() -> Self {
        let mut problem = problem::new("request.invalid")
            .with_detail(format!("the request's body is larger than {} KiB", BODY_MAX / 1024));
        problem.status = 413;
        Self::new(problem)
    }

    /// Refuses a body that does not arrive.
    pub(super) fn too_slow() -> Self {
        let mut problem = problem::new("request.invalid").with_detail("the request's body did not arrive in time");
        problem.status = 408;
        Self::new(problem)
    }

    /// Renders the refusal.
    pub(super) fn response(self, parts: &Parts) -> Response<Bytes> {
        let mut response = Response::new(Bytes::from(self.problem.to_json()));
        *response.status_mut() = StatusCode::from_u16(self.problem.status).unwrap_or(StatusCode::FORBIDDEN);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Ok(status) = HeaderValue::try_from(self.problem.proxy_status(&parts.name)) {
            headers.insert("proxy-status", status);
        }
        if let Retry::After { seconds: Some(seconds) } = self.problem.retry {
            headers.insert(RETRY_AFTER, seconds.into());
        }
        for (name, value) in self.headers {
            headers.append(name, value);
        }
        response
    }
}
