//! Continuous evaluation: when the answer changes, the tunnels concerned change with it.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

use ztsa_proto::event::EventKind;
use ztsa_proto::name::{AppName, SessionId, TunnelId};
use ztsa_proto::problem::{self, Problem};
use ztsa_proto::time::UnixTime;

use super::{Engine, News};
use crate::audit::Activity;
use crate::config::App;
use crate::lease::{Access, Selector, Tunnel};
use crate::measure::{Question, Why};
use crate::policy::{OnChange, Verdict};
use crate::store::Subject;

/// How often deadlines are looked at.
const STEP: Duration = Duration::from_secs(1);

/// Counts the tunnels that changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Changed {
    /// Told to end.
    pub ended: usize,
    /// Paused.
    pub suspended: usize,
    /// Running again.
    pub restored: usize,
}

impl Engine {
    /// Judges the tunnels that `selector` names again, and applies the answers.
    ///
    /// The tunnels have been told when this returns.
    pub fn reevaluate(&self, selector: &Selector) -> Changed {
        self.inner.changes.fetch_add(1, Ordering::SeqCst);
        let engine = self.because_of(Why::Time);
        let tunnels = self.inner.leases.select(selector);
        let judged = tunnels.len();
        let changed = engine.reevaluate_tunnels(tunnels);
        if let Some(cause) = engine.cause.filter(|_| judged > 0) {
            self.inner.measures.judged.add(judged);
            self.inner.measures.rounds.add(cause.at.elapsed());
        }
        changed
    }

    pub(super) fn reevaluate_tunnels(&self, tunnels: Vec<Arc<Tunnel>>) -> Changed {
        let mut groups: HashMap<Key, Vec<Arc<Tunnel>>> = HashMap::new();
        for tunnel in tunnels {
            groups.entry(Key::of(&tunnel)).or_default().push(tunnel);
        }
        let mut changed = Changed::default();
        for mut tunnels in groups.into_values() {
            self.turn(&mut tunnels, &mut changed);
        }
        self.speak();
        changed
    }

    /// One question and its answer, applied to all tunnels that it is the answer for. Those that lead to where the app no
    /// longer is are ended without one.
    fn turn(&self, tunnels: &mut Vec<Arc<Tunnel>>, changed: &mut Changed) {
        let _turn = self.inner.turn.lock().unwrap_or_else(PoisonError::into_inner);
        // of one app's tunnels some may lead to its old place and some to the new one
        let mut places: HashMap<*const App, Option<Arc<Problem>>> = HashMap::new();
        tunnels.retain(|tunnel| {
            let place = places.entry(Arc::as_ptr(&tunnel.app)).or_insert_with(|| self.displaced(&tunnel.app));
            let Some(problem) = place else { return true };
            changed.ended += usize::from(self.end_tunnel(tunnel, problem));
            false
        });
        let Some(first) = tunnels.first() else { return };
        let now = self.inner.clock.now();
        // a ticket stands for whom it was made by, as known now; it does not need the session to be renewed
        let session = self.newest(&first.session);
        let judged = self.judge(&session, &first.app, first.peer, now);
        self.counted(Question::Evaluation, &judged);
        // told in the same words to all that wait until the same moment
        let mut waiting = HashMap::new();
        for tunnel in &*tunnels {
            match &judged.decision.verdict {
                Verdict::Allow => {
                    tunnel.permitted(judged.decision.on_change);
                    changed.restored += usize::from(self.restore_tunnel(tunnel));
                }
                Verdict::Deny(problem) | Verdict::StepUp(problem) => {
                    let step_up = matches!(judged.decision.verdict, Verdict::StepUp(_));
                    let on_change =
                        judged.decision.on_change.or_else(|| tunnel.on_change()).unwrap_or(OnChange::Terminate);
                    if on_change == OnChange::Suspend {
                        let steady = self.inner.clock.steady();
                        let until = self.waits_until(tunnel, steady);
                        let told = || Arc::new(Problem::clone(problem).with_wait(until.since(steady).as_secs()));
                        let problem = waiting.entry(until).or_insert_with(told);
                        changed.suspended += usize::from(self.suspend_tunnel(tunnel, problem, step_up, until));
                    } else {
                        changed.ended += usize::from(self.end_tunnel(tunnel, problem));
                    }
                }
            }
        }
    }

