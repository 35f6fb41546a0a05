//! One question to the kernel over `sock_diag` (`man 7 sock_diag`): whose is this connection?

use std::net::{IpAddr, SocketAddr};

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

fn read(answer: &[u8], local: SocketAddr, remote: SocketAddr) -> Option<Socket> {
    let word = |at: usize| answer.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes);
    let kind = u16::from_ne_bytes(answer.get(4..6)?.try_into().ok()?);
    if kind != BY_FAMILY || answer.len() < ANSWER {
        return None;
    }
    let state = *answer.get(HEADER + 1)?;
    Some(Socket { local, remote, state, uid: word(HEADER + 64)?, inode: u64::from(word(HEADER + 68)?) })
}
