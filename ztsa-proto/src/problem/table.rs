//! The one table of problems that this project knows.

mod posture;

use super::Retry;

/// Describes one code.
pub(super) struct Row {
    pub(super) code: &'static str,
    pub(super) status: u16,
    pub(super) title: &'static str,
    pub(super) retry: Retry,
    pub(super) remedy: &'static str,
    /// A proxy error type of RFC 9209 section 2.3.
    pub(super) proxy_error: &'static str,
    /// The exit code of DESIGN section 8: 2 usage, 3 login needed, 4 denied, 5 posture, 6 unreachable, 8 step-up.
    pub(super) exit: u8,
}

/// Finds the row of a code, or of its first part, or the general one.
pub(super) fn row(code: &str) -> &'static Row {
    let exact = |wanted: &str| rows().find(|row| row.code == wanted);
    let family = || {
        let (first, _) = code.split_once('.')?;
        FAMILIES.iter().find(|(name, _)| *name == first).and_then(|(_, general)| exact(general))
    };
    exact(code).or_else(family).unwrap_or(&OTHER)
}

/// Goes through every known code.
pub(super) fn rows() -> impl Iterator<Item = &'static Row> {
    ROWS.iter().chain(posture::ROWS)
}

/// Which row stands for codes of a family that have no row of their own.
const FAMILIES: [(&str, &str); 11] = [
    ("auth", "auth.required"),
    ("app", "app.unreachable"),
    ("policy", "policy.forbidden"),
    ("risk", "risk.session"),
    ("posture", "posture.other"),
    ("device", "device.blocked"),
    ("session", "session.expired"),
    ("grant", "grant.expired"),
    ("ticket", "ticket.invalid"),
    ("gateway", "gateway.unavailable"),
    ("network", "network.lost"),
];

/// What is said of a code that nobody here knows.
const OTHER: Row = row_of(
    "other",
    403,
    "The gateway refused",
    Retry::Never,
    "Ask your administrator, and give them the code.",
    DENIED,
    4,
);

const AFTER: Retry = Retry::After { seconds: None };
const DENIED: &str = "http_request_denied";

const fn row_of(
    code: &'static str,
    status: u16,
    title: &'static str,
    retry: Retry,
    remedy: &'static str,
    proxy_error: &'static str,
    exit: u8,
) -> Row {
    Row { code, status, title, retry, remedy, proxy_error, exit }
}

