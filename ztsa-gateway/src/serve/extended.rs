//! Tunnels by extended CONNECT (`connect-tcp`), with the session token and a proof for each.

use std::future::poll_fn;
use std::sync::Arc;

use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use http::request::Parts as Head;
use http::{HeaderValue, Request, Response};
use tokio::net::TcpStream;
use ztsa_net::accept::reset_on_close;
use ztsa_net::relay::{Authority, relay};
use ztsa_net::tunnel::{Framing, TunnelRecv, TunnelSend};
use ztsa_proto::app::Kind;
use ztsa_proto::name::GrantId;
use ztsa_proto::problem::Problem;
use ztsa_proto::{capsule, problem, template};

use super::answer::Refused;
use super::{Metered, Parts, Peer, ending};
use crate::audit::Activity;
use crate::authn;
use crate::config::App;
use crate::dial;
use crate::engine::Engine;
use crate::lease::{Access, End, Lease};

/// Serves one tunnel from its request to its end.
pub(super) async fn serve(parts: Arc<Parts>, peer: Peer, request: Request<RecvStream>, respond: SendResponse<Bytes>) {
    let (head, body) = request.into_parts();
    // the opening is boxed: a tunnel that lives for days does not keep its space
    if let Some((lease, app, send)) = Box::pin(open(&parts, peer, head, respond)).await {
        drop(parts);
        carry(lease, app, TunnelSend::new(send, Framing::Capsules), TunnelRecv::new(body, Framing::Capsules)).await;
    }
}

/// Carries bytes between an app and a tunnel for as long as the lease lasts.
pub(super) async fn carry(lease: Lease, mut app: TcpStream, send: TunnelSend, recv: TunnelRecv) {
    let end = {
        let (mut reader, mut writer) = app.split();
        let access = Authority::Own(lease.access());
        relay(&mut reader, &mut writer, send, recv, access, &Metered(&lease)).await
    };
    if let Some(end) = ending(&end) {
        lease.finish(end.clone());
        if end != End::Completed {
            reset_on_close(&app);
        }
    } else {
        reset_on_close(&app);
    }
    tracing::debug!(tunnel = %lease.id().0, %end, "tunnel ended");
}

async fn open(
    parts: &Parts,
    peer: Peer,
    head: Head,
    mut respond: SendResponse<Bytes>,
) -> Option<(Lease, TcpStream, h2::SendStream<Bytes>)> {
    let admitted = tokio::select! {
        biased;
        admitted = admit(parts, &peer, &head) => admitted,
        // the client has gone away while the app was being dialled
        _ = poll_fn(|context| respond.poll_reset(context)) => return None,
    };
    match admitted {
        Ok((lease, app)) => match respond.send_response(super::http2::dated(opened(parts, &lease)), false) {
            Ok(send) => Some((lease, app, send)),
            Err(error) => {
                tracing::debug!(%error, "the client went away before its tunnel opened");
                None
            }
        },
        Err(refused) => {
            super::http2::send(&mut respond, refused.response(parts));
            None
        }
    }
}

/// Authenticates, decides and dials.
async fn admit(parts: &Parts, peer: &Peer, head: &Head) -> Result<(Lease, TcpStream), Refused> {
    let path = head.uri.path();
    let asked = authn::Head { method: "CONNECT", url_path: path, headers: &head.headers };
    let now = parts.clock.now();
    let session = parts.authn.check(&asked, now).map_err(|error| {
        peer.unauthenticated(&error);
        Refused::unauthenticated(parts, &error)
    })?;
    peer.stranger.recognise();
    let peer = peer.address;
    let to = template::parse(path).ok_or_else(|| {
        let detail = format!("the path of a tunnel is {}{{host}}/{{port}}/", template::PREFIX);
        Refused::new(problem::new("request.invalid").with_detail(detail))
    })?;
    // before the app is looked for: a malformed grant must not tell an app that is hidden from one that is not there
    let grant = grant(head)?;
    let app = parts
        .engine
        .find(&to.host, to.port)
        .map_err(|_| Refused::new(parts.engine.not_found(Activity::Connect, &session, peer, &to.to_string())))?;
    let lease = parts
        .engine
        .open(&session, &app, &to, peer, grant.as_ref())
        .map_err(|problem| Refused::decided(parts, problem))?;
    let stream = dial(&parts.engine, &lease, &app).await.map_err(|problem| Refused::decided(parts, problem))?;
    Ok((lease, stream))
}

