//! From what changed here to what others are told.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use ztsa_proto::jws::random_id;
use ztsa_proto::name::{DeviceId, UserId};
use ztsa_proto::problem::Problem;
use ztsa_proto::set::event::Level;
use ztsa_proto::set::{Complex, Event, Happening, Identifier, Subject};

use super::{Entry, Transmitter};
use crate::authn::Session;
use crate::config::signals::SubjectForm;
use crate::engine::News;
use crate::measure::Sent;
use crate::store::{self, Document, Store};

/// How many subjects' last word is remembered.
const MOST: usize = 100_000;
/// How often risks that fade are looked at.
const FADING: Duration = Duration::from_secs(30);

/// The documents that hold the bad news that was told, so that the good one is told after a restart too.
const DOCUMENT: &str = "ssf.news";
/// What is kept of a device that is not compliant, in the place of a level.
const NOT_COMPLIANT: &str = "not-compliant";

/// What was told last, so that only changes are.
#[derive(Debug, Default)]
struct Told {
    levels: HashMap<store::Subject, Level>,
    devices: HashMap<DeviceId, bool>,
}

impl Told {
    /// Restores what was told before this start: risks that are not low, and devices that are not compliant.
    fn restore(store: &Store) -> Self {
        let mut told = Self::default();
        for Document { key, value, .. } in store.take_documents(DOCUMENT) {
            let level = [Level::Medium, Level::High].into_iter().find(|level| level.as_str() == value);
            // a device has a level of its own, beside its compliance
            let (own, subject) = match key.split_once(' ') {
                Some((kind, key)) => (kind == NOT_COMPLIANT, store::Subject::parse(subject_kind(kind), key)),
                None => (false, None),
            };
            match (own, subject, level) {
                (true, Some(store::Subject::Device(device)), _) => drop(told.devices.insert(device, false)),
                (false, Some(subject), Some(level)) => drop(told.levels.insert(subject, level)),
                _ => store.delete_document(DOCUMENT, &key),
            }
        }
        told
    }
}

/// The kind of subject that a document's key begins with.
fn subject_kind(word: &str) -> &str {
    if word == NOT_COMPLIANT { "device" } else { word }
}

/// Whom an event is about, before it is named to a receiver.
#[derive(Clone, Debug, Default)]
struct About {
    user: Option<UserId>,
    email: Option<String>,
    device: Option<DeviceId>,
    session: Option<String>,
}

impl Transmitter {
    /// Tells what changes until the scope begins to end; what changed until then is told.
    pub(super) async fn tell(&self, mut news: Receiver<News>, ending: impl Future<Output = ()>) {
        let mut told = Told::restore(self.inner.engine.store());
        let mut fading = tokio::time::interval(FADING);
        let mut ending = std::pin::pin!(ending);
        loop {
            let next = tokio::select! {
                next = news.recv() => next,
                _ = fading.tick() => {
                    for subject in told.levels.keys().cloned().collect::<Vec<_>>() {
                        self.risk(&subject, &mut told);
                    }
                    continue;
                }
                () = &mut ending => break,
            };
            match next {
                Ok(news) => self.one(&news, &mut told),
                Err(RecvError::Lagged(lost)) => self.lost(lost),
                Err(RecvError::Closed) => return,
            }
        }
        loop {
            match news.try_recv() {
                Ok(news) => self.one(&news, &mut told),
                Err(TryRecvError::Lagged(lost)) => self.lost(lost),
                Err(TryRecvError::Empty | TryRecvError::Closed) => return,
            }
        }
    }

    fn lost(&self, lost: u64) {
        (0..lost).for_each(|_| self.inner.engine.measures().sent.add(Sent::Lost));
        tracing::warn!(lost, "more changed at once than can be told to other systems");
    }

    fn one(&self, news: &News, told: &mut Told) {
        match news {
            News::Began(session) => self.began(session),
            News::Ended(session, problem) => self.ended(&About::session(session), problem),
            News::EndedAsleep(session, problem) => {
                self.ended(&self.about(&store::Subject::Session(session.clone())), problem);
            }
            News::Risk(subject) => self.risk(subject, told),
            News::Device(device) => self.device(device, told),
        }
    }

    fn began(&self, session: &Arc<Session>) {
        let identity = &session.identity;
        let happening = Happening::SessionEstablished { acr: identity.acr.clone(), amr: identity.amr.clone() };
        let mut event = Event::new(happening, session.started_at);
        event.initiator = Some("user".to_owned());
        self.send(&About::session(session), &event);
    }

    fn ended(&self, about: &About, problem: &Problem) {
        let now = self.inner.engine.now();
        let mut event = Event::new(Happening::SessionRevoked, now).because(&problem.to_string());
        // a person who signs out ends with `session.expired`
        let by = if problem.code == "session.expired" { "user" } else { "policy" };
        event.initiator = Some(by.to_owned());
        self.send(about, &event);
    }

