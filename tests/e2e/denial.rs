//! Refusals: with reason and remedy for what a person may know of, and alike for what they may not.

use std::net::Ipv4Addr;

use serde_json::Value;
use tokio::net::TcpSocket;
use ztsa_proto::problem::Problem;

use crate::house::House;
use crate::local::{http_connect, socks5};
use crate::patience::soon;
use crate::server::{Server, rest};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_denied_app_says_why_and_what_to_do_by_every_way() {
    let house = House::new(&[]).await;
    let client = house.sign_in("alice").await;
    let good = |problem: &Problem| {
        assert_eq!((problem.code.as_str(), problem.exit()), ("policy.forbidden", 4), "{problem:?}");
        assert_eq!(problem.detail, "payroll is for the operations team");
        assert_eq!(problem.remedy.as_deref(), Some("ask an administrator to add you to the group ops"));
        assert_eq!(problem.policy, ["payroll-is-for-ops"]);
        assert!(problem.decision.is_some());
    };
    good(soon("the refusal", client.connect("payroll")).await.unwrap_err().problem().unwrap());
    let payroll = "payroll".parse().unwrap();
    good(client.grant(&payroll, None).await.unwrap_err().problem().unwrap());
    let why = client.why(&payroll).await.unwrap();
    assert_eq!(
        (why.decision.to_string().as_str(), why.problem.unwrap().detail.as_str()),
        ("deny", "payroll is for the operations team")
    );
    let apps = client.apps().await.unwrap().apps;
    let listed = apps.iter().find(|app| app.name == payroll).unwrap();
    assert_eq!(listed.access.problem.as_ref().unwrap().detail, "payroll is for the operations team");

    let proxy = client.proxy("127.0.0.1:0").await.unwrap();
    assert_eq!(socks5(proxy.local_addr(), "payroll", 80).await.0, 2, "not allowed by ruleset");
    let (head, mut stream) = http_connect(proxy.local_addr(), "payroll:80").await;
    assert!(head.starts_with("HTTP/1.1 403"), "{head}");
    assert!(head.to_lowercase().contains("proxy-status:"), "{head}");
    good(&Problem::from_json(rest(&mut stream).await.as_bytes()).unwrap());
    // the decision's number leads to its line in the audit log
    let decision =
        soon("the refusal", client.connect("payroll")).await.unwrap_err().problem().unwrap().decision.clone();
    let decision = decision.unwrap();
    let line = house.audit("the decision", |line| line.to_string().contains(&decision)).await;
    assert!(line.to_string().contains("payroll-is-for-ops"), "{line}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_that_a_person_may_not_know_of_is_answered_like_one_that_is_not_there() {
    let vault = Server::bind().await;
    let added = format!(
        "[[app]]\nname = \"vault\"\nkind = \"tcp\"\ntarget = \"127.0.0.1:{}\"\ntags = [\"secret\"]\n",
        vault.port()
    );
    let house = House::with(&[], &added).await;
    let (alice, bob) = (house.sign_in("alice").await, house.sign_in("bob").await);
    soon("bob's stream", bob.connect("vault")).await.expect("bob may use it: the app is there");
    let (hidden, absent) = ("vault", "vaulx");
    let mut answers = Vec::new();
    let proxy = alice.proxy("127.0.0.1:0").await.unwrap();
    for name in [hidden, absent] {
        let app = name.parse().unwrap();
        let plain = |problem: &Problem| {
            // a number of its own each time, or none each time
            let mut problem = problem.clone();
            problem.decision = problem.decision.map(|id| format!("{} characters", id.len()));
            serde_json::to_string(&problem).unwrap().replace(name, "NAME")
        };
        let (head, mut stream) = http_connect(proxy.local_addr(), &format!("{name}:80")).await;
        let mut body: Value = serde_json::from_str(&rest(&mut stream).await).unwrap();
        body.as_object_mut().unwrap().remove("decision");
        let head: String = head.lines().filter(|line| !line.to_lowercase().starts_with("date:")).collect();
        answers.push([
            plain(soon("the refusal", alice.connect(&format!("{name}:80"))).await.unwrap_err().problem().unwrap()),
            plain(alice.grant(&app, None).await.unwrap_err().problem().unwrap()),
            plain(
                alice
                    .ticket(&ztsa_proto::grant::TicketRequest { app: app.clone(), for_seconds: None, uses: None })
                    .await
                    .unwrap_err()
                    .problem()
                    .unwrap(),
            ),
            format!("{:?}", alice.why(&app).await.map(|_| ()).map_err(|error| plain(error.problem().unwrap()))),
            socks5(proxy.local_addr(), name, 80).await.0.to_string(),
            body.to_string().replace(name, "NAME"),
            head.replace(name, "NAME"),
        ]);
    }
    assert_eq!(answers[0], answers[1]);
    assert_eq!(answers[0][4], "4", "host unreachable");
    let listed = alice.apps().await.unwrap().apps;
    assert!(listed.iter().all(|app| app.name.as_str() != hidden), "{listed:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn somebody_without_a_group_sees_nothing_and_reaches_nothing() {
    let house = House::new(&[]).await;
    let client = house.sign_in("mallory").await;
    let apps = soon("the apps", client.apps()).await.unwrap().apps;
    assert!(apps.iter().all(|app| app.access.problem.is_some()), "{apps:?}");
    let refused = soon("the refusal", client.connect("echo:1")).await.unwrap_err();
    assert_eq!(refused.problem().unwrap().exit(), 4, "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_that_does_not_answer_is_told_apart_from_one_that_is_refused() {
    // bound and never listening: it refuses, and nobody else gets its port
    let gone = TcpSocket::new_v4().unwrap();
    gone.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let house = House::new(&[("gone", gone.local_addr().unwrap().port())]).await;
    let client = house.sign_in("alice").await;
    let refused = soon("the refusal", client.connect("gone")).await.unwrap_err();
    let problem = refused.problem().unwrap();
    assert_eq!((problem.code.as_str(), problem.exit()), ("app.refused", 6), "{problem:?}");
    let proxy = client.proxy("127.0.0.1:0").await.unwrap();
    assert_eq!(socks5(proxy.local_addr(), "gone", 80).await.0, 5, "connection refused");
    let (head, _) = http_connect(proxy.local_addr(), "gone:80").await;
    assert!(head.starts_with("HTTP/1.1 502"), "{head}");
    house.tunnels(0).await;
}
