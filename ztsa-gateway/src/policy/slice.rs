//! The policies that can say something about one app, found at load: Cedar's cost is linear in what it is given.

use std::collections::HashSet;

use cedar_policy::{ActionConstraint, Entity, EntityUid, PolicySet, PrincipalConstraint, ResourceConstraint};

use ztsa_proto::app::Kind;
use ztsa_proto::name::NameError;

use super::PolicyError;
use super::annotation::Annotated;
use super::schema::Vocabulary;
use crate::authn::Identity;
use crate::config::{App, Target};

/// Holds what is evaluated for one app.
#[derive(Debug)]
pub(super) struct Slice {
    /// The app with its tags.
    pub(super) app: Entity,
    /// Permits and forbids that are enforced.
    pub(super) base: PolicySet,
    /// Forbids that a stronger sign-in lifts.
    pub(super) step_up: PolicySet,
    /// Permits in monitor mode.
    pub(super) shadow_permits: PolicySet,
    /// Forbids in monitor mode.
    pub(super) shadow_forbids: PolicySet,
    /// Every policy above, by the order of the files.
    pub(super) rules: Vec<Annotated>,
}

impl Slice {
    /// Selects what concerns `app` from all `rules`.
    pub(super) fn of(app: &App, rules: &[Annotated], vocabulary: &Vocabulary) -> Result<Self, PolicyError> {
        let entity = vocabulary.app_entity(app).map_err(|cause| PolicyError::Schema(cause.to_string()))?;
        let uid = entity.uid();
        let above: HashSet<EntityUid> =
            app.tags.iter().map(|tag| vocabulary.tag(tag)).chain(std::iter::once(uid.clone())).collect();
        let rules: Vec<Annotated> = rules
            .iter()
            .filter(|rule| concerns(&rule.resource(), &uid, &above, vocabulary))
            .filter(|rule| connects(&rule.action(), vocabulary))
            .cloned()
            .collect();
        Self::compiled(entity, rules)
    }

    /// The same with one policy in monitor mode enforced.
    pub(super) fn enforcing(&self, id: &str) -> Result<Self, PolicyError> {
        let mut rules = self.rules.clone();
        rules.iter_mut().filter(|rule| rule.id == id).for_each(|rule| rule.monitor = false);
        Self::compiled(self.app.clone(), rules)
    }

    fn compiled(app: Entity, rules: Vec<Annotated>) -> Result<Self, PolicyError> {
        Ok(Self {
            app,
            base: set(&rules, |rule| !rule.monitor && rule.step_up.is_none())?,
            step_up: set(&rules, |rule| !rule.monitor && rule.step_up.is_some())?,
            shadow_permits: set(&rules, |rule| rule.monitor && rule.is_permit())?,
            shadow_forbids: set(&rules, |rule| rule.monitor && !rule.is_permit())?,
            rules,
        })
    }

    pub(super) fn len(&self) -> usize {
        self.rules.len()
    }

    pub(super) fn rule(&self, id: &str) -> Option<&Annotated> {
        self.rules.iter().find(|rule| rule.id == id)
    }

    /// Says whether the person may know of the app: some enforced permit names them or a group of theirs.
    pub(super) fn is_visible(&self, identity: &Identity, vocabulary: &Vocabulary) -> bool {
        #[cfg(test)]
        super::step::note("visible");
        let user = vocabulary.user(identity);
        self.rules
            .iter()
            .any(|rule| rule.is_permit() && !rule.monitor && could_be(&rule.principal(), &user, identity, vocabulary))
    }
}

/// Stands for whatever is no app, so that a question about it takes the way of any other.
pub(crate) fn nothing() -> Result<App, PolicyError> {
    let wrong = |cause: NameError| PolicyError::Schema(cause.to_string());
    Ok(App {
        name: "nothing".parse().map_err(wrong)?,
        kind: Kind::Tcp,
        target: Target { host: "0.0.0.0".parse().map_err(wrong)?, port: 0 },
        hosts: Vec::new(),
        tags: Vec::new(),
        local_port: None,
    })
}

fn set(rules: &[Annotated], wanted: impl Fn(&Annotated) -> bool) -> Result<PolicySet, PolicyError> {
    let policies = rules.iter().filter(|rule| wanted(rule)).map(|rule| rule.policy.clone());
    PolicySet::from_policies(policies).map_err(|error| PolicyError::Schema(error.to_string()))
}

fn concerns(scope: &ResourceConstraint, app: &EntityUid, above: &HashSet<EntityUid>, vocabulary: &Vocabulary) -> bool {
    match scope {
        ResourceConstraint::Any => true,
        ResourceConstraint::Eq(uid) => uid == app,
        ResourceConstraint::In(uid) => above.contains(uid),
        ResourceConstraint::Is(kind) => kind == vocabulary.app_type(),
        ResourceConstraint::IsIn(kind, uid) => kind == vocabulary.app_type() && above.contains(uid),
    }
}

/// Says whether a policy about this action says anything of an app's being opened.
pub(super) fn connects(scope: &ActionConstraint, vocabulary: &Vocabulary) -> bool {
    match scope {
        ActionConstraint::Any => true,
        ActionConstraint::Eq(uid) => uid == vocabulary.connect(),
        ActionConstraint::In(uids) => uids.contains(vocabulary.connect()),
    }
}

/// Says whether a principal scope can match the person, whatever the conditions.
pub(super) fn could_be(
    scope: &PrincipalConstraint,
    user: &EntityUid,
    identity: &Identity,
    vocabulary: &Vocabulary,
) -> bool {
    let within = |uid: &EntityUid| uid == user || identity.groups.iter().any(|group| vocabulary.group(group) == *uid);
    match scope {
        PrincipalConstraint::Any => true,
        PrincipalConstraint::Eq(uid) => uid == user,
        PrincipalConstraint::In(uid) => within(uid),
        PrincipalConstraint::Is(kind) => kind == vocabulary.user_type(),
        PrincipalConstraint::IsIn(kind, uid) => kind == vocabulary.user_type() && within(uid),
    }
}
