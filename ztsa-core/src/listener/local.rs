//! The local end of a connection: closed in order only when everything went through, reset otherwise.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use ztsa_net::accept::reset_on_close;
use ztsa_net::relay::End;
use ztsa_proto::capsule::Notice;

use super::dial::{self, Opened};
use super::event::Open;
use super::gate::Gate;
use super::sockets;

/// How long a client may take to read a refusal and close.
const LINGER: Duration = Duration::from_secs(1);
/// How often it is looked whether the program behind a paused connection is still there.
const LOOK: Duration = Duration::from_secs(1);
/// Most bytes of a refused client that are read and thrown away, so that its own writes do not destroy the answer.
const DRAIN: u64 = 64 * 1024;

/// A local socket that is reset when it is dropped, unless it was marked whole: a task that is aborted in the middle of
/// a transfer must not look like its end.
#[derive(Debug)]
pub(crate) struct Local {
    /// The socket.
    pub(crate) stream: TcpStream,
    whole: bool,
}

impl Local {
    /// Takes a socket in.
    pub(crate) const fn new(stream: TcpStream) -> Self {
        Self { stream, whole: false }
    }

    /// Marks that everything went through.
    pub(crate) const fn complete(&mut self) {
        self.whole = true;
    }

    /// Closes a connection that has been answered with a refusal, so that the answer arrives: unread bytes would turn
    /// the close into a reset.
    pub(crate) async fn dismiss(mut self) {
        self.whole = true;
        let stream = &mut self.stream;
        let _ = tokio::time::timeout(LINGER, async {
            stream.shutdown().await?;
            tokio::io::copy(&mut stream.take(DRAIN), &mut tokio::io::sink()).await
        })
        .await;
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        if !self.whole {
            reset_on_close(&self.stream);
        }
    }
}

/// Completes when a program goes away while its connection is paused: nothing is read then that would tell.
///
/// A program that has only ended its own direction is still there. Where the kernel does not tell, this never completes.
async fn abandoned(open: &Open, ends: Option<(SocketAddr, SocketAddr)>) {
    let Some((peer, local)) = ends else { return std::future::pending().await };
    loop {
        open.until(true).await;
        // boxed: a tunnel that is never paused does not keep its space
        let gone = Box::pin(async {
            if sockets::held(peer, local).is_none() {
                return std::future::pending().await;
            }
            while sockets::held(peer, local) == Some(true) {
                tokio::time::sleep(LOOK).await;
            }
        });
        tokio::select! {
            () = gone => return,
            () = open.until(false) => {}
        }
    }
}

/// Carries a connection to its end; `early` are the bytes that the program sent before it was answered, and what it
/// says later passes `gate`, where there is one.
pub(crate) async fn carry<T: Opened>(local: &mut Local, early: Bytes, gate: Option<&mut Gate>, tunnel: T, open: Open) {
    let traffic = open.traffic.clone();
    let ends = local.stream.peer_addr().ok().zip(local.stream.local_addr().ok());
    let end = {
        let (reader, mut writer) = local.stream.split();
        let mut notify = |notice: &Notice| open.notice(notice);
        let carried = async {
            if let Some(gate) = gate {
                let mut reader = early.as_ref().chain(gate.over(reader));
                tunnel.carry(&mut reader, &mut writer, &mut notify, &*traffic).await
            } else if early.is_empty() {
                let mut reader = reader;
                tunnel.carry(&mut reader, &mut writer, &mut notify, &*traffic).await
            } else {
                let mut reader = early.as_ref().chain(reader);
                tunnel.carry(&mut reader, &mut writer, &mut notify, &*traffic).await
            }
        };
        tokio::select! {
            biased;
            end = carried => end,
            // dropping what carries resets the tunnel
            () = abandoned(&open, ends) => End::Local(std::io::ErrorKind::ConnectionAborted.into()),
        }
    };
    match dial::cut(&end, &open).await {
        Some(problem) => open.cut(problem),
        None if matches!(end, End::Finished) => local.complete(),
        None => {}
    }
}
