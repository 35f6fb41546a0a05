//! What runs in the background: the session is renewed while anything is open, and the gateway's events are followed.

mod attend;
mod told;

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use ztsa_net::task::Scope;
use ztsa_proto::event::{Event as Said, EventKind};
use ztsa_proto::posture::fingerprint;
use ztsa_proto::problem::{Problem, Retry};

use self::told::{By, Told};
use super::refusal;
use crate::api::{Api, ApiError, Events};
use crate::listener::event::{Event, Reporter};
use crate::token::Expiry;

/// The longest sleep, so that a machine that slept meanwhile is noticed soon.
const TICK: Duration = Duration::from_secs(15);
/// How soon is looked whether a person has signed in; ever more rarely later.
const LOGIN_TICK: Duration = Duration::from_secs(5);
/// How old the gateway's metadata may be when its events are followed for the first time: commands that live for one
/// connection do not each ask for it.
const FRESH: Duration = Duration::from_secs(60);
/// The first and the longest pause before the gateway is tried again.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(15));

/// Owns the background tasks; they begin with the first need and end with the client.
#[derive(Debug)]
pub(super) struct Keeper {
    needs: watch::Sender<Needs>,
    scope: Mutex<Option<Scope>>,
}

/// What is wanted from the background.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Needs {
    /// How many things are open.
    open: usize,
    /// Whether somebody wants the gateway's events.
    events: bool,
}

/// Something that is open; dropping it tells the keeper.
#[derive(Debug)]
pub(super) struct Hold(watch::Sender<Needs>);

impl Clone for Hold {
    fn clone(&self) -> Self {
        self.0.send_modify(|needs| needs.open += 1);
        Self(self.0.clone())
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.send_modify(|needs| needs.open -= 1);
    }
}

impl Keeper {
    /// Starts the tasks; they sleep until there is a need. Needs a running runtime.
    pub(super) fn new(api: Api, reporter: Reporter) -> Self {
        let needs = watch::Sender::new(Needs::default());
        let scope = Scope::new();
        let work = Arc::new(Work { api, reporter, told: Mutex::default(), look: Notify::new() });
        scope.spawn(renew(Arc::clone(&work), needs.subscribe()));
        scope.spawn(attend::run(Arc::clone(&work), needs.subscribe()));
        scope.spawn(follow(work, needs.subscribe()));
        Self { needs, scope: Mutex::new(Some(scope)) }
    }

    /// Notes that something is open.
    pub(super) fn hold(&self) -> Hold {
        self.needs.send_modify(|needs| needs.open += 1);
        Hold(self.needs.clone())
    }

    /// Begins to follow the gateway's events.
    pub(super) fn follow(&self) {
        self.needs.send_if_modified(|needs| !std::mem::replace(&mut needs.events, true));
    }

    /// Ends the tasks and waits until they are gone.
    pub(super) async fn end(&self) {
        let scope = self.scope.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(scope) = scope {
            // they wait for the network most of the time: there is nothing to let them finish
            scope.drain(Duration::ZERO).await;
        }
    }
}

/// What both tasks share: each change is told once.
struct Work {
    api: Api,
    reporter: Reporter,
    told: Mutex<Told>,
    /// The device is looked at again at once.
    look: Notify,
}

impl Work {
    fn failed(&self, by: By, problem: Problem) {
        self.tell(|told| told.failed(by, problem));
    }

    fn worked(&self, by: By) {
        self.tell(|told| told.worked(by));
    }

    fn tell(&self, change: impl FnOnce(&mut Told) -> Option<Event>) {
        // held until it is told: the other task may say the contrary
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(event) = change(&mut told) {
            self.reporter.report(event);
        }
    }
}

/// Renews the session before it ends, for as long as something is open: a live tunnel never lapses.
async fn renew(work: Arc<Work>, mut needs: watch::Receiver<Needs>) {
    let mut backoff = Backoff::default();
    let mut told = HashSet::new();
    while needs.wait_for(|needs| needs.open > 0).await.is_ok() {
        let pause = match work.api.tokens().session().await {
            Ok(session) => {
                backoff = Backoff::default();
                let near = work.api.tokens().expiring().await;
                untold(&mut told, near).for_each(|expiry| work.reporter.report(Event::Expiring(expiry)));
                let now = work.api.tokens().now();
                // while it is due, what is still good was given out because the renewal failed
                if now < session.renew_at {
                    work.worked(By::Renewal);
                }
                session.renew_at.since(now).clamp(Duration::from_secs(1), TICK)
            }
            Err(error) => {
                let problem = refusal::of_token(&error);
                let pause = backoff.after(&problem);
                work.failed(By::Renewal, problem);
                pause
            }
        };
        tokio::time::sleep(pause).await;
    }
}

/// The ends that nobody has been told of; from now on they have. A sign-in moves an end, and that is another one.
fn untold(told: &mut HashSet<Expiry>, near: Vec<Expiry>) -> impl Iterator<Item = Expiry> + '_ {
    near.into_iter().filter(|expiry| told.insert(*expiry))
}

