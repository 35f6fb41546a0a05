//! The form of a token exchange (RFC 8693 section 2.1).

use std::collections::HashMap;

use url::form_urlencoded;
use ztsa_proto::name::SessionId;
use ztsa_proto::secret::Secret;
use ztsa_proto::session::{ACCESS_TOKEN, JWT, TOKEN_EXCHANGE};
use ztsa_proto::text::printable;

use super::AuthnError;

/// Holds what a client sends to exchange an issuer's token for a session.
#[derive(Clone, Debug)]
pub struct ExchangeForm {
    /// The issuer's access token, or the job's JWT.
    pub subject_token: Secret<String>,
    /// Which of the two it is.
    pub kind: SubjectKind,
    /// The ID token that came with it, where there is one.
    pub id_token: Option<Secret<String>>,
    /// A signed posture report.
    pub posture: Option<String>,
    /// The session to renew.
    pub session: Option<SessionId>,
    /// What the device calls itself, for the list of devices.
    pub device_name: Option<String>,
}

/// Says what stands for whoever asks for a session (`subject_token_type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubjectKind {
    /// A person's access token.
    Access,
    /// The JWT that a platform gave a job.
    Workload,
}

impl ExchangeForm {
    /// Reads an `application/x-www-form-urlencoded` body. Unknown parameters are ignored (RFC 6749 section 3.2).
    ///
    /// # Errors
    /// [`AuthnError::Form`]: a parameter is missing, given twice, or asks for something else than a session.
    pub fn parse(body: &[u8]) -> Result<ExchangeForm, AuthnError> {
        let mut given: HashMap<String, String> = HashMap::new();
        for (name, value) in form_urlencoded::parse(body) {
            if KNOWN.contains(&&*name)
                && !value.is_empty()
                && given.insert(name.to_string(), value.into_owned()).is_some()
            {
                return Err(AuthnError::Form(format!("`{name}` is given twice")));
            }
        }
        let mut take = |name: &str| given.remove(name);
        let mut one_of = |name: &str, wanted: &[&'static str]| {
            let wrong = |is: &str| AuthnError::Form(format!("`{name}` {is} {}", wanted.join(" or ")));
            let found = take(name).ok_or_else(|| wrong("is missing: it must be"))?;
            wanted.iter().copied().find(|wanted| *wanted == found).ok_or_else(|| wrong("must be"))
        };
        one_of("grant_type", &[TOKEN_EXCHANGE])?;
        let kind = match one_of("subject_token_type", &[ACCESS_TOKEN, JWT])? {
            JWT => SubjectKind::Workload,
            _ => SubjectKind::Access,
        };
        if let Some(found) = take("requested_token_type").filter(|found| found != ACCESS_TOKEN) {
            return Err(AuthnError::Form(format!("`requested_token_type` {found:?} is not given out here")));
        }
        let session = take("session")
            .map(|text| text.parse())
            .transpose()
            .map_err(|error| AuthnError::Form(format!("`session`: {error}")))?;
        let subject_token =
            take("subject_token").ok_or_else(|| AuthnError::Form("`subject_token` is missing".to_owned()))?;
        Ok(ExchangeForm {
            subject_token: Secret::new(subject_token),
            kind,
            id_token: take("id_token").map(Secret::new),
            posture: take("posture"),
            session,
            device_name: take("device_name").map(|name| printable(&name, DEVICE_NAME)).filter(|name| !name.is_empty()),
        })
    }
}

/// The longest name of a device that is kept, in characters.
const DEVICE_NAME: usize = 64;

const KNOWN: [&str; 8] = [
    "grant_type",
    "subject_token",
    "subject_token_type",
    "requested_token_type",
    "id_token",
    "posture",
    "session",
    "device_name",
];

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: &str = "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange&subject_token=abc\
        &subject_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Aaccess_token";

    #[test]
    fn a_form_reads() {
        let form = ExchangeForm::parse(
            format!("{BASE}&id_token=x.y.z&session=s1&posture=p&device_name=a%1B%5B2Jlaptop&extra=1&extra=2")
                .as_bytes(),
        )
        .unwrap();
        assert_eq!((form.subject_token.expose().as_str(), form.kind), ("abc", SubjectKind::Access));
        let job = ExchangeForm::parse(BASE.replace("access_token", "jwt").as_bytes()).unwrap();
        assert_eq!(job.kind, SubjectKind::Workload);
        assert_eq!(form.id_token.unwrap().expose(), "x.y.z");
        assert_eq!(form.session.unwrap().as_str(), "s1");
        assert_eq!(form.posture.as_deref(), Some("p"));
        assert!(form.device_name.is_some_and(|name| name.ends_with("laptop") && !name.contains('\u{1b}')));
        assert!(
            !format!("{:?}", ExchangeForm::parse(BASE.as_bytes()).unwrap()).contains("abc"),
            "Debug shows no token"
        );
    }

    #[test]
    fn a_wrong_form_says_what_is_wrong() {
        for (body, says) in [
            (String::new(), "`grant_type` is missing"),
            (BASE.replace("token-exchange", "device_code"), "`grant_type` must be"),
            (BASE.replace("access_token", "saml2"), "`subject_token_type` must be"),
            (BASE.replace("subject_token=abc", "subject_token="), "`subject_token` is missing"),
            (format!("{BASE}&subject_token=other"), "`subject_token` is given twice"),
            (format!("{BASE}&session=a%20b"), "`session`"),
            (
                format!("{BASE}&requested_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Arefresh_token"),
                "not given out",
            ),
        ] {
            let error = ExchangeForm::parse(body.as_bytes()).unwrap_err();
            assert!(error.to_string().contains(says), "{body}: {error}");
            assert_eq!(error.oauth().error, "invalid_request");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_body_is_answered(body in proptest::collection::vec(proptest::num::u8::ANY, 0..300)) {
            let _ = ExchangeForm::parse(&body);
        }
    }
}
