//! What an address is: of the public internet, of a network of one's own, of this machine, or of nobody to be spoken to.
//!
//! Three questions have this one answer: where an issuer may be, where a URL of another system may lead, and where an app
//! may be dialled.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What an address is, from far to near.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the public internet.
    Public,
    /// In a network that is not routed there: private, shared, for tests and documentation (RFC 6890).
    Private,
    /// This machine.
    Loopback,
    /// Where nothing is to be spoken to: link-local, multicast, unspecified, reserved, and clouds' metadata services.
    Nowhere,
}

/// Clouds' metadata services at addresses that look like others; the rest are link-local.
const METADATA: [Ipv4Addr; 2] = [Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(168, 63, 129, 16)];

/// Says what an address is. One of IPv4 that is written as IPv6 (mapped, compatible, NAT64, 6to4) is what the IPv4 address is.
#[must_use]
pub fn place(address: IpAddr) -> Place {
    match address.to_canonical() {
        IpAddr::V4(address) => place_v4(address),
        IpAddr::V6(address) => place_v6(address),
    }
}

fn place_v4(address: Ipv4Addr) -> Place {
    let [first, second, third, _] = address.octets();
    if METADATA.contains(&address)
        || first == 0
        || first >= 240
        || address.is_link_local()
        || address.is_multicast()
        || address.is_broadcast()
    {
        return Place::Nowhere;
    }
    if address.is_loopback() {
        return Place::Loopback;
    }
    let special =
        matches!((first, second, third), (100, 64..=127, _) | (192, 0, 0) | (192, 88, 99) | (198, 18 | 19, _));
    if special || address.is_private() || address.is_documentation() { Place::Private } else { Place::Public }
}

fn place_v6(address: Ipv6Addr) -> Place {
    let embedded = |high: u16, low: u16| place_v4(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)));
    match address.segments() {
        _ if address.is_loopback() => Place::Loopback,
        _ if address.is_unspecified() || address.is_multicast() || address.is_unicast_link_local() => Place::Nowhere,
        // a cloud's metadata service: fd00:ec2::254
        [0xfd00, 0x0ec2, ..] => Place::Nowhere,
        // an IPv4 address within: RFC 4291, RFC 6052, RFC 3056
        [0, 0, 0, 0, 0, 0, high, low] | [0x64, 0xff9b, 0, 0, _, _, high, low] | [0x2002, high, low, ..] => {
            embedded(high, low)
        }
        // Teredo, ORCHID and documentation
        [0x2001, 0 | 0x10..=0x2f | 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => Place::Private,
        // only global unicast is left
        [first, ..] if first & 0xe000 == 0x2000 => Place::Public,
        _ => Place::Private,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_has_its_place() {
        for (wanted, addresses) in [
            (
                Place::Public,
                &[
                    "93.184.216.34",
                    "2606:2800:220:1:248:1893:25c8:1946",
                    "172.32.0.1",
                    "100.128.0.1",
                    "64:ff9b::5db8:d822",
                    "2002:5db8:d822::",
                ][..],
            ),
            (
                Place::Private,
                &[
                    "10.0.0.1",
                    "172.16.0.1",
                    "172.31.0.1",
                    "192.168.1.1",
                    "100.64.0.1",
                    "198.18.0.1",
                    "198.19.0.1",
                    "192.0.2.1",
                    "192.0.0.8",
                    "fd12::1",
                    "fd00::1",
                    "::ffff:10.0.0.1",
                    "::10.0.0.1",
                    "64:ff9b::10.0.0.1",
                    "2002:a00:1::",
                    "2001:db8::1",
                    "2001::1",
                    "4000::1",
                ],
            ),
            (
                Place::Loopback,
                &[
                    "127.0.0.1",
                    "127.8.8.8",
                    "::1",
                    "::ffff:127.0.0.1",
                    "::127.0.0.1",
                    "64:ff9b::7f00:1",
                    "2002:7f00:1::",
                ],
            ),
            (
                Place::Nowhere,
                &[
                    "0.0.0.0",
                    "0.1.2.3",
                    "::",
                    "169.254.169.254",
                    "::ffff:169.254.169.254",
                    "64:ff9b::169.254.169.254",
                    "fe80::1",
                    "fd00:ec2::254",
                    "100.100.100.200",
                    "168.63.129.16",
                    "224.0.0.1",
                    "ff02::1",
                    "240.0.0.1",
                    "255.255.255.255",
                ],
            ),
        ] {
            for address in addresses {
                assert_eq!(place(address.parse().unwrap()), wanted, "{address}");
            }
        }
    }
}
