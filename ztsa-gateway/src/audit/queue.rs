//! What waits for the disk: bounded, and never waited for by those who record.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use super::own::Own;
use super::{Activity, Outcome, Record};
use crate::config::WhenFull;

/// The most events that are written at once.
const BATCH: usize = 128;

#[derive(Debug)]
pub(super) struct Queue {
    room: usize,
    when_full: WhenFull,
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Record>,
    own: Vec<Own>,
    asking: Vec<oneshot::Sender<()>>,
    /// How many events were ever taken by the thread that writes.
    taken: u64,
    /// Events that were not let in, and not told of in the log yet: behind which of all that ever were taken, and how many.
    gaps: VecDeque<(u64, u64)>,
    refused: u64,
    lost: u64,
    /// Nothing new is admitted for want of room.
    full: bool,
    /// Nothing new is admitted because of what waits for the collector.
    behind: bool,
    /// Why the disk does not take what waits.
    outage: Option<String>,
    closing: bool,
}

/// What is to be written now.
#[derive(Debug, Default)]
pub(super) struct Work {
    pub(super) records: Vec<Record>,
    pub(super) own: Vec<Own>,
    pub(super) asking: Vec<oneshot::Sender<()>>,
    pub(super) closing: bool,
}

/// What is known of the queue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Fill {
    pub(super) waiting: usize,
    pub(super) lost: u64,
    pub(super) outage: Option<String>,
}

impl Queue {
    pub(super) fn new(room: usize, when_full: WhenFull) -> Self {
        Self { room, when_full, state: Mutex::default(), wake: Condvar::new() }
    }

    /// Takes an event, or counts it; `behind` says whether more wait for the collector than may.
    pub(super) fn push(&self, record: Record, behind: impl FnOnce() -> bool) {
        let mut state = self.lock();
        if self.when_full == WhenFull::Refuse && is_refusal(&record) {
            state.behind = behind();
            if state.full || state.behind {
                // whoever tries again and again does not use up what is kept for those who are connected, and feeds no outbox
                state.refused += 1;
                return;
            }
        }
        if state.waiting.len() >= self.room {
            state.drop_one();
            if state.lost == 1 {
                tracing::warn!("the audit queue is full: events are lost, and counted in the log");
            }
            return;
        }
        state.waiting.push_back(record);
        // the last quarter is for what happens to those who are connected
        if state.waiting.len() >= self.room - self.room / 4 && !std::mem::replace(&mut state.full, true) {
            match self.when_full {
                WhenFull::Refuse => tracing::warn!("the audit queue is full: nothing new is admitted until it is not"),
                WhenFull::Drop => tracing::warn!("the audit queue is nearly full"),
            }
        }
        drop(state);
        self.wake.notify_one();
    }

    /// Takes an event of the log about itself: always, there are few.
    pub(super) fn tell(&self, own: Own) {
        self.lock().own.push(own);
        self.wake.notify_one();
    }

    /// Looks again whether more wait for the collector than may: it has taken some.
    pub(super) fn advance(&self, behind: impl FnOnce() -> bool) {
        let mut state = self.lock();
        if state.behind && !behind() {
            state.behind = false;
            drop(state);
            self.wake.notify_one();
        }
    }

    /// Says whether nothing new may be admitted for want of room.
    pub(super) fn refuses(&self) -> bool {
        self.when_full == WhenFull::Refuse && self.lock().full
    }

    pub(super) fn fill(&self) -> Fill {
        let state = self.lock();
        Fill { waiting: state.waiting.len(), lost: state.lost, outage: state.outage.clone() }
    }

    pub(super) fn ask(&self) -> oneshot::Receiver<()> {
        let (tell, told) = oneshot::channel();
        self.lock().asking.push(tell);
        self.wake.notify_one();
        told
    }

    pub(super) fn close(&self) {
        self.lock().closing = true;
        self.wake.notify_one();
    }

    /// Waits for work, at most so long. While what was taken before is not `written`, nothing more is taken.
    pub(super) fn next(&self, patience: Duration, written: bool) -> Work {
        let idle = |state: &mut State| {
            let nothing = !written || (state.waiting.is_empty() && state.own.is_empty() && !state.admits_again());
            nothing && state.asking.is_empty() && !state.closing
        };
        let waited = self.wake.wait_timeout_while(self.lock(), patience, idle);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let mut work = Work { closing: state.closing, ..Work::default() };
        if written {
            let lost = state.take(&mut work.records);
            work.own = std::mem::take(&mut state.own);
            work.own.extend(lost.map(Own::Lost));
            if state.waiting.len() < self.room / 2 {
                state.full = false;
            }
            if state.admits_again() || (state.refused > 0 && state.closing && state.waiting.is_empty()) {
                work.own.push(Own::Refused(std::mem::take(&mut state.refused)));
            }
        }
        if !written || state.waiting.is_empty() {
            work.asking = std::mem::take(&mut state.asking);
        }
        work
    }

    /// Notes what keeps the disk from taking what waits; says whether that is news.
    pub(super) fn outage(&self, outage: Option<String>) -> bool {
        let mut state = self.lock();
        let news = state.outage.is_some() != outage.is_some();
        state.outage = outage;
        news
    }

    /// Counts what is lost because the gateway ends while the disk takes nothing.
    pub(super) fn lose(&self, more: usize) -> u64 {
        let mut state = self.lock();
        let left = state.waiting.len() + more;
        state.waiting.clear();
        state.lost += u64::try_from(left).unwrap_or(u64::MAX);
        u64::try_from(left).unwrap_or(u64::MAX)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Says whether requests were refused, and are not any more: how many is to be told.
    fn admits_again(&self) -> bool {
        self.refused > 0 && !self.full && !self.behind
    }

    /// Counts an event that is not let in, where it would have stood.
    fn drop_one(&mut self) {
        self.lost += 1;
        let behind = self.taken.saturating_add(u64::try_from(self.waiting.len()).unwrap_or(u64::MAX));
        match self.gaps.back_mut().filter(|(at, _)| *at == behind) {
            Some((_, count)) => *count += 1,
            // never more than events that wait: one stands between any two
            None => self.gaps.push_back((behind, 1)),
        }
    }

    /// Takes what is written next, not beyond where events are missing; says how many are missing there.
    fn take(&mut self, records: &mut Vec<Record>) -> Option<u64> {
        let gap = self.gaps.front().map_or(u64::MAX, |(at, _)| at.saturating_sub(self.taken));
        let count = self.waiting.len().min(BATCH).min(usize::try_from(gap).unwrap_or(usize::MAX));
        records.extend(self.waiting.drain(..count));
        self.taken = self.taken.saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
        let reached = self.gaps.front().is_some_and(|(at, _)| *at <= self.taken);
        reached.then(|| self.gaps.pop_front()).flatten().map(|(_, lost)| lost)
    }
}

/// Says whether an event is a request that was refused: there can be any number of them while nothing is admitted.
fn is_refusal(record: &Record) -> bool {
    let asks = matches!(
        record.activity,
        Activity::SignIn | Activity::Renew | Activity::Connect | Activity::Grant | Activity::Ticket | Activity::Explain
    );
    asks && record.outcome == Outcome::Failure
}
