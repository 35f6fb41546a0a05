use ztsa_idp::person::Person;

use crate::desk::Desk;

#[tokio::test]
async fn the_consent_page_shows_who_asks_for_what() {
    let desk = Desk::new().await;
    let started = desk.device().await;
    let page = Person::new("alice", "alice").arrive(started.text("verification_uri_complete")).await.unwrap();
    let text = page.text();
    for shown in ["ztsa command line", "ztsa-cli", started.text("user_code"), "127.0.0.1", "desk/1.0 <b>", "email"] {
        assert!(text.contains(shown), "{shown} is missing in: {text}");
    }
    assert!(!page.body.contains("<b>"), "the user agent must not become markup");
    assert!(!page.body.contains("<script"));
}

#[tokio::test]
async fn pages_are_not_framed_cached_or_scripted_and_the_cookie_is_guarded() {
    let desk = Desk::new().await;
    let answer = desk.send(desk.http.get(desk.at("/device"))).await;
    let policy = answer.headers["content-security-policy"].to_str().unwrap();
    assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
    assert!(policy.contains("frame-ancestors 'none'"));
    assert_eq!(answer.headers["cache-control"], "no-store");
    let cookie = answer.headers["set-cookie"].to_str().unwrap();
    assert!(cookie.contains("; HttpOnly; SameSite=Lax"), "{cookie}");
}

#[tokio::test]
async fn a_form_from_elsewhere_is_refused() {
    let desk = Desk::new().await;
    let started = desk.device().await;
    let mut alice = Person::new("alice", "alice");
    let consent = alice.arrive(started.text("verification_uri_complete")).await.unwrap();
    let forged = alice.submit(&consent, &[("decision", "approve"), ("csrf", "guess")]).await.unwrap();
    assert_eq!(forged.status, 403);
    // another browser, with a token of its own
    let mut mallory = Person::new("mallory", "mallory");
    let own = mallory.open(&desk.at("/device")).await.unwrap();
    let own = own.body.split_once("name=\"csrf\" value=\"").unwrap().1.split('"').next().unwrap();
    let stolen = mallory.submit(&consent, &[("decision", "approve"), ("csrf", own)]).await.unwrap();
    assert_eq!(stolen.status, 410);
    desk.poll(&started).await.refused(400, "authorization_pending");
    alice.submit(&consent, &[("decision", "approve")]).await.unwrap();
    let again = alice.submit(&consent, &[("decision", "approve")]).await.unwrap();
    assert_eq!(again.status, 410);
}

#[tokio::test]
async fn a_wrong_password_is_said_and_guesses_are_limited() {
    let desk = Desk::new().await;
    let started = desk.device().await;
    let complete = started.text("verification_uri_complete");
    for (name, password) in [("alice", "bob"), ("nobody", "nobody"), ("alice", "")] {
        let error = Person::new(name, password).approve(complete).await.unwrap_err();
        assert!(error.to_string().contains("The name or the password is wrong"), "{error}");
    }
    for _ in 0..3 {
        Person::new("alice", "guess").approve(complete).await.unwrap_err();
    }
    let error = Person::new("alice", "alice").approve(complete).await.unwrap_err();
    assert!(error.to_string().contains("Too many wrong passwords"), "{error}");
    desk.pass(60);
    Person::new("alice", "alice").approve(complete).await.unwrap();
}

#[tokio::test]
async fn the_person_can_be_someone_else() {
    let desk = Desk::new().await;
    let started = desk.device().await;
    let mut person = Person::new("alice", "alice");
    let consent = person.arrive(started.text("verification_uri_complete")).await.unwrap();
    let sign_in = person.submit(&consent, &[("decision", "switch")]).await.unwrap();
    assert!(sign_in.action().unwrap().ends_with("/sign-in"));
    let consent = person.submit(&sign_in, &[("name", "bob"), ("password", "bob")]).await.unwrap();
    assert!(consent.text().contains("Signed in as Bob"), "{}", consent.text());
    person.submit(&consent, &[("decision", "approve")]).await.unwrap();
    assert_eq!(desk.poll(&started).await.claims("id_token")["sub"], "bob");
}
