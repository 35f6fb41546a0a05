use std::time::Duration;

use super::*;

fn look(at: Instant, hers: (u64, u64), access: &str) -> Look {
    let tunnel = |id: u64, app: &str, up: u64, down: u64, access: &str| json!({ "tunnel": id, "app": app, "opened_at": 1_795_000_000 + id, "up": up, "down": down, "access": access });
    let answer = json!({ "sessions": [
        {
            "session": "s1", "user": "https://idp.example|alice", "name": "Alice", "device": "d1-0123456789abcdef",
            "device_name": "laptop", "risk": { "user": 40, "device": 0, "session": 70 },
            "tunnels": [tunnel(1, "db", hers.0, hers.1, access), tunnel(2, "db", 5, 6, "open"), tunnel(3, "wiki", 0, 0, "open")],
        },
        {
            "session": "s2", "user": "https://idp.example|bob", "name": "Bob\u{1b}[2J\u{7}\n", "device": "d2-0123456789abcdef",
            "risk": { "user": 0, "device": 0, "session": 0 }, "tunnels": [tunnel(4, "wiki", 2_000_000, 0, "open")],
        },
        { "session": "s3", "user": "https://idp.example|eve", "device": "d3", "risk": {}, "tunnels": [] },
    ]});
    Look { at, answer }
}

#[test]
fn tunnels_add_up_by_session_and_app_and_rates_come_from_two_looks() {
    let start = Instant::now();
    let before = look(start, (1_000, 0), "open");
    let now = look(start + Duration::from_secs(2), (5_000, 8_000), "suspended");
    let mut found = rows(&now, Some(&before));
    sort(&mut found, Order::Rate);
    let shown: Vec<_> = found.iter().map(|row| (row.app.as_str(), row.tunnels, row.suspended, row.rates)).collect();
    assert_eq!(shown, [("db", 2, 1, Some((2_000, 4_000))), ("wiki", 1, 0, Some((0, 0))), ("wiki", 1, 0, Some((0, 0)))],);
    assert_eq!((found[0].risk, found[0].up, found[0].down, found[0].since), (70, 5_005, 8_006, 1_795_000_001));
    assert_eq!(found[0].cells()[4], "1 suspended");
    assert!(rows(&now, None).iter().all(|row| row.rates.is_none()), "one look knows no rate");
    for (order, first) in [(Order::Bytes, "wiki"), (Order::Risk, "db"), (Order::User, "db")] {
        sort(&mut found, order);
        assert_eq!(found[0].app, first, "{order:?}");
    }
}

#[test]
fn a_screen_has_room_for_its_lines_and_nothing_in_a_name_moves_the_cursor() {
    let look = look(Instant::now(), (1, 2), "suspended");
    for size in [(200, 40), (60, 5), (20, 4), (1, 1)] {
        let lines = lines(Ok(&look), None, Order::Rate, size);
        assert!(lines.len() <= size.1.max(4), "{size:?}: {lines:?}");
        for line in &lines {
            let plain = line.replace("\x1b[7m", "").replace("\x1b[0m", "");
            assert!(plain.chars().count() <= size.0.max(20) && !plain.chars().any(char::is_control), "{line:?}");
        }
    }
    let lines = lines(Ok(&look), None, Order::Risk, (200, 40));
    assert!(lines[0].contains("3 sessions, 4 tunnels, 1 suspended"), "{lines:?}");
    assert!(
        lines[4].starts_with("Alice") && lines[4].contains("laptop") && lines[4].contains("1 suspended"),
        "{lines:?}"
    );
    assert!(lines.iter().any(|line| line.starts_with("Bob  ") && line.contains("d2-012345678")), "{lines:?}");
}

#[test]
fn what_does_not_fit_is_counted() {
    let look = look(Instant::now(), (1, 2), "open");
    let lines = lines(Ok(&look), None, Order::User, (120, 6));
    assert_eq!((lines.len(), lines[5].as_str()), (6, "and 2 more"), "{lines:?}");
}
