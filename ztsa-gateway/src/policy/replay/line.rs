//! The lines of an audit log, as far as replay reads them.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;
use ztsa_proto::name::{AppName, DeviceId};
use ztsa_proto::time::UnixTime;

use crate::audit::{By, Input, VERSION, digest};
use crate::authn::Identity;
use crate::policy::case::Expect;
use crate::policy::{DeviceSheet, Recalled};
use crate::posture::Catalogue;

/// Reads lines, and remembers what later ones refer to.
#[derive(Debug, Default)]
pub struct Log {
    people: HashMap<String, Arc<Identity>>,
    devices: HashMap<String, DeviceSheet>,
}

/// Says what a line is.
#[derive(Debug)]
pub enum Line {
    /// A decision on a tunnel, a grant or a ticket.
    Decision(Box<Past>),
    /// A question that opened nothing: `ztsa why`.
    Question(Box<Past>),
    /// An answer about a name that is no app of the gateway: there was nothing to decide.
    NoApp(Box<About>),
    /// An answer that cannot be made again.
    Lost(Lost, Box<About>),
    /// Claims or facts that are not what their digest says: somebody changed the line.
    Altered,
    /// Another event of a gateway.
    Other,
    /// Nothing that a gateway of ztsa wrote.
    Foreign,
}

/// Says why a decision cannot be made again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lost {
    /// The line does not say what it was decided from: an older version wrote it.
    NoInput,
    /// A newer version wrote it.
    Newer,
    /// What it refers to is not before it in its file.
    NoSheet,
    /// The app is not in the configuration any more.
    AppGone,
}

impl Lost {
    /// Gives the reason in words.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoInput => "an older version wrote them, without what they were decided from",
            Self::Newer => "a newer version wrote them",
            Self::NoSheet => "the claims or facts they were decided from are not before them in their file",
            Self::AppGone => "their app is not in the configuration",
        }
    }

    /// Gives the word for programs.
    pub const fn code(self) -> &'static str {
        match self {
            Self::NoInput => "no_input",
            Self::Newer => "newer",
            Self::NoSheet => "no_sheet",
            Self::AppGone => "app_gone",
        }
    }
}

/// Holds a decision of the past with what it was made from.
#[derive(Debug)]
pub struct Past {
    /// Its id.
    pub id: String,
    /// What was asked for: `connect`, `grant`, `ticket` or `explain`.
    pub activity: String,
    /// The app.
    pub app: AppName,
    /// The answer.
    pub answer: Expect,
    /// The code of the refusal.
    pub code: Option<String>,
    /// The policies that decided.
    pub policies: Vec<String>,
    /// Who gave the answer.
    pub by: By,
    /// What it was made from.
    pub recalled: Recalled,
}

/// Holds what the line of an answer says even where it does not say what this was made from.
#[derive(Debug)]
pub struct About {
    /// Its id.
    pub id: String,
    /// Whether somebody only asked why.
    pub is_question: bool,
    /// The app, where it was about one.
    pub app: Option<AppName>,
    /// When.
    pub at: UnixTime,
    user: User,
}

impl About {
    /// Says whether it is about this person: subject, name, e-mail address or `ISSUER|SUBJECT`. A line that names nobody is
    /// about anybody.
    pub fn is_of(&self, wanted: &str) -> bool {
        let User { uid, name, email_addr, uid_alt } = &self.user;
        let subject = uid.as_deref().and_then(|uid| Some(uid.split_once('|')?.1));
        let known = [uid.as_deref(), subject, name.as_deref(), email_addr.as_deref(), uid_alt.as_deref()];
        uid.is_none() || known.contains(&Some(wanted))
    }
}

#[derive(Deserialize)]
struct Event {
    class_uid: u32,
    time: u64,
    #[serde(default)]
    status_id: u32,
    status_code: Option<String>,
    metadata: Metadata,
    #[serde(default)]
    user: User,
    device: Option<Uid>,
    src_endpoint: Option<Source>,
    dst_endpoint: Option<Destination>,
    #[serde(default)]
    unmapped: Unmapped,
}

#[derive(Deserialize)]
struct Metadata {
    product: Product,
    #[serde(default)]
    event_code: String,
}

#[derive(Deserialize)]
struct Product {
    name: String,
}

#[derive(Debug, Default, Deserialize)]
struct User {
    uid: Option<String>,
    name: Option<String>,
    email_addr: Option<String>,
    uid_alt: Option<String>,
}

#[derive(Deserialize)]
struct Uid {
    uid: DeviceId,
}

#[derive(Deserialize)]
struct Source {
    ip: IpAddr,
}