    fn risk(&self, subject: &store::Subject, told: &mut Told) {
        let engine = &self.inner.engine;
        let scores = engine.score_of(subject);
        let (score, principal, code) = match subject {
            store::Subject::User(_) => (scores.user, "USER", "risk.user"),
            store::Subject::Device(_) => (scores.device, "DEVICE", "risk.device"),
            store::Subject::Session(_) => (scores.session, "SESSION", "risk.session"),
            store::Subject::Login(..) | store::Subject::SignOut(..) => return,
        };
        let thresholds = engine.config().risk.thresholds;
        let level = match score {
            score if score >= thresholds.terminate => Level::High,
            score if score >= thresholds.suspend => Level::Medium,
            _ => Level::Low,
        };
        let before = told.levels.get(subject).copied().unwrap_or(Level::Low);
        if before == level || (told.levels.len() >= MOST && !told.levels.contains_key(subject)) {
            return;
        }
        if level == Level::Low {
            told.levels.remove(subject);
        } else {
            told.levels.insert(subject.clone(), level);
        }
        self.remember(subject.to_string(), (level != Level::Low).then_some(level.as_str()));
        let reasons = scores.reasons(code).join("; ");
        let reason = if reasons.is_empty() { format!("the risk is {score} of 100") } else { reasons };
        let happening = Happening::RiskLevelChange {
            principal: principal.to_owned(),
            current: level,
            previous: Some(before),
            reason: Some(reason.clone()),
        };
        let mut event = Event::new(happening, engine.now()).because(&reason);
        event.initiator = Some("policy".to_owned());
        self.send(&self.about(subject), &event);
    }

    fn device(&self, device: &DeviceId, told: &mut Told) {
        let Some(compliant) = self.inner.engine.is_compliant(device) else { return };
        let known = told.devices.get(device).copied();
        if known == Some(compliant) || (known.is_none() && told.devices.len() >= MOST) {
            return;
        }
        told.devices.insert(device.clone(), compliant);
        // the first word about a device that is well changes nothing
        if known.is_none() && compliant {
            return;
        }
        self.remember(format!("{NOT_COMPLIANT} {device}"), (!compliant).then_some(NOT_COMPLIANT));
        let happening = Happening::DeviceComplianceChange { compliant };
        let reason = if compliant { "no check of the device fails" } else { "a check of the device fails" };
        let mut event = Event::new(happening, self.inner.engine.now()).because(reason);
        event.initiator = Some("policy".to_owned());
        self.send(&self.about(&store::Subject::Device(device.clone())), &event);
    }

    /// Keeps bad news that is told, until the good one is.
    fn remember(&self, key: String, bad: Option<&str>) {
        let engine = &self.inner.engine;
        let Some(value) = bad.map(str::to_owned) else {
            return engine.store().delete_document(DOCUMENT, &key);
        };
        engine.store().put_document(Document { kind: DOCUMENT, key, value, at: engine.now() });
    }

    fn about(&self, subject: &store::Subject) -> About {
        let store = self.inner.engine.store();
        let mut about = match subject {
            store::Subject::User(user) => About { user: Some(user.clone()), ..About::default() },
            store::Subject::Login(user, device) | store::Subject::SignOut(user, device) => {
                About { user: Some(user.clone()), device: Some(device.clone()), ..About::default() }
            }
            store::Subject::Device(device) => {
                let user = store.device(device).map(|device| device.user);
                About { user, device: Some(device.clone()), ..About::default() }
            }
            store::Subject::Session(session) => {
                let row = store.session(session);
                About {
                    user: row.as_ref().map(|row| row.user.clone()),
                    device: row.map(|row| row.device),
                    session: Some(session.to_string()),
                    ..About::default()
                }
            }
        };
        about.email = about.user.as_ref().and_then(|user| store.user(user)).and_then(|user| user.email);
        about
    }

    /// Puts an event into every stream that wants it.
    fn send(&self, about: &About, event: &Event) {
        let txn = random_id();
        let entries: Vec<Arc<Entry>> = self.streams().values().cloned().collect();
        for entry in entries {
            let form = entry.receiver.settings.subject;
            let Some(subject) = about.named(form, &self.inner.issuer) else { continue };
            let wanted = entry.receiver.settings.events.contains(&event.kind());
            if wanted && entry.state().wants(&event.uri, &subject) {
                self.put(&entry, subject, event.clone(), Some(&txn));
            }
        }
    }
}

impl About {
    fn session(session: &Session) -> Self {
        Self {
            user: Some(session.identity.user.clone()),
            email: session.identity.email.clone(),
            device: Some(session.device.clone()),
            session: Some(session.id.to_string()),
        }
    }

    /// Names it to a receiver; `None` when it cannot be named in that form.
    fn named(&self, form: SubjectForm, issuer: &str) -> Option<Subject> {
        let person = |user: &UserId| Identifier::IssSub { iss: user.issuer.clone(), sub: user.subject.clone() };
        match form {
            SubjectForm::IssSub => self.user.as_ref().map(|user| person(user).into()),
            SubjectForm::Email => self.email.as_ref().map(|email| Identifier::Email { email: email.clone() }.into()),
            SubjectForm::Complex => {
                let mut complex = Complex::default();
                if let Some(user) = &self.user {
                    complex = complex.with("user", person(user));
                }
                if let Some(device) = &self.device {
                    let device = Identifier::IssSub { iss: issuer.to_owned(), sub: device.to_string() };
                    complex = complex.with("device", device);
                }
                if let Some(id) = &self.session {
                    complex = complex.with("session", Identifier::Opaque { id: id.clone() });
                }
                complex.members().next()?;
                Some(Subject::Complex(complex))
            }
        }
    }
}
