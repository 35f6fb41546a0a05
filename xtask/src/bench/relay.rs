//! The lean bound of a tunnel: two processes that pass bytes on, without encryption, streams, or anybody who decides.
//!
//! A tunnel goes through two processes as well, a client and a gateway: what it moves less than these is what the rest of it costs.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use crate::command::Failure;

/// Bytes read and written at a time, as for a fast tunnel.
const BUFFER: usize = 256 * 1024;

/// Passes connections on to `target` until stdin ends, which it does when the load generator is gone. The first line that it
/// prints is its address.
pub(super) fn serve(target: SocketAddr) -> Result<(), Failure> {
    let failed = |error: io::Error| Failure::Wrong(format!("the relay cannot serve: {error}"));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed)?;
    println!("{}", serde_json::json!(listener.local_addr().map_err(failed)?));
    thread::spawn(move || {
        for stream in listener.incoming() {
            // a connection that fails ends, and whoever has opened it says so
            thread::spawn(move || stream.and_then(|stream| relay(stream, target)));
        }
    });
    // its end is the order to end
    io::stdin().read_to_end(&mut Vec::new()).map(drop).map_err(failed)
}

fn relay(near: TcpStream, target: SocketAddr) -> io::Result<()> {
    let far = TcpStream::connect(target)?;
    for stream in [&near, &far] {
        stream.set_nodelay(true)?;
        // as ztsa does on loopback
        #[cfg(target_os = "linux")]
        rustix::net::sockopt::set_tcp_congestion(stream, "reno")?;
    }
    let (near, far) = (Arc::new(near), Arc::new(far));
    let back = (Arc::clone(&far), Arc::clone(&near));
    let backward = thread::spawn(move || copy(&back.0, &back.1));
    copy(&near, &far)?;
    backward.join().unwrap_or(Ok(()))
}

/// Copies until the end, and passes that on.
fn copy(mut from: &TcpStream, mut to: &TcpStream) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        match from.read(&mut buffer)? {
            0 => return to.shutdown(Shutdown::Write),
            count => to.write_all(buffer.get(..count).unwrap_or_default())?,
        }
    }
}
