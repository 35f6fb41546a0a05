//! What the engine writes into the audit log.

use std::net::IpAddr;

use ztsa_proto::name::DeviceId;
use ztsa_proto::problem::Problem;
use ztsa_proto::time::UnixTime;

use super::Engine;
use super::judge::Judged;
use crate::audit::{Activity, Actor, Audit, Entity, Outcome, Record, Traffic};
use crate::authn::Session;
use crate::config::App;
use crate::lease::{Closed, End, Lease, Selector, Tunnel};
use crate::pace::Pace;
use crate::policy::{self, Policies, PolicyError};

/// What was asked for, and why in the person's own words.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ask<'a> {
    pub(super) activity: Activity,
    pub(super) reason: Option<&'a str>,
}

impl From<Activity> for Ask<'_> {
    fn from(activity: Activity) -> Self {
        Self { activity, reason: None }
    }
}

/// How many lines one device causes by asking for what it is refused, and as many again by asking why: they must not push what matters out of the
/// files that are kept.
pub(super) const REFUSALS: Pace = Pace { at_once: 300, a_minute: 60 };

impl Engine {
    /// Records one decision; of those that let nobody in, as many as one device may cause.
    pub(super) fn decided(
        &self,
        ask: Ask<'_>,
        session: &Session,
        app: &App,
        peer: IpAddr,
        now: UnixTime,
        judged: &Judged,
    ) {
        let opens = judged.problem().is_none() && ask.activity != Activity::Explain;
        let others = match ask.activity {
            _ if opens => Some(0),
            // questions leave room for what was refused
            Activity::Explain => self.inner.explanations.admit(session.device.clone(), now).ok(),
            _ => self.written_down(&session.device, now),
        };
        if let Some(others) = others {
            self.recorded(ask, session, app, peer, now, judged, others);
        }
    }

    /// Says whether one more refusal of a device is written down, and for how many others the line then stands.
    pub(super) fn written_down(&self, device: &DeviceId, now: UnixTime) -> Option<u64> {
        self.inner.refusals.admit(device.clone(), now).ok()
    }

    /// Records one decision, which stands for `others` that were not written down.
    #[expect(clippy::too_many_arguments, reason = "one line has all of it")]
    pub(super) fn recorded(
        &self,
        ask: Ask<'_>,
        session: &Session,
        app: &App,
        peer: IpAddr,
        now: UnixTime,
        judged: &Judged,
        others: u64,
    ) {
        let problem = judged.problem();
        let outcome = if problem.is_some() { Outcome::Failure } else { Outcome::Success };
        let answer = problem.map(ToString::to_string);
        let message = match (answer, ask.reason) {
            (answer, None) => answer,
            (None, Some(reason)) => Some(format!("asked for: {reason}")),
            (Some(answer), Some(reason)) => Some(format!("{answer}; asked for: {reason}")),
        };
        let message = match others {
            0 => message,
            others => Some(standing_for(message.unwrap_or_else(|| "explained".to_owned()), others)),
        };
        self.inner.audit.record(Record {
            actor: Some(actor(session)),
            peer: Some(peer),
            app: Some((app.name.clone(), app.target.port)),
            code: problem.map(|problem| problem.code.clone()),
            message,
            policies: judged.decision.policies.clone(),
            shadow: judged.decision.shadow.clone(),
            failed: judged.decision.failed.clone(),
            decision: Some(judged.id.clone()),
            input: Some(judged.input(session, app, peer, now, &self.inner.audit)),
            ..Record::new(now, ask.activity, outcome)
        });
    }

    /// Records what happened to a live tunnel.
    pub(super) fn changed(&self, activity: Activity, tunnel: &Tunnel, problem: Option<&Problem>, now: UnixTime) {
        self.inner.audit.record(Record {
            code: problem.map(|problem| problem.code.clone()),
            message: problem.map(ToString::to_string),
            policies: problem.map(|problem| problem.policy.clone()).unwrap_or_default(),
            decision: problem.and_then(|problem| problem.decision.clone()),
            ..about(tunnel, Record::new(now, activity, Outcome::Success))
        });
    }

    /// Records that a tunnel reached its app.
    pub fn opened(&self, lease: &Lease, dialled: Option<IpAddr>) {
        let tunnel = lease.tunnel();
        let now = self.inner.clock.now();
        self.inner.audit.record(Record {
            dialled,
            decision: Some(tunnel.decision.clone()),
            ..about(tunnel, Record::new(now, Activity::Open, Outcome::Success))
        });
    }

