//! The issuer's keys and memory, and what every endpoint needs of them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use aws_lc_rs::rand::SecureRandom as _;
use aws_lc_rs::{constant_time, hmac, rand};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::HeaderMap;
use http::header::AUTHORIZATION;
use tokio::time::Instant;
use ztsa_proto::dpop;
use ztsa_proto::jws::{Signer as _, SoftwareKey};
use ztsa_proto::secret::Secret;
use ztsa_proto::time::UnixTime;

use crate::answer::Refusal;
use crate::browser::{Interaction, Sessions};
use crate::config::{Client, Config, User};
use crate::device::{Devices, Moment, UserCode};
use crate::expiring::Expiring;
use crate::form::Form;
use crate::grant::{Codes, Families, Revoked};
use crate::sign_in::{Acr, Authentication, Demand, Guesses};

/// One running issuer.
pub(crate) struct Issuer {
    pub(crate) config: Config,
    /// The issuer identifier, without a slash at the end.
    pub(crate) url: String,
    /// The newest key signs; older ones are still published.
    keys: RwLock<Vec<Arc<SoftwareKey>>>,
    pub(crate) mac: hmac::Key,
    memory: Mutex<Memory>,
}

/// Everything the issuer remembers.
pub(crate) struct Memory {
    pub(crate) devices: Devices,
    pub(crate) codes: Codes,
    pub(crate) families: Families,
    pub(crate) revoked: Revoked,
    pub(crate) sessions: Sessions,
    pub(crate) interactions: Expiring<Interaction>,
    pub(crate) guesses: Guesses,
    /// The `jti` of proofs that were seen.
    proofs: Expiring<()>,
}

/// How old a DPoP proof may be.
const PROOF_PAST: Duration = Duration::from_secs(60);
/// How far in the future a DPoP proof may be.
const PROOF_FUTURE: Duration = Duration::from_secs(10);
/// For how long a nonce is handed out; it is accepted for as long again.
const NONCE_SECONDS: u64 = 120;

impl Issuer {
    pub(crate) fn new(config: Config, url: String, key: SoftwareKey, mac_key: &[u8; 32]) -> Self {
        let mac = hmac::Key::new(hmac::HMAC_SHA256, mac_key);
        let memory = Memory {
            devices: Devices::new(),
            codes: Codes::new(),
            families: Families::new(mac.clone()),
            revoked: Revoked::new(),
            sessions: Sessions::new(),
            interactions: Expiring::new(4096),
            guesses: Guesses::new(),
            proofs: Expiring::new(65_536),
        };
        Self { config, url, keys: RwLock::new(vec![Arc::new(key)]), mac, memory: Mutex::new(memory) }
    }

    pub(crate) fn now(&self) -> UnixTime {
        self.config.clock.now()
    }

    pub(crate) fn moment(&self) -> Moment {
        Moment { wall: self.now(), steady: Instant::now() }
    }

    pub(crate) fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the published keys, the signing one first.
    pub(crate) fn keys(&self) -> Vec<Arc<SoftwareKey>> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Signs with `key` from now on.
    pub(crate) fn add_key(&self, key: SoftwareKey) {
        self.keys.write().unwrap_or_else(PoisonError::into_inner).insert(0, Arc::new(key));
    }

