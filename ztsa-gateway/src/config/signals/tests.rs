use std::path::Path;
use std::time::Duration;

use ztsa_proto::set::event::Kind;

use super::{Action, Delivery, SubjectForm, TOLD, WhenStale};
use crate::config::{Config, ConfigError};

const BASE: &str = "public_url = \"https://gw.example\"\n[tls]\ncert = \"a\"\nkey = \"b\"\n\
     [[issuer]]\nname = \"corp\"\nissuer = \"https://idp.example\"\nclient_id = \"ztsa-cli\"\n";

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(&format!("{BASE}{text}"), Path::new("/etc/ztsa"))
}

#[test]
fn a_transmitter_that_is_the_issuer_needs_three_lines() {
    let text = "[[signals.transmitter]]\nname = \"corp\"\nissuer = \"https://idp.example/\"\npush_token_file = \"p\"\n";
    let config = parse(text).unwrap();
    let [transmitter] = config.signals.transmitters.as_slice() else { panic!() };
    assert_eq!(transmitter.people, ["https://idp.example"], "the slash at the end makes no other issuer");
    assert_eq!(transmitter.audiences, ["https://gw.example"]);
    assert_eq!(transmitter.push_token_file.as_deref(), Some(Path::new("/etc/ztsa/p")));
    assert_eq!((transmitter.delivery, transmitter.when_stale), (Delivery::Push, WhenStale::Warn));
    assert_eq!(transmitter.stale_after, Duration::from_secs(1200));
    assert_eq!(transmitter.actions.of(&Kind::SessionRevoked), Action::Terminate);
    assert_eq!(transmitter.actions.of(&Kind::Other("urn:x".to_owned())), Action::Ignore);
    assert_eq!(parse("[signals]\nssf = []\n").unwrap().signals.transmitters, []);
}

#[test]
fn actions_are_words_or_tables_and_a_transmitters_own_stand_above_the_general_ones() {
    let text = "[signals.actions]\ncredential-change = \"terminate\"\nsession-revoked = { suspend = \"5m\" }\n\
         [[signals.transmitter]]\nname = \"corp\"\nissuer = \"https://idp.example\"\napi_token_file = \"a\"\n\
         [signals.transmitter.actions]\nsession-revoked = \"ignore\"\n\
         account-disabled = { score = 50, half_life = \"6h\", lasts = \"2d\" }\nrisk-level-change = { medium = 10, high = 90 }\n";
    let config = parse(text).unwrap();
    let [transmitter] = config.signals.transmitters.as_slice() else { panic!() };
    assert_eq!(transmitter.delivery, Delivery::Poll);
    let of = |kind: Kind| transmitter.actions.of(&kind);
    assert_eq!(of(Kind::CredentialChange), Action::Terminate);
    assert_eq!(of(Kind::SessionRevoked), Action::Ignore);
    let lasts = Duration::from_secs(2 * 86_400);
    let half_life = Some(Duration::from_secs(6 * 3600));
    assert_eq!(of(Kind::AccountDisabled), Action::Score { low: 0, medium: 25, high: 50, half_life, lasts });
    assert!(matches!(of(Kind::RiskLevelChange), Action::Score { medium: 10, high: 90, half_life: None, .. }));
}

#[test]
fn a_receiver_is_told_everything_as_person_device_and_session() {
    let config = parse("[[signals.receiver]]\nname = \"siem\"\naudience = \"siem\"\ntoken_file = \"t\"\n").unwrap();
    let [receiver] = config.signals.receivers.as_slice() else { panic!() };
    assert_eq!((receiver.events.as_slice(), receiver.subject), (TOLD.as_slice(), SubjectForm::Complex));
}

#[test]
fn mistakes_are_named_with_their_line_and_remedy() {
    let transmitter = "[[signals.transmitter]]\nname = \"t\"\nissuer = \"https://idp.example\"\n";
    let receiver = "[[signals.receiver]]\nname = \"r\"\naudience = \"a\"\n";
    for (text, words) in [
        (transmitter.to_owned(), ["10: transmitter `t`: it has no credential", "push_token_file"]),
        (format!("{transmitter}push_token_file = \"p\"\ndelivery = \"poll\"\n"), ["to poll with", "api_token_file"]),
        (format!("{transmitter}push_token_file = \"p\"\npeople = [\"x\"]\n"), ["no issuer `x`", "[[issuer]]"]),
        (
            transmitter.replace("idp.example", "okta.example") + "push_token_file = \"p\"\n",
            ["could speak of nobody", "people ="],
        ),
        (
            format!("{transmitter}push_token_file = \"p\"\npush_unauthenticated = true\n"),
            ["worthless", "the credential is better"],
        ),
        (transmitter.replace("https://idp.example", "http://127.0.0.1:1"), ["not public", "private = true"]),
        (transmitter.replace("\"t\"", "\"T 1\""), ["not a short word", "letters"]),
        (
            format!("{transmitter}push_token_file = \"p\"\n{transmitter}"),
            ["the transmitter `t` is already in", "Rename"],
        ),
        (
            format!("{transmitter}actions = {{ lunch = \"ignore\" }}\n"),
            ["there is no event `lunch`", "session-revoked"],
        ),
        (format!("{transmitter}actions = {{ opt-in = \"dance\" }}\n"), ["\"dance\" is no action", "terminate"]),
        (format!("{transmitter}actions = {{ verification = \"ignore\" }}\n"), ["the stream itself", ""]),
        (
            format!("{transmitter}api_token_file = \"a\"\nstale_after = \"9m\"\n"),
            ["stale_after is less than twice verify_every", "Make stale_after longer"],
        ),
        (format!("{transmitter}secret = 1\n"), ["unknown key `secret`", ""]),
        (receiver.to_owned(), ["10: receiver `r`: it can neither ask", "token_file"]),
        (
            format!("{receiver}token_file = \"t\"\nevents = [\"opt-in\"]\n"),
            ["opt-in is not told", "session-established"],
        ),
        (format!("{receiver}push_url = \"http://siem.example/\"\n"), ["not an https URL", "Use https"]),
    ] {
        let error = parse(&text).unwrap_err().to_string();
        for word in words {
            assert!(error.contains(word), "{word}: {error}");
        }
    }
}
