//! Whom an event is about: the identifier formats of RFC 9493 and of the Shared Signals Framework 1.0, section 3.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::SetError;

/// Names whom an event is about.
#[derive(Clone, Debug, PartialEq)]
pub enum Subject {
    /// One identifier.
    Simple(Identifier),
    /// Several that narrow one another down.
    Complex(Complex),
}

/// Identifies one thing in one of the known formats.
#[derive(Clone, Debug, PartialEq)]
pub enum Identifier {
    /// An `acct` URI (RFC 7565).
    Account {
        /// The URI.
        uri: String,
    },
    /// An e-mail address.
    Email {
        /// The address.
        email: String,
    },
    /// An issuer and a subject there.
    IssSub {
        /// The issuer.
        iss: String,
        /// The subject.
        sub: String,
    },
    /// A text that means something between transmitter and receiver.
    Opaque {
        /// The text.
        id: String,
    },
    /// A telephone number.
    PhoneNumber {
        /// The number.
        phone_number: String,
    },
    /// A decentralised identifier.
    Did {
        /// Its URL.
        url: String,
    },
    /// Any URI.
    Uri {
        /// The URI.
        uri: String,
    },
    /// Several identifiers of one subject; none of them is itself of this format.
    Aliases {
        /// The identifiers.
        identifiers: Vec<Identifier>,
    },
    /// A JWT by its issuer and identifier.
    JwtId {
        /// The issuer.
        iss: String,
        /// The identifier.
        jti: String,
    },
    /// A SAML assertion.
    SamlAssertionId {
        /// The issuer.
        issuer: String,
        /// The assertion.
        assertion_id: String,
    },
    /// Addresses that the transmitter saw the subject at.
    IpAddresses {
        /// The addresses.
        addresses: Vec<String>,
    },
    /// A format that is not known here.
    Other {
        /// Its name.
        format: String,
        /// Its members.
        members: Map<String, Value>,
    },
}

/// Holds a subject that several members describe together; what is not named is meant whatever it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Complex {
    members: BTreeMap<String, Identifier>,
}

impl Subject {
    /// Reads a subject.
    ///
    /// # Errors
    /// [`SetError::Subject`] for one without a format, without the members of its format, or that is too large.
    pub fn read(value: &Value) -> Result<Self, SetError> {
        let members = value.as_object().ok_or(SetError::Subject("it is no JSON object"))?;
        // the known transmitter that says `subject_type` for `format` also writes its names with dashes
        if format(members)? != "complex" {
            return Identifier::read(members, true).map(Self::Simple);
        }
        let named = members.iter().filter(|(name, _)| !FORMAT.contains(&name.as_str()));
        let mut complex = Complex::default();
        for (name, member) in named {
            let Some(member) = member.as_object() else {
                // left out, it would no longer narrow the subject down: the event would reach more than was meant
                if NARROWING.contains(&name.as_str()) {
                    return Err(SetError::Subject("a member that narrows it down is no identifier"));
                }
                // additional members of another sort: nothing is known of them
                continue;
            };
            if complex.members.len() >= MOST_MEMBERS || name.len() > LONGEST_NAME {
                return Err(SetError::Subject("it has too many members"));
            }
            complex.members.insert(name.clone(), Identifier::read(member, true)?);
        }
        if complex.members.is_empty() {
            return Err(SetError::Subject("it is complex and has no members"));
        }
        Ok(Self::Complex(complex))
    }

    /// Writes the subject.
    #[must_use]
    pub fn write(&self) -> Value {
        match self {
            Self::Simple(identifier) => identifier.write(),
            Self::Complex(complex) => {
                let members = complex.members.iter().map(|(name, member)| (name.clone(), member.write()));
                let mut written: Map<String, Value> = members.collect();
                written.insert("format".to_owned(), json!("complex"));
                Value::Object(written)
            }
        }
    }

    /// Says whether two subjects match (Shared Signals Framework section 8.1.3.1): simple ones when they are identical,
    /// complex ones when every member that both have is. A simple one matches a complex one that has it as a member.
    #[must_use]
    pub fn matches(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Simple(one), Self::Simple(other)) => one == other,
            (Self::Complex(one), Self::Complex(other)) => one.matches(other),
            (Self::Simple(one), Self::Complex(many)) | (Self::Complex(many), Self::Simple(one)) => {
                many.members.values().any(|member| member == one)
            }
        }
    }
}

impl From<Identifier> for Subject {
    fn from(identifier: Identifier) -> Self {
        Self::Simple(identifier)
    }
}

impl Complex {
    /// Adds a member, such as `user`.
    #[must_use]
    pub fn with(mut self, name: &str, identifier: Identifier) -> Self {
        self.members.insert(name.to_owned(), identifier);
        self
    }

    /// Finds a member: `user`, `device`, `session`, `application`, `tenant`, `org_unit`, `group`, or another.
    #[must_use]
    pub fn member(&self, name: &str) -> Option<&Identifier> {
        self.members.get(name)
    }

    /// Goes through the members by name.
    pub fn members(&self) -> impl Iterator<Item = (&str, &Identifier)> {
        self.members.iter().map(|(name, member)| (name.as_str(), member))
    }

    fn matches(&self, other: &Self) -> bool {
        let both = self.members.iter().filter_map(|(name, own)| other.members.get(name).map(|theirs| (own, theirs)));
        both.into_iter().all(|(own, theirs)| own == theirs)
    }
}

