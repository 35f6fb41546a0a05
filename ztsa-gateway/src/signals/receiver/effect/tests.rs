use ztsa_proto::set::Identifier;

use super::*;

const NOW: UnixTime = UnixTime(1_795_000_000);

fn event(happening: Happening) -> Event {
    Event::new(happening, NOW)
}

fn risk(current: Level) -> Event {
    event(Happening::RiskLevelChange { principal: "USER".to_owned(), current, previous: None, reason: None })
}

#[test]
fn defaults_do_what_people_expect() {
    let does = |event: &Event| effect(event, Action::default_of(&event.kind()), 60);
    assert_eq!(does(&event(Happening::SessionRevoked)), Effect::End);
    assert_eq!(does(&event(Happening::AccountDisabled { reason: None })), Effect::End);
    assert_eq!(does(&event(Happening::Plain(Kind::SessionsRevoked))), Effect::End);
    assert_eq!(does(&event(Happening::Plain(Kind::OptIn))), Effect::Nothing);
    assert_eq!(does(&event(Happening::SessionPresented)), Effect::Nothing);
    assert_eq!(does(&event(Happening::DeviceComplianceChange { compliant: false })), Effect::Attest);
    assert_eq!(does(&risk(Level::Low)), Effect::Withdraw);
    assert!(matches!(does(&risk(Level::Medium)), Effect::Score { points: 40, .. }));
    assert!(matches!(does(&risk(Level::High)), Effect::Score { points: 70, .. }));
    let rose = |rose| {
        let (namespace, current) = ("NIST-AAL".to_owned(), "nist-aal2".to_owned());
        event(Happening::AssuranceLevelChange { namespace, current, rose })
    };
    assert_eq!(does(&rose(Some(true))), Effect::Withdraw);
    assert!(matches!(does(&rose(None)), Effect::Score { points: 30, half_life: Some(_), .. }));
}

#[test]
fn good_news_never_ends_or_suspends_anything() {
    let lasts = Duration::from_secs(60);
    for action in [Action::Terminate, Action::Suspend { lasts }] {
        assert_eq!(effect(&risk(Level::Low), action, 60), Effect::Withdraw);
        let compliant = event(Happening::DeviceComplianceChange { compliant: true });
        assert_eq!(effect(&compliant, action, 60), Effect::Withdraw);
    }
    assert_eq!(effect(&risk(Level::Medium), Action::Terminate, 60), Effect::Nothing);
    assert_eq!(effect(&risk(Level::High), Action::Terminate, 60), Effect::End);
    let suspended = Effect::Score { points: 60, half_life: None, lasts };
    assert_eq!(effect(&risk(Level::High), Action::Suspend { lasts }, 60), suspended);
}

#[test]
fn a_transmitter_that_lies_about_time_is_not_believed_and_that_is_said() {
    let told = |iat: i64, at: Option<i64>| {
        let time = |seconds: i64| UnixTime(NOW.0.saturating_add_signed(seconds));
        let set = Set {
            iss: "i".to_owned(),
            aud: vec!["a".to_owned()],
            jti: "j".to_owned(),
            iat: time(iat),
            txn: None,
            subject: Some(Identifier::Opaque { id: "x".to_owned() }.into()),
            event: Event { at: at.map(time), ..event(Happening::SessionRevoked) },
        };
        let (when, doubt) = happened(&set, NOW);
        (i64::try_from(when.0).unwrap() - i64::try_from(NOW.0).unwrap(), doubt.is_some())
    };
    for (iat, at, wanted) in [
        (0, Some(-5), (-5, false)),
        (-100, None, (-100, false)),
        // clocks that differ a little
        (30, Some(30), (0, false)),
        (30, None, (0, false)),
        // the future: what happens then is not known now
        (0, Some(61), (0, true)),
        (-50, Some(4_000_000_000), (-50, true)),
        (100_000, None, (0, true)),
        (100_000, Some(100_000), (0, true)),
        // the past, as far as order is remembered
        (0, Some(-604_800), (-604_800, false)),
        (0, Some(-604_801), (-604_800, true)),
        (-1000, Some(-1_795_000_000), (-604_800, true)),
        // one that waited for days was made days ago
        (-300_000, Some(-300_010), (-300_010, false)),
    ] {
        assert_eq!(told(iat, at), wanted, "made at {iat}, tells of {at:?}");
    }
}

#[test]
fn a_score_is_of_what_the_event_speaks_of() {
    let (user, device) = (ztsa_proto::name::UserId::new("i", "u").unwrap(), "x".repeat(43));
    let device = ztsa_proto::jws::sha256_base64url(device.as_bytes()).parse::<ztsa_proto::name::DeviceId>().unwrap();
    let login = Subject::Login(user.clone(), device.clone());
    let score = Effect::Score { points: 1, half_life: None, lasts: GOOD };
    let of = |principal: &str| {
        let principal = principal.to_owned();
        let event = event(Happening::RiskLevelChange { principal, current: Level::High, previous: None, reason: None });
        scored(&event, score, &login)
    };
    assert_eq!(of("USER"), Some(Subject::User(user.clone())));
    assert_eq!(of("device"), Some(Subject::Device(device.clone())));
    let compliance = event(Happening::DeviceComplianceChange { compliant: false });
    assert_eq!(scored(&compliance, Effect::Attest, &login), Some(Subject::Device(device)));
    assert_eq!(scored(&compliance, Effect::Attest, &Subject::User(user)), None, "a fact needs a device");
    // a session stands for its person and its device, where the event speaks of one of them
    let session = Subject::Session("s".parse().unwrap());
    let risk = |principal: &str| {
        let principal = principal.to_owned();
        event(Happening::RiskLevelChange { principal, current: Level::High, previous: None, reason: None })
    };
    let of = |event: &Event, effect: Effect| {
        scored(event, effect, &named(event, effect, &session, |_| Some(login.clone()))).map(|found| found.to_string())
    };
    assert_eq!(of(&compliance, Effect::Attest), of(&risk("DEVICE"), score));
    assert!(of(&compliance, Effect::Attest).unwrap().starts_with("device "));
    assert!(of(&risk("USER"), score).unwrap().starts_with("user "));
    assert!(of(&risk("SESSION"), score).unwrap().starts_with("session "));
    assert!(of(&event(Happening::SessionPresented), score).unwrap().starts_with("session "));
}
