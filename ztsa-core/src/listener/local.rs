//! The local end of a connection: closed in order only when everything went through, reset otherwise.

use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use ztsa_net::accept::reset_on_close;
use ztsa_net::relay::End;
use ztsa_proto::capsule::Notice;

use super::dial::{self, Opened};
use super::event::Open;

/// How long a client may take to read a refusal and close.
const LINGER: Duration = Duration::from_secs(1);
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

/// Carries a connection to its end; `early` are the bytes that the program sent before it was answered.
pub(crate) async fn carry<T: Opened>(mut local: Local, early: Bytes, tunnel: T, mut open: Open) {
    let traffic = open.traffic.clone();
    let end = {
        let (reader, mut writer) = local.stream.split();
        let mut notify = |notice: &Notice| open.notice(notice);
        if early.is_empty() {
            let mut reader = reader;
            tunnel.carry(&mut reader, &mut writer, &mut notify, &*traffic).await
        } else {
            let mut reader = early.as_ref().chain(reader);
            tunnel.carry(&mut reader, &mut writer, &mut notify, &*traffic).await
        }
    };
    match dial::cut(&end) {
        Some(problem) => open.cut(problem),
        None if matches!(end, End::Finished) => local.complete(),
        None => {}
    }
}
