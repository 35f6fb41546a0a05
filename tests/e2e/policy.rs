//! A policy file changes: exactly the tunnels concerned follow the new answer, and a mistake changes nothing.

use serde_json::json;
use ztsa_gateway::admin::call::CallError;

use crate::house::{House, write_policy};
use crate::patience::{soon, until};
use crate::server::{Server, echo, pass, reset};

const CLOSED: &str = r#"
@id("shop-closed")
@reason("the shop is closed for stocktaking")
@remedy("come back on Monday")
forbid (principal in Group::"dev", action == Action::"connect", resource == App::"shop");
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_rule_ends_exactly_the_tunnels_that_it_concerns_and_they_return_with_it() {
    let shop = Server::bind().await;
    let house = House::new(&[("shop", shop.port())]).await;
    let (alice, bob) = (house.sign_in("alice").await, house.sign_in("bob").await);
    let mut concerned = soon("a stream", alice.connect("shop")).await.unwrap();
    let mut app_of_concerned = shop.accept().await;
    let mut other_app = soon("a stream", alice.connect("echo")).await.unwrap();
    let mut other_person = soon("a stream", bob.connect("shop")).await.unwrap();
    let mut app_of_other_person = shop.accept().await;
    pass(&mut concerned, &mut app_of_concerned, "open").await;

    write_policy(&house.policies(), "stocktaking.cedar", CLOSED);
    reset(&mut concerned).await;
    reset(&mut app_of_concerned).await;
    let reason = concerned.ended().unwrap().clone();
    assert_eq!(reason.code, "policy.forbidden");
    assert!(reason.to_string().contains("closed for stocktaking"), "{reason}");
    assert_eq!(reason.remedy.as_deref(), Some("come back on Monday"));
    assert_eq!(reason.policy, ["shop-closed"]);
    echo(&mut other_app, "another app goes on").await;
    pass(&mut other_person, &mut app_of_other_person, "another person goes on").await;
    let refused = soon("the refusal", alice.connect("shop:1")).await.unwrap_err();
    assert_eq!(refused.problem().unwrap().policy, ["shop-closed"]);

    std::fs::remove_file(house.policies().join("stocktaking.cedar")).unwrap();
    let mut again = until_open(&alice).await;
    pass(&mut again, &mut shop.accept().await, "open again, without a new login").await;
    echo(&mut other_app, "and still").await;
}

async fn until_open(client: &ztsa_core::client::Client) -> ztsa_core::client::AppStream {
    soon("the shop to open", async {
        loop {
            if let Ok(stream) = client.connect("shop:1").await {
                return stream;
            }
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mistake_in_a_policy_is_refused_with_its_place_and_the_old_ones_stay() {
    let house = House::new(&[]).await;
    let client = house.sign_in("alice").await;
    let mut stream = soon("a stream", client.connect("echo")).await.unwrap();
    write_policy(
        &house.policies(),
        "wrong.cedar",
        "permit (principal, action, resource)\nwhen { context.risk.usr > 3 };\n",
    );
    let refused = house.try_admin(json!({"op": "policy.reload"})).await.unwrap_err();
    let CallError::Refused { error, hint } = refused else { panic!("{refused}") };
    assert!(error.contains("wrong.cedar") && error.contains('2'), "{error}");
    assert!(hint.unwrap().contains("stay"));
    echo(&mut stream, "the old policies stay").await;
    let mut new = soon("a stream", client.connect("echo")).await.unwrap();
    echo(&mut new, "for new tunnels too").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rule_in_monitor_mode_is_noted_and_changes_nothing() {
    let house = House::new(&[]).await;
    let client = house.sign_in("alice").await;
    let count = house.engine().policy_count();
    write_policy(
        &house.policies(),
        "shadow.cedar",
        "@id(\"shadow\")\n@reason(\"a try\")\n@mode(\"monitor\")\nforbid (principal, action, resource == App::\"echo\");\n",
    );
    until("the policy", || (house.engine().policy_count() == count + 1).then_some(())).await;
    let mut stream = soon("a stream", client.connect("echo")).await.unwrap();
    echo(&mut stream, "allowed").await;
    house.audit("what the shadow says", |line| line.to_string().contains("\"shadow\"")).await;
}
