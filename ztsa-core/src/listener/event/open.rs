//! A connection that is open, and what the gateway says of it: in band, and on its stream of events, which no bulk
//! holds up.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;
use ztsa_net::relay::Traffic;
use ztsa_net::tunnel::TunnelError;
use ztsa_proto::capsule::Notice;
use ztsa_proto::event::{Event as Told, EventKind};
use ztsa_proto::name::{HostName, TunnelId};
use ztsa_proto::problem::{self, Problem};

use super::{Connection, Event, Reporter};
use endings::Endings;

mod endings;

/// How much later than the ending itself its reason may come by the stream of events.
const LATER: Duration = Duration::from_millis(500);
/// How much longer than the gateway said a pause may last.
const OVERDUE: Duration = Duration::from_secs(5);

/// An open connection; dropping it tells that it has ended.
#[derive(Debug)]
pub(crate) struct Open {
    standing: Arc<Standing>,
    tunnel: Option<TunnelId>,
    reporter: Reporter,
    since: Instant,
    /// The bytes it carried.
    pub(crate) traffic: Arc<Traffic>,
}

impl Open {
    pub(super) fn new(connection: Connection, tunnel: Option<TunnelId>, reporter: &Reporter) -> Self {
        let standing = Arc::new(Standing { connection, said: Mutex::default(), changed: Notify::new() });
        if let Some(tunnel) = tunnel {
            reporter.tunnels.known().insert(tunnel, Arc::clone(&standing));
        }
        Self { standing, tunnel, reporter: reporter.clone(), since: Instant::now(), traffic: Arc::default() }
    }

    /// Tells what the gateway says about the connection's access.
    pub(crate) fn notice(&self, notice: &Notice) {
        match notice {
            Notice::Suspend(problem) => self.suspended(Some(&Arc::new((**problem).clone()))),
            Notice::Resume => self.suspended(None),
            Notice::End(problem) => self.ends(Arc::new((**problem).clone())),
        }
    }

    /// Tells whether the connection is suspended, when that or the sort of reason has changed.
    pub(crate) fn suspended(&self, why: Option<&Arc<Problem>>) {
        self.standing.suspended(why, &self.reporter);
    }

    /// Keeps the gateway's reason for the end of the access, for the end.
    pub(crate) fn ends(&self, problem: Arc<Problem>) {
        let mut said = self.standing.said();
        said.ended = Some(Arc::clone(&problem));
        said.cut = Some(problem);
    }

    /// Keeps why the connection was cut, for the end.
    pub(crate) fn cut(&self, problem: Arc<Problem>) {
        self.standing.said().cut = Some(problem);
    }

    /// Keeps why the connection broke, for the end, and gives it: the gateway's reason, where it has ended the access.
    pub(crate) fn broke(&self, code: &str, detail: String) -> Arc<Problem> {
        let problem = self.ended().unwrap_or_else(|| Arc::new(problem::new(code).with_detail(detail)));
        self.cut(Arc::clone(&problem));
        problem
    }

    /// Waits until the connection is suspended, or until it is not.
    ///
    /// # Cancel safety
    /// Cancel-safe, for one that waits at a time.
    pub(crate) async fn until(&self, suspended: bool) {
        while self.standing.said().suspended.is_some() != suspended {
            self.standing.changed.notified().await;
        }
    }

    /// Gives the gateway's reason for the end of the access, where it has told one.
    pub(crate) fn ended(&self) -> Option<Arc<Problem>> {
        self.standing.said().ended.clone()
    }

    /// Gives the gateway's reason for a tunnel that broke, by its stream of events: what is known of it, or comes within
    /// half a second where the gateway has ended the access and the stream is followed. The stream may have lost the word
    /// on this tunnel (it carries 64 at a time): then the last that came on the app, or the session, says it.
    ///
    /// # Cancel safety
    /// Cancel-safe, for one that waits at a time.
    pub(crate) async fn reason(&self, broken: &TunnelError) -> Option<Arc<Problem>> {
        if !broken.is_withdrawn() {
            return self.ended();
        }
        let lately = || self.reporter.tunnels.lately(&self.standing.connection.to.host);
        if !self.reporter.tunnels.are_followed() {
            return self.ended().or_else(lately);
        }
        let told = async {
            loop {
                if let Some(problem) = self.ended() {
                    return problem;
                }
                self.standing.changed.notified().await;
            }
        };
        tokio::time::timeout(LATER, told).await.ok().or_else(lately)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if let Some(tunnel) = self.tunnel {
            self.reporter.tunnels.forget(tunnel, &self.standing);
        }
        let (sent, received) = self.traffic.read();
        self.reporter.report(Event::Ended {
            connection: self.standing.connection.clone(),
            problem: self.standing.said().cut.take(),
            sent,
            received,
            lasted: self.since.elapsed(),
        });
    }
}

