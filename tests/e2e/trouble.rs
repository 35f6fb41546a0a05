//! Trouble on the machine itself: ports that are taken, a disk that is full, a gateway that is gone.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde_json::json;
use ztsa_gateway::dev::{Dev, Options};
use ztsa_gateway::lease::Selector;

use crate::house::{Folder, House};
use crate::local::{http_connect, socks5};
use crate::patience::{soon, until};
use crate::server::{Server, echo};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_taken_port_is_an_error_that_names_who_holds_it() {
    let holder = Server::bind().await;
    let house = House::new(&[]).await;
    let client = house.sign_in("alice").await;
    let address = format!("127.0.0.1:{}", holder.port());
    let error = soon("the failure", client.forward("echo", address.as_str())).await.unwrap_err();
    let who = format!("pid {}", std::process::id());
    assert!(error.to_string().contains(&address) && error.to_string().contains(&who), "{error}");
    assert!(error.hint().contains(":0"), "{}", error.hint());
    let error = soon("the failure", client.proxy(address.as_str())).await.unwrap_err();
    assert!(error.to_string().contains(&who), "{error}");

    let folder = Folder::new();
    let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, holder.port()));
    let options = Options { dir: folder.join("dev"), listen, approve: None, add_config: None };
    let error = soon("the failure", Dev::spawn(options)).await.unwrap_err().to_string();
    assert!(error.contains(&address) && error.contains("--listen 127.0.0.1:0"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_development_gateway_does_not_leave_this_machine() {
    let folder = Folder::new();
    let listen = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    let options = Options { dir: folder.join("dev"), listen, approve: None, add_config: None };
    let error = soon("the failure", Dev::spawn(options)).await.unwrap_err().to_string();
    assert!(error.contains("0.0.0.0") && error.contains("loopback"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_under_the_audit_log_stops_nobody_at_work_and_is_told() {
    let house = House::with(&[], "[audit]\nfile = \"/dev/full\"\n").await;
    let client = house.sign_in("alice").await;
    let mut stream = soon("a stream", client.connect("echo")).await.unwrap();
    echo(&mut stream, "goes on").await;
    until("the disk's refusal", || house.engine().audit().state().outage).await;
    let status = house.admin(json!({"op": "status"})).await;
    assert!(status["audit"]["outage"].as_str().unwrap().contains("No space left on device"), "{status:?}");
    assert_eq!(status["audit"]["lost"], 0, "what waits is not lost: {status:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_must_write_everything_admits_nobody_new_while_it_cannot() {
    let folder = Folder::new();
    let file = folder.join("audit.ndjson");
    std::os::unix::fs::symlink("/dev/full", &file).unwrap();
    let config = format!("[audit]\nfile = {file:?}\nqueue = 64\nwhen_full = \"refuse\"\n");
    let house = House::with(&[], &config).await;
    let client = house.sign_in("alice").await;
    let mut stream = soon("a stream", client.connect("echo")).await.unwrap();
    // each question is a line
    until("a full queue", || {
        house.engine().revoke(&Selector::App("nothing".parse().unwrap()), "only to be written");
        house.engine().audit().refuses().then_some(())
    })
    .await;
    let error = soon("the refusal", client.connect("echo")).await.unwrap_err();
    let problem = error.problem().unwrap();
    assert_eq!(problem.code, "gateway.unavailable");
    assert!(problem.to_string().contains("cannot write its audit log"), "{problem}");
    echo(&mut stream, "what is open goes on").await;
    let health = house.web().get(format!("{}/healthz", house.dev.url())).send().await.unwrap();
    assert_eq!(health.status(), 503);
    assert_eq!(house.engine().audit().lost(), 0);
    std::fs::remove_file(&file).unwrap();
    until("room again", || (!house.engine().audit().refuses()).then_some(())).await;
    let mut again = soon("a stream", client.connect("echo")).await.unwrap();
    echo(&mut again, "open again").await;
    house.engine().audit().flush().await;
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.contains("requests were refused while no more events could wait"), "{text}");
    assert_eq!(house.engine().audit().lost(), 0, "nothing was lost");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mistake_in_the_added_configuration_names_the_key_and_the_line() {
    let folder = Folder::new();
    let file = folder.join("added.toml");
    let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    for (text, words) in [
        ("[[app]]\nname = \"x\"\nkind = \"tcp\"\ntargt = \"127.0.0.1:1\"\n", ["targt", "target", "4"]),
        ("[[app]]\nname = \"x\"\nkind = \"tcp\"\ntarget = \"127.0.0.1\"\n", ["target", "port", "4"]),
        ("[risk]\ninterval = \"soon\"\n", ["interval", "soon", "2"]),
        ("[[app]\n", ["added.toml", "1", ""]),
    ] {
        std::fs::write(&file, text).unwrap();
        let options = Options { dir: folder.join("dev"), listen, approve: None, add_config: Some(file.clone()) };
        let error = soon("the failure", Dev::spawn(options)).await.unwrap_err().to_string();
        for word in words {
            assert!(error.contains(word), "no {word:?} in: {error}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_is_gone_is_told_apart_from_a_refusal() {
    let house = House::new(&[]).await;
    let client = house.sign_in("alice").await;
    let proxy = client.proxy("127.0.0.1:0").await.unwrap();
    soon("the apps", client.apps()).await.unwrap();
    soon("the shutdown", house.dev.shutdown(Duration::ZERO)).await;
    // each waits a while for the gateway to come back
    let answers = async {
        tokio::join!(
            client.connect("echo:7"),
            socks5(proxy.local_addr(), "echo", 7),
            http_connect(proxy.local_addr(), "echo:7")
        )
    };
    let (opened, (code, _), (head, _)) = soon("an answer while it is gone", answers).await;
    let error = opened.unwrap_err();
    let problem = error.problem().unwrap();
    assert_eq!(problem.exit(), 6, "{problem:?}");
    assert!(problem.remedy.is_some(), "{problem:?}");
    assert_eq!(code, 3, "network unreachable");
    assert!(head.starts_with("HTTP/1.1 503"), "{head}");
}
