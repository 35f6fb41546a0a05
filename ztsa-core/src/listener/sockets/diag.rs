//! One question to the kernel over `sock_diag` (`man 7 sock_diag`): whose is this connection?

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use rustix::net::netlink::{self, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, sendto, socket_with};

use super::Socket;

/// `SOCK_DIAG_BY_FAMILY`, request and answer alike.
const BY_FAMILY: u16 = 20;
/// `NLM_F_REQUEST`.
const REQUEST: u16 = 1;
/// The length of `struct nlmsghdr`.
const HEADER: usize = 16;
/// The length of `struct inet_diag_req_v2` with its header.
const QUESTION: usize = HEADER + 56;
/// The length of `struct inet_diag_msg` with its header.
const ANSWER: usize = HEADER + 72;

/// Finds the socket that is bound to `local` and connected to `remote`; `None` when there is none or the kernel has no
/// `sock_diag`.
pub(super) fn find(local: SocketAddr, remote: SocketAddr) -> Option<Socket> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let kernel = socket_with(AddressFamily::NETLINK, SocketType::DGRAM, flags, Some(netlink::SOCK_DIAG)).ok()?;
    sendto(&kernel, &question(local, remote), SendFlags::empty(), &SocketAddrNetlink::new(0, 0)).ok()?;
    // the kernel answers inside the call above, so that nothing is waited for
    let mut answer = [0; 512];
    let (_, length) = recv(&kernel, &mut answer, RecvFlags::empty()).ok()?;
    read(answer.get(..length)?, local, remote)
}

fn question(local: SocketAddr, remote: SocketAddr) -> [u8; QUESTION] {
    let family = if local.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let mut message = Vec::with_capacity(QUESTION);
    let mut put = |bytes: &[u8]| message.extend_from_slice(bytes);
    put(&u32::try_from(QUESTION).unwrap_or_default().to_ne_bytes());
    put(&BY_FAMILY.to_ne_bytes());
    put(&REQUEST.to_ne_bytes());
    put(&[0; 8]); // sequence, port
    put(&[u8::try_from(family.as_raw()).unwrap_or_default(), 6, 0, 0]); // family, IPPROTO_TCP, no extension
    put(&u32::MAX.to_ne_bytes()); // any state
    put(&local.port().to_be_bytes());
    put(&remote.port().to_be_bytes());
    put(&padded(local.ip()));
    put(&padded(remote.ip()));
    put(&[0; 4]); // any interface
    put(&[0xFF; 8]); // no cookie
    let mut question = [0; QUESTION];
    question.iter_mut().zip(message).for_each(|(slot, byte)| *slot = byte);
    question
}

fn padded(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(ip) => {
            let mut octets = [0; 16];
            octets.iter_mut().zip(ip.octets()).for_each(|(slot, byte)| *slot = byte);
            octets
        }
        IpAddr::V6(ip) => ip.octets(),
    }
}

/// Reads the kernel's answer; `None` when it is an error, is cut, or is about another socket: where no connection is
/// found, the kernel answers with a listener of the same address.
fn read(answer: &[u8], local: SocketAddr, remote: SocketAddr) -> Option<Socket> {
    let word = |at: usize| answer.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes);
    let kind = u16::from_ne_bytes(answer.get(4..6)?.try_into().ok()?);
    if kind != BY_FAMILY || answer.len() < ANSWER {
        return None;
    }
    let (family, state) = (*answer.get(HEADER)?, *answer.get(HEADER + 1)?);
    let address = |ip: usize, port: usize| {
        let octets: [u8; 16] = answer.get(ip..ip + 16)?.try_into().ok()?;
        let ip = match u16::from(family) {
            four if four == AddressFamily::INET.as_raw() => Ipv4Addr::from(*octets.first_chunk::<4>()?).into(),
            // an IPv4 connection of an IPv6 socket is told in IPv6 clothes
            _ => Ipv6Addr::from(octets).to_canonical(),
        };
        Some(SocketAddr::new(ip, u16::from_be_bytes(answer.get(port..port + 2)?.try_into().ok()?)))
    };
    let is_it = address(HEADER + 8, HEADER + 4)? == local && address(HEADER + 24, HEADER + 6)? == remote;
    is_it.then_some(Socket { local, remote, state, uid: word(HEADER + 64)?, inode: u64::from(word(HEADER + 68)?) })
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use proptest::prelude::*;

    use super::*;

    /// The answer of a kernel: a header and `struct inet_diag_msg`.
    fn answer(socket: &Socket) -> Vec<u8> {
        let mut answer = question(socket.local, socket.remote);
        let family = answer[HEADER];
        let mut message = vec![family, socket.state, 0, 0];
        // the address stands in a question as in an answer
        message.extend_from_slice(&answer[HEADER + 8..]);
        message.extend_from_slice(&[0; 12]); // expires, queues
        message.extend_from_slice(&socket.uid.to_ne_bytes());
        message.extend_from_slice(&u32::try_from(socket.inode).unwrap().to_ne_bytes());
        answer[..4].copy_from_slice(&u32::try_from(HEADER + message.len()).unwrap().to_ne_bytes());
        [&answer[..HEADER], &message].concat()
    }

    fn addresses() -> impl Strategy<Value = (SocketAddr, SocketAddr)> {
        let four = any::<[([u8; 4], u16); 2]>().prop_map(|both| both.map(|(ip, port)| SocketAddr::from((ip, port))));
        let six = any::<[([u16; 8], u16); 2]>().prop_map(|both| both.map(|(ip, port)| SocketAddr::from((ip, port))));
        prop_oneof![four, six].prop_map(|[local, remote]| (super::super::plain(local), super::super::plain(remote)))
    }

    proptest! {
        #[test]
        fn an_answer_is_read_whole_and_about_its_own_socket_only(
            (local, remote) in addresses(), other in addresses(), state: u8, uid: u32, inode: u32, cut in 0..ANSWER,
            kind in any::<u16>().prop_filter("another kind", |kind| *kind != BY_FAMILY), more in proptest::collection::vec(any::<u8>(), 0..40),
        ) {
            prop_assume!(local.is_ipv4() == remote.is_ipv4() && (local, remote) != other);
            let socket = Socket { local, remote, state, uid, inode: inode.into() };
            let mut bytes = answer(&socket);
            prop_assert_eq!(bytes.len(), ANSWER);
            prop_assert_eq!(read(&bytes, local, remote), Some(socket));
            prop_assert_eq!(read(&[bytes.clone(), more].concat(), local, remote), Some(socket));
            prop_assert_eq!(read(&bytes, other.0, other.1), None);
            prop_assert_eq!(read(&bytes[..cut], local, remote), None);
            bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
            prop_assert_eq!(read(&bytes, local, remote), None);
        }

        #[test]
        fn any_bytes_are_answered((local, remote) in addresses(), bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
            if let Some(socket) = read(&bytes, local, remote) {
                prop_assert_eq!((socket.local, socket.remote), (local, remote));
            }
        }
    }

    #[test]
    fn a_listener_is_not_taken_for_a_connection_that_is_gone() {
        let listener = TcpListener::bind("0.0.0.0:0").unwrap();
        let peer = SocketAddr::from(([127, 0, 0, 1], listener.local_addr().unwrap().port()));
        assert_eq!(find(peer, "127.0.0.1:9".parse().unwrap()), None);
    }
}
