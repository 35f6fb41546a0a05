//! A real day, replayed: what a gateway wrote of real clients' questions is decided again from its audit log alone.

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::json;
use ztsa_gateway::policy::case::Expect;
use ztsa_gateway::policy::replay::{Filter, Group, Replay, Report};
use ztsa_gateway::policy::{Policies, Source};

use crate::house::{House, write_policy};
use crate::patience::soon;

const DISK: &str = r#"
@id("shop-disk")
@code("posture.disk_encryption")
@reason("the shop is reached from encrypted disks")
forbid (principal, action == Action::"connect", resource == App::"shop")
unless { context.device.posture.disk_root.state == "pass" };
"#;

/// Replays the house's own audit log with its policies and more.
fn replay(house: &House, more: &str) -> Report {
    let config = house.engine().config();
    let mut sources: Vec<Source> = std::fs::read_dir(&config.policy.dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|file| file.extension().is_some_and(|extension| extension == "cedar"))
        .map(|file| Source { text: std::fs::read_to_string(&file).unwrap(), file })
        .collect();
    sources.push(Source { file: PathBuf::from("more.cedar"), text: more.to_owned() });
    let policies = Policies::compile(&sources, &config.apps, &Arc::default()).unwrap();
    let mut replay = Replay::new(&policies, &config.apps, Filter::default());
    replay.file(std::fs::read(&config.audit.file).unwrap().as_slice()).unwrap();
    replay.finish()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_day_replayed_turns_nothing_with_its_own_policies_and_exactly_what_a_change_turns() {
    let house = House::new(&[("shop", 9)]).await;
    let (alice, bob, mallory) =
        (house.sign_in("alice").await, house.sign_in("bob").await, house.sign_in("mallory").await);
    for client in [&alice, &bob, &mallory] {
        for app in ["echo", "shop", "payroll", "nothing"] {
            // whether it opens is the gateway's to say, and the log's to keep
            drop(soon("an answer", client.connect(app)).await);
        }
    }
    house.engine().audit().flush().await;
    let same = replay(&house, "");
    assert_eq!((same.turned(), same.replayed), (0, same.unchanged), "{same:?}");
    assert!(same.replayed >= 6 && same.foreign == 0, "{same:?}");

    // with a new rule what was open then would be refused
    let changed = replay(&house, DISK);
    for group in &changed.groups {
        assert_eq!((group.key.before, group.key.after), (Expect::Allow, Expect::Deny));
        assert_eq!(
            (group.key.policies_after.as_slice(), apps(group)),
            (&["shop-disk".to_owned()][..], vec!["shop".into()])
        );
        assert_eq!(group.untold.iter().collect::<Vec<_>>(), ["disk.root"], "nobody had been asked for it");
    }
    let mut opened_by: Vec<_> = changed.groups.iter().flat_map(|group| &group.key.policies_before).collect();
    opened_by.sort();
    assert_eq!(opened_by, ["dev-sample-apps", "ops-every-app"], "alice's and bob's, nobody else's: {changed:?}");

    // it is put in force, refuses, and without it that refusal would have been none
    write_policy(&house.policies(), "disk.cedar", DISK);
    house.admin(json!({"op": "policy.reload"})).await;
    let refused = soon("the refusal", alice.connect("shop")).await.unwrap_err();
    let decision = refused.problem().unwrap().decision.clone().unwrap();
    house.audit("the refusal", |line| line["unmapped"]["decision"] == decision.as_str()).await;
    std::fs::remove_file(house.policies().join("disk.cedar")).unwrap();
    let without = replay(&house, "");
    let [group] = without.groups.as_slice() else { panic!("{without:?}") };
    assert_eq!((group.key.before, group.key.after, group.people.len()), (Expect::Deny, Expect::Allow, 1));
    assert_eq!(group.key.policies_before, ["shop-disk"]);

    let closed = "@id(\"closed\") forbid (principal, action, resource == App::\"echo\") when { principal.subject == \"alice\" };";
    let report = replay(&house, closed);
    let tightened: Vec<_> = report.groups.iter().filter(|group| group.key.after == Expect::Deny).collect();
    let [group] = tightened.as_slice() else { panic!("{report:?}") };
    assert_eq!(group.key.policies_after, ["closed"]);
    assert_eq!((apps(group), group.people.len()), (vec!["echo".to_owned()], 1));
}

fn apps(group: &Group) -> Vec<String> {
    group.apps.keys().map(ToString::to_string).collect()
}
