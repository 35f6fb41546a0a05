//! Which addresses an issuer may be at: a name server, or a discovery document, must not send the gateway into its own network.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hyper_util::client::proxy::matcher::Matcher;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

use crate::config;
use crate::place::{Place, place};

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

#[cfg(test)]
mod tests {
    use super::*;

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
