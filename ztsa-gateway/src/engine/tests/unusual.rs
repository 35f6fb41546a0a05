//! What is unusual for a person, from the app to the live tunnel.

use std::time::Duration;

use super::World;
use crate::authn::Session;
use crate::lease::Access;
use crate::store::Subject;

#[test]
fn an_app_that_a_person_never_opened_counts_when_others_use_it() {
    let all = r#"@id("dev") @on_change("suspend") permit (principal in Group::"dev", action, resource);"#;
    let world = World::configured(all, "[risk.signals.app.unusual]\nweight = 70\nmin_days = 1\nsettle = \"0s\"\n");
    let signals = |session: &Session| {
        let scores = world.engine.score_of(&Subject::User(session.identity.user.clone()));
        scores.signals.iter().map(|counted| (counted.signal.kind.clone(), counted.points)).collect::<Vec<_>>()
    };
    let opens = |name: &str, app: &str| {
        let session = world.session(name, &["dev"], name);
        let lease = world.open(&session, app).unwrap();
        (session, lease)
    };
    drop((opens("alice", "wiki"), opens("bob", "db")));
    world.hand.advance(Duration::from_secs(86_400));
    let (alice, wiki) = opens("alice", "wiki");
    assert_eq!(signals(&alice), [], "as every day");
    let (bob, his) = opens("bob", "db");
    let _db = world.open(&alice, "db").unwrap();
    assert_eq!(signals(&alice), [("app.unusual".to_owned(), 70)]);
    assert!(matches!(wiki.tunnel().access(), Access::Suspended(problem) if problem.code == "risk.user"));
    assert_eq!((signals(&bob), his.tunnel().access()), (Vec::new(), Access::Open));
}