    /// Until when a tunnel that may not go on at `now` waits, both by the steady clock: another reason does not prolong a pause.
    fn waits_until(&self, tunnel: &Tunnel, now: UnixTime) -> UnixTime {
        let paused = tunnel.is_suspended().then(|| self.inner.leases.waits_until(tunnel.id)).flatten();
        paused.unwrap_or_else(|| now.plus(self.inner.config.load().risk.suspend_grace))
    }

    /// Says how long a paused tunnel waits still.
    pub fn waits_left(&self, tunnel: TunnelId) -> Option<Duration> {
        Some(self.inner.leases.waits_until(tunnel)?.since(self.inner.clock.steady()))
    }

    pub(super) fn end_tunnel(&self, tunnel: &Arc<Tunnel>, problem: &Arc<Problem>) -> bool {
        let ended = self.inner.leases.end_tunnel(tunnel, problem, self.cause);
        if ended {
            self.say(tunnel, EventKind::Ended, Some(problem));
        }
        ended
    }

    fn suspend_tunnel(&self, tunnel: &Arc<Tunnel>, problem: &Arc<Problem>, step_up: bool, until: UnixTime) -> bool {
        let suspended = self.inner.leases.suspend(tunnel, problem, until, self.cause);
        if suspended {
            self.say(tunnel, if step_up { EventKind::StepUp } else { EventKind::Suspended }, Some(problem));
        }
        suspended
    }

    fn restore_tunnel(&self, tunnel: &Arc<Tunnel>) -> bool {
        let restored = self.inner.leases.restore(tunnel);
        if restored {
            self.say(tunnel, EventKind::Restored, None);
        }
        restored
    }

    /// Notes what is to be told of a tunnel. [`Engine::speak`] tells it, once everything that was meant has stopped: ten
    /// thousand tunnels do not wait for ten thousand lines.
    fn say(&self, tunnel: &Arc<Tunnel>, kind: EventKind, problem: Option<&Arc<Problem>>) {
        let word = Word { tunnel: Arc::clone(tunnel), kind, problem: problem.cloned(), at: self.inner.clock.now() };
        self.words().push_back(word);
    }

    /// Tells what is to be told, in the order in which it happened, to those who listen and to the audit log. Where somebody
    /// is telling already, they tell this too, and nobody waits for it.
    pub(super) fn speak(&self) {
        while !self.words().is_empty() {
            // one at a time: what happened first is told first
            let _telling = match self.inner.telling.try_lock() {
                Ok(telling) => telling,
                // whoever failed while telling took its word away: the others are to be told all the same
                Err(TryLockError::Poisoned(telling)) => telling.into_inner(),
                Err(TryLockError::WouldBlock) => return,
            };
            self.speak_on();
        }
    }

    /// Tells as [`Engine::speak`] does, but waits for whoever is telling already: for what may be told only afterwards.
    pub(super) fn speak_out(&self) {
        let telling = self.inner.telling.lock().unwrap_or_else(PoisonError::into_inner);
        self.speak_on();
        drop(telling);
        // what somebody left to this one meanwhile
        self.speak();
    }

    fn speak_on(&self) {
        loop {
            let word = self.words().pop_front();
            let Some(word) = word else { break };
            self.spoken(word);
        }
    }

    fn spoken(&self, Word { tunnel, kind, problem, at }: Word) {
        match kind {
            EventKind::Suspended | EventKind::StepUp => {
                self.changed(Activity::Suspend, &tunnel, problem.as_deref(), at);
            }
            EventKind::Restored => self.changed(Activity::Restore, &tunnel, None, at),
            // its end is in the log when it is over
            _ => {}
        }
        self.tell(&tunnel.session.id, kind, Some(tunnel.id), Some(&tunnel.app.name), problem.as_ref());
    }

    fn words(&self) -> MutexGuard<'_, VecDeque<Word>> {
        self.inner.words.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at what time alone changes: grace times, signals, grants, tickets and sessions that ran out.
    pub fn sweep(&self) -> Changed {
        let engine = self.because_of(Why::Time);
        let (now, steady) = (engine.inner.clock.now(), engine.inner.clock.steady());
        let mut changed = engine.end_overdue(steady);
        changed += engine.expire(now);
        changed.ended += engine.end_lapsed(steady);
        engine.keep_history();
        changed
    }