static ROWS: &[Row] = &[
    row_of("auth.required", 401, "Sign-in needed", Retry::AfterLogin, "Sign in with `ztsa login`.", DENIED, 3),
    row_of(
        "auth.expired",
        401,
        "The sign-in has expired",
        Retry::AfterLogin,
        "Sign in again with `ztsa login`.",
        DENIED,
        3,
    ),
    row_of(
        "auth.proof",
        401,
        "The device's proof was not accepted",
        AFTER,
        "Check that this device's clock is right, then try again; if it persists, sign in again with `ztsa login`.",
        DENIED,
        3,
    ),
    row_of(
        "auth.issuer",
        503,
        "The identity provider cannot be reached",
        Retry::After { seconds: Some(10) },
        "Try again in a moment; if it persists, tell your administrator that the gateway cannot reach the identity provider.",
        "proxy_internal_error",
        6,
    ),
    row_of(
        "auth.step_up",
        401,
        "A stronger sign-in is needed",
        Retry::AfterStepUp,
        "Sign in again with `ztsa login` and confirm with your second factor.",
        DENIED,
        8,
    ),
    row_of(
        "app.unknown",
        404,
        "No such app",
        Retry::Never,
        "See the apps that you can reach with `ztsa apps`, and check the spelling; if one is missing, ask your administrator.",
        "destination_not_found",
        4,
    ),
    row_of(
        "app.moved",
        503,
        "The app has moved",
        AFTER,
        "Connect again: new connections go to its new place.",
        "connection_terminated",
        6,
    ),
    row_of(
        "app.unreachable",
        502,
        "The app cannot be reached",
        AFTER,
        "Try again in a moment; if it persists, tell the app's owner that the gateway cannot reach it.",
        "destination_unavailable",
        6,
    ),
    row_of(
        "app.refused",
        502,
        "The app refused the connection",
        AFTER,
        "Check with the app's owner that it is running, then try again.",
        "connection_refused",
        6,
    ),
    row_of(
        "app.timeout",
        504,
        "The app did not answer in time",
        AFTER,
        "Try again in a moment; if it persists, tell the app's owner that it does not answer the gateway.",
        "connection_timeout",
        6,
    ),
    row_of(
        "policy.no_match",
        403,
        "No policy permits this",
        Retry::Never,
        "Ask your administrator for access to this app; `ztsa why APP` shows what was decided.",
        DENIED,
        4,
    ),
    row_of(
        "policy.forbidden",
        403,
        "A policy forbids this",
        Retry::Never,
        "See `ztsa why APP` for the policy and the fact that decided, or ask your administrator.",
        DENIED,
        4,
    ),
    row_of(
        "policy.error",
        403,
        "A policy could not be evaluated, so access was refused",
        Retry::Never,
        "Tell your administrator the policy and the decision id: the policy has a mistake.",
        DENIED,
        4,
    ),
    row_of(
        "risk.user",
        403,
        "The risk of this account is too high",
        AFTER,
        "See the signals with `ztsa status`; access returns when the risk falls, or ask your administrator.",
        DENIED,
        4,
    ),
    row_of(
        "risk.device",
        403,
        "The risk of this device is too high",
        AFTER,
        "See the signals with `ztsa status`; access returns when the risk falls, or use another device.",
        DENIED,
        4,
    ),
    row_of(
        "risk.session",
        403,
        "The risk of this session is too high",
        AFTER,
        "See the signals with `ztsa status`; access returns when the risk falls, or sign in again with `ztsa login`.",
        DENIED,
        4,
    ),
    row_of(
        "posture.other",
        403,
        "This device does not meet a requirement",
        AFTER,
        "See what is missing and how to mend it with `ztsa posture`, then try again.",
        DENIED,
        5,
    ),
    row_of(
        "posture.missing",
        403,
        "This device has not reported its state",
        AFTER,
        "Check with `ztsa posture` that this device can report its state, then try again.",
        DENIED,
        5,
    ),
    row_of(
        "device.blocked",
        403,
        "This device is blocked",
        Retry::Never,
        "Ask your administrator to approve this device, or use another one; `ztsa status` shows its id.",
        DENIED,
        4,
    ),
    row_of(
        "session.revoked",
        401,
        "The session was ended by an administrator",
        Retry::AfterLogin,
        "Sign in again with `ztsa login`; if you do not know why it was ended, ask your administrator.",
        DENIED,
        3,
    ),
    row_of(
        "session.expired",
        401,
        "The session has expired",
        Retry::AfterLogin,
        "Sign in again with `ztsa login`.",
        DENIED,
        3,
    ),
    row_of(
        "session.lapsed",
        503,
        "The session was not renewed in time",
        AFTER,
        "Connect again: the session is renewed by itself, and `ztsa` says when it needs you to sign in.",
        "connection_terminated",
        6,
    ),
    row_of(
        "grant.expired",
        403,
        "The permission for this app has run out",
        AFTER,
        "Connect again with `ztsa connect APP` to ask for a new one.",
        DENIED,
        4,
    ),
    row_of(
        "grant.unknown",
        403,
        "This permission does not exist or is for another app or session",
        AFTER,
        "Connect again with `ztsa connect APP` to ask for a new one.",
        DENIED,
        4,
    ),
    row_of(
        "ticket.invalid",
        407,
        "The ticket is missing, used up, expired, or for another app",
        Retry::Never,
        "Make a new one with `ztsa ticket APP` and give it as the proxy password.",
        DENIED,
        4,
    ),
    row_of(
        "gateway.unavailable",
        503,
        "The gateway cannot decide right now",
        Retry::After { seconds: Some(5) },
        "Try again in a moment; if it persists, tell your administrator.",
        "proxy_internal_error",
        6,
    ),
    row_of(
        "gateway.limit",
        503,
        "The gateway is at its limit",
        Retry::After { seconds: Some(5) },
        "Close connections that you do not need, then try again in a moment.",
        "connection_limit_reached",
        6,
    ),
    row_of(
        "gateway.draining",
        503,
        "The gateway is restarting",
        Retry::After { seconds: Some(1) },
        "Try again in a moment: the gateway is being restarted.",
        "proxy_internal_error",
        6,
    ),
    row_of(
        "request.invalid",
        400,
        "The request was malformed",
        Retry::Never,
        "Check what you typed; if it is right, update ztsa or report the problem.",
        "http_request_error",
        2,
    ),
    row_of(
        "network.lost",
        502,
        "The connection to the gateway was lost",
        AFTER,
        "Check the network and connect again; `ztsa status` tells whether the gateway answers.",
        "connection_terminated",
        6,
    ),
];
