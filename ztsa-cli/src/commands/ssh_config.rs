//! `ztsa ssh-config`: a block for `~/.ssh/config`.

use std::fmt::Write as _;

use ztsa_proto::app::{AppInfo, Kind};

use super::{Context, Done};
use crate::report::Failure;

pub(crate) async fn run(context: &Context) -> Result<Done, Failure> {
    let client = context.signed_in().await?;
    let list = {
        let _shown = context.printer.spinner("asking the gateway");
        client.apps().await?
    };
    let profile = &context.settings.profile.value;
    let apps: Vec<&AppInfo> = list.apps.iter().filter(|app| app.kind == Kind::Ssh).collect();
    context.printer.data(&draw(&apps, profile))?;
    if apps.is_empty() {
        context.printer.say("you have no ssh app; the block for *.ztsa works for any that comes later");
    }
    Ok(Done::Ok)
}

fn draw(apps: &[&AppInfo], profile: &str) -> String {
    let flag = if profile == "default" { String::new() } else { format!(" --profile {profile}") };
    let mut text = String::from("# ztsa: ssh apps by name (made by `ztsa ssh-config`)");
    for app in apps {
        let hosts = app.hosts.iter().fold(String::new(), |all, host| format!("{all} {host}"));
        let _infallible = write!(text, "\nHost {name}.ztsa{hosts}\n    HostKeyAlias {name}", name = app.name);
        let _infallible = write!(text, "\n    Port {}\n    ProxyCommand ztsa{flag} stdio %h:%p", app.port);
    }
    let _infallible = write!(text, "\nHost *.ztsa\n    ProxyCommand ztsa{flag} stdio %h:%p");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_app_has_a_key_alias_no_pattern_gets_in_and_the_general_block_comes_last() {
        let app: AppInfo = serde_json::from_str(
            r#"{"name":"bastion","kind":"ssh","hosts":["*","bastion.corp","x\nHost *","a b"],"port":2222,"access":{"state":"open"}}"#,
        )
        .unwrap();
        assert_eq!(
            draw(&[&app], "work"),
            "# ztsa: ssh apps by name (made by `ztsa ssh-config`)\n\
             Host bastion.ztsa bastion.corp\n    HostKeyAlias bastion\n    Port 2222\n    ProxyCommand ztsa --profile work stdio %h:%p\n\
             Host *.ztsa\n    ProxyCommand ztsa --profile work stdio %h:%p"
        );
    }
}
