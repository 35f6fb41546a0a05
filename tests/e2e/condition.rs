//! Policies that look at the device and at the sign-in: posture, approval, step-up.

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use ztsa_core::client::Client;
use ztsa_proto::app::AccessState;
use ztsa_proto::posture::State;
use ztsa_proto::problem::Retry;

use crate::house::{House, write_policy};
use crate::patience::{SILENCE, soon, until};
use crate::server::{Server, echo, pass, take};

/// Puts a policy in force.
async fn enforce(house: &House, name: &str, text: &str) {
    write_policy(&house.policies(), name, text);
    house.admin(json!({"op": "policy.reload"})).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_device_reports_is_what_policy_sees_and_unknown_is_not_a_pass() {
    let house = House::new(&[]).await;
    let client = house.sign_in("alice").await;
    let report = soon("the report", client.posture()).await.unwrap();
    let kernel = report.checks.iter().find(|check| check.id == "os.kernel").unwrap();
    assert_eq!(kernel.state, State::Pass, "{kernel:?}");
    let known = soon("the session", client.refresh()).await.unwrap().posture;
    assert!(known.iter().any(|check| check.id == "os.kernel" && check.state == State::Pass), "{known:?}");
    enforce(
        &house,
        "kernel.cedar",
        "@id(\"known-kernel\")\n@code(\"posture.os_kernel\")\n@reason(\"the kernel must be known\")\n\
         forbid (principal, action, resource == App::\"echo\")\n\
         unless { context.device.posture.os_kernel.state == \"pass\" && context.device.age < 3600 };\n",
    )
    .await;
    let mut stream = soon("a stream", client.connect("echo")).await.unwrap();
    echo(&mut stream, "the kernel is known").await;
    enforce(
        &house,
        "kernel.cedar",
        "@id(\"newest-kernel\")\n@code(\"posture.os_kernel\")\n@reason(\"the kernel must be the newest\")\n\
         @remedy(\"install the updates and restart\")\nforbid (principal, action, resource == App::\"echo\")\n\
         unless { context.device.posture.os_kernel.value == \"999.0\" };\n",
    )
    .await;
    crate::server::reset(&mut stream).await;
    let error = soon("the refusal", client.connect("echo:1")).await.unwrap_err();
    let problem = error.problem().unwrap();
    assert_eq!((problem.code.as_str(), problem.exit()), ("posture.os_kernel", 5), "{problem:?}");
    assert_eq!(problem.remedy.as_deref(), Some("install the updates and restart"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_for_approved_devices_opens_at_the_administrator_s_word() {
    let house = House::new(&[]).await;
    let client = house.sign_in("alice").await;
    enforce(
        &house,
        "approved.cedar",
        "@id(\"approved-devices\")\n@reason(\"only approved devices\")\n@remedy(\"ask for approval\")\n\
         forbid (principal, action, resource == App::\"echo\") unless { context.device.managed };\n",
    )
    .await;
    let error = soon("the refusal", client.connect("echo:1")).await.unwrap_err();
    assert_eq!(error.problem().unwrap().remedy.as_deref(), Some("ask for approval"));
    let device = client.session().await.unwrap().info.device.id.to_string();
    house.admin(json!({"op": "devices.approve", "device": device})).await;
    let mut stream = soon("a stream", client.connect("echo:1")).await.unwrap();
    echo(&mut stream, "approved").await;
    assert_eq!(soon("the session", client.refresh()).await.unwrap().device.state.to_string(), "approved");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stronger_sign_in_is_asked_for_and_what_is_open_waits_for_it() {
    let shop = Server::bind().await;
    let house = House::new(&[("shop", shop.port())]).await;
    let client = house.sign_in("alice").await;
    let mut near = soon("a stream", client.connect("shop")).await.unwrap();
    let mut far = shop.accept().await;
    pass(&mut near, &mut far, "before").await;
    enforce(
        &house,
        "second.cedar",
        "@id(\"second-factor\")\n@step_up(\"mfa\")\n@max_age(\"8h\")\n@on_change(\"suspend\")\n\
         @reason(\"the shop wants a second factor\")\nforbid (principal, action, resource == App::\"shop\")\n\
         unless { context.auth.acr == \"mfa\" };\n",
    )
    .await;
    let error = soon("the refusal", client.connect("shop:1")).await.unwrap_err();
    let problem = error.problem().unwrap();
    assert_eq!((problem.code.as_str(), problem.exit()), ("auth.step_up", 8), "{problem:?}");
    assert_eq!(problem.retry, Retry::AfterStepUp);
    assert_eq!((problem.acr_values.as_deref(), problem.max_age), (Some("mfa"), Some(8 * 3600)));
    let apps = client.apps().await.unwrap().apps;
    let listed = apps.iter().find(|app| app.name.as_str() == "shop").unwrap();
    assert_eq!(listed.access.state, AccessState::StepUp);
    far.write_all(b"later").await.unwrap();
    let read = tokio::time::timeout(SILENCE, near.read(&mut [0])).await;
    assert!(read.is_err(), "{read:?} while access was suspended");
    let before = client.session().await.unwrap();
    house.step_up(&client, "alice", "mfa").await;
    let after = client.session().await.unwrap();
    assert_eq!(before.info.session, after.info.session, "a fresh sign-in goes on with the session");
    assert_eq!(take(&mut near, 5).await, "later", "and what waited for it goes on, with nothing lost");
    pass(&mut near, &mut far, "after").await;
    soon("a new stream", client.connect("shop")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stronger_sign_in_in_one_process_is_seen_by_the_others() {
    let house = House::new(&[]).await;
    let mut config = house.config();
    config.store = ztsa_core::config::StoreChoice::File;
    config.state = Some(house.folder.join("state"));
    let (here, there) = (Client::open(config.clone()).await.unwrap(), Client::open(config).await.unwrap());
    house.login(&here, "alice").await;
    let mut stream = soon("a stream", there.connect("echo")).await.unwrap();
    echo(&mut stream, "with the same sign-in").await;
    enforce(
        &house,
        "second.cedar",
        "@id(\"second-factor\")\n@step_up(\"mfa\")\nforbid (principal, action, resource == App::\"echo\")\n\
         unless { context.auth.acr == \"mfa\" };\n",
    )
    .await;
    assert_eq!(soon("the refusal", there.connect("echo:1")).await.unwrap_err().retry(), Retry::AfterStepUp);
    house.step_up(&here, "alice", "mfa").await;
    let mut stream = soon("a stream", there.connect("echo")).await.unwrap();
    echo(&mut stream, "with the stronger one").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_example_policies_are_in_force_without_a_mistake() {
    let house = House::new(&[]).await;
    let before = house.engine().policy_count();
    let examples = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/policies");
    for entry in std::fs::read_dir(examples).unwrap().flatten() {
        let file = entry.path();
        if file.extension().is_some_and(|extension| extension == "cedar") {
            std::fs::copy(&file, house.policies().join(entry.file_name())).unwrap();
        }
    }
    until("the examples to be read", || (house.engine().policy_count() > before + 5).then_some(())).await;
}
