//! Opening: tunnels, by session or by ticket.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ztsa_proto::grant::{TicketRequest, TicketResponse};
use ztsa_proto::name::{Destination, GrantId, TicketId};
use ztsa_proto::problem::{self, Problem};
use ztsa_proto::time::UnixTime;

use super::Engine;
use super::answer::HIDDEN;
use super::judge::Judged;
use super::record::Ask;
use crate::audit::Activity;
use crate::authn::Session;
use crate::config::App;
use crate::lease::{Access, Lease, Opening};
use crate::measure::Question;

impl Engine {
    /// Decides and opens one tunnel. Without a grant the decision itself is the grant. `to` is what the app was found by.
    ///
    /// # Errors
    /// The reason, for the person: the app is unknown to them, policy or risk refuse, the grant is not good for this, or the
    /// gateway is at a limit.
    pub fn open(
        &self,
        session: &Arc<Session>,
        app: &Arc<App>,
        to: &Destination,
        peer: IpAddr,
        grant: Option<&GrantId>,
    ) -> Result<Lease, Arc<Problem>> {
        let now = self.inner.clock.now();
        let session = self.seen_from(session, peer);
        let asked = Asked { session: &session, app, to, peer, grant, ticket: None };
        self.lease(&asked, now)
    }

    /// Decides and opens one tunnel for whoever shows a ticket.
    ///
    /// # Errors
    /// As for [`Engine::open`], and `ticket.invalid`.
    pub fn open_ticket(&self, ticket: &str, to: &Destination, peer: IpAddr) -> Result<(Lease, Arc<App>), Arc<Problem>> {
        let now = self.inner.clock.now();
        let invalid = || Arc::new(problem::new("ticket.invalid"));
        let live = self.inner.tickets.find(ticket, now).ok_or_else(invalid)?;
        let app = self.config().app(&to.host, to.port).filter(|app| app.name == live.ticket.app).cloned();
        let app = app.ok_or_else(invalid)?;
        // a ticket stands for whom it was made by, as known now
        let session = self.newest(&live.session);
        let asked = Asked { session: &session, app: &app, to, peer, grant: None, ticket: Some(&live.ticket.id) };
        let lease = self.lease(&asked, now)?;
        if self.inner.tickets.count_use(&live.ticket) {
            return Ok((lease, app));
        }
        // the last use went to somebody else meanwhile: the line about the end of the tunnel takes the decision back
        let problem = problem::new("ticket.invalid").with_decision(lease.tunnel().decision.clone());
        let problem = Arc::new(problem);
        self.inner.leases.end_tunnel(lease.tunnel(), &problem, self.cause);
        Err(problem)
    }

    /// Makes a ticket for one app, when the session may open it now.
    ///
    /// # Errors
    /// As for [`Engine::open`]; `request.invalid` for a lifetime or a number of uses that cannot be had.
    pub fn ticket(
        &self,
        session: &Arc<Session>,
        request: &TicketRequest,
        peer: IpAddr,
    ) -> Result<TicketResponse, Arc<Problem>> {
        let now = self.inner.clock.now();
        let session = self.seen_from(session, peer);
        self.sighted(&session, peer, now);
        let unknown = |_| self.not_found(Activity::Ticket, &session, peer, request.app.as_str());
        let app = self.named(&request.app).map_err(unknown)?;
        let refused = |problem: &Arc<Problem>| self.turned_down(&session, app.name.as_str(), problem, peer, now);
        let lasts = request.for_seconds.map(Duration::from_secs);
        let room = self.inner.tickets.room(&session.id, lasts, request.uses).err();
        let judged = self.asked(Activity::Ticket, &session, &app, peer, now, room).inspect_err(refused)?;
        let minted = self.inner.tickets.mint(&session, &app.name, lasts, request.uses, now);
        let retracted = |problem| self.retracted(Activity::Ticket, &session, &app, peer, &judged, problem);
        let (secret, ticket) = minted.map_err(retracted)?;
        Ok(TicketResponse {
            ticket: secret,
            id: ticket.id,
            app: ticket.app,
            expires_at: ticket.expires_at,
            uses: ticket.uses_left,
        })
    }

