use super::*;

fn all() -> Vec<String> {
    EXPLANATIONS.iter().map(|explanation| explanation.id.to_owned()).collect()
}

#[test]
fn this_machine_is_described_quickly_and_within_bounds() {
    let mut report = None;
    let took = (0..5).map(|_| {
        let started = Instant::now();
        report = Some(collect(&all(), &Sys::this(), "ztsa", UnixTime(1_795_352_700)));
        started.elapsed()
    });
    let took = took.min().unwrap();
    let report = report.unwrap();
    assert_eq!(report.checks.len(), EXPLANATIONS.len());
    assert!(took < Duration::from_millis(50) || !cfg!(target_os = "linux"), "{took:?}");
    for check in &report.checks {
        assert!(serde_json::to_string(check).unwrap().len() < 1024);
        let explained = matches!(check.state, State::Unknown | State::Error) == check.reason.is_some();
        assert!(explained, "{check:?}");
    }
    assert!(!report.os.family.is_empty());
}

#[test]
fn only_what_was_asked_for_is_collected_and_each_once() {
    let wanted = ["os.kernel", "x.example.unheard", "os.kernel"].map(str::to_owned);
    let report = collect(&wanted, &Sys::this(), "ztsa", UnixTime(7));
    let ids: Vec<&str> = report.checks.iter().map(|check| check.id.as_str()).collect();
    assert_eq!(ids, ["os.kernel", "x.example.unheard"]);
    assert_eq!((report.checks[1].state, report.checks[1].reason), (State::Unknown, Some(Reason::Unsupported)));
    let many: Vec<String> = (0..200).map(|number| format!("x.a.c{number}")).collect();
    assert_eq!(collect(&many, &Sys::this(), "ztsa", UnixTime(7)).checks.len(), 64);
}

#[test]
fn every_known_check_is_explained() {
    assert_eq!(all(), ztsa_proto::posture::KNOWN);
}

#[tokio::test]
async fn a_report_is_made_off_the_runtime() {
    let report = collect_within(&["os.kernel".to_owned()], "embedder", UnixTime(7)).await;
    assert_eq!((report.client.name.as_str(), report.checks[0].at), ("embedder", UnixTime(7)));
}