#[derive(Deserialize)]
struct Destination {
    name: AppName,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Unmapped {
    decision: Option<String>,
    policies: Vec<String>,
    input: Option<Value>,
    digest: Option<String>,
    person: Option<Identity>,
    device: Option<DeviceSheet>,
}

const DECISION: u32 = 3003;
const DEVICE: u32 = 5002;
const PERSON: u32 = 5003;

impl Log {
    /// Reads the next line.
    pub fn read(&mut self, line: &[u8], catalogue: &Catalogue) -> Line {
        let Ok(event) = serde_json::from_slice::<Event>(line) else { return Line::Foreign };
        if event.metadata.product.name != "ztsa-gateway" {
            return Line::Foreign;
        }
        match event.class_uid {
            DECISION if event.unmapped.decision.is_some() => self.decision(event, catalogue),
            DEVICE | PERSON => self.keep(event.unmapped),
            _ => Line::Other,
        }
    }

    /// Keeps what later lines refer to by its digest, when it is that.
    fn keep(&mut self, sheet: Unmapped) -> Line {
        let Some(claimed) = sheet.digest else { return Line::Other };
        let is = |text: serde_json::Result<String>| text.is_ok_and(|text| digest(&text) == claimed);
        match (sheet.person, sheet.device) {
            (Some(person), _) if is(serde_json::to_string(&person)) => {
                self.people.insert(claimed, Arc::new(person));
            }
            (None, Some(device)) if is(serde_json::to_string(&device)) => {
                self.devices.insert(claimed, device);
            }
            (None, None) => {}
            _ => return Line::Altered,
        }
        Line::Other
    }

    fn decision(&self, mut event: Event, catalogue: &Catalogue) -> Line {
        let is_question = event.metadata.event_code == "explain";
        let about = About {
            id: event.unmapped.decision.clone().unwrap_or_default(),
            is_question,
            app: event.dst_endpoint.take().map(|destination| destination.name),
            at: UnixTime(event.time / 1000),
            user: std::mem::take(&mut event.user),
        };
        let Some(app) = about.app.clone() else { return Line::NoApp(Box::new(about)) };
        match self.past(event, app, catalogue) {
            Ok(past) if is_question => Line::Question(Box::new(past)),
            Ok(past) => Line::Decision(Box::new(past)),
            Err(lost) => Line::Lost(lost, Box::new(about)),
        }
    }

