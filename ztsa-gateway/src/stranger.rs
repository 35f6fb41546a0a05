//! What connections may cost before somebody has signed in on them: how many there are, of one address and in all, how
//! long they stay, and how often they ask in vain.
//!
//! Those that wait never keep a newcomer out: when there are too many, the one that has waited longest goes. A client
//! that has its token at hand is known after one request, and waits for nobody.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::config::Limits;

/// How long a connection whose time is over may take to finish what is under way.
pub const FAREWELL: Duration = Duration::from_secs(10);

/// Requests of one connection that are under way at once before it is known, each until its answer was taken; a client
/// sends one or two.
pub const REQUESTS_AT_ONCE: usize = 16;

/// Holds the connections on which nobody has been recognised yet; a clone is another handle to the same.
#[derive(Debug, Clone)]
pub struct Strangers {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    table: Mutex<Table>,
    limits: ArcSwap<Limits>,
    turned: Turned,
}

/// Counts, since the start, what strangers were denied.
#[derive(Debug, Default)]
struct Turned {
    handshakes: AtomicU64,
    crowded: AtomicU64,
    overdue: AtomicU64,
    refused: AtomicU64,
}

/// Holds the counts of one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Connections on which nobody has been recognised yet.
    pub waiting: u64,
    /// Handshakes that were not begun because their address had too many.
    pub handshakes_refused: u64,
    /// Connections that gave way to newer ones.
    pub crowded_out: u64,
    /// Connections on which nobody was recognised in time.
    pub overdue: u64,
    /// Connections that asked in vain too often.
    pub refused: u64,
}

/// Stands for one connection. A clone is the same connection; the last one takes it off the list.
#[derive(Debug, Clone)]
pub struct Stranger(Arc<Standing>);

#[derive(Debug)]
struct Standing {
    number: u64,
    address: IpAddr,
    strangers: Strangers,
    due: Instant,
    known: AtomicBool,
    overdue: AtomicBool,
    in_vain: AtomicU32,
    cut: CancellationToken,
    dismissed: CancellationToken,
}

/// One place among an address's handshakes, given back when dropped.
#[derive(Debug)]
pub struct Handshake {
    strangers: Strangers,
    address: IpAddr,
}

#[derive(Debug, Default)]
struct Table {
    last: u64,
    waiting: BTreeMap<u64, (IpAddr, CancellationToken)>,
    addresses: HashMap<IpAddr, Address>,
}

#[derive(Debug, Default)]
struct Address {
    handshakes: u32,
    waiting: BTreeSet<u64>,
}

