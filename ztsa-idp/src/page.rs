//! The pages that people see: plain HTML forms, no script.

use aws_lc_rs::digest;
use axum::response::{Html, IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS};
use http::{StatusCode, Uri};
use ztsa_proto::time::UnixTime;

use crate::browser::{AuthorizeAsk, Interaction, Purpose, Session};
use crate::device::{DeviceAsk, UserCode};
use crate::scope::{Known, Scope};
use crate::sign_in::{Acr, Authentication};

const STYLE: &str = include_str!("page/style.css");

/// A page that tells a person something and offers nothing to do.
#[derive(Debug)]
pub(crate) struct Notice {
    pub(crate) status: StatusCode,
    pub(crate) title: &'static str,
    pub(crate) text: String,
}

impl Notice {
    pub(crate) fn new(status: StatusCode, title: &'static str, text: impl Into<String>) -> Self {
        Self { status, title, text: text.into() }
    }
}

impl IntoResponse for Notice {
    fn into_response(self) -> Response {
        let role = if self.status.is_success() { "status" } else { "alert" };
        page(self.status, self.title, &format!("<p role=\"{role}\">{}</p>", escape(&self.text)))
    }
}

/// Asks for the code that a device shows.
pub(crate) fn enter_code(session: &Session, typed: &str, problem: Option<(StatusCode, &str)>) -> Response {
    let (invalid, alert) = problem_parts(problem.map(|(_, text)| text));
    let body = format!(
        "{alert}<p>A program on one of your devices asks you to sign in. Enter the code that it shows.</p>\
         <form method=\"post\" action=\"/device\">{csrf}\
         <label for=\"user_code\">Code</label>\
         <input class=\"code\" id=\"user_code\" name=\"user_code\" value=\"{typed}\" maxlength=\"20\" required autofocus \
         autocomplete=\"off\" autocapitalize=\"characters\" spellcheck=\"false\" aria-describedby=\"hint{described}\"{invalid}>\
         <small id=\"hint\">Eight letters, such as BCDF-GHJK. Continue only with a code from a program that you \
         started yourself.</small>\
         <div class=\"row\"><button>Continue</button></div></form>",
        csrf = csrf(session),
        typed = escape(typed),
        described = if invalid.is_empty() { "" } else { " problem" },
    );
    page(problem.map_or(StatusCode::OK, |(status, _)| status), "Connect a device", &body)
}

/// Asks for name and password, and for the second factor when it is demanded.
pub(crate) fn sign_in(
    (id, interaction, client): (&str, &Interaction, &str),
    session: &Session,
    name: Option<&str>,
    problem: Option<(StatusCode, &str)>,
) -> Response {
    let (invalid, alert) = problem_parts(problem.map(|(_, text)| text));
    let again = match &session.sign_in {
        Some(sign_in) if !interaction.switch => format!(
            "<p class=\"note\">You are signed in as {}, but {} asks you to sign in {}.</p>",
            escape(&sign_in.user.full_name),
            escape(client),
            if interaction.demand.acr > Some(sign_in.acr) { "with a second factor" } else { "again" }
        ),
        _ => format!("<p>Sign in to continue to <strong>{}</strong>.</p>", escape(client)),
    };
    let second = if interaction.demand.acr == Some(Acr::SecondFactor) {
        "<label for=\"code\">One-time code</label>\
         <input id=\"code\" name=\"code\" inputmode=\"numeric\" autocomplete=\"one-time-code\" required \
         aria-describedby=\"code-hint\"><small id=\"code-hint\">Your second factor. The built-in users have the fixed \
         code 000000.</small>"
    } else {
        ""
    };
    let described = if invalid.is_empty() { "" } else { " aria-describedby=\"problem\"" };
    let (focus_name, focus_password) = if name.is_some() { ("", " autofocus") } else { (" autofocus", "") };
    let body = format!(
        "{alert}{again}<form method=\"post\" action=\"/interaction/{id}/sign-in\">{csrf}\
         <label for=\"name\">Name</label>\
         <input id=\"name\" name=\"name\" value=\"{name}\" required autocomplete=\"username\" autocapitalize=\"none\" \
         spellcheck=\"false\"{focus_name}{invalid}{described}>\
         <label for=\"password\">Password</label>\
         <input id=\"password\" name=\"password\" type=\"password\" required autocomplete=\"current-password\"\
         {focus_password}{invalid}{described}>{second}\
         <div class=\"row\"><button>Sign in</button></div></form>",
        id = escape(id),
        csrf = csrf(session),
        name = escape(name.unwrap_or_default()),
    );
    page(problem.map_or(StatusCode::OK, |(status, _)| status), "Sign in", &body)
}

/// What the consent page shows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Consent<'a> {
    pub(crate) id: &'a str,
    pub(crate) purpose: &'a Purpose,
    pub(crate) device: Option<&'a DeviceAsk>,
    pub(crate) client: (&'a str, &'a str),
    pub(crate) scope: &'a Scope,
    pub(crate) resources: &'a [String],
    pub(crate) session: &'a Session,
    pub(crate) sign_in: &'a Authentication,
    pub(crate) now: UnixTime,
}

