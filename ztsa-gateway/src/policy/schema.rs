//! The vocabulary of policies: the Cedar schema, and the entities and context made from a request.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::str::FromStr;
use std::sync::Arc;

use cedar_policy::{
    Context, Entities, Entity, EntityId, EntityTypeName, EntityUid, RestrictedExpression as Value, Schema,
};

use ztsa_proto::posture::{FAMILIES, State, family, policy_name};
use ztsa_proto::time::UnixTime;

use super::Request;
use crate::authn::Identity;
use crate::config::App;
use crate::posture::{Catalogue, Fact};

/// The age in seconds of what was never seen: never small enough to pass for fresh.
pub const NEVER: i64 = 1_000_000_000;

/// The number of a fact that has none.
pub const NO_NUMBER: i64 = 1_000_000_000;

/// Writes the schema that policies are validated against, for editors and for `ztsa-gateway policy schema`.
pub fn text(catalogue: &Catalogue) -> String {
    let mut text = String::from(HEAD);
    text.push_str("// What a device says about itself. A fact that was not reported has the state \"unknown\".\ntype Posture = {\n");
    for id in catalogue.ids().filter(|id| family(id).is_none()) {
        let _ = writeln!(text, "    {}: Fact,", policy_name(id));
    }
    text.push_str("    // What [posture] of gateway.toml names.\n");
    for kind in FAMILIES {
        let names = catalogue.ids().filter_map(|id| family(id).filter(|(first, _)| *first == kind.id));
        let names: Vec<String> = names.map(|(_, name)| format!("\"{name}\": Fact")).collect();
        let _ = writeln!(text, "    {}: {{ {} }},", kind.id, names.join(", "));
    }
    text.push_str(TAIL);
    text
}

const HEAD: &str = r#"// The built-in schema of ztsa policies. Generated: `ztsa-gateway policy schema`.

// A group of people, as the issuer names it: Group::"dev".
entity Group;

// A person: User::"issuer|subject".
entity User in [Group] = {
    issuer: String,
    subject: String,
    name: String,
    email: String,
    groups: Set<String>,
};

// A tag of an app: Tag::"prod".
entity Tag;

// A private app: App::"db-prod".
entity App in [Tag] = {
    name: String,
    kind: String,
    host: String,
    port: Long,
    tags: Set<String>,
};

// One posture check. `state` is pass, fail, unknown, not_applicable or error; `age` in seconds;
// `value` is empty unless the state is pass or fail; `number` is the value where it is one, else 1000000000;
// `assurance` is self, or third_party where somebody other than the device stands behind it.
type Fact = { state: String, value: String, number: Long, age: Long, assurance: String };

"#;

const TAIL: &str = r"};

type Context = {
    // How the person signed in: `age` in seconds since then (1000000000 when the issuer does not say).
    auth: { issuer: String, acr: String, amr: Set<String>, age: Long },
    // `state` is unmanaged, approved or blocked; `managed` means approved by an administrator; `age` of the posture report.
    device: { id: String, state: String, managed: Bool, age: Long, posture: Posture },
    // Scores from 0 to 100, and the kinds of the signals behind them.
    risk: { user: Long, device: Long, session: Long, reasons: Set<String> },
    // `country` is an ISO 3166 code of two letters, or empty where no database of `[risk] geoip` knows it.
    network: { ip: ipaddr, country: String },
    // UTC; `weekday` is 1 for Monday to 7 for Sunday.
    time: { now: datetime, unix: Long, hour: Long, minute: Long, weekday: Long },
};

action connect, browse, administer appliesTo {
    principal: [User],
    resource: [App],
    context: Context,
};
";

/// Holds the parsed schema and the names made from it, once per set of policies.
#[derive(Debug)]
pub(super) struct Vocabulary {
    pub(super) schema: Schema,
    pub(super) catalogue: Arc<Catalogue>,
    user: EntityTypeName,
    group: EntityTypeName,
    tag: EntityTypeName,
    app: EntityTypeName,
    connect: EntityUid,
}