    pub(crate) fn endpoint(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    /// Draws a user code that is not in use.
    pub(crate) fn user_code(&self, now: UnixTime) -> Result<UserCode, Refusal> {
        for _ in 0..64 {
            let mut bytes = [0; 32];
            rand::SystemRandom::new()
                .fill(&mut bytes)
                .map_err(|_| Refusal::new("server_error", "the system has no randomness"))?;
            let code = UserCode::from_random(bytes.into_iter());
            if let Some(code) = code.filter(|code| !self.memory().devices.is_taken(code, now)) {
                return Ok(code);
            }
        }
        Err(Refusal::new("server_error", "no user code is free"))
    }

    /// Returns the sign-in of the user that `Config::approve` names, as strong as is demanded.
    pub(crate) fn approved(&self, demand: &Demand) -> Option<Authentication> {
        let user = self.config.user(self.config.approve.as_deref()?)?.clone();
        Some(Authentication { user, at: self.now(), acr: demand.acr.unwrap_or(Acr::Password) })
    }

    /// Checks a name and a password, taking the same time whether or not the name exists.
    pub(crate) fn user_with_password(&self, name: &str, password: &str) -> Option<&User> {
        let given = Secret::new(password.to_owned());
        let nobody = Secret::new(String::new());
        let user = self.config.user(name);
        let right = given == *user.map_or(&nobody, |user| &user.password);
        user.filter(|_| right)
    }

    /// Authenticates the client: none (public), `client_secret_basic` or `client_secret_post`.
    pub(crate) fn client(&self, headers: &HeaderMap, form: &Form) -> Result<&Client, Refusal> {
        let basic = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let basic =
            basic.and_then(|value| value.split_once(' ')).filter(|(scheme, _)| scheme.eq_ignore_ascii_case("basic"));
        let Some((_, credentials)) = basic else {
            let id = form.value("client_id").ok_or_else(|| Refusal::new("invalid_request", "client_id is missing"))?;
            return self.client_with_secret(id, form.value("client_secret"));
        };
        if form.value("client_secret").is_some() {
            return Err(Refusal::new("invalid_request", "the client authenticates in two ways at once"));
        }
        let (id, secret) = basic_credentials(credentials).ok_or_else(|| {
            Refusal::new("invalid_client", "the Basic credentials cannot be read").with_basic_challenge()
        })?;
        if form.value("client_id").is_some_and(|other| other != id) {
            return Err(Refusal::new("invalid_request", "client_id differs from the Basic credentials"));
        }
        self.client_with_secret(&id, Some(&secret)).map_err(Refusal::with_basic_challenge)
    }

    fn client_with_secret(&self, id: &str, secret: Option<&str>) -> Result<&Client, Refusal> {
        let unknown = || Refusal::new("invalid_client", "the client is unknown or its secret is wrong");
        let client = self.config.client(id).ok_or_else(unknown)?;
        let right = match (&client.secret, secret) {
            (None, None) => true,
            (Some(expected), Some(given)) => Secret::new(given.to_owned()) == *expected,
            // some libraries send an empty secret for a public client
            (None, Some(given)) => given.is_empty(),
            (Some(_), None) => false,
        };
        if right { Ok(client) } else { Err(unknown()) }
    }

    /// Reads the `resource` parameters (RFC 8707).
    pub(crate) fn resources(&self, form: &Form) -> Result<Vec<String>, Refusal> {
        let known = |asked: &String| {
            let own = (*asked == self.url).then_some(self.url.as_str());
            self.config.audience(asked).or(own).map(str::to_owned).ok_or_else(|| {
                let known = self.config.audiences.join(", ");
                Refusal::new("invalid_target", format!("the resource {asked} is not known here; known are: {known}"))
            })
        };
        form.resources().iter().map(known).collect()
    }

    /// Checks the DPoP proof of a request, if it has one.
    pub(crate) fn proof(
        &self,
        headers: &HeaderMap,
        (method, path): (&str, &str),
        access_token: Option<&str>,
    ) -> Result<Option<dpop::Proof>, Refusal> {
        if !headers.contains_key("dpop") {
            return Ok(None);
        }
        let now = self.now();
        let url = self.endpoint(path);
        let expected = dpop::Expected {
            method,
            url: &url,
            access_token,
            device: None,
            now,
            past: PROOF_PAST,
            future: PROOF_FUTURE,
        };
        let proof = dpop::check(headers.get_all("dpop").iter().map(http::HeaderValue::as_bytes), &expected)
            .map_err(|error| Refusal::new("invalid_dpop_proof", error.to_string()))?;
        if !self.is_nonce_good(proof.nonce.as_deref(), now) {
            let refusal = Refusal::new("use_dpop_nonce", "the proof needs the nonce of the DPoP-Nonce header");
            return Err(refusal.with_nonce(&self.nonce(now)));
        }
        let name = ztsa_proto::jws::sha256_base64url(format!("{} {}", proof.device, proof.jti).as_bytes());
        let until = proof.issued_at.plus(PROOF_PAST).plus(Duration::from_secs(1));
        if !self.memory().proofs.insert(name, (), until, now) {
            return Err(Refusal::new("invalid_dpop_proof", "the proof was used before"));
        }
        Ok(Some(proof))
    }

    /// Returns the nonce for DPoP proofs of now.
    pub(crate) fn nonce(&self, now: UnixTime) -> String {
        self.nonce_of(now.0 / NONCE_SECONDS)
    }

    fn is_nonce_good(&self, nonce: Option<&str>, now: UnixTime) -> bool {
        let slot = now.0 / NONCE_SECONDS;
        let good = |nonce: &str| {
            [slot, slot.saturating_sub(1)].iter().any(|slot| {
                constant_time::verify_slices_are_equal(self.nonce_of(*slot).as_bytes(), nonce.as_bytes()).is_ok()
            })
        };
        nonce.map_or(!self.config.dpop_nonce, good)
    }

    fn nonce_of(&self, slot: u64) -> String {
        URL_SAFE_NO_PAD.encode(hmac::sign(&self.mac, format!("nonce {slot}").as_bytes()))
    }
}

impl std::fmt::Debug for Issuer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Issuer").field("url", &self.url).finish_non_exhaustive()
    }
}

/// Names a key in the headers of what it signed.
pub(crate) fn key_id(key: &SoftwareKey) -> String {
    key.public_key().thumbprint().to_string()
}

/// Reads `base64(id:secret)`, both form-encoded (RFC 6749 section 2.3.1).
fn basic_credentials(text: &str) -> Option<(String, String)> {
    let text = String::from_utf8(STANDARD.decode(text.trim()).ok()?).ok()?;
    let (id, secret) = text.split_once(':')?;
    let decode = |text: &str| {
        let pair = format!("v={}", text.replace('&', "%26"));
        url::form_urlencoded::parse(pair.as_bytes()).next().map(|(_, value)| value.into_owned())
    };
    Some((decode(id)?, decode(secret)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn basic_credentials_are_form_decoded() {
        let read = |text: &str| basic_credentials(&STANDARD.encode(text));
        assert_eq!(read("id:a%3Ab+c&d"), Some(("id".into(), "a:b c&d".into())));
        assert_eq!(read("id"), None);
        assert_eq!(basic_credentials("%%%"), None);
    }
}
