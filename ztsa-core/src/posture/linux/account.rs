//! With which rights the person works, and to whom the device belongs.

use ztsa_proto::posture::Reason;

use super::{Finding, Sys, runs, update::ini_setting};

const GROUPS: &str = "/etc/group";
/// Groups whose members can become root: by sudo, or by a container that mounts the disk.
const POWERFUL: [&str; 7] = ["root", "sudo", "wheel", "admin", "docker", "lxd", "incus-admin"];
const KEYTAB: &str = "/etc/krb5.keytab";
/// What manages devices, and the service that it runs as.
const MANAGERS: [(&str, &str); 8] = [
    ("intune", "intune-daemon.service"),
    ("intune", "microsoft-identity-device-broker.service"),
    ("fleet", "orbit.service"),
    ("puppet", "puppet.service"),
    ("salt", "salt-minion.service"),
    ("chef", "chef-client.service"),
    ("landscape", "landscape-client.service"),
    ("jumpcloud", "jcagent.service"),
];

/// Whether the person belongs to a group that makes an administrator.
pub(super) fn administrator(sys: &Sys) -> Finding {
    if sys.uid() == 0 {
        return Finding::fail("root", "geteuid");
    }
    match sys.read_up_to(GROUPS, 4 * 1024 * 1024) {
        Ok(text) => match powerful(&text, sys.groups()).as_slice() {
            [] => Finding::pass("none", GROUPS),
            names => Finding::fail(names.join("+"), GROUPS),
        },
        Err(reason) => Finding::unknown(reason, GROUPS),
    }
}

/// The powerful groups among these numbers.
fn powerful(text: &str, numbers: &[u32]) -> Vec<&'static str> {
    let of = |line: &str| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let number: u32 = fields.nth(1)?.parse().ok()?;
        POWERFUL.into_iter().find(|powerful| *powerful == name).filter(|_| numbers.contains(&number))
    };
    text.lines().filter_map(of).collect()
}

pub(super) fn root(sys: &Sys) -> Finding {
    Finding::of(sys.uid() != 0, if sys.uid() == 0 { "root" } else { "no" }, "geteuid")
}

/// Whether the device has joined a domain: its key is there, and the service that uses it runs. A realm's name alone is none.
pub(super) fn domain(sys: &Sys) -> Finding {
    let keytab = match sys.exists(KEYTAB) {
        Ok(keytab) => keytab,
        Err(reason) => return Finding::unknown(reason, KEYTAB),
    };
    let mut service = None;
    for name in ["sssd.service", "winbind.service"] {
        match runs(sys, name) {
            Ok(true) => service = Some(name),
            Err(reason) if keytab => return Finding::unknown(reason, "cgroup"),
            Ok(false) | Err(_) => {}
        }
    }
    match (keytab, service) {
        (true, Some(service)) => {
            let realm = sys.read("/etc/krb5.conf").ok().and_then(|text| ini_setting(&text, "default_realm"));
            Finding::pass(realm.unwrap_or_else(|| "joined".to_owned()), format!("{KEYTAB}, {service}"))
        }
        (true, None) => Finding::fail("joined, but neither sssd nor winbind runs", KEYTAB),
        (false, _) => Finding::fail("not joined", KEYTAB),
    }
}

/// Whether something that manages devices is running.
pub(super) fn managed(sys: &Sys) -> Finding {
    for (name, service) in MANAGERS {
        match runs(sys, service) {
            Ok(true) => return Finding::pass(name, format!("cgroup {service}")),
            Ok(false) => {}
            Err(Reason::Absent) => return Finding::unknown(Reason::Unsupported, "cgroup"),
            Err(reason) => return Finding::unknown(reason, "cgroup"),
        }
    }
    Finding::fail("none seen", "cgroup")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_group_counts_when_the_person_is_in_it() {
        let text = "root:x:0:\nsudo:x:27:alice\ndocker:x:998:bob\nusers:x:100:\n";
        assert_eq!(powerful(text, &[27, 100]), ["sudo"]);
        assert_eq!(powerful(text, &[100, 998, 27]), ["sudo", "docker"]);
        assert!(powerful(text, &[100]).is_empty());
    }

    proptest! {
        #[test]
        fn no_list_of_groups_is_too_much(text in "\\PC{0,200}") {
            let _ = powerful(&text, &[0]);
        }
    }
}