impl Vocabulary {
    /// Parses the schema; it is our own text, so an error is a defect that the tests of this module catch.
    pub(super) fn new(catalogue: &Arc<Catalogue>) -> Result<Self, String> {
        let (schema, _) = Schema::from_cedarschema_str(&text(catalogue)).map_err(|error| error.to_string())?;
        let name = |text: &str| EntityTypeName::from_str(text).map_err(|error| error.to_string());
        Ok(Self {
            schema,
            catalogue: Arc::clone(catalogue),
            user: name("User")?,
            group: name("Group")?,
            tag: name("Tag")?,
            app: name("App")?,
            connect: EntityUid::from_type_name_and_id(name("Action")?, EntityId::new("connect")),
        })
    }

    pub(super) fn connect(&self) -> &EntityUid {
        &self.connect
    }

    pub(super) fn user_type(&self) -> &EntityTypeName {
        &self.user
    }

    pub(super) fn group_type(&self) -> &EntityTypeName {
        &self.group
    }

    pub(super) fn tag_type(&self) -> &EntityTypeName {
        &self.tag
    }

    pub(super) fn app_type(&self) -> &EntityTypeName {
        &self.app
    }

    pub(super) fn user(&self, identity: &Identity) -> EntityUid {
        EntityUid::from_type_name_and_id(self.user.clone(), EntityId::new(identity.user.to_string()))
    }

    pub(super) fn group(&self, name: &str) -> EntityUid {
        EntityUid::from_type_name_and_id(self.group.clone(), EntityId::new(name))
    }

    pub(super) fn tag(&self, name: &str) -> EntityUid {
        EntityUid::from_type_name_and_id(self.tag.clone(), EntityId::new(name))
    }

    pub(super) fn app(&self, name: &str) -> EntityUid {
        EntityUid::from_type_name_and_id(self.app.clone(), EntityId::new(name))
    }

    pub(super) fn app_entity(&self, app: &App) -> Result<Entity, Cause> {
        let attributes = [
            ("name", string(&app.name)),
            ("kind", string(&app.kind)),
            ("host", string(&app.target.host)),
            ("port", Value::new_long(i64::from(app.target.port))),
            ("tags", strings(app.tags.iter().map(String::as_str))),
        ];
        let parents = app.tags.iter().map(|tag| self.tag(tag)).collect();
        Ok(Entity::new(self.app(app.name.as_ref()), owned(attributes), parents)?)
    }

    fn user_entity(&self, identity: &Identity) -> Result<Entity, Cause> {
        let attributes = [
            ("issuer", Value::new_string(identity.user.issuer.clone())),
            ("subject", Value::new_string(identity.user.subject.clone())),
            ("name", Value::new_string(identity.name.clone().unwrap_or_default())),
            ("email", Value::new_string(identity.email.clone().unwrap_or_default())),
            ("groups", strings(identity.groups.iter().map(String::as_str))),
        ];
        let parents = identity.groups.iter().map(|group| self.group(group)).collect();
        Ok(Entity::new(self.user(identity), owned(attributes), parents)?)
    }

    /// Turns a request into what Cedar evaluates.
    pub(super) fn cedar(
        &self,
        request: &Request<'_>,
        app: &Entity,
    ) -> Result<(cedar_policy::Request, Entities), Cause> {
        let entities = Entities::from_entities([self.user_entity(request.identity)?, app.clone()], None)?;
        let request = cedar_policy::Request::new(
            self.user(request.identity),
            self.connect.clone(),
            app.uid(),
            context(request, &self.catalogue)?,
            None,
        )?;
        Ok((request, entities))
    }
}

/// Why a request cannot be put to Cedar; whatever it is, the answer is no.
pub(super) type Cause = Box<dyn std::error::Error + Send + Sync>;

