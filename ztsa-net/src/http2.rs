//! HTTP/2 as ztsa uses it for tunnels: windows, frames and keep-alive for both ends.
//!
//! The connection window is the largest that HTTP/2 has, so that tunnels whose reader is paused can never hold the
//! credit of the others; memory is bounded by stream window x streams instead.

use std::time::Duration;

use h2::PingPong;

/// Credit of one tunnel's direction, in bytes: what a paused reader can make its own peer buffer.
pub const STREAM_WINDOW: u32 = 4 * 1024 * 1024;
/// Credit of a whole connection, in bytes: the largest of HTTP/2.
pub const CONNECTION_WINDOW: u32 = (1 << 31) - 1;
/// Largest frame that is accepted, in bytes.
pub const FRAME_MAX: u32 = 1 << 20;
/// Payload of a full DATA frame of most tunnels, in bytes: with its 9-byte head it fills four TLS records.
pub const FRAME_PAYLOAD: usize = 65_536 - 9;
/// Payload of a full DATA frame of a tunnel that moves fast, in bytes: sixteen TLS records, the last not quite full.
pub const FAST_PAYLOAD: usize = 4 * FRAME_PAYLOAD;
/// Payload of a full DATA frame of a tunnel that moves very fast, in bytes: 32 TLS records, the last not quite full.
pub const BULK_PAYLOAD: usize = 8 * FRAME_PAYLOAD;
/// Bytes of one tunnel that may wait to be sent: whole frames of every size, since the room that one leaves is read into
/// at once, however little it is.
pub const SEND_BUFFER: usize = 2 * BULK_PAYLOAD;
/// Bytes that TLS may hold for the socket: with rustls' default of 64 KiB a full socket breaks frames into odd records.
pub const TLS_BUFFER: usize = 256 * 1024;
/// Streams that a gateway allows on one connection; a client opens another connection beyond.
pub const STREAMS_MAX: u32 = 4096;
/// Largest header list that is accepted, in bytes.
pub const HEADERS_MAX: u32 = 64 * 1024;
/// Credit of small frames that wait unread, for one connection (h2 ends the connection beyond it; a full stream
/// window of one-byte frames uses it up).
pub const SMALL_FRAME_BUDGET: usize = 64 * 1024 * 1024;

/// How often a connection with nothing to say is probed.
pub const PING_INTERVAL: Duration = Duration::from_secs(20);
/// How long the answer to a probe may take before the connection counts as lost.
pub const PING_TIMEOUT: Duration = Duration::from_secs(15);

/// Returns the settings of a client connection.
#[must_use]
pub fn client() -> h2::client::Builder {
    let mut builder = h2::client::Builder::new();
    builder
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME_MAX)
        .max_header_list_size(HEADERS_MAX)
        .max_send_buffer_size(SEND_BUFFER)
        .data_frame_budget(SMALL_FRAME_BUDGET)
        .enable_push(false);
    builder
}

/// Returns the settings of a server connection, with extended CONNECT (RFC 8441) allowed.
#[must_use]
pub fn server() -> h2::server::Builder {
    let mut builder = h2::server::Builder::new();
    builder
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME_MAX)
        .max_header_list_size(HEADERS_MAX)
        .max_send_buffer_size(SEND_BUFFER)
        .max_concurrent_streams(STREAMS_MAX)
        .data_frame_budget(SMALL_FRAME_BUDGET)
        .enable_connect_protocol();
    builder
}

/// Probes the peer with PING every [`PING_INTERVAL`]; returns when an answer stays out for [`PING_TIMEOUT`] or the
/// connection ends. The caller then drops the connection.
///
/// # Cancel safety
/// Cancel-safe.
pub async fn keep_alive(mut pings: PingPong) -> h2::Error {
    loop {
        tokio::time::sleep(PING_INTERVAL).await;
        match tokio::time::timeout(PING_TIMEOUT, pings.ping(h2::Ping::opaque())).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => return error,
            Err(_) => return h2::Reason::SETTINGS_TIMEOUT.into(),
        }
    }
}

/// Measures one round trip to the peer. Used after a sleep or a network change to tell a live connection from a dead
/// one quickly.
///
/// # Cancel safety
/// Not cancel-safe: an abandoned probe blocks the next one of the same connection.
pub async fn probe(pings: &mut PingPong) -> Result<Duration, h2::Error> {
    let start = tokio::time::Instant::now();
    pings.ping(h2::Ping::opaque()).await?;
    Ok(start.elapsed())
}