    /// Judges, records, and gives the answer when it is yes. `also` is a reason to refuse that only this question has.
    pub(super) fn asked<'a>(
        &self,
        ask: impl Into<Ask<'a>>,
        session: &Session,
        app: &App,
        peer: IpAddr,
        now: UnixTime,
        also: Option<Box<Problem>>,
    ) -> Result<Judged, Arc<Problem>> {
        let judged = self.judge_new(session, app, peer, now, also);
        let ask = ask.into();
        let question = match ask.activity {
            Activity::Grant => Question::Grant,
            Activity::Ticket => Question::Ticket,
            _ => Question::Connect,
        };
        self.counted(question, &judged);
        self.decided(ask, session, app, peer, now, &judged);
        match judged.problem() {
            Some(problem) => Err(Arc::clone(problem)),
            None => Ok(judged),
        }
    }

    /// Takes a yes back that the gateway cannot keep, since somebody else took the room meanwhile: the log has both, by one number.
    fn retracted(
        &self,
        activity: Activity,
        session: &Session,
        app: &App,
        peer: IpAddr,
        judged: &Judged,
        problem: Box<Problem>,
    ) -> Arc<Problem> {
        let problem = problem.with_decision(judged.id.clone());
        let refused = judged.refused(problem.clone());
        self.recorded(activity.into(), session, app, peer, self.inner.clock.now(), &refused, 0);
        Arc::new(problem)
    }

    fn lease(&self, asked: &Asked<'_>, now: UnixTime) -> Result<Lease, Arc<Problem>> {
        let Asked { session, app, to, peer, grant, ticket } = *asked;
        // whoever shows a ticket may be somewhere else than the person it stands for, and is not that person
        let person = ticket.is_none();
        if person {
            self.sighted(session, peer, now);
        }
        let changes = self.inner.changes.load(Ordering::SeqCst);
        let not_granted = grant.and_then(|grant| self.grants().check(grant, session, &app.name, now).err());
        let also = not_granted.or_else(|| self.inner.leases.room(session).err());
        let judged = self.asked(Activity::Connect, session, app, peer, now, also);
        let judged = judged.inspect_err(|problem| {
            if person {
                // by the words of the question, as for what is no app: what is hidden counts neither more nor less
                let asked = if problem.code == HIDDEN { to.to_string() } else { app.name.to_string() };
                self.turned_down(session, &asked, problem, peer, now);
            }
        })?;
        if person {
            self.entered(session, &app.name, peer, now);
        }
        let opening = Opening {
            session: Arc::clone(session),
            app: Arc::clone(app),
            peer,
            grant: grant.cloned(),
            ticket: ticket.cloned(),
            decision: judged.id.clone(),
            on_change: judged.decision.on_change,
            at: now,
        };
        let lease = self.inner.leases.open(opening);
        let lease = lease.map_err(|problem| self.retracted(Activity::Connect, session, app, peer, &judged, problem))?;
        if person {
            // one that lapsed meanwhile is there again: no tunnel is without the session whose lapse ends it
            self.seen(session);
        }
        // what changed between the answer and the registry's knowing of the tunnel has not reached it
        if self.inner.changes.load(Ordering::SeqCst) != changes {
            self.reevaluate_tunnels(vec![Arc::clone(lease.tunnel())]);
            if let Access::Ended(problem) = lease.tunnel().access() {
                return Err(problem);
            }
        }
        Ok(lease)
    }
}

/// What is asked for.
#[derive(Clone, Copy)]
struct Asked<'a> {
    session: &'a Arc<Session>,
    app: &'a Arc<App>,
    to: &'a Destination,
    peer: IpAddr,
    grant: Option<&'a GrantId>,
    ticket: Option<&'a TicketId>,
}
