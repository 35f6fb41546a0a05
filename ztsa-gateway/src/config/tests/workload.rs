//! Tables for jobs, right and wrong.

use std::time::Duration;

use super::{SMALL, parse};
use crate::config::WorkloadKeys;

const JOB: &str = "[[workload]]\nname = \"deploy\"\nissuer = \"https://token.actions.githubusercontent.com\"\n\
    match = { repository_id = \"74\", ref = [\"refs/heads/main\"] }\n";

#[test]
fn a_table_has_the_documented_defaults() {
    let config = parse(&format!("{SMALL}{JOB}")).unwrap();
    let job = &config.workloads[0];
    assert_eq!((job.audience.as_str(), job.user.as_str()), ("https://gw.example.com", "deploy"));
    assert_eq!((job.lifetime, &job.keys, job.groups.len()), (Duration::from_secs(3600), &WorkloadKeys::Discovery, 0));
    assert_eq!(job.claims.len(), 2);
}

#[test]
fn a_table_that_lets_in_others_is_refused() {
    let owner = "match = { ref = \"refs/heads/main\", environment = \"production\" }";
    for (from, to, says) in [
        ("match = { repository_id = \"74\", ref = [\"refs/heads/main\"] }", owner, "jobs of everybody"),
        ("match = { repository_id = \"74\", ref = [\"refs/heads/main\"] }", "match = {}", "every job"),
        ("match = { repository_id = \"74\", ref = [\"refs/heads/main\"] }", "", "missing field `match`"),
        ("repository_id = \"74\"", "repository_id = []", "with nothing"),
        ("repository_id = \"74\"", "repository_id = \"\"", "with nothing"),
        ("repository_id = \"74\"", "iss = \"x\"", "says nothing of whose job"),
        ("repository_id = \"74\"", "repository_id = 74", "a text, or a list of texts"),
        ("match", "audience = \"https://github.com/corp\"\nmatch", "which tokens for others have too"),
        ("match", "audience = \"https://kubernetes.default.svc\"\nmatch", "which tokens for others have too"),
        ("match", "jwks_uri = \"http://keys.example/\"\nmatch", "not an https URL"),
        ("match", "jwks_uri = \"https://k.example/\"\njwks_file = \"k\"\nmatch", "both jwks_uri and jwks_file"),
        ("match", "lifetime = \"25h\"\nmatch", "must be from 30s to 1d"),
        ("https://token", "http://token", "anybody on the way"),
        ("\"deploy\"", "\"corp\"", "also the name of an issuer"),
        ("\"deploy\"", "\"de ploy\"", "not a short word"),
        ("match", "colour = 1\nmatch", "unknown key `colour`"),
    ] {
        let error = parse(&format!("{SMALL}{}", JOB.replacen(from, to, 1))).unwrap_err();
        assert!(error.contains(says), "{to}: {error}");
        assert!(error.contains("/etc/ztsa/gateway.toml:1"), "{error}");
    }
    let twice =
        parse(&format!("{SMALL}{JOB}{}", JOB.replace("deploy", "other").replace("match", "jwks_file = \"k\"\nmatch")));
    assert!(twice.unwrap_err().contains("has other keys for https://token"));
}
