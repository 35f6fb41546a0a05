use proptest::prelude::*;

use super::*;
use crate::problem;

fn event(kind: EventKind) -> Event {
    Event { id: 7, at: UnixTime(1_795_352_700), kind, tunnel: None, app: None, problem: None }
}

fn decoded(bytes: &[u8]) -> Result<Vec<Event>, EventError> {
    Decoder::new().feed(bytes)
}

#[test]
fn an_event_is_three_lines_and_reads_back() {
    let suspended = Event {
        tunnel: Some(TunnelId(3)),
        app: Some("db-prod".parse().unwrap()),
        problem: Some(problem::new("risk.user").with_detail("too\nmuch")),
        ..event(EventKind::Suspended)
    };
    let text = suspended.encode();
    assert!(text.starts_with(
        "event: suspended\nid: 7\ndata: {\"id\":7,\"at\":1795352700,\"kind\":\"suspended\",\"tunnel\":\"3\""
    ));
    assert!(text.ends_with("}\n\n"));
    assert_eq!(text.lines().count(), 4);
    let read = decoded(text.as_bytes()).unwrap();
    assert_eq!(read.first().unwrap().problem.as_ref().unwrap().detail, "too much");
}

#[test]
fn every_kind_has_one_word() {
    for kind in EventKind::ALL {
        assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
        assert_eq!(decoded(event(kind).encode().as_bytes()), Ok(vec![event(kind)]));
    }
}

#[test]
fn streams_are_read_as_the_standard_says() {
    let data = serde_json::to_string(&event(EventKind::Ping)).unwrap();
    let (front, back) = data.split_at(1);
    for (text, count) in [
        (format!("event: ping\r\ndata: {data}\r\n\r\n"), 1),
        (format!("event: ping\rdata: {data}\r\r"), 1),
        (format!("event:ping\ndata:{data}\n\n"), 1),
        (format!("\u{feff}event: ping\ndata: {data}\n\n"), 1),
        (format!("event: ping\ndata: {front}\ndata: {back}\n\n"), 1),
        (format!(": comment\nretry: 5\nunknown: x\nevent: ping\ndata: {data}\n\n"), 1),
        (format!("event: ping\ndata: {data}\n"), 0),
        (format!("event: later\ndata: {{\"kind\":\"later\"}}\n\nevent: ping\ndata: {data}\n\n"), 1),
        (format!("data: {data}\n\n"), 0),
        ("event: ping\n\n\n\n: keep-alive\n\n".to_owned(), 0),
    ] {
        assert_eq!(decoded(text.as_bytes()).unwrap().len(), count, "{text:?}");
    }
}

#[test]
fn members_of_a_newer_gateway_are_ignored() {
    let text = "event: ended\ndata: {\"id\":1,\"at\":2,\"kind\":\"ended\",\"later\":{\"x\":[1]}}\n\n";
    assert_eq!(decoded(text.as_bytes()).unwrap().first().unwrap().kind, EventKind::Ended);
}

#[test]
fn broken_and_endless_streams_end_with_a_reason() {
    assert_eq!(decoded(b"event: ended\ndata: {\"id\":1}\n\n"), Err(EventError::Malformed));
    assert_eq!(decoded(b"event: ended\ndata: <html>\n\n"), Err(EventError::Malformed));
    assert_eq!(decoded(b"event: ended\ndata: \xff\xfe\n\n"), Err(EventError::Malformed));
    assert_eq!(decoded(&vec![b'x'; 65_537]), Err(EventError::TooLarge));
    let many_lines = format!("event: ping\n{}", format!("data: {}\n", "x".repeat(1_000)).repeat(70));
    assert_eq!(decoded(many_lines.as_bytes()), Err(EventError::TooLarge));
    let mut decoder = Decoder::new();
    for _ in 0..1_000 {
        decoder.feed(format!(": {}\n\n", "x".repeat(1_000)).as_bytes()).unwrap();
    }
}

fn events() -> impl Strategy<Value = Event> {
    let app = proptest::option::of("[a-z][a-z0-9]{0,20}".prop_map(|name| name.parse().unwrap()));
    let problem =
        proptest::option::of(proptest::sample::select(problem::codes().collect::<Vec<_>>()).prop_map(problem::new));
    let kind = proptest::sample::select(EventKind::ALL.to_vec());
    (any::<u64>(), any::<u64>(), kind, any::<Option<u64>>(), app, problem).prop_map(
        |(id, at, kind, tunnel, app, problem)| Event {
            id,
            at: UnixTime(at),
            kind,
            tunnel: tunnel.map(TunnelId),
            app,
            problem,
        },
    )
}

proptest! {
    #[test]
    fn cuts_do_not_matter(events in proptest::collection::vec(events(), 0..5), size in 1usize..50, crlf: bool) {
        let text: String = events.iter().map(Event::encode).collect();
        let text = if crlf { text.replace('\n', "\r\n") } else { text };
        let mut decoder = Decoder::new();
        let mut read = Vec::new();
        for piece in text.as_bytes().chunks(size) {
            read.extend(decoder.feed(piece).unwrap());
        }
        prop_assert_eq!(read, events);
    }

    #[test]
    fn no_bytes_make_the_decoder_panic(bytes: Vec<u8>, text in "(event|data|id|:|ping|\\{\\}|\r|\n| ){0,40}") {
        let _ = decoded(&bytes);
        let _ = decoded(text.as_bytes());
    }
}
