//! The machine's TCP sockets as the kernel lists them: whose they are, and who holds a port.
//!
//! One socket is asked for over `sock_diag` (netlink), which costs the same however many there are; `/proc/net/tcp` is
//! the fallback and the source for the holder of a port. Linux only: elsewhere everything is unknown.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

#[cfg(target_os = "linux")]
mod diag;

/// The state of a listening socket in the kernel's tables (`TCP_LISTEN`).
const LISTEN: u8 = 0x0A;

/// One line of `/proc/net/tcp` or `/proc/net/tcp6`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Socket {
    /// The socket's own address.
    pub(crate) local: SocketAddr,
    /// The address at its other end.
    pub(crate) remote: SocketAddr,
    /// The kernel's number of the TCP state.
    pub(crate) state: u8,
    /// The user that the socket belongs to.
    pub(crate) uid: u32,
    /// The socket's inode; 0 when no process has it open any more.
    pub(crate) inode: u64,
}

/// The program that holds a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Its process id; `None` when it belongs to another user and cannot be looked at.
    pub pid: Option<u32>,
    /// Its name as the system lists it.
    pub program: Option<String>,
    /// The user it runs as.
    pub uid: u32,
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (&self.program, self.pid) {
            (Some(program), Some(pid)) => write!(f, "`{program}` (pid {pid})"),
            (None, Some(pid)) => write!(f, "pid {pid}"),
            _ => write!(f, "a program of the user with id {}", self.uid),
        }
    }
}

/// Finds the user that the connection from `peer` to `local` belongs to; `None` when the kernel does not tell, or when
/// the process at the other end has closed it already.
pub(crate) fn owner(peer: SocketAddr, local: SocketAddr) -> Option<u32> {
    let (peer, local) = (plain(peer), plain(local));
    #[cfg(target_os = "linux")]
    if let Some(socket) = diag::find(peer, local) {
        return (socket.inode != 0).then_some(socket.uid);
    }
    let socket = table(peer).find(|socket| socket.local == peer && socket.remote == local)?;
    (socket.inode != 0).then_some(socket.uid)
}

/// Says whether a process still has the connection from `peer` to `local` open at its end; `None` when the kernel does
/// not tell.
///
/// A program that has only ended its own direction has it open; one that has crashed or closed it has not.
pub(crate) fn held(peer: SocketAddr, local: SocketAddr) -> Option<bool> {
    #[cfg(target_os = "linux")]
    return diag::find(plain(peer), plain(local)).map(|socket| socket.inode != 0);
    #[cfg(not(target_os = "linux"))]
    None
}

/// Finds who listens on `address`, or on its port at any address.
pub(crate) fn holder(address: SocketAddr) -> Option<Holder> {
    let matches = |socket: &Socket| {
        let at = socket.local;
        socket.state == LISTEN && at.port() == address.port() && (at.ip() == address.ip() || at.ip().is_unspecified())
    };
    let socket = table(address).find(matches)?;
    let pid = process_of(socket.inode);
    Some(Holder { pid, program: pid.and_then(program_of), uid: socket.uid })
}

fn table(like: SocketAddr) -> impl Iterator<Item = Socket> {
    let read = |name: &str| std::fs::read_to_string(name).unwrap_or_default();
    // an IPv4 connection of an IPv6 socket (Java's default) is in the IPv6 table
    let four = if like.is_ipv4() { read("/proc/net/tcp") } else { String::new() };
    parse(&(four + &read("/proc/net/tcp6"))).collect::<Vec<_>>().into_iter()
}

fn process_of(inode: u64) -> Option<u32> {
    let wanted = format!("socket:[{inode}]");
    let processes = std::fs::read_dir("/proc").ok()?;
    processes.flatten().find_map(|process| {
        let pid: u32 = process.file_name().to_str()?.parse().ok()?;
        let files = std::fs::read_dir(process.path().join("fd")).ok()?;
        files
            .flatten()
            .any(|file| std::fs::read_link(file.path()).is_ok_and(|link| link.as_os_str() == wanted.as_str()))
            .then_some(pid)
    })
}

fn program_of(pid: u32) -> Option<String> {
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    let name: String = name.trim().chars().filter(|c| !c.is_control()).collect();
    (!name.is_empty()).then_some(name)
}

