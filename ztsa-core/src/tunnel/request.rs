//! The request that opens a tunnel, and what its answer means.

use bytes::{Bytes, BytesMut};
use h2::RecvStream;
use h2::ext::Protocol;
use http::header::{AUTHORIZATION, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Method, Request, Response, Version};
use url::Url;
use ztsa_proto::capsule;
use ztsa_proto::name::{Destination, TunnelId};
use ztsa_proto::problem::{self, Problem};
use ztsa_proto::secret::Secret;
use ztsa_proto::template;

use super::{OpenError, OpenOptions};

/// Largest problem document that is read, in bytes.
const PROBLEM_MAX: usize = 16 * 1024;

/// Returns the URL of a tunnel: what the device key signs.
pub(super) fn url(gateway: &Url, to: &Destination) -> String {
    format!("{}{}", crate::config::without_slash(gateway.as_str()), template::path(to))
}

/// Builds the extended CONNECT (RFC 8441).
pub(super) fn build(
    url: &str,
    token: &Secret<String>,
    proof: &str,
    options: &OpenOptions,
) -> Result<Request<()>, OpenError> {
    let invalid = |error: http::Error| OpenError::Sign(error.to_string());
    let mut authorization =
        HeaderValue::try_from(format!("DPoP {}", token.expose())).map_err(|error| invalid(error.into()))?;
    authorization.set_sensitive(true);
    let mut request = Request::builder()
        .method(Method::CONNECT)
        .version(Version::HTTP_2)
        .uri(url)
        .extension(Protocol::from_static(template::PROTOCOL))
        .header(AUTHORIZATION, authorization)
        .header("dpop", proof)
        .header("capsule-protocol", "?1")
        .header(capsule::HEADER, capsule::VERSION)
        .body(())
        .map_err(invalid)?;
    if let Some(grant) = options.grant.as_ref().and_then(|grant| HeaderValue::try_from(grant.to_string()).ok()) {
        request.headers_mut().insert("ztsa-grant", grant);
    }
    Ok(request)
}

/// Tells whether an answer opens a tunnel: any 2xx that names the capsule protocol on a stream that stays open. Some
/// servers answer 200 to any CONNECT and end the stream at once.
pub(super) fn is_tunnel(response: &Response<RecvStream>) -> bool {
    let capsules = response.headers().get("capsule-protocol").is_some_and(|value| value.as_bytes().starts_with(b"?1"));
    response.status().is_success() && capsules && !response.body().is_end_stream()
}

/// Returns the gateway's number of the tunnel.
pub(super) fn tunnel_id(headers: &HeaderMap) -> Option<TunnelId> {
    headers.get("ztsa-tunnel")?.to_str().ok()?.parse().ok().map(TunnelId)
}

/// Reads a refusal. `None` when it is no problem document of the gateway.
pub(super) async fn problem(response: Response<RecvStream>) -> Option<Box<Problem>> {
    let (head, mut body) = response.into_parts();
    let is_problem = head
        .headers
        .get(http::header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.starts_with("application/problem+json"));
    if !is_problem {
        return (head.status == http::StatusCode::SERVICE_UNAVAILABLE).then(|| Box::new(busy(&head.headers)));
    }
    let mut text = BytesMut::new();
    while let Some(chunk) = body.data().await {
        let chunk: Bytes = chunk.ok()?;
        let _ = body.flow_control().release_capacity(chunk.len());
        text.extend_from_slice(&chunk);
        if text.len() > PROBLEM_MAX {
            return None;
        }
    }
    Problem::from_json(&text).ok().map(Box::new)
}

fn busy(headers: &HeaderMap) -> Problem {
    let seconds = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    problem::new("gateway.unavailable").with_retry(problem::Retry::After { seconds })
}
