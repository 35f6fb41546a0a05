//! Looks things up in files that others keep: where an address is, and which destinations have an ill repute.
//!
//! The files are read into memory as a whole, when the gateway starts and when it reads its configuration again.

mod list;
mod place;

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use crate::config::Risk;

pub use list::Listed;
pub use place::{Country, Network, Place, Point};

/// Holds what was read of the files that `[risk]` names.
#[derive(Debug, Default)]
pub struct Lookup {
    places: place::Places,
    lists: Vec<list::List>,
}

/// Says which file cannot be used, and why.
#[derive(Debug, thiserror::Error)]
pub enum LookupError {
    /// The file cannot be read.
    #[error("[risk] {key}: {path} cannot be read: {cause}. Check the path and that this user may read the file.", path = path.display())]
    Unreadable {
        /// The key that names it.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system says.
        cause: std::io::Error,
    },
    /// The file is larger than any of its sort.
    #[error("[risk] {key}: {path} is larger than {most} MiB. Give a smaller one.", path = path.display())]
    Large {
        /// The key that names it.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// The most that is read, in MiB.
        most: u64,
    },
    /// It is no MaxMind database, or a damaged one.
    #[error("[risk] geoip: {path} is no database of MaxMind's format, or is damaged: {cause}. Download it again.", path = path.display())]
    Database {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
    /// A line of a list is neither a name, nor an address, nor a prefix.
    #[error("[risk] destinations: {path}:{line}: {cause}. A line holds a name, an address, a prefix such as 192.0.2.0/24, or an address and names as in /etc/hosts.", path = path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong with it.
        cause: String,
    },
}

impl Lookup {
    /// Reads the files that the configuration names.
    ///
    /// Blocks on the disk, and goes through every database as a whole: up to some seconds for the largest.
    ///
    /// # Errors
    /// A file cannot be read, is too large, or is damaged.
    pub fn read(risk: &Risk) -> Result<Self, LookupError> {
        Ok(Self {
            places: place::Places::read(&risk.geoip)?,
            lists: risk.destinations.iter().map(|path| list::List::read(path)).collect::<Result<_, _>>()?,
        })
    }

    /// Says where an address is, as far as the databases know; the network is always known.
    pub fn place(&self, address: IpAddr) -> Place {
        self.places.find(address.to_canonical())
    }

    /// Gives the ISO 3166 code of an address's country; empty when it is not known.
    pub fn country(&self, address: IpAddr) -> String {
        self.places.country(address.to_canonical()).unwrap_or_default()
    }

    /// Finds a name in the lists: itself, or a name that it is below.
    pub fn listed_name(&self, name: &str) -> Option<Listed> {
        self.lists.iter().find_map(|list| list.name(name))
    }

    /// Finds an address in the lists.
    pub fn listed_address(&self, address: IpAddr) -> Option<Listed> {
        let address = address.to_canonical();
        self.lists.iter().find_map(|list| list.address(address))
    }
}

/// Reads a whole file that is a file, of at most `most` MiB.
fn whole(key: &'static str, path: &Path, most: u64) -> Result<Vec<u8>, LookupError> {
    let unreadable = |cause| LookupError::Unreadable { key, path: path.to_owned(), cause };
    let about = std::fs::metadata(path).map_err(unreadable)?;
    if !about.is_file() {
        return Err(unreadable(std::io::Error::other("it is no file")));
    }
    if about.len() > most << 20 {
        return Err(LookupError::Large { key, path: path.to_owned(), most });
    }
    std::fs::read(path).map_err(unreadable)
}

#[cfg(test)]
pub(crate) mod tests;
