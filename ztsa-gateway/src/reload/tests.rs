use std::sync::Arc;

use super::{Reload, ReloadError};
use crate::authn::Authn;
use crate::certificate::Certificate;
use crate::engine::tests::World;
use crate::engine::tests::world::{PEER, POLICIES, certificate};
use crate::lease::Access;
use crate::policy::PolicyError;
use crate::stranger::Strangers;

/// What reads everything of `world` again.
pub(crate) fn of(world: &World) -> Reload {
    let config = world.engine.config();
    Reload {
        engine: world.engine.clone(),
        authn: Arc::new(Authn::new(&config, world.engine.store()).unwrap()),
        certificate: Certificate::open(&config.tls).unwrap(),
        strangers: Strangers::new(config.limits),
        turn: Arc::default(),
    }
}

fn ending(lease: &crate::lease::Lease) -> Option<(String, String)> {
    match lease.tunnel().access() {
        Access::Ended(problem) => Some((problem.code.clone(), problem.detail.clone())),
        _ => None,
    }
}

#[test]
fn an_app_that_is_gone_or_has_moved_ends_its_tunnels_and_no_others() {
    let world = World::new();
    let alice = world.session("alice", &["dev"], "laptop");
    let [wiki, db, payroll] = ["wiki", "db", "payroll"].map(|app| world.open(&alice, app).unwrap());
    world.edit("10.0.0.1:80", "10.0.0.9:80");
    world.edit("name = \"payroll\"", "name = \"salaries\"");
    let reloaded = of(&world).run().unwrap();
    assert_eq!((reloaded.apps, reloaded.tunnels.ended), (3, 2));
    assert_eq!(reloaded.changed, ["[[app]]"]);
    assert_eq!(ending(&wiki), Some(("app.moved".to_owned(), "wiki has moved to another place".to_owned())));
    assert_eq!(ending(&payroll), Some(("app.unknown".to_owned(), "payroll is no longer offered here".to_owned())));
    assert_eq!(ending(&db), None);
    assert_eq!(world.open(&alice, "wiki").unwrap().app().target.host.to_string(), "10.0.0.9");
    assert!(world.engine.named(&"payroll".parse().unwrap()).is_err());
    assert!(world.open(&alice, "salaries").is_ok());
}

#[test]
fn an_app_that_was_found_before_it_moved_is_not_opened_there() {
    let world = World::new();
    let alice = world.session("alice", &["dev"], "laptop");
    let found = world.app("wiki");
    world.edit("10.0.0.1:80", "10.0.0.9:80");
    of(&world).run().unwrap();
    let lease = world.engine.open(&alice, &found, &world.to("wiki"), PEER, None).unwrap();
    world.engine.tick();
    assert_eq!(ending(&lease).unwrap().0, "app.moved");
}

#[tokio::test]
async fn a_mistake_anywhere_leaves_all_as_it_was_and_names_its_place() {
    let world = World::new();
    let alice = world.session("alice", &["dev"], "laptop");
    let lease = world.open(&alice, "wiki").unwrap();
    let reload = of(&world);
    let before = (world.engine.config(), reload.certificate.current());
    let unchanged = || {
        assert!(
            Arc::ptr_eq(&before.0, &world.engine.config()) && Arc::ptr_eq(&before.1, &reload.certificate.current())
        );
        assert_eq!(lease.tunnel().access(), Access::Open);
        assert!(world.open(&alice, "db").is_ok());
    };
    world.edit("target = \"10.0.0.1:80\"", "targt = \"10.0.0.9:80\"");
    let error = reload.run().unwrap_err().to_string();
    assert!(error.contains("gateway.toml:") && error.contains("`targt`") && error.contains("`target`"), "{error}");
    unchanged();
    world.edit("targt", "target");
    world.policies("permit (principal, acton, resource);");
    assert!(
        matches!(reload.run().unwrap_err(), ReloadError::Policy(error) if error.to_string().contains("main.cedar:1"))
    );
    unchanged();
    world.policies("@id(\"all\") permit (principal, action, resource);");
    std::fs::write(world.dir().join("gw.key"), "no key").unwrap();
    let error = reload.run().unwrap_err().to_string();
    assert!(error.contains("[tls]"), "{error}");
    unchanged();
    let refusals = world.log().await.into_iter().filter(|line| line["status_code"] == "configuration.refused");
    assert_eq!(refusals.count(), 3);
    certificate(world.dir());
    reload.run().unwrap();
    assert_eq!(ending(&lease).unwrap().0, "app.moved");
    assert!(!Arc::ptr_eq(&before.1, &reload.certificate.current()));
}