/// Where an open connection stands.
#[derive(Debug)]
struct Standing {
    connection: Connection,
    said: Mutex<Said>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Said {
    /// Why it is suspended.
    suspended: Option<Pause>,
    /// Why access ended.
    ended: Option<Arc<Problem>>,
    /// Why the connection was cut.
    cut: Option<Arc<Problem>>,
}

#[derive(Debug)]
struct Pause {
    /// The code of the reason.
    code: String,
    until: Option<Instant>,
}

impl Pause {
    fn is_over(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| until < now)
    }
}

impl Standing {
    /// Tells whether the connection is suspended, when that or the sort of reason has changed: both ways say everything.
    fn suspended(&self, why: Option<&Arc<Problem>>, reporter: &Reporter) {
        let mut said = self.said();
        let now = Instant::now();
        // a pause whose end has passed is over, although its end was not heard of: another one is told
        let said_last = said.suspended.as_ref().filter(|pause| why.is_none() || !pause.is_over(now));
        if said_last.map(|pause| pause.code.as_str()) == why.map(|problem| problem.code.as_str()) {
            return;
        }
        said.suspended = why.map(|problem| Pause {
            code: problem.code.clone(),
            until: problem.waits.map(|seconds| now + Duration::from_secs(seconds) + OVERDUE),
        });
        let connection = self.connection.clone();
        // told before anybody else may say the contrary
        reporter.report(match why {
            Some(problem) => Event::Suspended { connection, problem: Arc::clone(problem) },
            None => Event::Restored(connection),
        });
        drop(said);
        self.changed.notify_one();
    }

    fn ended(&self, problem: &Problem) {
        self.said().ended = Some(Arc::new(problem.clone()));
        self.changed.notify_one();
    }

    fn said(&self) -> MutexGuard<'_, Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The open connections by the gateway's number of their tunnels, which its stream of events names.
#[derive(Debug, Default)]
pub(super) struct Tunnels {
    known: Mutex<HashMap<TunnelId, Arc<Standing>>>,
    endings: Mutex<Endings>,
    followed: AtomicBool,
}

impl Tunnels {
    /// Passes on what an event says of an open connection.
    pub(super) fn hear(&self, told: &Told, reporter: &Reporter) {
        // held until it is told: nothing is said of a connection after its end
        let known = self.known();
        let standing = told.tunnel.and_then(|tunnel| known.get(&tunnel));
        self.endings().hear(told, standing.map(|standing| &standing.connection.to.host));
        let Some(standing) = standing else { return };
        match (told.kind, &told.problem) {
            (EventKind::Suspended | EventKind::StepUp, Some(problem)) => {
                standing.suspended(Some(&Arc::new(problem.clone())), reporter);
            }
            (EventKind::Restored, _) => standing.suspended(None, reporter),
            (EventKind::Ended, Some(problem)) => standing.ended(problem),
            _ => {}
        }
    }

    fn lately(&self, host: &HostName) -> Option<Arc<Problem>> {
        self.endings().lately(host, Instant::now())
    }

    fn endings(&self) -> MutexGuard<'_, Endings> {
        self.endings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn are_followed(&self) -> bool {
        self.followed.load(Ordering::Relaxed)
    }

    /// A gateway that was started again counts from the beginning: the number may mean another by now.
    fn forget(&self, tunnel: TunnelId, standing: &Arc<Standing>) {
        let mut known = self.known();
        if known.get(&tunnel).is_some_and(|now| Arc::ptr_eq(now, standing)) {
            known.remove(&tunnel);
        }
    }