impl Identifier {
    /// Gives the name of the format.
    #[must_use]
    pub fn format(&self) -> &str {
        match self {
            Self::Account { .. } => "account",
            Self::Email { .. } => "email",
            Self::IssSub { .. } => "iss_sub",
            Self::Opaque { .. } => "opaque",
            Self::PhoneNumber { .. } => "phone_number",
            Self::Did { .. } => "did",
            Self::Uri { .. } => "uri",
            Self::Aliases { .. } => "aliases",
            Self::JwtId { .. } => "jwt_id",
            Self::SamlAssertionId { .. } => "saml_assertion_id",
            Self::IpAddresses { .. } => "ip-addresses",
            Self::Other { format, .. } => format,
        }
    }

    fn read(members: &Map<String, Value>, outermost: bool) -> Result<Self, SetError> {
        let text = |name: &str| {
            let found = members.get(name).and_then(Value::as_str);
            let fits = found.filter(|text| !text.is_empty() && text.len() <= LONGEST);
            fits.map(str::to_owned).ok_or(SetError::Subject("a member of its format is missing or too long"))
        };
        let several = |name: &str| {
            let items = members.get(name).and_then(Value::as_array).filter(|items| items.len() <= MOST_MEMBERS);
            items.ok_or(SetError::Subject("a list of its format is missing or too long"))
        };
        Ok(match format(members)?.as_str() {
            "account" => Self::Account { uri: text("uri")? },
            "email" => Self::Email { email: text("email")? },
            "iss_sub" => Self::IssSub { iss: text("iss")?, sub: text("sub")? },
            "opaque" => Self::Opaque { id: text("id")? },
            // an example of the framework calls it `phone`
            "phone_number" | "phone" => Self::PhoneNumber { phone_number: text("phone_number")? },
            "did" => Self::Did { url: text("url")? },
            "uri" => Self::Uri { uri: text("uri")? },
            "aliases" if outermost => {
                let read = |item: &Value| match item.as_object() {
                    Some(members) => Self::read(members, false),
                    None => Err(SetError::Subject("an alias is no JSON object")),
                };
                Self::Aliases { identifiers: several("identifiers")?.iter().map(read).collect::<Result<_, _>>()? }
            }
            "aliases" => return Err(SetError::Subject("aliases stand in aliases")),
            "complex" => return Err(SetError::Subject("a complex subject stands in another")),
            "jwt_id" => Self::JwtId { iss: text("iss")?, jti: text("jti")? },
            "saml_assertion_id" => {
                Self::SamlAssertionId { issuer: text("issuer")?, assertion_id: text("assertion_id")? }
            }
            "ip_addresses" => {
                let addresses = several("ip-addresses").or_else(|_| several("ip_addresses"))?;
                let texts = addresses.iter().map(|item| item.as_str().map(str::to_owned)).collect::<Option<_>>();
                Self::IpAddresses { addresses: texts.ok_or(SetError::Subject("an address is no text"))? }
            }
            other => {
                let own = members.iter().filter(|(name, _)| !FORMAT.contains(&name.as_str()));
                let own = own.map(|(name, value)| (name.clone(), value.clone())).collect();
                Self::Other { format: other.to_owned(), members: own }
            }
        })
    }

    fn write(&self) -> Value {
        match self {
            Self::Account { uri } => json!({"format": "account", "uri": uri}),
            Self::Email { email } => json!({"format": "email", "email": email}),
            Self::IssSub { iss, sub } => json!({"format": "iss_sub", "iss": iss, "sub": sub}),
            Self::Opaque { id } => json!({"format": "opaque", "id": id}),
            Self::PhoneNumber { phone_number } => json!({"format": "phone_number", "phone_number": phone_number}),
            Self::Did { url } => json!({"format": "did", "url": url}),
            Self::Uri { uri } => json!({"format": "uri", "uri": uri}),
            Self::Aliases { identifiers } => {
                let identifiers: Vec<Value> = identifiers.iter().map(Self::write).collect();
                json!({"format": "aliases", "identifiers": identifiers})
            }
            Self::JwtId { iss, jti } => json!({"format": "jwt_id", "iss": iss, "jti": jti}),
            Self::SamlAssertionId { issuer, assertion_id } => {
                json!({"format": "saml_assertion_id", "issuer": issuer, "assertion_id": assertion_id})
            }
            Self::IpAddresses { addresses } => json!({"format": "ip-addresses", "ip-addresses": addresses}),
            Self::Other { format, members } => {
                let mut members = members.clone();
                members.insert("format".to_owned(), json!(format));
                Value::Object(members)
            }
        }
    }
}

/// Reads the name of the format, dashes as underscores.
fn format(members: &Map<String, Value>) -> Result<String, SetError> {
    let named = FORMAT.iter().find_map(|name| members.get(*name)?.as_str());
    let fits = named.filter(|name| !name.is_empty() && name.len() <= LONGEST_NAME);
    fits.map(|name| name.replace('-', "_")).ok_or(SetError::Subject("it names no format"))
}

/// What the format is called: by the standard, and by Google (RISC 1.0 section 3.1).
const FORMAT: [&str; 2] = ["format", "subject_type"];
/// The members of a complex subject that the specifications name: each narrows it down.
const NARROWING: [&str; 7] = ["user", "device", "session", "application", "tenant", "org_unit", "group"];
const MOST_MEMBERS: usize = 32;
const LONGEST_NAME: usize = 64;
const LONGEST: usize = 512;