    fn past(&self, event: Event, app: AppName, catalogue: &Catalogue) -> Result<Past, Lost> {
        let Unmapped { decision, policies, input, .. } = event.unmapped;
        let input = input.ok_or(Lost::NoInput)?;
        if input.get("v").and_then(Value::as_u64) != Some(VERSION.into()) {
            return Err(Lost::Newer);
        }
        let input: Input = serde_json::from_value(input).map_err(|_| Lost::Newer)?;
        let identity = self.people.get(&input.person).ok_or(Lost::NoSheet)?;
        let sheet = match &input.facts {
            Some(digest) => Some(self.devices.get(digest).ok_or(Lost::NoSheet)?),
            None => None,
        };
        let device = event.device.ok_or(Lost::NoInput)?.uid;
        let peer = event.src_endpoint.ok_or(Lost::NoInput)?.ip;
        let now = UnixTime(event.time / 1000);
        Ok(Past {
            id: decision.unwrap_or_default(),
            activity: event.metadata.event_code,
            app,
            answer: match event.status_code.as_deref() {
                None if event.status_id == 1 => Expect::Allow,
                Some("auth.step_up") => Expect::StepUp,
                _ => Expect::Deny,
            },
            code: event.status_code,
            policies,
            by: input.by,
            recalled: Recalled::new(&input, Arc::clone(identity), device, sheet, (peer, now), catalogue),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const KEY: &str = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I";

    fn event(class: u32, unmapped: &Value) -> Value {
        json!({"class_uid": class, "time": 1_700_000_000_000_u64, "status_id": 1, "device": {"uid": KEY},
            "metadata": {"product": {"name": "ztsa-gateway"}, "event_code": "connect"},
            "src_endpoint": {"ip": "192.0.2.1"}, "dst_endpoint": {"name": "db"}, "unmapped": unmapped})
    }

    /// The lines of a person, of a device, and of a decision on both.
    fn lines(person: &Value, device: &Value, input: &Value) -> [Value; 3] {
        let text = |sheet: &Value, read: fn(&Value) -> String| digest(&read(sheet));
        let person_digest = text(person, |p| serde_json::to_string(&Identity::deserialize(p).unwrap()).unwrap());
        let device_digest = text(device, |d| serde_json::to_string(&DeviceSheet::deserialize(d).unwrap()).unwrap());
        let mut input = input.clone();
        (input["person"], input["facts"]) = (json!(person_digest), json!(device_digest));
        [
            event(PERSON, &json!({"digest": person_digest, "person": person})),
            event(DEVICE, &json!({"digest": device_digest, "device": device})),
            event(DECISION, &json!({"decision": "d1", "policies": ["p"], "input": input})),
        ]
    }

    fn read(lines: &[Value], catalogue: &Catalogue) -> Vec<Line> {
        let mut log = Log::default();
        lines.iter().map(|line| log.read(line.to_string().as_bytes(), catalogue)).collect()
    }

    fn sheets() -> impl Strategy<Value = [Value; 3]> {
        let texts = || proptest::collection::vec(".{0,12}", 0..4);
        let person = (".{1,12}", proptest::option::of(".{0,12}"), texts(), proptest::option::of(0..9_999_999_999_u64));
        let person = person.prop_map(|(subject, name, groups, auth_time)| {
            json!({"user": format!("https://idp.example|{subject}"), "name": name, "email": null, "groups": groups,
                "acr": null, "amr": groups, "auth_time": auth_time, "issuer": "corp"})
        });
        let state = proptest::sample::select(vec!["pass", "fail", "unknown", "not_applicable", "error"]);
        let facts = proptest::collection::btree_map("[a-z.]{1,12}", (state, proptest::option::of(".{0,12}")), 0..5);
        let device = facts.prop_map(|facts| {
            let fact = |(id, (state, value))| (id, json!({"state": state, "value": value}));
            json!({"device": KEY, "facts": Value::Object(facts.into_iter().map(fact).collect())})
        });
        let input = (any::<[u8; 3]>(), texts(), ".{0,3}", proptest::option::of(any::<u64>()), any::<u64>());
        let input = input.prop_map(|(risk, kinds, country, told, age)| {
            json!({"v": VERSION, "by": "policy", "device": "approved", "risk": risk, "kinds": kinds, "country": country,
                "told": told, "age": age, "ages": {"disk.root": age}})
        });
        (person, device, input).prop_map(|(person, device, input)| [person, device, input])
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn what_was_decided_from_is_recalled_and_nothing_that_was_altered([person, device, input] in sheets()) {
            prop_assume!(Identity::deserialize(&person).is_ok());
            let catalogue = Catalogue::default();
            let whole = lines(&person, &device, &input);
            let read_back = read(&whole, &catalogue);
            let [Line::Other, Line::Other, Line::Decision(past)] = read_back.as_slice() else {
                panic!("{read_back:?}")
            };
            prop_assert_eq!(&*past.recalled.identity, &Identity::deserialize(&person).unwrap());
            prop_assert_eq!(past.recalled.device.as_str(), KEY);
            prop_assert_eq!(past.answer, Expect::Allow);
            prop_assert_eq!(&past.recalled.country, input["country"].as_str().unwrap());
            // somebody gives the person another group, or the device another fact
            for (line, place, more) in [(0, "/unmapped/person/groups", json!(["admins", "x"])), (1, "/unmapped/device/facts", json!({"x": {"state": "pass"}}))] {
                let mut altered = whole.clone();
                *altered[line].pointer_mut(place).unwrap() = more;
                prop_assume!(altered[line] != whole[line]);
                let read = read(&altered, &catalogue);
                prop_assert!(matches!(read[line], Line::Altered), "{:?}", read);
                prop_assert!(matches!(read[2], Line::Lost(Lost::NoSheet, _)), "{:?}", read);
            }
        }

        #[test]
        fn any_line_is_answered(
            [person, device, input] in sheets(), bytes in proptest::collection::vec(any::<u8>(), 0..200), number: i64, text in ".{0,20}",
        ) {
            let (catalogue, mut log) = (Catalogue::default(), Log::default());
            prop_assert!(matches!(log.read(&bytes, &catalogue), Line::Foreign));
            prop_assume!(Identity::deserialize(&person).is_ok());
            let whole = lines(&person, &device, &input);
            for other in [json!(number), json!(text), Value::Null, json!([text]), json!({"v": number, "uid": text})] {
                for place in ["", "/class_uid", "/time", "/status_id", "/metadata", "/device", "/dst_endpoint", "/src_endpoint",
                    "/unmapped", "/unmapped/input", "/unmapped/person", "/unmapped/digest", "/unmapped/device"] {
                    for line in &whole {
                        let mut spoilt = line.clone();
                        if let Some(there) = spoilt.pointer_mut(place) {
                            *there = other.clone();
                        }
                        let _ = log.read(spoilt.to_string().as_bytes(), &catalogue);
                    }
                }
                // numbers and digests of the input itself, with the sheets known
                for member in ["v", "risk", "kinds", "told", "age", "ages", "person", "facts", "by"] {
                    let mut spoilt = whole.clone();
                    spoilt[2]["unmapped"]["input"][member] = other.clone();
                    let _ = read(&spoilt, &catalogue);
                }
            }
        }
    }
}
