//! The gateway notices what is out of the ordinary by itself, and the person is told why.

use serde_json::json;
use tokio::net::TcpStream;
use ztsa_core::listener::event::Event;

use crate::house::House;
use crate::patience::soon;
use crate::server::{Server, pass};

const RULE: &str =
    "[risk]\ninterval = \"1s\"\n[risk.signals.grant.refused]\ncount = 4\nweight = 64\nhalf_life = \"60s\"\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_tries_one_door_after_the_other_is_paused_with_the_reason_and_goes_on_when_it_has_faded() {
    let shop = Server::bind().await;
    let house = House::with(&[("shop", shop.port())], RULE).await;
    let (alice, bob) = (house.sign_in("alice").await, house.sign_in("bob").await);
    let forward = alice.forward("shop", "127.0.0.1:0").await.unwrap();
    let mut events = alice.events();
    let mut near = TcpStream::connect(forward.local_addr()).await.unwrap();
    let mut far = shop.accept().await;
    pass(&mut near, &mut far, "before").await;
    let mut his = soon("his stream", bob.connect("shop")).await.unwrap();
    let mut app_of_his = shop.accept().await;

    for door in ["payroll", "salaries", "hr", "db-backup"] {
        let refused = soon("the refusal", alice.grant(&door.parse().unwrap(), None)).await.unwrap_err();
        assert!(["policy.forbidden", "app.unknown"].contains(&refused.problem().unwrap().code.as_str()), "{door}");
    }
    let problem = soon("the pause", async {
        loop {
            if let Event::Suspended { problem, .. } = events.next().await.unwrap() {
                return problem;
            }
        }
    })
    .await;
    assert_eq!(problem.code, "risk.user");
    assert!(problem.to_string().contains("4 requests within 10m for what you may not open"), "{problem}");
    pass(&mut his, &mut app_of_his, "not his risk").await;

    // an administrator sees the signal, and so does she
    let shown = house.admin(json!({"op": "risk.show", "user": "alice"})).await;
    assert_eq!(shown["risk"][0]["signals"][0]["kind"], "grant.refused", "{shown:?}");
    let info = soon("the session", alice.refresh()).await.unwrap();
    assert!(info.risk.signals.iter().any(|signal| signal.kind == "grant.refused"), "{info:?}");
    house
        .audit("the signal in the audit log", |event| {
            event["status_code"] == "grant.refused" && event.to_string().contains("64 of 100: 4 requests within 10m")
        })
        .await;

    // some seconds later it has faded below the threshold, and the same tunnel goes on without a new sign-in
    soon("access to return", async { while !matches!(events.next().await.unwrap(), Event::Restored(_)) {} }).await;
    pass(&mut near, &mut far, "after").await;
}