impl Strangers {
    /// Makes an empty list.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        let inner = Inner { table: Mutex::default(), limits: ArcSwap::from_pointee(limits), turned: Turned::default() };
        Self { inner: Arc::new(inner) }
    }

    /// Changes the limits; connections that are there keep their deadline.
    pub fn limit(&self, limits: Limits) {
        self.inner.limits.store(Arc::new(limits));
    }

    /// Takes a connection in, or `None` when its address has as many handshakes under way as it may have.
    ///
    /// Whoever has waited longest is cut when there are too many, of this address or of all.
    #[must_use]
    pub fn enter(&self, from: IpAddr) -> Option<(Stranger, Handshake)> {
        let address = line(from);
        let limits = self.inner.limits.load();
        let cut = CancellationToken::new();
        let (number, crowded) = {
            let mut table = self.table();
            let place = table.addresses.entry(address).or_default();
            if place.handshakes >= limits.handshakes_per_address {
                self.inner.turned.handshakes.fetch_add(1, Ordering::Relaxed);
                return None;
            }
            place.handshakes += 1;
            table.enter(address, cut.clone(), &limits)
        };
        self.inner.turned.crowded.fetch_add(crowded, Ordering::Relaxed);
        let standing = Standing {
            number,
            address,
            strangers: self.clone(),
            due: Instant::now() + limits.unauthenticated_for,
            known: AtomicBool::new(false),
            overdue: AtomicBool::new(false),
            in_vain: AtomicU32::new(0),
            cut,
            dismissed: CancellationToken::new(),
        };
        Some((Stranger(Arc::new(standing)), Handshake { strangers: self.clone(), address }))
    }

    /// Counts.
    #[must_use]
    pub fn tally(&self) -> Tally {
        let Turned { handshakes, crowded, overdue, refused } = &self.inner.turned;
        Tally {
            waiting: u64::try_from(self.table().waiting.len()).unwrap_or(u64::MAX),
            handshakes_refused: handshakes.load(Ordering::Relaxed),
            crowded_out: crowded.load(Ordering::Relaxed),
            overdue: overdue.load(Ordering::Relaxed),
            refused: refused.load(Ordering::Relaxed),
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.inner.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stranger {
    /// Says whether somebody has been recognised.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.0.known.load(Ordering::Relaxed)
    }

    /// Notes that somebody has been recognised: from now on the connection is theirs, and none of this applies.
    pub fn recognise(&self) {
        if !self.0.known.swap(true, Ordering::Relaxed) {
            self.0.leave();
        }
    }

    /// Notes a request that was refused; after too many the connection is cut.
    pub fn turn_away(&self) {
        let limit = self.0.strangers.inner.limits.load().refusals_per_connection;
        if !self.is_known() && self.0.in_vain.fetch_add(1, Ordering::Relaxed) + 1 == limit {
            self.0.strangers.inner.turned.refused.fetch_add(1, Ordering::Relaxed);
            self.0.cut.cancel();
        }
    }

    /// Waits until nobody has been recognised for as long as that may take; never returns when somebody has.
    ///
    /// # Cancel safety
    /// Cancel-safe.
    pub async fn overdue(&self) {
        tokio::time::sleep_until(self.0.due).await;
        if self.is_known() {
            std::future::pending::<()>().await;
        }
        if !self.0.overdue.swap(true, Ordering::Relaxed) {
            self.0.strangers.inner.turned.overdue.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Notes that whoever was recognised may not come in any more: the connection takes nothing new, and whoever opens
    /// another is a stranger on it.
    pub fn dismiss(&self) {
        self.0.dismissed.cancel();
    }

    /// Waits until the connection should take nothing new: it is overdue, or was dismissed.
    ///
    /// # Cancel safety
    /// Cancel-safe.
    pub async fn farewell(&self) {
        tokio::select! {
            () = self.overdue() => {}
            () = self.0.dismissed.cancelled() => {}
        }
    }

    /// Waits until the connection must end at once.
    ///
    /// # Cancel safety
    /// Cancel-safe.
    pub async fn cut(&self) {
        let over = async {
            self.overdue().await;
            tokio::time::sleep(FAREWELL).await;
        };
        tokio::select! {
            () = self.0.cut.cancelled() => {}
            () = over => {}
        }
    }
}

impl Standing {
    fn leave(&self) {
        self.strangers.table().leave(self.number, self.address);
    }
}

impl Drop for Standing {
    fn drop(&mut self) {
        if !*self.known.get_mut() {
            self.leave();
        }
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        let mut table = self.strangers.table();
        if let Some(address) = table.addresses.get_mut(&self.address) {
            address.handshakes = address.handshakes.saturating_sub(1);
        }
        table.tidy(self.address);
    }
}

impl Table {
    /// Notes one more; gives its number, and how many had to go for it.
    fn enter(&mut self, address: IpAddr, cut: CancellationToken, limits: &Limits) -> (u64, u64) {
        let mut crowded = 0;
        while let Some(oldest) = self.one_too_many(address, limits) {
            if let Some((its, cut)) = self.waiting.get(&oldest) {
                cut.cancel();
                crowded += 1;
                let its = *its;
                self.leave(oldest, its);
            }
        }
        self.last += 1;
        self.waiting.insert(self.last, (address, cut));
        self.addresses.entry(address).or_default().waiting.insert(self.last);
        (self.last, crowded)
    }

    /// Names who has waited longest, when there is no room for one more.
    fn one_too_many(&self, address: IpAddr, limits: &Limits) -> Option<u64> {
        let full = |count: usize, limit: u32| count >= usize::try_from(limit).unwrap_or(usize::MAX);
        let of_address = self.addresses.get(&address).map(|address| &address.waiting);
        if let Some(waiting) = of_address.filter(|waiting| full(waiting.len(), limits.unauthenticated_per_address)) {
            return waiting.first().copied();
        }
        full(self.waiting.len(), limits.unauthenticated).then(|| self.waiting.keys().next().copied()).flatten()
    }

    fn leave(&mut self, number: u64, address: IpAddr) {
        self.waiting.remove(&number);
        if let Some(address) = self.addresses.get_mut(&address) {
            address.waiting.remove(&number);
        }
        self.tidy(address);
    }

    fn tidy(&mut self, address: IpAddr) {
        if self.addresses.get(&address).is_some_and(|address| address.handshakes == 0 && address.waiting.is_empty()) {
            self.addresses.remove(&address);
        }
    }
}

/// What one subscriber has: an IPv4 address, or the 64-bit prefix of an IPv6 address, behind which they choose freely.
fn line(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
    }
}

#[cfg(test)]
mod tests;
