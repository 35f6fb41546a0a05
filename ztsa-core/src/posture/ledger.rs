//! What the gateway was told, so that only what is new is told again.

use std::{collections::HashMap, time::Duration};

use ztsa_proto::{
    name::DeviceId,
    posture::{Check, Report},
    time::UnixTime,
};

use super::certificate::Identity;

/// What was seen of this device, or said of it.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The answers, without proofs.
    pub report: Report,
    /// The certificate that was or would be shown: another one is news, whatever its state.
    pub(crate) certificate: Option<Identity>,
}

/// Remembers what the gateway was told of this device by this process.
#[derive(Debug, Default)]
pub struct Ledger {
    told: HashMap<String, Told>,
    device: Option<DeviceId>,
    last: Option<UnixTime>,
}

#[derive(Debug)]
struct Told {
    check: Check,
    /// Of a certificate's check only.
    certificate: Option<Identity>,
    at: UnixTime,
}

/// A report is sent at least this often, even when nothing is new: it says that the device is there.
const HEARTBEAT: Duration = Duration::from_secs(300);

impl Ledger {
    /// Leaves out of a report what the gateway knows already: answers that are as they were, and were told less than half
    /// of their time ago.
    #[must_use]
    pub fn news(&self, seen: Seen, device: &DeviceId, now: UnixTime) -> Report {
        let Seen { mut report, certificate } = seen;
        if self.told.is_empty() || self.device.as_ref() != Some(device) {
            return report;
        }
        report.checks.retain(|check| {
            let told = self.told.get(&check.id);
            told.is_none_or(|told| told.is_old(check, now) || told.certificate != of(check, certificate))
        });
        report.partial = true;
        report
    }

    /// Says whether a report is worth sending by itself: it has news, or the device was not heard of for five minutes.
    #[must_use]
    pub fn is_due(&self, report: &Report, now: UnixTime) -> bool {
        !report.checks.is_empty() || self.last.is_none_or(|last| now.since(last) >= HEARTBEAT)
    }

    /// Notes what was sent; `kept` is what the gateway then had. A gateway that lacks something, as after its restart, or
    /// has something else, as after two reports that overtook each other, is told everything the next time.
    pub fn delivered(&mut self, said: &Seen, device: &DeviceId, kept: &[Check], now: UnixTime) {
        let report = &said.report;
        if !report.partial || self.device.as_ref() != Some(device) {
            self.told.clear();
        }
        self.device = Some(device.clone());
        self.last = Some(now);
        for check in &report.checks {
            let told = Told { check: check.clone(), certificate: of(check, said.certificate), at: now };
            self.told.insert(check.id.clone(), told);
        }
        // of a certificate the gateway keeps its own judgement
        let as_told = |told: &Check, kept: &Check| kept.state == told.state || is_certificate(told);
        let has = |(id, told): (&String, &Told)| kept.iter().any(|kept| kept.id == *id && as_told(&told.check, kept));
        if !self.told.iter().all(has) {
            self.told.clear();
        }
    }
}

fn is_certificate(check: &Check) -> bool {
    check.id.starts_with("cert.")
}

fn of(check: &Check, certificate: Option<Identity>) -> Option<Identity> {
    certificate.filter(|_| is_certificate(check))
}

impl Told {
    /// Whether the gateway has to be told again.
    fn is_old(&self, now_seen: &Check, now: UnixTime) -> bool {
        let before = &self.check;
        let same = (before.state, before.reason) == (now_seen.state, now_seen.reason)
            // The seconds since the start always differ.
            && (before.value == now_seen.value || now_seen.id == "os.uptime");
        !same || now.since(self.at) >= Duration::from_secs(now_seen.ttl / 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ztsa_proto::{
        jws::{Signer as _, SoftwareKey},
        posture::{State, Wanted},
    };

    use crate::posture::{Sys, collect};

    const NOW: UnixTime = UnixTime(1_795_352_700);

    fn report(states: &[(&str, State)]) -> Report {
        let wanted: Vec<Wanted> = states.iter().map(|(id, _)| Wanted::from(*id)).collect();
        let mut report = collect(&wanted, &Sys::at("/nowhere", 1000, &[]), "ztsa", NOW);
        report.checks.iter_mut().zip(states).for_each(|(check, (_, state))| check.state = *state);
        report
    }

    fn seen(report: Report) -> Seen {
        Seen { report, certificate: None }
    }

    fn ids(report: &Report) -> Vec<&str> {
        report.checks.iter().map(|check| check.id.as_str()).collect()
    }

    #[test]
    fn only_what_changed_is_told_again_and_each_before_it_is_out_of_date() {
        let device = SoftwareKey::generate().unwrap().public_key().thumbprint();
        let mut ledger = Ledger::default();
        let first = report(&[("fw.enabled", State::Pass), ("disk.root", State::Pass)]);
        let sent = ledger.news(seen(first.clone()), &device, NOW);
        assert_eq!((sent.partial, ids(&sent)), (false, vec!["fw.enabled", "disk.root"]));
        ledger.delivered(&seen(sent.clone()), &device, &sent.checks, NOW);
        let at = |seconds| NOW.plus(Duration::from_secs(seconds));
        let same = ledger.news(seen(first.clone()), &device, at(60));
        assert_eq!((same.partial, ids(&same).len()), (true, 0));
        assert!(!ledger.is_due(&same, at(60)) && ledger.is_due(&same, at(300)), "silence is broken after five minutes");
        let worse =
            ledger.news(seen(report(&[("fw.enabled", State::Pass), ("disk.root", State::Fail)])), &device, at(60));
        assert_eq!(ids(&worse), ["disk.root"]);
        assert!(ledger.is_due(&worse, at(60)));
        let later = ledger.news(seen(first.clone()), &device, at(150));
        assert_eq!(ids(&later), ["fw.enabled"], "half of its five minutes are over");
        let other = SoftwareKey::generate().unwrap().public_key().thumbprint();
        assert!(!ledger.news(seen(first), &other, at(60)).partial, "another key is another device");
    }

    #[test]
    fn a_gateway_that_forgot_is_told_everything() {
        let device = SoftwareKey::generate().unwrap().public_key().thumbprint();
        let mut ledger = Ledger::default();
        let first = report(&[("fw.enabled", State::Pass), ("disk.root", State::Pass)]);
        ledger.delivered(&seen(first.clone()), &device, &first.checks, NOW);
        let news = ledger.news(seen(report(&[("fw.enabled", State::Fail), ("disk.root", State::Pass)])), &device, NOW);
        ledger.delivered(&seen(news.clone()), &device, &news.checks, NOW);
        assert!(!ledger.news(seen(first.clone()), &device, NOW).partial);
        // it has what an older report said, which came later
        ledger.delivered(&seen(first.clone()), &device, &first.checks, NOW);
        let news = ledger.news(seen(report(&[("fw.enabled", State::Fail), ("disk.root", State::Pass)])), &device, NOW);
        ledger.delivered(&seen(news.clone()), &device, &first.checks, NOW);
        assert!(!ledger.news(seen(first), &device, NOW).partial);
    }
}
