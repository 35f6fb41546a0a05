//! Which addresses an issuer may be at: a name server, or a discovery document, must not send the gateway into its own network.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hyper_util::client::proxy::matcher::Matcher;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

use crate::config;

/// How long a name may take to resolve.
const PATIENCE: Duration = Duration::from_secs(5);

/// Says how near an issuer may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Reach {
    /// This machine's own addresses.
    pub(in super::super) loopback: bool,
    /// Those that are not routed in the internet.
    pub(in super::super) private: bool,
}

/// What an address is, from far to near.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Public,
    Private,
    Loopback,
    Nowhere,
}

impl Reach {
    /// The reach of an issuer: one that is configured on loopback may stay there.
    pub(in super::super) fn of(identifier: &str, private: bool) -> Reach {
        let own = Url::parse(identifier).is_ok_and(|url| config::is_loopback(&url));
        Reach { loopback: own || private, private }
    }

    /// Refuses an address that is nearer than allowed, in words for the administrator.
    fn judge(self, host: &str, address: IpAddr) -> Result<(), String> {
        let (allowed, what) = match place(address) {
            Place::Public => (true, ""),
            Place::Private => (self.private, "a private address"),
            Place::Loopback => (self.loopback, "this machine"),
            Place::Nowhere => return Err(format!("{host} is at {address}, where no issuer can be")),
        };
        if allowed {
            Ok(())
        } else {
            Err(format!("{host} is at {address}, {what}: set allow_private = true in its table if that is meant"))
        }
    }

    /// Refuses a URL whose host is written as such an address; names are judged as they resolve.
    pub(super) fn judge_url(self, url: &Url) -> Result<(), String> {
        match url.host() {
            Some(Host::Ipv4(address)) => self.judge(&address.to_string(), address.into()),
            Some(Host::Ipv6(address)) => self.judge(&address.to_string(), address.into()),
            Some(Host::Domain(_)) | None => Ok(()),
        }
    }
}

/// Resolves names and leaves out addresses that are nearer than allowed.
#[derive(Clone, Debug)]
pub(super) struct Resolver {
    reach: Reach,
    /// The proxies on the way, which are where the administrator put them.
    proxies: Arc<[String]>,
}

impl Resolver {
    pub(super) fn new(reach: Reach, identifier: &str) -> Resolver {
        let matcher = Matcher::from_system();
        let proxy = identifier.parse().ok().and_then(|uri| matcher.intercept(&uri));
        let proxies = proxy.and_then(|proxy| proxy.uri().host().map(str::to_owned)).into_iter().collect();
        Resolver { reach, proxies }
    }
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let resolver = self.clone();
        Box::pin(async move {
            let host = name.as_str();
            let found = tokio::time::timeout(PATIENCE, tokio::net::lookup_host((host, 0))).await;
            let found: Vec<SocketAddr> = found.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??.collect();
            if resolver.proxies.iter().any(|proxy| proxy.eq_ignore_ascii_case(host)) {
                return Ok(Box::new(found.into_iter()) as Addrs);
            }
            let (fit, mut unfit) = (Vec::with_capacity(found.len()), None);
            let fit = found.into_iter().fold(fit, |mut fit, address| {
                match resolver.reach.judge(host, address.ip()) {
                    Ok(()) => fit.push(address),
                    Err(reason) => unfit = Some(reason),
                }
                fit
            });
            match unfit {
                Some(reason) if fit.is_empty() => Err(io::Error::new(io::ErrorKind::PermissionDenied, reason).into()),
                _ => Ok(Box::new(fit.into_iter()) as Addrs),
            }
        })
    }
}

fn place(address: IpAddr) -> Place {
    match address.to_canonical() {
        IpAddr::V4(address) => place_v4(address),
        IpAddr::V6(address) => place_v6(address),
    }
}

fn place_v4(address: Ipv4Addr) -> Place {
    let [first, second, ..] = address.octets();
    if METADATA.contains(&address)
        || first == 0
        || address.is_link_local()
        || address.is_multicast()
        || address.is_broadcast()
    {
        Place::Nowhere
    } else if address.is_loopback() {
        Place::Loopback
    } else if address.is_private()
        || (first == 100 && (64..128).contains(&second))
        || (first == 198 && second & 0xfe == 18)
    {
        Place::Private
    } else {
        Place::Public
    }
}

