//! What is measured while the gateway runs: counters and histograms by few and known labels, never by a name.
//!
//! They are plain atomics: whoever counts waits for nobody. [`crate::metrics`] writes them down for Prometheus.

mod histogram;

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

pub use histogram::{BOUNDS, Counters, Histogram, Label, Read};

/// Declares a label and its values.
macro_rules! label {
    ($(#[$about:meta])* $name:ident { $($(#[$of:meta])* $value:ident = $text:literal),+ $(,)? }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name { $($(#[$of])* $value),+ }

        impl Label for $name {
            const ALL: &'static [Self] = &[$(Self::$value),+];

            fn as_str(self) -> &'static str {
                match self { $(Self::$value => $text),+ }
            }
        }
    };
}

label! {
    /// Why live tunnels are judged again or ended.
    Why {
        /// An administrator's call about people, sessions, apps or risk.
        Administrator = "administrator",
        /// An administrator's call about a device.
        Device = "device",
        /// A token of another system.
        Signal = "signal",
        /// A device's report about itself.
        Posture = "posture",
        /// Policies that were read again.
        Policy = "policy",
        /// A configuration that was read again.
        Configuration = "configuration",
        /// Something that the gateway itself noticed and counts as risk.
        Detector = "detector",
        /// A sign-in or a renewal.
        Renewal = "renewal",
        /// The person's own sign-out.
        SignOut = "sign_out",
        /// Nothing but time: what ran out, and the round at an interval.
        Time = "time",
    }
}

label! {
    /// What became of a tunnel.
    Outcome {
        /// It was ended.
        Ended = "ended",
        /// It was paused.
        Suspended = "suspended",
    }
}

label! {
    /// What was asked.
    Question {
        /// To open a tunnel.
        Connect = "connect",
        /// For a grant.
        Grant = "grant",
        /// For a ticket.
        Ticket = "ticket",
        /// Whether live tunnels may stay.
        Evaluation = "evaluation",
    }
}

label! {
    /// What was answered.
    Answer {
        /// Yes.
        Allow = "allow",
        /// No.
        Deny = "deny",
        /// After a stronger sign-in.
        StepUp = "step_up",
    }
}

label! {
    /// How a tunnel ended.
    How {
        /// Both sides finished.
        Completed = "completed",
        /// The client broke it off.
        Client = "client",
        /// The app broke it off.
        App = "app",
        /// Nothing moved for too long after one side had finished.
        Idle = "idle",
        /// The app could not be reached.
        Unreachable = "unreachable",
        /// The gateway ended it.
        Gateway = "gateway",
    }
}

label! {
    /// What came of a sign-in or a renewal.
    Exchange {
        /// A session began.
        Begun = "begun",
        /// A session was renewed.
        Renewed = "renewed",
        /// It was refused.
        Refused = "refused",
    }
}

label! {
    /// What came of a token that another system sent.
    Received {
        /// It was applied.
        Applied = "applied",
        /// It had been applied before.
        Again = "again",
        /// It was refused: forged, not for us, or not understood.
        Refused = "refused",
        /// It could not be taken just then.
        Later = "later",
    }
}

label! {
    /// What came of a token for another system.
    Sent {
        /// It was put into the outbox.
        Queued = "queued",
        /// Its receiver took it.
        Delivered = "delivered",
        /// Its receiver refused it.
        Refused = "refused",
        /// Its receiver was too far behind, or too long away.
        Lost = "lost",
    }
}

/// What made live tunnels be judged again or ended, and when that reached the gateway.
#[derive(Debug, Clone, Copy)]
pub struct Cause {
    /// What it was.
    pub why: Why,
    /// When.
    pub at: Instant,
}

impl Cause {
    /// Makes a cause of this moment.
    #[must_use]
    pub fn now(why: Why) -> Self {
        Self { why, at: Instant::now() }
    }
}

/// A moment before every cause.
static BEGINNING: LazyLock<Instant> = LazyLock::new(|| {
    let now = Instant::now();
    now.checked_sub(Duration::from_secs(3600)).unwrap_or(now)
});

/// What stopped a tunnel and has not been felt by it yet, in eight bytes: tens of thousands of tunnels have one.
#[derive(Debug, Default)]
pub struct Pending(AtomicU64);

impl Pending {
    /// Marks one that is there.
    const THERE: u64 = 1 << 7;

    /// Keeps a cause and what it makes of the tunnel, or nothing.
    pub fn set(&self, of: Option<(Cause, Outcome)>) {
        let packed = of.map_or(0, |(cause, outcome)| {
            let place = |place: Option<usize>| place.and_then(|place| u64::try_from(place).ok()).unwrap_or_default();
            let why = place(Why::ALL.iter().position(|known| *known == cause.why));
            let outcome = place(Outcome::ALL.iter().position(|known| *known == outcome));
            let micros = cause.at.saturating_duration_since(*BEGINNING).as_micros();
            u64::try_from(micros).unwrap_or_default() << 8 | Self::THERE | why << 1 | outcome
        });
        self.0.store(packed, Ordering::SeqCst);
    }

