//! The example of a program that speaks to a private app by itself, run as its head comment says.

use crate::binary::ours;
use crate::gateway::Gateway;
use crate::home::Home;
use crate::process::{PATIENCE, finish, until};

#[test]
fn a_program_signs_in_once_and_reaches_the_app_without_a_local_port() {
    let gateway = Gateway::dev(&[]);
    let home = Home::new(&gateway);
    let run = || {
        let mut embed = home.command(ours("examples/embed").to_str().unwrap());
        finish(embed.arg(&gateway.url).arg(&gateway.ca).arg(home.folder().join("embedded"))).exits(0)
    };
    let first = run();
    assert_eq!(first.stdout, "hello from inside a program\n", "{first}");
    assert!(first.stderr.starts_with("open http") && first.stderr.contains(" and enter "), "{first}");
    let again = run();
    assert_eq!((again.stdout.as_str(), again.stderr.as_str()), ("hello from inside a program\n", ""), "{again}");
    let opened = || gateway.audit().matches("\"event_code\":\"open\"").count();
    until("both tunnels in the audit log", PATIENCE, || (opened() == 2).then_some(()));
}
