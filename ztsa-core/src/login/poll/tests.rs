use std::time::Duration;

use reqwest::{
    StatusCode,
    header::{CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER},
};
use serde_json::json;
use ztsa_proto::time::UnixTime;

use super::*;

type Answer = Result<Response, HttpError>;

#[expect(clippy::unnecessary_wraps, reason = "a row of the table is an answer or an error")]
fn answer(status: u16, media: &'static str, body: &str) -> Answer {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media));
    let status = StatusCode::from_u16(status).unwrap();
    Ok(Response { host: "idp".into(), status, headers, body: body.to_owned().into() })
}

fn json_answer(status: u16, body: &serde_json::Value) -> Answer {
    answer(status, "application/json", &body.to_string())
}

fn error(status: u16, code: &str) -> Answer {
    json_answer(status, &json!({ "error": code }))
}

fn pending() -> Answer {
    error(400, "authorization_pending")
}

fn approved() -> Answer {
    json_answer(200, &json!({"access_token": "a", "token_type": "Bearer", "expires_in": 300}))
}

fn html(status: u16) -> Answer {
    answer(status, "text/html", "<title>Sign in to WiFi</title>")
}

fn unreachable() -> Answer {
    Err(HttpError::Unreachable { host: "idp".into(), reason: "no route".into() })
}

fn tls() -> Answer {
    Err(HttpError::Tls { host: "idp".into(), reason: "UnknownIssuer".into() })
}

fn too_many(seconds: &'static str) -> Answer {
    answer(429, "text/plain", "slow down").map(|mut response| {
        response.headers.insert(RETRY_AFTER, HeaderValue::from_static(seconds));
        response
    })
}

/// Runs a sign-in in no time: the waits it would have made, and how it ended.
fn drive(answers: Vec<Answer>) -> (Vec<u64>, String) {
    drive_asleep(answers, &[])
}

/// The same, with a machine that sleeps an hour before the polls of these numbers, from 0.
fn drive_asleep(answers: Vec<Answer>, asleep: &[usize]) -> (Vec<u64>, String) {
    let mut slept = Duration::ZERO;
    let mut poll = Poll::new(Duration::from_secs(5), Duration::from_secs(600));
    let mut waits = vec![poll.first().as_secs()];
    let mut elapsed = poll.first();
    for (number, answer) in answers.into_iter().enumerate() {
        if asleep.contains(&number) {
            slept += Duration::from_secs(3600);
        }
        match poll.next(Elapsed { awake: elapsed, wall: elapsed + slept }, judge(answer, UnixTime(0))) {
            Step::Wait(wait) => {
                waits.push(wait.as_secs());
                elapsed += wait;
            }
            Step::Done(_) => return (waits, "signed in".to_owned()),
            Step::Fail(error) => return (waits, format!("{error} -> {}", error.hint())),
        }
    }
    (waits, "waiting".to_owned())
}