#[test]
fn what_needs_a_restart_is_named_and_stays_as_it_was() {
    let world = World::new();
    world.edit("https://gw.example", "https://other.example");
    world.edit("127.0.0.1:0", "127.0.0.1:1");
    world.edit("sqlite:ztsa.db", "sqlite:other.db");
    world.edit("[store]", "[admin]\nsocket = \"a.sock\"\n[limits]\nmax_tunnels = 1\n[store]");
    let reloaded = of(&world).run().unwrap();
    assert_eq!(reloaded.restart, ["public_url", "listen", "[store] url", "[admin] socket"]);
    assert_eq!(reloaded.changed, ["[limits]"]);
    let config = world.engine.config();
    assert_eq!((config.resource().as_str(), config.listen[0].port()), ("https://gw.example", 0));
    assert_eq!(config.issuers[0].audiences, ["https://gw.example"], "what follows from it stays, too");
    let alice = world.session("alice", &["dev"], "laptop");
    let _first = world.open(&alice, "wiki").unwrap();
    assert_eq!(world.open(&alice, "wiki").unwrap_err().code, "gateway.limit");
}

#[test]
fn policies_that_name_a_check_of_after_a_restart_are_not_said_to_be_wrong() {
    let world = World::new();
    world.edit("[store]", "[[posture.file]]\nname = \"agent\"\nlinux = \"/etc/agent\"\n[store]");
    let agent = "forbid (principal, action, resource) unless { context.device.posture.file.agent.state == \"pass\" };";
    world.policies(&format!("{POLICIES}{agent}"));
    let early = |error: &PolicyError, told: &str| {
        assert!(matches!(error, PolicyError::Early(_)) && error.mistakes().len() == 1, "{error:?}");
        assert!(told.contains("main.cedar:5:") && told.contains("[posture] has changed too"), "{told}");
    };
    let error = of(&world).run().unwrap_err();
    let told = error.to_string();
    let ReloadError::Policy(error) = error else { panic!("{error:?}") };
    early(&error, &told);
    let error = world.engine.reload_policies().unwrap_err();
    early(&error, &error.to_string());
    // a mistake of another kind is one, whatever waits for a restart
    world.policies("permit (principal, action, resource) when { nonsense };");
    let error = of(&world).run().unwrap_err();
    assert!(matches!(error, ReloadError::Policy(PolicyError::Mistakes(_))), "{error:?}");
}

#[test]
fn an_issuer_that_is_gone_takes_its_sessions_along() {
    let world = World::new();
    let alice = world.session("alice", &["dev"], "laptop");
    let lease = world.open(&alice, "wiki").unwrap();
    world.edit("https://idp.example", "https://new.example");
    let reloaded = of(&world).run().unwrap();
    assert_eq!((reloaded.sessions, reloaded.tunnels.ended), (1, 1));
    let (code, reason) = ending(&lease).unwrap();
    assert_eq!(code, "session.revoked");
    assert!(reason.contains("https://idp.example"), "{reason}");
    assert_eq!(world.open(&alice, "wiki").unwrap_err().detail, reason);
}

#[test]
fn new_thresholds_hold_for_what_is_open() {
    let world = World::new();
    let alice = world.session("alice", &["dev"], "laptop");
    let lease = world.open(&alice, "wiki").unwrap();
    world.engine.risk_set(&crate::store::Subject::User(alice.identity.user.clone()), 50, "", None);
    assert_eq!(lease.tunnel().access(), Access::Open);
    world.edit("[store]", "[risk.thresholds]\nsuspend = 30\nterminate = 40\n[store]");
    assert_eq!(of(&world).run().unwrap().tunnels.ended, 1);
    assert_eq!(ending(&lease).unwrap().0, "risk.user");
}

const PAUSING: &str = r#"
@id("dev") @on_change("suspend") permit (principal in Group::"dev", action == Action::"connect", resource == App::"wiki");
"#;

#[test]
fn an_app_that_leads_to_a_listed_address_is_a_risk_at_once_and_a_reload_reads_the_list_again() {
    let world = World::with(PAUSING);
    let alice = world.session("alice", &["dev"], "laptop");
    let lease = world.open(&alice, "wiki").unwrap();
    let address = "10.0.0.1".parse().unwrap();
    world.engine.dialled(lease.tunnel(), address);
    assert_eq!(lease.tunnel().access(), Access::Open);
    std::fs::write(world.dir().join("bad.txt"), "10.0.0.0/30\n").unwrap();
    let more = "[risk]\ndestinations = \"bad.txt\"\n[risk.signals.destination.listed]\nweight = 60\n[store]";
    world.edit("[store]", more);
    of(&world).run().unwrap();
    // a damaged list is refused by its line, and the old one stays
    std::fs::write(world.dir().join("bad.txt"), "10.0.0.0/30\n!!\n").unwrap();
    let error = of(&world).run().unwrap_err().to_string();
    assert!(error.contains("bad.txt:2: \"!!\" is no name"), "{error}");
    world.engine.dialled(lease.tunnel(), address);
    let Access::Suspended(problem) = lease.tunnel().access() else { panic!("{:?}", lease.tunnel().access()) };
    assert!(problem.detail.contains("wiki leads to 10.0.0.0/30, which the list bad.txt names"), "{problem:?}");
}