    /// Takes it, once.
    pub fn take(&self) -> Option<(Cause, Outcome)> {
        let packed = self.0.swap(0, Ordering::SeqCst);
        let place = |bits: u64| usize::try_from(bits).unwrap_or(usize::MAX);
        let outcome = Outcome::ALL.get(place(packed & 1))?;
        let why = Why::ALL.get(place(packed >> 1 & 0x3F))?;
        let at = BEGINNING.checked_add(Duration::from_micros(packed >> 8))?;
        (packed & Self::THERE != 0).then_some((Cause { why: *why, at }, *outcome))
    }
}

/// Everything that is counted as it happens.
#[derive(Debug, Default)]
pub struct Measures {
    /// From a cause to the moment when the last byte of a tunnel had moved, of those that it ended and that it paused.
    stopped: [ByCause; 2],
    /// Answers, by what was asked.
    decisions: [Counters<Answer>; 4],
    /// Answers that a failing policy made a no.
    pub policy_errors: Count,
    /// Rounds of judging live tunnels again: from the cause to when all of them have been told.
    pub rounds: Histogram,
    /// Live tunnels that were judged again.
    pub judged: Count,
    /// Tunnels that were opened.
    pub opened: Count,
    /// Tunnels that ended.
    pub ended: Counters<How>,
    /// Tunnels that were paused.
    pub suspensions: Count,
    /// Paused tunnels that went on.
    pub restorations: Count,
    /// Sign-ins and renewals.
    pub exchanges: Counters<Exchange>,
    /// Sessions that were ended before their time.
    pub sessions_ended: Count,
    /// Changes of anybody's risk.
    pub risk: Counters<Why>,
    /// Tokens of other systems.
    pub received: Counters<Received>,
    /// Tokens for other systems.
    pub sent: Counters<Sent>,
}

/// One histogram for each cause.
#[derive(Debug)]
struct ByCause(Box<[Histogram]>);

impl Default for ByCause {
    fn default() -> Self {
        Self(Why::ALL.iter().map(|_| Histogram::default()).collect())
    }
}

/// A count without labels.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// Counts some more.
    pub fn add(&self, more: usize) {
        self.0.fetch_add(u64::try_from(more).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Reads it.
    pub fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Measures {
    /// Notes that no byte of a tunnel is passed on any more since now.
    pub fn stopped(&self, cause: Cause, outcome: Outcome) {
        self.stopped_after(cause.why, outcome, cause.at.elapsed());
    }

    /// Notes that the last byte of a tunnel had moved so long after the cause.
    pub fn stopped_after(&self, why: Why, outcome: Outcome, took: Duration) {
        let by = Outcome::ALL.iter().zip(&self.stopped).find(|(of, _)| **of == outcome);
        let one = by.and_then(|(_, by)| Why::ALL.iter().zip(&by.0).find(|(of, _)| **of == why));
        if let Some((_, histogram)) = one {
            histogram.add(took);
        }
    }

    /// Reads how long it took from each cause to the last byte.
    pub fn to_last_byte(&self) -> impl Iterator<Item = (Why, Outcome, Read)> {
        Outcome::ALL.iter().zip(&self.stopped).flat_map(|(outcome, by)| {
            Why::ALL.iter().zip(&by.0).map(|(why, histogram)| (*why, *outcome, histogram.read()))
        })
    }

    /// Counts an answer.
    pub fn decided(&self, question: Question, answer: Answer) {
        let of = Question::ALL.iter().zip(&self.decisions).find(|(of, _)| **of == question);
        if let Some((_, answers)) = of {
            answers.add(answer);
        }
    }

    /// Reads the answers.
    pub fn decisions(&self) -> impl Iterator<Item = (Question, Answer, u64)> {
        let by = Question::ALL.iter().zip(&self.decisions);
        by.flat_map(|(question, answers)| answers.read().map(|(answer, count)| (*question, answer, count)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_that_waits_to_be_felt_comes_back_as_it_was_and_once() {
        let pending = Pending::default();
        assert!(pending.take().is_none());
        for why in Why::ALL {
            for outcome in Outcome::ALL {
                let cause = Cause::now(*why);
                pending.set(Some((cause, *outcome)));
                let (felt, of) = pending.take().unwrap();
                assert_eq!((felt.why, of), (*why, *outcome));
                assert!(cause.at.saturating_duration_since(felt.at) < Duration::from_micros(2));
                assert!(pending.take().is_none());
            }
        }
        pending.set(Some((Cause::now(Why::Time), Outcome::Ended)));
        pending.set(None);
        assert!(pending.take().is_none());
    }
}
