//! Where addresses are, by databases of MaxMind's format (GeoIP2, GeoLite2, DB-IP: City, Country, ASN).

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use maxminddb::Reader;
use serde::de::{Deserializer, Visitor};
use serde::{Deserialize, Serialize};

use super::{LookupError, list, whole};

/// The largest database that is read, in MiB: MaxMind's largest has less than half.
const MOST_MIB: u64 = 1024;
/// The uncertainty of a place when the database gives none, in kilometres.
const RADIUS: f64 = 100.0;

/// Says where an address is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Place {
    /// The country, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub country: Option<Country>,
    /// The city, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub city: Option<String>,
    /// The network.
    pub network: Network,
    /// The place on the globe, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub point: Option<Point>,
}

/// Names a country.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Country {
    /// Its ISO 3166 code of two letters.
    pub code: String,
    /// Its name in English.
    pub name: String,
}

/// Names a network: an autonomous system where a database knows it, else a `/24` of IPv4 or a `/48` of IPv6.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// What tells it from others: `AS3320` or `192.0.2.0/24`.
    pub id: String,
    /// Who runs it, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// Holds a place on the globe.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Degrees north.
    pub latitude: f64,
    /// Degrees east.
    pub longitude: f64,
    /// How uncertain that is, in kilometres.
    pub radius: f64,
}

impl Point {
    /// Measures the way to another place along the globe, in kilometres, less the uncertainty of both.
    pub fn distance(&self, other: &Self) -> f64 {
        const MEAN_RADIUS: f64 = 6371.0;
        let [a, b] = [self.latitude.to_radians(), other.latitude.to_radians()];
        let east = (other.longitude - self.longitude).to_radians();
        let half = ((b - a) / 2.0).sin().powi(2) + a.cos() * b.cos() * (east / 2.0).sin().powi(2);
        let way = 2.0 * MEAN_RADIUS * half.clamp(0.0, 1.0).sqrt().asin();
        (way - self.radius - other.radius).max(0.0)
    }
}

/// The name by which people know a network.
impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{name} ({})", self.id),
            None => f.write_str(&self.id),
        }
    }
}

/// The databases, in the order of the configuration.
#[derive(Default)]
pub(super) struct Places(Vec<Reader<Vec<u8>>>);

/// What is read of a record; City, Country and ASN databases have parts of it.
#[derive(Deserialize)]
struct Record<'a> {
    #[serde(borrow)]
    country: Option<Named<'a>>,
    #[serde(borrow)]
    city: Option<Named<'a>>,
    location: Option<Location>,
    autonomous_system_number: Option<Number>,
    autonomous_system_organization: Option<&'a str>,
}

#[derive(Deserialize)]
struct Named<'a> {
    iso_code: Option<&'a str>,
    #[serde(borrow)]
    names: Option<Names<'a>>,
}

#[derive(Deserialize)]
struct Names<'a> {
    en: Option<&'a str>,
}

#[derive(Deserialize)]
struct Location {
    latitude: Option<Number>,
    longitude: Option<Number>,
    accuracy_radius: Option<Number>,
}

/// A number of whatever width the maker of a database chose.
#[derive(Clone, Copy)]
struct Number(f64);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl Visitor<'_> for Any {
            type Value = Number;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number")
            }
            fn visit_f64<E>(self, value: f64) -> Result<Number, E> {
                Ok(Number(value))
            }
            fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Number, E> {
                i32::try_from(value).map(|value| Number(value.into())).map_err(E::custom)
            }
            fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Number, E> {
                u32::try_from(value).map(|value| Number(value.into())).map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Any)
    }
}

impl Places {
    pub(super) fn read(paths: &[PathBuf]) -> Result<Self, LookupError> {
        let read = |path: &PathBuf| {
            let damaged = |cause: maxminddb::MaxMindDbError| LookupError::Database {
                path: path.clone(),
                cause: cause.to_string(),
            };
            let reader = Reader::from_source(whole("geoip", path, MOST_MIB)?).map_err(damaged)?;
            // a database that was cut off in the middle opens, and is wrong only where it is missing
            reader.verify().map_err(damaged)?;
            Ok(reader)
        };
        paths.iter().map(read).collect::<Result<_, _>>().map(Self)
    }

    pub(super) fn find(&self, address: IpAddr) -> Place {
        let id = list::network(address);
        let mut place = Place { country: None, city: None, network: Network { id, name: None }, point: None };
        let mut numbered = false;
        for record in self.0.iter().filter_map(|reader| record(reader, address)) {
            place.country = place.country.or_else(|| record.country.as_ref().and_then(country));
            let city = record.city.and_then(|city| city.names?.en.map(clean));
            place.city = place.city.or(city);
            place.point = place.point.or_else(|| record.location.as_ref().and_then(point));
            if let Some(Number(number)) = record.autonomous_system_number.filter(|_| !numbered) {
                numbered = true;
                let name = record.autonomous_system_organization.map(clean);
                place.network = Network { id: format!("AS{number}"), name };
            }
        }
        place
    }

    pub(super) fn country(&self, address: IpAddr) -> Option<String> {
        let code = |reader| Some(country(&record(reader, address)?.country?)?.code);
        self.0.iter().find_map(code)
    }
}

impl fmt::Debug for Places {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|reader| &reader.metadata().database_type)).finish()
    }
}

fn record(reader: &Reader<Vec<u8>>, address: IpAddr) -> Option<Record<'_>> {
    let found = reader.lookup(address).and_then(|found| found.decode());
    found.inspect_err(|error| tracing::debug!(%error, "a database of places does not answer")).ok().flatten()
}

fn country(named: &Named<'_>) -> Option<Country> {
    let code = named.iso_code.filter(|code| code.len() == 2 && code.bytes().all(|b| b.is_ascii_alphabetic()))?;
    let name = named.names.as_ref().and_then(|names| names.en).unwrap_or(code);
    Some(Country { code: code.to_ascii_uppercase(), name: clean(name) })
}

fn point(location: &Location) -> Option<Point> {
    let Location { latitude, longitude, accuracy_radius } = *location;
    let (latitude, longitude) = (latitude?.0, longitude?.0);
    let on_the_globe = latitude.abs() <= 90.0 && longitude.abs() <= 180.0;
    let radius =
        accuracy_radius.filter(|radius| radius.0.is_finite()).map_or(RADIUS, |radius| radius.0.clamp(0.0, 20_000.0));
    on_the_globe.then_some(Point { latitude, longitude, radius })
}

/// What a database calls something ends in front of people: one line, and not long.
fn clean(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(60).collect()
}