/// Follows the gateway's events for as long as somebody wants them, through every break of the connection.
async fn follow(work: Arc<Work>, mut needs: watch::Receiver<Needs>) {
    let (mut backoff, mut fresh, mut asked) = (Backoff::default(), FRESH, None);
    while needs.wait_for(|needs| needs.events).await.is_ok() {
        let error = match work.api.events().await {
            Ok(events) => {
                work.worked(By::Events);
                backoff = Backoff::default();
                // a gateway that was away may have forgotten this device's state, and ask for something else by now
                work.api.tokens().doubt_metadata(std::mem::take(&mut fresh)).await;
                work.api.tokens().forget_reported();
                let _following = work.reporter.following();
                // once for each answer: a newer gateway may ask in words that this client does not know
                let asks = events.wanted().map(str::to_owned);
                let news = std::mem::replace(&mut asked, asks.clone()) != asks;
                let compare = async {
                    if let Some(asks) = asks.filter(|_| news) {
                        work.compare(&asks).await;
                    }
                    work.look.notify_one();
                };
                tokio::join!(work.read(events), compare).0
            }
            Err(error) => Some(error),
        };
        let pause = match error {
            Some(error) => {
                let problem = refusal::of_api(&error);
                tracing::debug!(code = problem.code, %error, "the gateway's events are not followed");
                let pause = backoff.after(&problem);
                if is_full(&error) {
                    work.worked(By::Events);
                    BACKOFF.1
                } else {
                    work.failed(By::Events, problem);
                    pause
                }
            }
            None => backoff.next(),
        };
        tokio::time::sleep(pause).await;
    }
}

impl Work {
    /// Passes events on until the stream ends; `None` when the gateway ended it.
    async fn read(&self, mut events: Events) -> Option<ApiError> {
        loop {
            match events.next().await {
                Ok(Some(event)) => self.act(event).await,
                Ok(None) => return None,
                Err(error) => return Some(error),
            }
        }
    }

    /// Forgets the gateway's metadata when the gateway asks for something else than they say: they may be older than a
    /// change that was told before anybody listened here.
    async fn compare(&self, wanted: &str) {
        if self.api.posture_wanted().await.is_ok_and(|known| fingerprint(&known) != wanted) {
            self.api.tokens().forget_metadata().await;
        }
    }

    async fn act(&self, event: Said) {
        let wanted = event.kind == EventKind::PostureWanted;
        self.reporter.gateway(event);
        if wanted {
            self.api.tokens().forget_metadata().await;
            self.look.notify_one();
        }
    }
}

/// Says whether the gateway is there and only has no room for another program that follows its events: all else works.
fn is_full(error: &ApiError) -> bool {
    matches!(error, ApiError::Denied(problem) if problem.code == "gateway.limit")
}

/// Pauses that double.
#[derive(Debug, Default)]
struct Backoff(u32);

impl Backoff {
    fn next(&mut self) -> Duration {
        let pause = BACKOFF.0.saturating_mul(1 << self.0.min(10)).min(BACKOFF.1);
        self.0 += 1;
        pause
    }

    /// Everything is tried ever more rarely; a person who has to sign in is not looked for more often than each
    /// [`LOGIN_TICK`].
    fn after(&mut self, problem: &Problem) -> Duration {
        match problem.retry {
            Retry::AfterLogin | Retry::AfterStepUp => self.next().max(LOGIN_TICK),
            Retry::After { seconds: Some(seconds) } => Duration::from_secs(seconds.clamp(1, 60)),
            Retry::After { seconds: None } | Retry::Never => self.next(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::Ending;
    use ztsa_proto::problem;
    use ztsa_proto::time::UnixTime;

    #[test]
    fn pauses_double_up_to_a_bound_and_heed_what_is_said() {
        let mut backoff = Backoff::default();
        let pauses: Vec<_> = (0..8).map(|_| backoff.next().as_millis()).collect();
        assert_eq!(pauses, [250, 500, 1000, 2000, 4000, 8000, 15_000, 15_000]);
        let busy = problem::new("gateway.unavailable").with_retry(Retry::After { seconds: Some(7) });
        assert_eq!(backoff.after(&busy), Duration::from_secs(7));
        assert_eq!(backoff.after(&problem::new("auth.required")), BACKOFF.1);
        assert_eq!(Backoff::default().after(&problem::new("auth.required")), LOGIN_TICK);
    }

    #[test]
    fn a_gateway_without_room_for_a_follower_is_there() {
        let refused = |code| ApiError::Denied(Box::new(problem::new(code)));
        assert!(is_full(&refused("gateway.limit")));
        assert!(!is_full(&refused("gateway.unavailable")));
        let crowded = problem::new("gateway.limit");
        assert!(!is_full(&ApiError::Token(crate::token::TokenError::Denied(Box::new(crowded)))), "no session at all");
    }

    #[test]
    fn each_end_is_told_once() {
        let expiry = |at| Expiry { what: Ending::Session, at: UnixTime(at) };
        let mut told = HashSet::new();
        for (near, expected) in [
            (vec![], 0),
            (vec![expiry(9000)], 1),
            (vec![expiry(9000)], 0),
            (vec![expiry(9000), Expiry { what: Ending::SignIn, at: UnixTime(9000) }], 1),
            (vec![expiry(50_000)], 1),
        ] {
            assert_eq!(untold(&mut told, near.clone()).count(), expected, "{near:?}");
        }
    }

    #[test]
    fn holds_are_counted() {
        let hold = Hold(watch::Sender::new(Needs { open: 1, events: false }));
        let needs = hold.0.subscribe();
        let second = hold.clone();
        assert_eq!(needs.borrow().open, 2);
        drop(hold);
        drop(second);
        assert_eq!(needs.borrow().open, 0);
    }
}