    fn known(&self) -> MutexGuard<'_, HashMap<TunnelId, Arc<Standing>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The gateway's events are followed for as long as this is held.
#[derive(Debug)]
pub(crate) struct Following(Arc<Tunnels>);

impl Following {
    pub(super) fn new(tunnels: &Arc<Tunnels>) -> Self {
        tunnels.followed.store(true, Ordering::Relaxed);
        Self(Arc::clone(tunnels))
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        self.0.followed.store(false, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use ztsa_proto::time::UnixTime;

    use super::*;
    use crate::listener::event::{Events, Way};

    /// What has been told of connections, in words.
    fn words(events: &mut Events) -> Vec<String> {
        let mut words = Vec::new();
        while let Ok(event) = events.0.try_recv() {
            words.extend(match event {
                Event::Suspended { connection, problem } => Some(format!("{} {}", connection.id, problem.code)),
                Event::Restored(connection) => Some(format!("{} restored", connection.id)),
                Event::Ended { connection, problem, .. } => Some(format!(
                    "{} ended {}",
                    connection.id,
                    problem.map(|problem| problem.code.clone()).unwrap_or_default()
                )),
                _ => None,
            });
        }
        words
    }

    fn told(kind: EventKind, tunnel: u64, code: Option<&str>) -> Told {
        let problem = code.map(problem::new);
        Told { id: 1, at: UnixTime(0), kind, tunnel: Some(TunnelId(tunnel)), app: None, problem }
    }

    fn suspend(code: &str) -> Notice {
        Notice::Suspend(Box::new(problem::new(code)))
    }

    #[test]
    fn what_both_ways_say_is_told_once_and_another_reason_again() {
        let reporter = Reporter::new();
        let mut events = reporter.events();
        let open = reporter.opened("db:1".parse().unwrap(), Way::Forward, Some(TunnelId(7)));
        let mut after = |step: &dyn Fn()| {
            step();
            words(&mut events)
        };
        assert_eq!(after(&|| open.notice(&suspend("risk.user"))), ["1 risk.user"]);
        assert_eq!(after(&|| reporter.gateway(told(EventKind::Suspended, 7, Some("risk.user")))), [""; 0]);
        assert_eq!(after(&|| reporter.gateway(told(EventKind::Suspended, 8, Some("risk.user")))), [""; 0]);
        assert_eq!(after(&|| reporter.gateway(told(EventKind::StepUp, 7, Some("auth.step_up")))), ["1 auth.step_up"]);
        assert_eq!(after(&|| open.notice(&suspend("auth.step_up"))), [""; 0]);
        assert_eq!(after(&|| reporter.gateway(told(EventKind::Restored, 7, None))), ["1 restored"]);
        assert_eq!(after(&|| open.notice(&Notice::Resume)), [""; 0]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_whose_end_was_missed_hides_no_other() {
        let reporter = Reporter::new();
        let mut events = reporter.events();
        let open = reporter.opened("db:1".parse().unwrap(), Way::Forward, Some(TunnelId(7)));
        let pause = Notice::Suspend(Box::new(problem::new("risk.user").with_wait(60)));
        open.notice(&pause);
        tokio::time::sleep(Duration::from_secs(60)).await;
        open.notice(&pause);
        assert_eq!(words(&mut events), ["1 risk.user"]);
        tokio::time::sleep(OVERDUE * 2).await;
        open.notice(&pause);
        assert_eq!(words(&mut events), ["1 risk.user"], "and again");
        open.notice(&Notice::Resume);
        assert_eq!(words(&mut events), ["1 restored"]);
    }

    #[test]
    fn a_number_means_the_connection_that_had_it_last_and_none_after_its_end() {
        let reporter = Reporter::new();
        let mut events = reporter.events();
        let before = reporter.opened("db:1".parse().unwrap(), Way::Forward, Some(TunnelId(1)));
        let after = reporter.opened("db:1".parse().unwrap(), Way::Forward, Some(TunnelId(1)));
        drop(before);
        reporter.gateway(told(EventKind::Suspended, 1, Some("risk.user")));
        drop(after);
        reporter.gateway(told(EventKind::Restored, 1, None));
        assert_eq!(words(&mut events), ["1 ended ", "2 risk.user", "2 ended "]);
        assert!(reporter.tunnels.known().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn only_an_ending_of_the_gateways_is_waited_for_and_only_where_it_may_come() {
        let (broken, withdrawn) =
            (TunnelError::Reset(h2::Reason::CONNECT_ERROR), TunnelError::Reset(h2::Reason::CANCEL));
        let reporter = Reporter::new();
        let open = reporter.opened("db:1".parse().unwrap(), Way::Forward, Some(TunnelId(1)));
        let begun = Instant::now();
        assert_eq!(open.reason(&withdrawn).await, None);
        let following = reporter.following();
        assert_eq!(open.reason(&broken).await, None);
        assert_eq!(begun.elapsed(), Duration::ZERO, "the program waits for nothing");
        assert_eq!(open.reason(&withdrawn).await, None);
        assert_eq!(begun.elapsed(), LATER, "a gateway that says nothing is not waited for for ever");
        let word = async {
            tokio::time::sleep(LATER / 2).await;
            reporter.gateway(told(EventKind::Ended, 1, Some("risk.user")));
        };
        let (reason, ()) = tokio::join!(open.reason(&withdrawn), word);
        assert_eq!(reason.unwrap().code, "risk.user");
        // the word on the next one is lost: it is said of another tunnel to the same app
        let same = reporter.opened("db:1".parse().unwrap(), Way::Forward, Some(TunnelId(2)));
        let other = reporter.opened("wiki:1".parse().unwrap(), Way::Forward, Some(TunnelId(3)));
        assert_eq!(same.reason(&withdrawn).await.unwrap().code, "risk.user");
        assert_eq!(other.reason(&withdrawn).await, None, "another app's reason is not its own");
        drop(following);
        let begun = Instant::now();
        assert_eq!(same.reason(&withdrawn).await.unwrap().code, "risk.user");
        assert_eq!((begun.elapsed(), same.reason(&broken).await), (Duration::ZERO, None));
        assert_eq!(open.reason(&broken).await.unwrap().code, "risk.user", "what is known is said");
    }
}
