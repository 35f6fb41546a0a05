//! What can be known of a device here: the checks that every gateway knows, and those that its configuration names.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use ztsa_proto::posture::{Product, Wanted, known, policy_name};
use ztsa_proto::time::UnixTime;

use super::COMPLIANT;
use crate::config;

/// Lists the checks that policies may name, and what devices are asked for.
#[derive(Clone, Debug)]
pub struct Catalogue {
    ids: BTreeSet<String>,
    named: Vec<Wanted>,
    collect: Vec<String>,
    products: Vec<Product>,
    eol: BTreeMap<String, UnixTime>,
}

impl Default for Catalogue {
    fn default() -> Self {
        Self::of(&config::Posture::default())
    }
}

impl Catalogue {
    /// Makes the list from the configuration.
    pub fn of(config: &config::Posture) -> Self {
        let named = config.named.iter().map(|wanted| wanted.id.clone());
        let own = PRODUCTS.iter().map(|(name, processes)| Product {
            name: (*name).to_owned(),
            processes: processes.iter().map(|process| (*process).to_owned()).collect(),
        });
        let dates = EOL.iter().filter_map(|(system, (year, month, day))| {
            Some(((*system).to_owned(), UnixTime::from_date(*year, *month, *day)?))
        });
        Self {
            ids: known().chain([COMPLIANT]).map(str::to_owned).chain(named).collect(),
            named: config.named.clone(),
            collect: config.collect.clone(),
            products: config.products.iter().cloned().chain(own).collect(),
            eol: dates.chain(config.eol.clone()).collect(),
        }
    }

    /// Goes through the ids of all checks, sorted.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.ids.iter().map(String::as_str)
    }

    /// Finds a check's id.
    pub fn id(&self, id: &str) -> Option<&str> {
        self.ids.get(id).map(String::as_str)
    }

    /// Finds the checks that a policy's text names after `posture`: `posture.disk_root`, `posture.file.agent`.
    pub fn named_in(&self, policy: &str) -> Vec<String> {
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let words: Vec<&str> =
            policy.split(|c| !is_word(c)).filter(|word| !word.is_empty() && *word != "has").collect();
        let follows = |id: &str| {
            let name = policy_name(id);
            let path: Vec<&str> = std::iter::once("posture").chain(name.split('.')).collect();
            words.windows(path.len()).any(|window| window == path)
        };
        self.ids.iter().filter(|id| follows(id)).cloned().collect()
    }

    /// Says what a device is asked for when policies name these checks: those, and what the configuration adds.
    pub fn wanted<'a>(&'a self, by_policies: impl Iterator<Item = &'a str>) -> Vec<Wanted> {
        let mut ids: BTreeSet<&str> = by_policies.collect();
        ids.extend(self.collect.iter().map(String::as_str));
        // only others tell it
        ids.remove(COMPLIANT);
        // it is worked out from the version
        if ids.remove("os.eol") {
            ids.insert("os.version");
        }
        ids.into_iter().map(|id| self.one(id)).collect()
    }

    fn one(&self, id: &str) -> Wanted {
        match self.named.iter().find(|wanted| wanted.id == id) {
            Some(wanted) => wanted.clone(),
            None if id == "edr" => Wanted { products: self.products.clone(), ..Wanted::from(id) },
            None => Wanted::from(id),
        }
    }

    /// Finds the day from which on an operating system gets no more updates, by what `os.version` says.
    pub(super) fn end_of_life(&self, version: &Value) -> Option<UnixTime> {
        let text = |key: &str| version.get(key).and_then(Value::as_str);
        let (id, number) = (text("id")?, text("release").or_else(|| text("version"))?);
        let major = number.split('.').next().unwrap_or(number);
        let keys = [format!("{id} {number}"), format!("{id} {major}")];
        keys.iter().find_map(|key| self.eol.get(key)).copied()
    }
}

/// The products that protect devices, by the names of their processes on any system.
const PRODUCTS: &[(&str, &[&str])] = &[
    ("crowdstrike", &["falcon-sensor", "falcon-sensor-bpf", "CSFalconService", "com.crowdstrike.falcon.Agent"]),
    ("defender", &["wdavdaemon", "MsSense", "MsMpEng", "com.microsoft.wdav.epsext"]),
    ("sentinelone", &["s1-agent", "sentinelone-agent", "SentinelAgent", "com.sentinelone.sentineld"]),
    ("trend micro", &["ds_agent", "tmxbc", "EndpointBasecamp", "TmListen", "NTRtScan"]),
    ("elastic", &["elastic-endpoint", "co.elastic.systemextension"]),
    ("wazuh", &["wazuh-agentd", "wazuh-agent"]),
    ("clamav", &["clamd", "clamonacc"]),
];

/// The last day of security updates for everybody (long-term support that is sold apart does not count).
const EOL: &[(&str, (u16, u8, u8))] = &[
    ("debian 10", (2024, 6, 30)),
    ("debian 11", (2026, 8, 31)),
    ("debian 12", (2028, 6, 30)),
    ("debian 13", (2030, 6, 30)),
    ("ubuntu 20.04", (2025, 5, 31)),
    ("ubuntu 22.04", (2027, 4, 30)),
    ("ubuntu 24.04", (2029, 4, 30)),
    ("rhel 7", (2024, 6, 30)),
    ("rhel 8", (2029, 5, 31)),
    ("rhel 9", (2032, 5, 31)),
    ("rhel 10", (2035, 5, 31)),
    ("rocky 8", (2029, 5, 31)),
    ("rocky 9", (2032, 5, 31)),
    ("windows 21H2", (2024, 10, 8)),
    ("windows 22H2", (2025, 10, 14)),
];