/// Dials an app that a lease was given for, for as long as the lease lasts.
pub(super) async fn dial(engine: &Engine, lease: &Lease, app: &App) -> Result<TcpStream, Arc<Problem>> {
    if app.kind == Kind::Udp {
        let detail = format!("{} is a UDP app; this gateway carries TCP", app.name);
        return Err(Arc::new(problem::new("request.invalid").with_detail(detail)));
    }
    let dialled = tokio::select! {
        biased;
        problem = ended(lease) => return Err(problem),
        dialled = dial::open(app) => dialled,
    };
    #[cfg(test)]
    crate::policy::step::note("dialled");
    if let Access::Ended(problem) = lease.tunnel().access() {
        return Err(problem);
    }
    let stream = dialled.map_err(|error| {
        tracing::warn!(app = %app.name, %error, "an app cannot be reached");
        let problem = Arc::new(error.problem(app));
        lease.finish(End::Unreachable(Arc::clone(&problem)));
        problem
    })?;
    let address = stream.peer_addr().ok().map(|address| address.ip());
    engine.opened(lease, address);
    if let Some(address) = address {
        engine.dialled(lease.tunnel(), address);
    }
    Ok(stream)
}

/// Waits until a lease has been ended; gives the reason.
async fn ended(lease: &Lease) -> Arc<Problem> {
    let mut access = lease.access();
    loop {
        if let Access::Ended(problem) = &*access.borrow_and_update() {
            return Arc::clone(problem);
        }
        if access.changed().await.is_err() {
            // nobody is left to end it, which is never so while the lease is there
            std::future::pending::<()>().await;
        }
    }
}

fn grant(head: &Head) -> Result<Option<GrantId>, Refused> {
    let Some(value) = head.headers.get("ztsa-grant") else { return Ok(None) };
    let grant = value.to_str().ok().and_then(|text| text.parse().ok());
    grant.map(Some).ok_or_else(|| Refused::new(problem::new("grant.unknown")))
}

fn opened(parts: &Parts, lease: &Lease) -> Response<()> {
    let mut response = Response::new(());
    let headers = response.headers_mut();
    headers.insert("capsule-protocol", HeaderValue::from_static("?1"));
    headers.insert(capsule::HEADER, HeaderValue::from_static(capsule::VERSION));
    headers.insert("ztsa-tunnel", lease.id().0.into());
    if let Ok(nonce) = HeaderValue::try_from(parts.authn.nonce(parts.clock.now())) {
        headers.insert("dpop-nonce", nonce);
    }
    response
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;
    use std::time::{Duration, Instant};

    use socket2::{Domain, SockAddr, Socket, Type};
    use tokio::net::TcpListener;

    use super::*;
    use crate::engine::tests::World;
    use crate::lease::Selector;

    fn world(port: u16) -> World {
        let app = format!("[[app]]\nname = \"deaf\"\nkind = \"tcp\"\ntarget = \"127.0.0.1:{port}\"\n");
        World::configured("@id(\"dev\") permit (principal in Group::\"dev\", action, resource);", &app)
    }

    /// What the audit log says that tunnels did, and why.
    async fn tunnels(world: &World) -> Vec<String> {
        let words = |line: &serde_json::Value| {
            let code = line["status_code"].as_str().unwrap_or_default();
            line["connection_info"].is_object().then(|| format!("{} {code}", line["activity_name"].as_str().unwrap()))
        };
        world.log().await.iter().filter_map(words).collect()
    }

    #[tokio::test]
    async fn an_end_while_the_app_is_dialled_is_the_answer_at_once() {
        // a full backlog: the kernel drops whatever else asks for a connection
        let deaf = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        deaf.bind(&SockAddr::from(std::net::SocketAddr::from(([127, 0, 0, 1], 0)))).unwrap();
        deaf.listen(0).unwrap();
        let address = deaf.local_addr().unwrap().as_socket().unwrap();
        let _first = std::net::TcpStream::connect(address).unwrap();
        let second = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        second.set_nonblocking(true).unwrap();
        let _ = second.connect(&address.into());
        let world = world(address.port());
        let alice = world.session("alice", &["dev"], "laptop");
        let lease = world.open(&alice, "deaf").unwrap();
        let begun = Instant::now();
        let (dialled, revoked) = tokio::join!(dial(&world.engine, &lease, lease.app()), async {
            world.engine.revoke(&Selector::User(alice.identity.user.clone()), "left on a train")
        });
        let problem = dialled.unwrap_err();
        assert_eq!((problem.code.as_str(), problem.detail.as_str()), ("session.revoked", "left on a train"));
        assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
        assert_eq!(revoked.tunnels, 1);
        drop(lease);
        assert_eq!(tunnels(&world).await, ["Reset session.revoked"]);
    }

    #[tokio::test]
    async fn an_end_at_the_moment_of_the_connection_opens_nothing() {
        let app = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let world = Rc::new(world(app.local_addr().unwrap().port()));
        let alice = world.session("alice", &["dev"], "laptop");
        let lease = world.open(&alice, "deaf").unwrap();
        let there = Rc::clone(&world);
        crate::policy::step::at("dialled", move || {
            there.engine.revoke(&Selector::App("deaf".parse().unwrap()), "maintenance");
        });
        let refused = dial(&world.engine, &lease, lease.app()).await.unwrap_err();
        assert_eq!((refused.code.as_str(), refused.detail.as_str()), ("session.revoked", "maintenance"));
        drop(lease);
        assert_eq!(tunnels(&world).await, ["Reset session.revoked"]);
    }
}
