//! `[risk]` as people write it, right and wrong.

use std::path::Path;

use super::*;
use crate::config::Config;

const BASE: &str = "public_url = \"https://gw.example\"\n[tls]\ncert = \"c\"\nkey = \"k\"\n[[issuer]]\nname = \"i\"\nissuer = \"https://idp.example\"\nclient_id = \"c\"\n";

fn read(more: &str) -> Result<Risk, ConfigError> {
    Config::parse(&format!("{BASE}{more}"), Path::new("/etc/ztsa")).map(|config| config.risk)
}

#[test]
fn each_detector_can_be_tuned_by_itself_and_the_others_stay() {
    let text = "[risk]\ngeoip = \"city.mmdb\"\ndestinations = [\"a.txt\", \"/b.txt\"]\nhistory = \"30d\"\n\
        [risk.signals.travel.impossible]\nspeed = 800\nweight = 55\nhalf_life = \"2d\"\n\
        [risk.signals.hours.unusual]\nenabled = false\n[risk.signals]\nlogin.failed.half_life = \"0s\"\n";
    let risk = read(text).unwrap();
    assert_eq!(risk.geoip, [Path::new("/etc/ztsa/city.mmdb")]);
    assert_eq!(risk.destinations, [Path::new("/etc/ztsa/a.txt"), Path::new("/b.txt")]);
    assert_eq!(risk.history, DAY * 30);
    let mut expected = Detectors::default();
    expected.travel.speed = 800;
    expected.travel.weight.points = 55;
    expected.travel.weight.half_life = Some(DAY * 2);
    expected.hours.weight.enabled = false;
    expected.login.weight.half_life = None;
    assert_eq!(risk.signals, expected);
}

#[test]
fn a_mistake_is_named_with_its_line_and_what_may_stand_there() {
    for (text, said) in [
        ("[risk.signals.travel.impossible]\nspeed = 5\n", "gateway.toml:10: `speed`: must be from 100 to 100000"),
        ("[risk.signals.country.new]\nweight = 101\n", "`weight`: must be from 0 to 100"),
        ("[risk.signals.country.new]\nlasts = \"1s\"\n", "`lasts`: must be from 1m to 90d"),
        ("[risk.signals.country.new]\nhalflife = \"1h\"\n", "unknown key `halflife`. Did you mean `half_life`?"),
        ("[risk.signals.country.old]\nweight = 1\n", "unknown key `old`. Known here: new."),
        ("[risk.signals.contry.new]\nweight = 1\n", "unknown key `contry`. Did you mean `country`?"),
        ("[risk]\nhistory = \"1d\"\n", "`history`: must be from 7d to 90d"),
        ("[risk]\ngeoip = 7\n", "a path, or a list of paths"),
        ("[risk.thresholds]\nsuspend = 60\nterminate = 50\n", "terminate (50) is below suspend (60)"),
        (
            "[risk]\ngeoip = [\"1\", \"2\", \"3\", \"4\", \"5\", \"6\", \"7\", \"8\", \"9\"]\n",
            "[risk] geoip: 9 files, more than 8",
        ),
    ] {
        let error = read(text).unwrap_err().to_string();
        assert!(error.contains(said), "{text}: {error}");
    }
}

#[test]
fn a_further_file_replaces_single_keys() {
    let text = format!("{BASE}[risk.signals.network.new]\nweight = 1\nmin_days = 2\n");
    let mut config = Config::parse(&text, Path::new("/etc/ztsa")).unwrap();
    config.add("[risk.signals.network.new]\nweight = 3\n", Path::new("/etc/ztsa/more.toml")).unwrap();
    assert_eq!((config.risk.signals.network.weight.points, config.risk.signals.network.min_days), (3, 2));
}

/// No single signal that somebody other than the person can cause reaches the threshold by itself.
#[test]
fn the_defaults_let_no_single_detector_pause_anything() {
    let risk = read("").unwrap();
    for (kind, weight) in risk.signals.weights() {
        assert!(weight.enabled && (1..risk.thresholds.suspend).contains(&weight.points), "{kind}");
    }
}

/// The table in the reference is what the code says.
#[test]
fn the_reference_has_every_detector_with_its_defaults() {
    use crate::config::duration::text;
    let page = include_str!("../../../../docs/reference/risk.md");
    for (kind, weight) in Detectors::default().weights() {
        let fades = weight.half_life.map_or("never".to_owned(), |life| text(life.as_secs()));
        let (lasts, again) = (text(weight.lasts.as_secs()), text(weight.again.as_secs()));
        let row = format!("| `{kind}` | {} | {fades} | {lasts} | {again} |", weight.points);
        assert!(page.contains(&row), "docs/reference/risk.md has no row {row}");
    }
    let rows = |name: &str| page.lines().filter(|line| line.starts_with(&format!("| `{name}` |"))).count();
    for key in [
        "count", "window", "min_days", "roaming", "speed", "distance", "share", "slack", "settle", "factor", "floor",
        "each",
    ] {
        assert!(rows(key) >= 1, "docs/reference/risk.md says nothing of `{key}`");
    }
}