    /// Ends what has been paused for too long.
    fn end_overdue(&self, now: UnixTime) -> Changed {
        let mut changed = Changed::default();
        for tunnel in self.inner.leases.end_overdue(now, self.cause) {
            if let Access::Ended(problem) = tunnel.access() {
                changed.ended += 1;
                self.say(&tunnel, EventKind::Ended, Some(&problem));
            }
        }
        self.speak();
        changed
    }

    /// Forgets what ran out, and judges those again whom it concerned.
    fn expire(&self, now: UnixTime) -> Changed {
        let mut changed = Changed::default();
        for ticket in self.inner.tickets.expire(now) {
            let problem = Arc::new(problem::new("ticket.invalid").with_detail("the ticket ran out"));
            for tunnel in self.inner.leases.select(&Selector::Ticket(ticket.id)) {
                changed.ended += usize::from(self.end_tunnel(&tunnel, &problem));
            }
        }
        self.speak();
        for subject in self.inner.risk.expire(now) {
            self.inner.measures.risk.add(Why::Time);
            self.announce(News::Risk(subject.clone()));
            changed += self.reevaluate(&concerned(&subject));
        }
        for (device, id, source) in self.inner.posture.expire(now) {
            self.forget_attested(&device, &id, &source);
            changed += self.reevaluate(&Selector::Device(device));
        }
        for (session, app) in self.grants().sweep(now) {
            self.tell(&session, EventKind::GrantExpiring, None, Some(&app), None);
        }
        changed += self.sweep_stale();
        changed
    }

    /// Judges every live tunnel again, and reads the policies again when their files changed.
    pub fn tick(&self) -> Changed {
        let now = self.inner.clock.now();
        self.inner.store.prune(now);
        self.remember(now);
        self.reload_changed_policies();
        self.reevaluate(&Selector::All)
    }

    /// Keeps the live tunnels to the answers until it is dropped: deadlines every second, everything at the configured
    /// interval.
    ///
    /// # Cancel safety
    /// Cancel-safe: a round that has begun is finished by its own thread.
    pub async fn run(&self) {
        let mut steps = tokio::time::interval(STEP);
        steps.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        let interval = || self.inner.config.load().risk.interval.max(STEP);
        let mut next = tokio::time::Instant::now() + interval();
        loop {
            steps.tick().await;
            let whole = tokio::time::Instant::now() >= next;
            if whole {
                next = tokio::time::Instant::now() + interval();
            }
            let engine = self.clone();
            // thousands of answers take a while: never on a thread that carries bytes
            let round = tokio::task::spawn_blocking(move || {
                engine.sweep();
                if whole {
                    engine.tick();
                } else {
                    engine.reload_changed_policies();
                }
            });
            if let Err(error) = round.await {
                tracing::error!(%error, "a round of continuous evaluation failed");
            }
        }
    }
}

impl std::ops::AddAssign for Changed {
    fn add_assign(&mut self, other: Self) {
        self.ended += other.ended;
        self.suspended += other.suspended;
        self.restored += other.restored;
    }
}

/// The tunnels that a signal or a revocation about `subject` concerns.
pub(super) fn concerned(subject: &Subject) -> Selector {
    match subject {
        Subject::User(user) | Subject::Login(user, _) | Subject::SignOut(user, _) => Selector::User(user.clone()),
        Subject::Device(device) => Selector::Device(device.clone()),
        Subject::Session(session) => Selector::Session(session.clone()),
    }
}

/// What is to be told of a tunnel.
#[derive(Debug)]
pub(super) struct Word {
    tunnel: Arc<Tunnel>,
    kind: EventKind,
    problem: Option<Arc<Problem>>,
    at: UnixTime,
}

/// What makes two tunnels one question.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Key {
    session: SessionId,
    app: AppName,
    ticket: bool,
    peer: std::net::IpAddr,
}

impl Key {
    fn of(tunnel: &Tunnel) -> Self {
        Self {
            session: tunnel.session.id.clone(),
            app: tunnel.app.name.clone(),
            ticket: tunnel.ticket.is_some(),
            peer: tunnel.peer,
        }
    }
}
