use ztsa_proto::posture::{KNOWN, State, known};

use super::*;

fn all() -> Vec<Wanted> {
    known().map(Wanted::from).collect()
}

#[test]
fn this_machine_is_described_within_bounds() {
    let report = collect(&all(), &Sys::this(), "ztsa", UnixTime(1_795_352_700));
    assert_eq!(report.checks.len(), KNOWN.len());
    for check in &report.checks {
        assert!(serde_json::to_string(check).unwrap().len() < 2_048);
        let explained = matches!(check.state, State::Unknown | State::Error) == check.reason.is_some();
        assert!(explained, "{check:?}");
        assert!(check.ttl >= 300, "{check:?}");
    }
    assert!(!report.os.family.is_empty());
}

#[test]
fn only_what_was_asked_for_is_collected_and_each_once() {
    let wanted = ["os.kernel", "x.example.unheard", "os.kernel"].map(Wanted::from);
    let report = collect(&wanted, &Sys::this(), "ztsa", UnixTime(7));
    let ids: Vec<&str> = report.checks.iter().map(|check| check.id.as_str()).collect();
    assert_eq!(ids, ["os.kernel", "x.example.unheard"]);
    assert_eq!((report.checks[1].state, report.checks[1].reason), (State::Unknown, Some(Reason::Unsupported)));
    let many: Vec<Wanted> = (0..200).map(|number| Wanted::from(format!("x.a.c{number}").as_str())).collect();
    assert_eq!(collect(&many, &Sys::this(), "ztsa", UnixTime(7)).checks.len(), 64);
}

#[test]
fn every_known_check_is_made_on_linux() {
    let report = collect(&all(), &Sys::at("/nowhere", 1000, &[]), "ztsa", UnixTime(7));
    for check in report.checks {
        // what is not there is unknown because it is absent, not because nobody looks
        let looked = check.reason != Some(Reason::Unsupported) || !cfg!(target_os = "linux") || check.id == "os.eol";
        assert!(looked || check.id.starts_with("browser.") || check.id == "os.managed", "{check:?}");
        assert!(
            !matches!(check.id.split_once('.'), Some(("disk" | "fw" | "lock" | "boot", _)))
                || check.state != State::Pass
        );
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_device_has_the_name_of_its_host_or_none() {
    let machine = crate::http::script::TempDir::new();
    let kernel = machine.path().join("proc/sys/kernel");
    std::fs::create_dir_all(&kernel).unwrap();
    for (text, name) in [("alices-laptop\n", Some("alices-laptop")), ("(none)\n", None), ("\n", None)] {
        std::fs::write(kernel.join("hostname"), text).unwrap();
        assert_eq!(device_name(&Sys::at(machine.path(), 1000, &[])).as_deref(), name);
    }
    assert_eq!(device_name(&Sys::at("/nowhere", 1000, &[])), None);
}

#[tokio::test]
async fn a_report_is_made_off_the_runtime() {
    let report = collect_within(&[Wanted::from("os.kernel")], "embedder", UnixTime(7)).await;
    assert_eq!((report.client.name.as_str(), report.checks[0].at), ("embedder", UnixTime(7)));
}

#[test]
fn each_answer_is_told_as_soon_as_it_is_there() {
    let wanted = ["os.kernel", "x.example.unheard"].map(Wanted::from);
    let told = Mutex::new(Vec::new());
    let (_, checks) =
        look_at_all(&wanted, &Sys::this(), UnixTime(7), &|check| told.lock().unwrap().push(check.id.clone()));
    assert_eq!(told.into_inner().unwrap(), checks.iter().map(|check| check.id.clone()).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_hangs_is_not_looked_at_again_and_holds_nothing_else_up() {
    let wanted = ["os.kernel", "x.example.stuck"].map(Wanted::from);
    let state = |report: &Report, id: &str| {
        let check = report.checks.iter().find(|check| check.id == id).unwrap();
        (check.state, check.reason)
    };
    let under_way = UnderWay::begin("x.example.stuck");
    assert!(!UnderWay::hangs("x.example.stuck"), "another look may be at it just now");
    let long_ago = Instant::now().checked_sub(PATIENCE).unwrap();
    UnderWay::all().iter_mut().for_each(|(.., since)| *since = long_ago);
    let report = collect_within(&wanted, "ztsa", UnixTime(7)).await;
    assert_eq!(state(&report, "x.example.stuck"), (State::Unknown, Some(Reason::Timeout)));
    assert_eq!(state(&report, "os.kernel").0, State::Pass);
    assert!(!report.os.family.is_empty() && !report.os.kernel.is_empty());
    drop(under_way);
    let report = collect_within(&wanted, "ztsa", UnixTime(7)).await;
    assert_eq!(state(&report, "x.example.stuck"), (State::Unknown, Some(Reason::Unsupported)));
}