    /// Records what an administrator, or the gateway itself, changed.
    pub(super) fn managed(&self, activity: Activity, entity: Entity, code: Option<&str>, message: String) {
        let outcome = if code.is_some() { Outcome::Failure } else { Outcome::Success };
        self.inner.audit.record(Record {
            entity: Some(entity),
            code: code.map(str::to_owned),
            message: Some(message),
            ..Record::new(self.inner.clock.now(), activity, outcome)
        });
    }

    /// Records what somebody does about their session, and from where.
    pub(super) fn noted(
        &self,
        activity: Activity,
        session: &Session,
        peer: IpAddr,
        code: Option<&str>,
        message: String,
    ) {
        let outcome = if code.is_some() { Outcome::Failure } else { Outcome::Success };
        self.inner.audit.record(Record {
            actor: Some(actor(session)),
            peer: Some(peer),
            code: code.map(str::to_owned),
            message: Some(message),
            ..Record::new(self.inner.clock.now(), activity, outcome)
        });
    }
}

/// Words a line that stands for others of its device.
pub(super) fn standing_for(message: String, others: u64) -> String {
    match others {
        0 => message,
        others => format!("{message} (and {others} more of this device, not written down one by one)"),
    }
}

/// Records a tunnel that is over.
pub(super) fn closed(audit: &Audit, now: UnixTime, closed: &Closed<'_>) {
    let Closed { tunnel, end } = closed;
    let problem = match end {
        End::Unreachable(problem) | End::Gateway(problem) => Some(problem),
        End::Completed | End::Client | End::App | End::Idle => None,
    };
    let outcome = if problem.is_some() { Outcome::Failure } else { Outcome::Success };
    let activity = if matches!(end, End::Unreachable(_)) { Activity::Fail } else { Activity::End };
    audit.record(Record {
        code: Some(end.as_str().to_owned()),
        message: problem.map(ToString::to_string),
        policies: problem.map(|problem| problem.policy.clone()).unwrap_or_default(),
        // the person was told the one that ended it
        decision: problem.and_then(|problem| problem.decision.clone()).or_else(|| Some(tunnel.decision.clone())),
        traffic: Some(Traffic { up: tunnel.up(), down: tunnel.down(), duration: now.since(tunnel.opened_at) }),
        ..about(tunnel, Record::new(now, activity, outcome))
    });
}

/// Records that policies were loaded, and warns of what is probably not meant.
pub(super) fn loaded(audit: &Audit, now: UnixTime, policies: &Policies) {
    for warning in policies.warnings() {
        tracing::warn!("{warning}");
    }
    if policies.is_empty() {
        tracing::warn!("{}", policy::NONE);
    }
    let message = format!("{} policies loaded", policies.len());
    tracing::info!("{message}");
    let entity = Some(policies_entity());
    audit.record(Record { message: Some(message), entity, ..Record::new(now, Activity::Policy, Outcome::Success) });
}

/// Records that policies were refused; those that ran before stay.
pub(super) fn refused(audit: &Audit, now: UnixTime, error: &PolicyError) {
    tracing::warn!("the policies have mistakes, so those that ran before stay:\n{error}");
    let message = Some(error.to_string());
    let entity = Some(policies_entity());
    audit.record(Record { entity, message, ..Record::new(now, Activity::Policy, Outcome::Failure) });
}

fn policies_entity() -> Entity {
    Entity::Named("Policy", "policies".to_owned())
}

fn about(tunnel: &Tunnel, record: Record) -> Record {
    Record {
        actor: Some(actor(&tunnel.session)),
        peer: Some(tunnel.peer),
        app: Some((tunnel.app.name.clone(), tunnel.app.target.port)),
        tunnel: Some(tunnel.id),
        ..record
    }
}

/// Names what a revocation or a risk signal is about.
pub(super) fn entity(selector: &Selector) -> Entity {
    match selector {
        Selector::All => Entity::Named("Gateway", "everything".to_owned()),
        Selector::User(user) => Entity::User(user.clone()),
        Selector::Device(device) => Entity::Device(device.clone()),
        Selector::Session(session) => Entity::Session(session.clone()),
        Selector::App(app) => Entity::Named("App", app.to_string()),
        Selector::Grant(grant) => Entity::Named("Grant", grant.to_string()),
        Selector::Ticket(ticket) => Entity::Named("Ticket", ticket.to_string()),
    }
}

pub(super) fn actor(session: &Session) -> Actor {
    Actor {
        user: Some(session.identity.user.clone()),
        name: session.identity.name.clone(),
        email: session.identity.email.clone(),
        device: Some(session.device.clone()),
        session: Some(session.id.clone()),
    }
}
