//! Lists of destinations: names, addresses and prefixes, one a line, or as `/etc/hosts` has them.

use std::collections::{BTreeSet, HashSet};
use std::net::IpAddr;
use std::path::Path;

use super::{LookupError, whole};

/// The largest file that is read, in MiB.
const MOST_MIB: u64 = 64;
/// The most entries that one list may have.
const MOST_ENTRIES: usize = 2_000_000;

/// Says what was found, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The entry: a name, an address or a prefix.
    pub entry: String,
    /// The name of the file.
    pub list: String,
}

/// One list.
#[derive(Debug, Default)]
pub(super) struct List {
    file: String,
    names: HashSet<Box<str>>,
    prefixes: HashSet<Prefix>,
    /// The lengths that prefixes of IPv4 have: the longest is looked for first.
    four: BTreeSet<u8>,
    /// As `four`, of IPv6.
    six: BTreeSet<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Prefix {
    bits: u128,
    length: u8,
    six: bool,
}

impl List {
    pub(super) fn read(path: &Path) -> Result<Self, LookupError> {
        let bytes = whole("destinations", path, MOST_MIB)?;
        let text = String::from_utf8_lossy(&bytes);
        let file = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let mut list = Self { file, ..Self::default() };
        for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
            let fault = |cause| LookupError::Line { path: path.to_owned(), line: index + 1, cause };
            list.take(line).map_err(fault)?;
            if list.names.len() + list.prefixes.len() > MOST_ENTRIES {
                return Err(fault(format!("there are more than {MOST_ENTRIES} entries")));
            }
        }
        Ok(list)
    }

    /// Takes one line; what follows `#` or `;` is a remark.
    fn take(&mut self, line: &str) -> Result<(), String> {
        let line = line.split(['#', ';']).next().unwrap_or_default();
        let mut words = line.split_whitespace();
        let Some(first) = words.next() else { return Ok(()) };
        let mut names = words.peekable();
        if names.peek().is_some() {
            if first.parse::<IpAddr>().is_err() {
                return Err(format!("{first:?} is followed by more, and is no address"));
            }
            return names.try_for_each(|name| self.take_name(name));
        }
        match Prefix::read(first) {
            Some(prefix) => {
                self.prefixes.insert(prefix);
                if prefix.six { &mut self.six } else { &mut self.four }.insert(prefix.length);
                Ok(())
            }
            None => self.take_name(first),
        }
    }

    fn take_name(&mut self, name: &str) -> Result<(), String> {
        let name = name.trim_start_matches("*.").trim_matches('.').to_ascii_lowercase();
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let name = if name.chars().all(plain) {
            name
        } else {
            match url::Host::parse(&name) {
                Ok(url::Host::Domain(name)) if name.chars().all(plain) => name,
                _ => return Err(format!("{name:?} is no name")),
            }
        };
        if name.is_empty() || name.len() > 253 {
            return Err(format!("{name:?} is no name"));
        }
        // a single label is `localhost` or `broadcasthost` of a hosts file, or would mean a whole top-level domain
        if name.contains('.') {
            self.names.insert(name.into_boxed_str());
        }
        Ok(())
    }

    pub(super) fn name(&self, name: &str) -> Option<Listed> {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        let mut rest = Some(name.as_str());
        while let Some(name) = rest {
            if let Some(entry) = self.names.get(name) {
                return Some(self.found(entry.to_string()));
            }
            rest = name.split_once('.').map(|(_, above)| above);
        }
        None
    }

    pub(super) fn address(&self, address: IpAddr) -> Option<Listed> {
        let lengths = if address.is_ipv6() { &self.six } else { &self.four };
        let of = |length: &u8| Prefix::of(address, *length).filter(|prefix| self.prefixes.contains(prefix));
        lengths.iter().rev().find_map(of).map(|prefix| self.found(prefix.text()))
    }

    fn found(&self, entry: String) -> Listed {
        Listed { entry, list: self.file.clone() }
    }
}

impl Prefix {
    /// Reads `192.0.2.1` or `192.0.2.0/24`; bits behind the prefix do not count.
    fn read(text: &str) -> Option<Self> {
        let (address, length) = text.split_once('/').map_or((text, None), |(address, length)| (address, Some(length)));
        let address: IpAddr = address.parse().ok()?;
        let most = if address.is_ipv6() { 128 } else { 32 };
        Self::of(address, length.map_or(Ok(most), str::parse).ok()?)
    }

    fn of(address: IpAddr, length: u8) -> Option<Self> {
        let (bits, width, six) = match address {
            IpAddr::V4(four) => (u128::from(four.to_bits()), 32, false),
            IpAddr::V6(six) => (six.to_bits(), 128, true),
        };
        let behind = u32::from(u8::checked_sub(width, length)?);
        let bits = bits.checked_shr(behind).unwrap_or(0).checked_shl(behind).unwrap_or(0);
        Some(Self { bits, length, six })
    }

    fn text(self) -> String {
        let address = if self.six {
            IpAddr::from(self.bits.to_be_bytes())
        } else {
            IpAddr::from(u32::try_from(self.bits).unwrap_or(0).to_be_bytes())
        };
        match (self.six, self.length) {
            (false, 32) | (true, 128) => address.to_string(),
            (_, length) => format!("{address}/{length}"),
        }
    }
}

/// Names the part of an address that one network has: a `/24` or a `/48`.
pub(super) fn network(address: IpAddr) -> String {
    let length = if address.is_ipv6() { 48 } else { 24 };
    Prefix::of(address, length).map_or_else(|| address.to_string(), Prefix::text)
}