/// Reads the lines of `/proc/net/tcp` and `/proc/net/tcp6`; a line that is not understood is passed over.
pub(crate) fn parse(text: &str) -> impl Iterator<Item = Socket> {
    text.lines().filter_map(|line| {
        let mut words = line.split_ascii_whitespace();
        let _number = words.next()?;
        let local = address(words.next()?)?;
        let remote = address(words.next()?)?;
        let state = u8::from_str_radix(words.next()?, 16).ok()?;
        // tx_queue:rx_queue, tr:tm->when, retrnsmt
        let mut words = words.skip(3);
        let uid = words.next()?.parse().ok()?;
        let inode = words.nth(1)?.parse().ok()?;
        Some(Socket { local, remote, state, uid, inode })
    })
}

/// Reads an address as the kernel prints it: 32-bit words in the machine's byte order, in hexadecimal.
fn address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    if !ip.is_ascii() {
        return None;
    }
    let word = |at: usize| {
        let word = u32::from_str_radix(ip.get(at * 8..at * 8 + 8)?, 16).ok()?;
        Some(word.to_ne_bytes())
    };
    let ip = match ip.len() {
        8 => IpAddr::V4(Ipv4Addr::from(word(0)?)),
        32 => {
            let mut octets = [0; 16];
            for (at, chunk) in octets.chunks_exact_mut(4).enumerate() {
                chunk.copy_from_slice(&word(at)?);
            }
            IpAddr::V6(Ipv6Addr::from(octets))
        }
        _ => return None,
    };
    Some(plain(SocketAddr::new(ip, port)))
}

/// Writes an IPv4 address in IPv6 clothes as the IPv4 address that it is.
pub(crate) fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TABLE: &str = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:07E8 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1238 1 0000 100 0 0 10 0
   1: 0100007F:9752 0100007F:0050 01 00000000:00000000 03:00001622 00000000  1000        0 77 3 0000
   2: 00000000000000000000000001000000:1F90 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000 1001 0 91 1
   3: 0000000000000000FFFF00000100007F:C350 0000000000000000FFFF00000100007F:1F90 01 00000000:00000000 00:00000000 00000000 1002 0 92 1
  half a line
   4: 0100007F:9752";

    #[cfg(target_endian = "little")]
    #[test]
    fn the_kernels_table_is_read() {
        let sockets: Vec<_> = parse(TABLE).collect();
        let expected = [
            ("127.0.0.1:2024", "0.0.0.0:0", LISTEN, 0, 1238),
            ("127.0.0.1:38738", "127.0.0.1:80", 1, 1000, 77),
            ("[::1]:8080", "[::]:0", LISTEN, 1001, 91),
            ("127.0.0.1:50000", "127.0.0.1:8080", 1, 1002, 92),
        ];
        assert_eq!(sockets.len(), expected.len());
        for (socket, (local, remote, state, uid, inode)) in sockets.into_iter().zip(expected) {
            let (local, remote) = (local.parse().unwrap(), remote.parse().unwrap());
            assert_eq!(socket, Socket { local, remote, state, uid, inode });
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_a_panic(text in "(?s).{0,400}", line in "[0-9A-F: ]{0,120}") {
            let _ = parse(&text).count();
            let _ = parse(&line).count();
        }
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_connection_of_ours_is_ours_on_both_families() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let listener = tokio::net::TcpListener::bind(address).await.unwrap();
            let local = listener.local_addr().unwrap();
            let client = tokio::net::TcpStream::connect(local).await.unwrap();
            let (_, peer) = listener.accept().await.unwrap();
            let us = rustix::process::getuid().as_raw();
            assert_eq!(owner(peer, local), Some(us));
            assert!(diag::find(peer, local).is_some(), "sock_diag answers");
            assert!(table(peer).any(|socket| socket.local == peer && socket.uid == us), "/proc/net/tcp answers");
            drop(client);
        }
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_connection_that_does_not_exist_is_nobodys() {
        assert_eq!(owner("127.0.0.1:1".parse().unwrap(), "127.0.0.1:2".parse().unwrap()), None);
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn the_holder_of_a_port_is_named() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let holder = holder(listener.local_addr().unwrap()).unwrap();
        assert_eq!(holder.pid, Some(std::process::id()));
        assert!(holder.to_string().contains(&format!("pid {}", std::process::id())), "{holder}");
    }
}
