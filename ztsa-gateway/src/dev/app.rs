//! The sample apps: an echo server and two small web servers.

use std::io;
use std::net::SocketAddr;

use axum::Router;
use axum::response::Html;
use axum::routing::get;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpStream;
use ztsa_net::accept::Listener;
use ztsa_net::task::{Scope, Spawner};

use super::layout::Added;

/// A sample app and where it listens.
#[derive(Debug)]
pub(super) struct Sample {
    pub(super) name: &'static str,
    pub(super) kind: &'static str,
    pub(super) target: SocketAddr,
    pub(super) tags: &'static [&'static str],
    pub(super) local_port: Option<u16>,
}

/// Starts the sample apps that the added configuration does not bring itself.
pub(super) async fn spawn(scope: &Scope, added: &Added) -> io::Result<Vec<Sample>> {
    let free = SocketAddr::from(([127, 0, 0, 1], 0));
    let mut samples = Vec::new();
    if !added.names("echo") {
        let target = serve(scope, free, |stream, _| async move {
            let (mut reader, mut writer) = stream.into_split();
            // a client that goes away ends its echo
            let _ = tokio::io::copy(&mut reader, &mut writer).await;
        })?;
        samples.push(Sample { name: "echo", kind: "tcp", target, tags: &["sample"], local_port: None });
    }
    for (name, title) in [("wiki", "The wiki"), ("payroll", "Payroll")] {
        if !added.names(name) {
            let target = web(scope, free, title)?;
            samples.push(Sample { name, kind: "http", target, tags: &["sample"], local_port: None });
        }
    }
    if !added.names("db-prod") {
        let target = SocketAddr::from(([127, 0, 0, 1], 5432));
        if TcpStream::connect(target).await.is_err() {
            tracing::info!("nothing answers on {target}: db-prod will say so until a PostgreSQL listens there");
        }
        samples.push(Sample {
            name: "db-prod",
            kind: "postgresql",
            target,
            tags: &["sample", "database"],
            local_port: Some(15432),
        });
    }
    Ok(samples)
}

fn web(scope: &Scope, listen: SocketAddr, title: &'static str) -> io::Result<SocketAddr> {
    let page = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>{title}</title>\
         <h1>{title}</h1><p>You reached a private app through ztsa.</p></html>\n"
    );
    let router = Router::new().fallback(get(move || async move { Html(page) }));
    serve(scope, listen, move |stream, _| {
        let router = router.clone();
        async move {
            let service = TowerToHyperService::new(router);
            // half-closed clients get their answer: `printf .. | ztsa stdio wiki` ends its side before it reads
            let mut http = hyper::server::conn::http1::Builder::new();
            let connection = http.half_close(true).serve_connection(TokioIo::new(stream), service);
            // a client that goes away ends its connection
            let _ = connection.await;
        }
    })
}

fn serve<F, Fut>(scope: &Scope, listen: SocketAddr, handle: F) -> io::Result<SocketAddr>
where
    F: Fn(TcpStream, Spawner) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = ()> + Send + 'static,
{
    let listener = Listener::bind(listen)?;
    let address = listener.local_addrs().first().copied().unwrap_or(listen);
    let spawner = scope.spawner();
    scope.spawn(async move {
        loop {
            let (stream, _) = listener.accept().await;
            spawner.spawn(handle(stream, spawner.clone()));
        }
    });
    Ok(address)
}
