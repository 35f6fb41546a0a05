//! Where jobs get their tokens: by GitHub's protocol, and as a kubelet would write them into a file.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use http::header::{AUTHORIZATION, CACHE_CONTROL};
use http::{HeaderMap, StatusCode};
use serde_json::json;

use crate::answer::{Refusal, answer};
use crate::form::Form;
use crate::issuer::Issuer;
use crate::workload::Workload;

/// Answers as `ACTIONS_ID_TOKEN_REQUEST_URL` does, to who shows the request token: `{"value": JWT}`. The query may name
/// `audience`, `repository`, `ref` and `environment`.
pub(crate) async fn github(
    State(issuer): State<Arc<Issuer>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let form = asked(&issuer, query, &headers)?;
    let repository = form.value("repository").unwrap_or("octo-org/octo-repo").to_owned();
    let owner = format!("https://github.com/{}", repository.split('/').next().unwrap_or_default());
    let workload = Workload::GitHub {
        repository,
        reference: form.value("ref").unwrap_or("refs/heads/main").to_owned(),
        environment: form.value("environment").map(str::to_owned),
    };
    let token = issuer.workload_token(&workload, form.value("audience").unwrap_or(&owner))?;
    Ok(answer(StatusCode::OK, json!({ "value": token })))
}

/// Answers with the text of a projected service account token. The query names `audience`, and may name `namespace` and
/// `serviceaccount`.
pub(crate) async fn kubernetes(
    State(issuer): State<Arc<Issuer>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let form = asked(&issuer, query, &headers)?;
    let workload = Workload::Kubernetes {
        namespace: form.value("namespace").unwrap_or("default").to_owned(),
        service_account: form.value("serviceaccount").unwrap_or("default").to_owned(),
    };
    let audience = form.value("audience").unwrap_or("https://kubernetes.default.svc");
    let token = issuer.workload_token(&workload, audience)?;
    Ok(([(CACHE_CONTROL, "no-store")], token).into_response())
}

fn asked(issuer: &Issuer, query: Option<String>, headers: &HeaderMap) -> Result<Form, Refusal> {
    let value = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let shown = value.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    if !shown.is_some_and(|(_, token)| issuer.is_request_token(token)) {
        let refusal = Refusal::new("invalid_token", "the request token is missing or wrong");
        return Err(refusal.with_challenge("Bearer"));
    }
    Ok(Form::parse(query.unwrap_or_default().as_bytes())?)
}
