//! HTTP on the local port: CONNECT here, plain requests in [`plain`].

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;
use ztsa_net::task::Spawner;
use ztsa_proto::problem::{self, Problem};
use ztsa_proto::secret::Secret;

use self::head::{Head, HeadError};
use self::reply::Reply;
use super::desk::Desk;
use super::dial::{self, Dial, Opened as _, PATIENCE};
use super::event::Way;
use super::intake::Intake;
use super::local::{self, Local};
use crate::tunnel::Early;

mod head;
mod plain;
pub(crate) mod reply;

/// How long a client may take to say what it wants.
pub(crate) const HANDSHAKE: Duration = Duration::from_secs(10);

/// What a tunnel's client is told; RFC 9110 section 9.3.6 wants no framing fields here.
const ESTABLISHED: &[u8] = b"HTTP/1.1 200 Connection established\r\n\r\n";

/// How a CONNECT request read.
enum Asked {
    /// A good head.
    Connect(Head),
    /// Another method: for [`plain`].
    Plain,
    /// A head that cannot be served.
    Wrong(HeadError),
}

/// Serves a connection whose first byte is a letter.
pub(crate) async fn serve<D: Dial>(
    desk: Arc<Desk<D>>,
    stream: TcpStream,
    turn: OwnedSemaphorePermit,
    spawner: Spawner,
) {
    let mut local = Local::new(stream);
    let mut intake = Intake::new(&mut local.stream);
    // slow or cut: there is nobody to answer
    let Ok(Ok(asked)) = timeout(HANDSHAKE, ask(&mut intake)).await else { return };
    let (_, early) = intake.into_parts();
    match asked {
        Asked::Plain => {
            drop(turn);
            // boxed, so that a tunnel's task does not carry room for it
            Box::pin(plain::serve(desk, local, early, spawner)).await;
        }
        Asked::Wrong(error) => {
            let problem = problem::new("request.invalid").with_detail(error.to_string());
            let problem = Problem { status: error.status(), ..problem };
            refuse(local, &Reply::problem(&problem, None)).await;
        }
        Asked::Connect(head) => connect(&desk, local, head, early, turn).await,
    }
}

async fn connect<D: Dial>(
    desk: &Desk<D>,
    mut local: Local,
    head: Head,
    early: bytes::Bytes,
    turn: OwnedSemaphorePermit,
) {
    if !authorized(head.authorization.as_deref(), desk.password.as_ref()) {
        refuse(local, &Reply::password()).await;
        return;
    }
    let opened = dial::open(&desk.dial, &head.to, Way::HttpConnect, PATIENCE, &mut Early::none()).await;
    drop(turn);
    match opened {
        Ok(tunnel) => {
            let open = desk.reporter.opened(head.to, Way::HttpConnect, tunnel.id());
            if local.stream.write_all(ESTABLISHED).await.is_ok() {
                local::carry(&mut local, early, None, tunnel, open).await;
            }
        }
        Err(problem) => {
            let reply = Reply::problem(&problem, head.accept.as_deref());
            desk.reporter.refused(&head.to, Way::HttpConnect, problem);
            refuse(local, &reply).await;
        }
    }
}

async fn ask(intake: &mut Intake<&mut TcpStream>) -> std::io::Result<Asked> {
    loop {
        match head::is_connect(intake.buffered()) {
            Some(false) => return Ok(Asked::Plain),
            Some(true) => match head::parse(intake.buffered()) {
                Ok(Some((head, length))) => {
                    intake.consume(length);
                    return Ok(Asked::Connect(head));
                }
                Ok(None) => {}
                Err(error) => return Ok(Asked::Wrong(error)),
            },
            None => {}
        }
        if intake.more().await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
}

async fn refuse(mut local: Local, reply: &Reply) {
    if local.stream.write_all(&reply.to_bytes()).await.is_ok() {
        local.dismiss().await;
    }
}

/// Checks a `Proxy-Authorization` field against the listener's password; any user name will do.
fn authorized(field: Option<&str>, password: Option<&Secret<String>>) -> bool {
    let Some(password) = password else { return true };
    let given = || {
        let (scheme, value) = field?.trim().split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let pair = Secret::new(STANDARD.decode(value.trim()).ok()?);
        let colon = pair.expose().iter().position(|byte| *byte == b':')?;
        Some(Secret::new(pair.expose().get(colon + 1..)?.to_vec()))
    };
    given().is_some_and(|given| given == Secret::new(password.expose().as_bytes().to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_password_opens() {
        let password = Secret::new("s3:cret".to_owned());
        let basic = |pair: &str| format!("Basic {}", STANDARD.encode(pair));
        let table = [
            (basic("any:s3:cret"), true),
            (basic(":s3:cret"), true),
            (basic("any:s3:cret").replacen("Basic", "bAsIc", 1), true),
            (basic("any:S3:cret"), false),
            (basic("s3:cret"), false),
            (basic("any:"), false),
            (basic("any"), false),
            ("Basic !!!".to_owned(), false),
            ("Bearer s3:cret".to_owned(), false),
            (String::new(), false),
        ];
        for (field, good) in table {
            assert_eq!(authorized(Some(&field), Some(&password)), good, "{field}");
        }
        assert!(!authorized(None, Some(&password)));
        assert!(authorized(None, None));
    }
}