/// Asks whether a program may have what it asks for, and shows who asks.
pub(crate) fn consent(shown: Consent<'_>) -> Response {
    let Consent { id, purpose, device, client: (client, client_id), scope, resources, session, sign_in, now } = shown;
    let mut facts = vec![("Program", format!("{} <small>{}</small>", escape(client), escape(client_id)))];
    let question = match purpose {
        Purpose::Device(code) => {
            facts.extend(device.map(|device| device_facts(device, code, now)).unwrap_or_default());
            "<p class=\"note\"><strong>Did you start this yourself?</strong> Approve only if you see this very code on \
             your own device just now. Nobody who calls or writes to you needs it approved.</p>"
        }
        Purpose::Authorize(ask) => {
            facts.push(("Answers to", escape(&origin(ask))));
            "<p class=\"note\"><strong>Did you start this yourself?</strong> Approve only if a program on this machine \
             has just opened this page for you.</p>"
        }
    };
    if !resources.is_empty() {
        facts.push(("For", resources.iter().map(|resource| escape(resource)).collect::<Vec<_>>().join("<br>")));
    }
    let facts: Vec<String> = facts.iter().map(|(name, value)| format!("<dt>{name}</dt><dd>{value}</dd>")).collect();
    let wishes: Vec<String> = scope.iter().map(|known| format!("<li>{}</li>", wish(known))).collect();
    let body = format!(
        "<dl>{}</dl><p>It will be able to:</p><ul>{}</ul>{question}\
         <form method=\"post\" action=\"/interaction/{id}/decision\">{csrf}\
         <div class=\"row\"><button name=\"decision\" value=\"approve\">Approve</button>\
         <button class=\"quiet\" name=\"decision\" value=\"deny\">Deny</button></div>\
         <p><br>Signed in as {name}. <button class=\"link\" name=\"decision\" value=\"switch\">Use another name</button></p>\
         </form>",
        facts.concat(),
        wishes.concat(),
        id = escape(id),
        csrf = csrf(session),
        name = escape(&sign_in.user.full_name),
    );
    page(StatusCode::OK, &format!("Let {client} act for you?"), &body)
}

/// Asks whether the person wants to sign out.
pub(crate) fn sign_out(session: &Session, name: &str) -> Response {
    let body = format!(
        "<p>You are signed in as {}.</p><form method=\"post\" action=\"/end_session\">{}\
         <div class=\"row\"><button>Sign out</button></div></form>",
        escape(name),
        csrf(session)
    );
    page(StatusCode::OK, "Sign out?", &body)
}

fn device_facts(device: &DeviceAsk, code: &UserCode, now: UnixTime) -> Vec<(&'static str, String)> {
    let ago = match now.since(device.at).as_secs() {
        0..=9 => "just now".to_owned(),
        seconds @ 10..=119 => format!("{seconds} seconds ago"),
        seconds => format!("{} minutes ago", seconds / 60),
    };
    vec![
        ("Code", format!("<span class=\"code\">{code}</span>")),
        ("Address", escape(&device.address.to_string())),
        ("User agent", escape(&device.agent)),
        ("Asked", ago),
    ]
}

/// Scheme, host and port of where the browser goes back to.
fn origin(ask: &AuthorizeAsk) -> String {
    let uri: Option<Uri> = ask.redirect.parse().ok();
    let parts = uri.as_ref().and_then(|uri| Some((uri.scheme_str()?, uri.authority()?)));
    parts.map_or_else(|| ask.redirect.clone(), |(scheme, authority)| format!("{scheme}://{authority}"))
}

fn wish(known: Known) -> String {
    format!("{} <small>{}</small>", known.meaning(), known.name())
}

fn csrf(session: &Session) -> String {
    format!("<input type=\"hidden\" name=\"csrf\" value=\"{}\">", escape(&session.csrf))
}

fn problem_parts(problem: Option<&str>) -> (&'static str, String) {
    match problem {
        None => ("", String::new()),
        Some(text) => {
            (" aria-invalid=\"true\"", format!("<p class=\"bad\" id=\"problem\" role=\"alert\">{}</p>", escape(text)))
        }
    }
}

fn page(status: StatusCode, title: &str, body: &str) -> Response {
    let title = escape(title);
    let html = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"><style>{STYLE}</style></head>\
         <body><main><h1>{title}</h1>{body}</main>\
         <footer>ztsa-idp, an issuer for development and tests. Do not type a password that you use elsewhere.</footer>\
         </body></html>"
    );
    let style = STANDARD.encode(digest::digest(&digest::SHA256, STYLE.as_bytes()));
    let policy = format!("default-src 'none'; style-src 'sha256-{style}'; base-uri 'none'; frame-ancestors 'none'");
    let headers = [
        (CONTENT_SECURITY_POLICY, policy),
        (CACHE_CONTROL, "no-store".to_owned()),
        (X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
        (REFERRER_POLICY, "no-referrer".to_owned()),
    ];
    (status, headers, Html(html)).into_response()
}

/// Makes text safe inside an element and inside a quoted attribute.
fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            letter => safe.push(letter),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_become_markup() {
        assert_eq!(escape("<a href=\"x\" title='&'>"), "&lt;a href=&quot;x&quot; title=&#39;&amp;&#39;&gt;");
    }

    proptest::proptest! {
        #[test]
        fn no_text_holds_a_character_of_markup_afterwards(text: String) {
            let safe = escape(&text);
            proptest::prop_assert!(!safe.contains(['<', '>', '"', '\'']));
            proptest::prop_assert_eq!(safe.matches('&').count(), text.matches(['<', '>', '"', '\'', '&']).count());
        }
    }
}