fn place_v6(address: Ipv6Addr) -> Place {
    let embedded = |high: u16, low: u16| place_v4(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)));
    match address.segments() {
        _ if address.is_loopback() => Place::Loopback,
        _ if address.is_unspecified() || address.is_multicast() || address.is_unicast_link_local() => Place::Nowhere,
        // a cloud's metadata service: fd00:ec2::254
        [0xfd00, 0x0ec2, ..] => Place::Nowhere,
        _ if address.is_unique_local() => Place::Private,
        // an IPv4 address within: RFC 6052, RFC 3056
        [0x64, 0xff9b, 0, 0, .., high, low] | [0x2002, high, low, ..] => embedded(high, low),
        _ => Place::Public,
    }
}

/// Clouds' metadata services at addresses that look like others.
const METADATA: [Ipv4Addr; 2] = [Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(168, 63, 129, 16)];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_has_its_place() {
        for (address, wanted) in [
            ("93.184.216.34", Place::Public),
            ("2606:2800:220:1::1", Place::Public),
            ("10.0.0.1", Place::Private),
            ("172.16.0.1", Place::Private),
            ("172.32.0.1", Place::Public),
            ("192.168.1.1", Place::Private),
            ("100.64.0.1", Place::Private),
            ("100.128.0.1", Place::Public),
            ("198.19.0.1", Place::Private),
            ("fd12::1", Place::Private),
            ("::ffff:10.0.0.1", Place::Private),
            ("64:ff9b::10.0.0.1", Place::Private),
            ("2002:a00:1::", Place::Private),
            ("127.0.0.1", Place::Loopback),
            ("127.8.8.8", Place::Loopback),
            ("::1", Place::Loopback),
            ("::ffff:127.0.0.1", Place::Loopback),
            ("0.0.0.0", Place::Nowhere),
            ("::", Place::Nowhere),
            ("169.254.169.254", Place::Nowhere),
            ("64:ff9b::169.254.169.254", Place::Nowhere),
            ("fe80::1", Place::Nowhere),
            ("fd00:ec2::254", Place::Nowhere),
            ("100.100.100.200", Place::Nowhere),
            ("168.63.129.16", Place::Nowhere),
            ("224.0.0.1", Place::Nowhere),
            ("255.255.255.255", Place::Nowhere),
        ] {
            assert_eq!(place(address.parse().unwrap()), wanted, "{address}");
        }
    }

    #[test]
    fn an_issuer_is_as_near_as_configured() {
        let far = Reach::of("https://idp.example", false);
        let near = Reach::of("https://idp.example", true);
        let dev = Reach::of("http://127.0.0.1:8080", false);
        for (address, reaches) in [
            ("93.184.216.34", [true, true, true]),
            ("10.0.0.1", [false, true, false]),
            ("127.0.0.1", [false, true, true]),
            ("169.254.169.254", [false, false, false]),
        ] {
            let address: IpAddr = address.parse().unwrap();
            assert_eq!([far, near, dev].map(|reach| reach.judge("idp", address).is_ok()), reaches, "{address}");
        }
        let refused = far.judge_url(&Url::parse("https://10.1.2.3/keys").unwrap()).unwrap_err();
        assert!(refused.contains("allow_private = true"), "{refused}");
    }

    #[tokio::test]
    async fn a_name_that_resolves_to_this_machine_is_refused_with_the_way_out() {
        let resolver = Resolver { reach: Reach::of("https://idp.example", false), proxies: Arc::from([]) };
        let refused = resolver.resolve("localhost".parse().unwrap()).await.err().unwrap();
        assert!(refused.to_string().contains("allow_private = true"), "{refused}");
        let dev = Resolver { reach: Reach::of("http://localhost:1", false), ..resolver.clone() };
        assert!(dev.resolve("localhost".parse().unwrap()).await.is_ok());
        let proxy = Resolver { proxies: Arc::from(["localhost".to_owned()]), ..resolver };
        assert!(proxy.resolve("localhost".parse().unwrap()).await.is_ok());
    }
}