fn context(request: &Request<'_>, catalogue: &Catalogue) -> Result<Context, Cause> {
    let identity = request.identity;
    let now = request.now;
    let age = identity.auth_time.map_or(NEVER, |at| seconds(now.since(at).as_secs()));
    let auth = [
        ("issuer", Value::new_string(identity.issuer.clone())),
        ("acr", Value::new_string(identity.acr.clone().unwrap_or_default())),
        ("amr", strings(identity.amr.iter().map(String::as_str))),
        ("age", Value::new_long(age)),
    ];
    let device = [
        ("id", string(request.device)),
        ("state", Value::new_string(request.device_state.to_owned())),
        ("managed", Value::new_bool(request.device_state == "approved")),
        ("age", Value::new_long(request.facts.age(now).map_or(NEVER, |age| seconds(age.as_secs())))),
        ("posture", posture_record(request, catalogue)?),
    ];
    let scores = request.scores;
    let risk = [
        ("user", Value::new_long(i64::from(scores.user))),
        ("device", Value::new_long(i64::from(scores.device))),
        ("session", Value::new_long(i64::from(scores.session))),
        ("reasons", strings(scores.kinds())),
    ];
    let network = [
        ("ip", Value::new_ip(request.peer.to_canonical().to_string())),
        ("country", Value::new_string(request.country.to_owned())),
    ];
    let context = [
        ("auth", record(auth)?),
        ("device", record(device)?),
        ("risk", record(risk)?),
        ("network", record(network)?),
        ("time", time_record(now)?),
    ];
    Ok(Context::from_pairs(owned(context))?)
}

/// Every check is there, whatever was reported; those that the configuration names are in a record of their family.
fn posture_record(request: &Request<'_>, catalogue: &Catalogue) -> Result<Value, Cause> {
    let mut fields: Vec<(String, Value)> = Vec::new();
    for id in catalogue.ids().filter(|id| family(id).is_none()) {
        fields.push((policy_name(id), fact_record(request.facts.fact(id))?));
    }
    for kind in FAMILIES {
        let names = catalogue
            .ids()
            .filter_map(|id| family(id).filter(|(first, _)| *first == kind.id).map(|(_, name)| (id, name)));
        let facts = names.map(|(id, name)| Ok((name.to_owned(), fact_record(request.facts.fact(id))?)));
        fields.push((kind.id.to_owned(), Value::new_record(facts.collect::<Result<Vec<_>, Cause>>()?)?));
    }
    Ok(Value::new_record(fields)?)
}

fn fact_record(fact: &Fact) -> Result<Value, Cause> {
    // what was seen once says nothing about what nobody knows now
    let known = matches!(fact.state, State::Pass | State::Fail);
    let value = fact.value.as_deref().filter(|_| known).unwrap_or_default();
    record([
        ("state", Value::new_string(fact.state.as_str().to_owned())),
        ("value", Value::new_string(value.to_owned())),
        ("number", Value::new_long(value.trim().parse().unwrap_or(NO_NUMBER))),
        ("age", Value::new_long(fact.age.map_or(NEVER, |age| seconds(age.as_secs())))),
        ("assurance", Value::new_string(fact.assurance.as_str().to_owned())),
    ])
}

fn time_record(now: UnixTime) -> Result<Value, Cause> {
    let day = now.0 / 86_400;
    let second = now.0 % 86_400;
    record([
        ("now", Value::new_datetime(now.rfc3339())),
        ("unix", Value::new_long(seconds(now.0))),
        ("hour", Value::new_long(seconds(second / 3_600))),
        ("minute", Value::new_long(seconds(second % 3_600 / 60))),
        // 1 January 1970 was a Thursday
        ("weekday", Value::new_long(seconds((day + 3) % 7 + 1))),
    ])
}

fn record<const N: usize>(fields: [(&str, Value); N]) -> Result<Value, Cause> {
    Ok(Value::new_record(owned(fields))?)
}

fn owned<const N: usize>(fields: [(&str, Value); N]) -> HashMap<String, Value> {
    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn string(value: &impl std::fmt::Display) -> Value {
    Value::new_string(value.to_string())
}

fn strings<'a>(values: impl Iterator<Item = &'a str>) -> Value {
    Value::new_set(values.map(|value| Value::new_string(value.to_owned())))
}

fn seconds(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(NEVER).min(i64::MAX / 4)
}