#[test]
fn issuers_differ_and_the_poll_goes_on() {
    for (name, answers, waits, end) in [
        ("plain", vec![pending(), approved()], vec![5, 5], "signed in"),
        (
            "slow_down adds up",
            vec![error(400, "slow_down"), error(400, "slow_down"), pending(), approved()],
            vec![5, 10, 15, 15],
            "signed in",
        ),
        ("errors with 200", vec![error(200, "authorization_pending"), approved()], vec![5, 5], "signed in"),
        ("errors with 428", vec![error(428, "authorization_pending"), approved()], vec![5, 5], "signed in"),
        (
            "429 without a body of OAuth",
            vec![answer(429, "text/plain", "slow down"), approved()],
            vec![5, 7],
            "signed in",
        ),
        ("429 with a time", vec![too_many("40"), approved()], vec![5, 40], "signed in"),
        (
            "503 empty, then well",
            vec![answer(503, "text/plain", ""), pending(), approved()],
            vec![5, 7, 5],
            "signed in",
        ),
        ("500 as JSON", vec![error(500, "server_error"), approved()], vec![5, 7], "signed in"),
        (
            "captive portal for a while",
            vec![html(200), html(200), html(511), approved()],
            vec![5, 7, 9, 13],
            "signed in",
        ),
        ("network away", vec![unreachable(), unreachable(), approved()], vec![5, 7, 9], "signed in"),
        (
            "lower-case type, text numbers",
            vec![json_answer(200, &json!({"access_token": "a", "token_type": "bearer", "expires_in": "300"}))],
            vec![5],
            "signed in",
        ),
        ("denied", vec![pending(), error(400, "access_denied")], vec![5, 5], "denied"),
        ("expired", vec![error(400, "expired_token")], vec![5], "ran out"),
        (
            "code used up",
            vec![error(400, "invalid_grant")],
            vec![5],
            "no longer good: invalid_grant -> run `ztsa login`",
        ),
        (
            "code used up by an answer that a server in between lost",
            vec![pending(), answer(504, "text/html", "<h1>Gateway Timeout</h1>"), error(400, "invalid_grant")],
            vec![5, 5, 7],
            "lost on the way",
        ),
        (
            "a trouble that a pending answer followed is forgotten",
            vec![answer(502, "text/plain", ""), pending(), error(400, "invalid_grant")],
            vec![5, 7, 5],
            "no longer good",
        ),
        (
            "the device flow cannot show the device",
            vec![json_answer(400, &json!({"error": "interaction_required", "error_description": "AADSTS53000: x"}))],
            vec![5],
            "ztsa login --browser",
        ),
        ("empty refusal", vec![answer(400, "text/plain", "")], vec![5], "empty body"),
        ("flow forbidden", vec![error(400, "unauthorized_client")], vec![5], "ztsa login --browser"),
        (
            "flow forbidden by Entra",
            vec![json_answer(
                400,
                &json!({"error": "access_denied", "error_description": "AADSTS53003: Access has been blocked"}),
            )],
            vec![5],
            "ztsa login --browser",
        ),
        ("TLS at once", vec![tls()], vec![5], "not safe"),
        ("nonsense", vec![answer(200, "application/json", "{}")], vec![5], "cannot be used"),
    ] {
        let (waited, ended) = drive(answers);
        assert_eq!(waited, waits, "{name}");
        assert!(ended.contains(end), "{name}: {ended}");
    }
}

#[test]
fn a_code_is_not_sent_again_after_a_lost_answer() {
    let cut = [r#"{"access_token":"a","refresh_tok"#, ""];
    for lost in cut.map(|body| answer(200, "application/json", body)) {
        let (waits, end) = drive(vec![pending(), lost, approved()]);
        assert_eq!(waits, [5, 5]);
        assert!(end.contains("lost on the way") && end.contains("start over"), "{end}");
    }
    for lost in [
        HttpError::Timeout { host: "idp".into(), connected: true },
        HttpError::Broken { host: "idp".into(), reason: "reset".into() },
    ] {
        let (waits, end) = drive(vec![pending(), Err(lost), approved()]);
        assert_eq!(waits, [5, 5]);
        assert!(end.contains("lost on the way") && end.contains("run `ztsa login` again"), "{end}");
    }
}

#[test]
fn time_runs_out_by_the_code_s_own_clock() {
    let (waits, end) = drive((0..200).map(|_| pending()).collect());
    assert_eq!(waits.iter().sum::<u64>(), 595);
    assert!(end.contains("ran out after 600 s"), "{end}");
    let (_, end) = drive((0..200).map(|_| html(200)).collect());
    assert!(end.contains("Sign in to WiFi"), "the last trouble is what the person hears: {end}");
}

#[test]
fn a_machine_that_slept_asks_once_more_and_is_told_what_happened() {
    for (answers, asleep, end) in [
        (vec![pending(), approved()], vec![1], "signed in"),
        (vec![pending(), pending(), approved()], vec![1], "signed in"),
        (vec![pending(), error(400, "expired_token")], vec![1], "slept meanwhile -> run `ztsa login` again"),
        (
            vec![pending(), error(400, "invalid_grant")],
            vec![1],
            "ran out after 600 s without an approval; this machine slept",
        ),
        (vec![pending(), unreachable()], vec![1], "slept meanwhile"),
        (vec![pending(), error(400, "expired_token")], vec![], "without an approval -> run `ztsa login` again"),
    ] {
        let (_, ended) = drive_asleep(answers, &asleep);
        assert!(ended.contains(end), "{end}: {ended}");
    }
}

#[test]
fn the_wait_between_troubles_is_bounded() {
    let (waits, _) = drive((0..12).map(|_| unreachable()).collect());
    assert_eq!(waits.iter().max(), Some(&35));
}
