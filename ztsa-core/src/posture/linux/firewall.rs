//! Whether a firewall is on. The rules themselves are hidden from people without root, so that it is never said to be off
//! unless they can be read.

use ztsa_proto::posture::Reason;

use super::{Finding, Sys, is_enabled, runs, update::ini_setting};

const UFW: &str = "/etc/ufw/ufw.conf";
const NFTABLES: &str = "/etc/nftables.conf";
const NFT: [&str; 2] = ["/usr/sbin/nft", "/sbin/nft"];

/// Looks for a firewall's configuration, its running service, and its rules, in this order.
pub(super) fn enabled(sys: &Sys) -> Finding {
    match sys.read(UFW).map(|text| ini_setting(&text, "ENABLED")) {
        Ok(Some(value)) if value.trim_matches('"').eq_ignore_ascii_case("yes") => return Finding::pass("ufw", UFW),
        _ => {}
    }
    for service in ["firewalld.service", "opensnitch.service", "opensnitchd.service"] {
        if runs(sys, service) == Ok(true) {
            let name = service.trim_end_matches(".service");
            return Finding::pass(name, format!("cgroup {service}"));
        }
    }
    let starts = is_enabled(sys, "sysinit.target", "nftables.service") == Ok(true)
        || is_enabled(sys, "multi-user.target", "nftables.service") == Ok(true);
    if starts && sys.read(NFTABLES).is_ok_and(|text| filters_input(&text)) {
        return Finding::pass("nftables", NFTABLES);
    }
    rules(sys)
}

/// The rules in force, as root sees them.
fn rules(sys: &Sys) -> Finding {
    const SOURCE: &str = "nft list ruleset";
    if sys.uid() != 0 {
        return Finding::unknown(Reason::Permission, SOURCE);
    }
    let answers = NFT.map(|program| sys.run(program, &["list", "ruleset"]));
    match answers.into_iter().reduce(Result::or) {
        Some(Ok(text)) if filters_input(&text) => Finding::pass("nftables", SOURCE),
        // Rules of the older sort are not in this list.
        Some(Ok(_)) => match sys.read("/proc/net/ip_tables_names") {
            Ok(tables) if tables.lines().any(|table| table == "filter") => {
                Finding::unknown(Reason::Unsupported, "iptables")
            }
            Ok(_) | Err(Reason::Absent) => Finding::fail("no rules", SOURCE),
            Err(reason) => Finding::unknown(reason, "/proc/net/ip_tables_names"),
        },
        Some(Err(reason)) => Finding::unknown(reason, SOURCE),
        None => Finding::unknown(Reason::Absent, SOURCE),
    }
}

/// Whether a chain at the door of this machine drops or rejects something.
fn filters_input(text: &str) -> bool {
    let plain = || text.lines().map(|line| line.split('#').next().unwrap_or_default());
    let at_the_door = plain().any(|line| line.contains("hook input"));
    let words =
        |line: &str| line.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| matches!(word, "drop" | "reject"));
    at_the_door && plain().any(words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_chain_that_lets_everything_in_is_no_firewall() {
        let open = "table inet filter {\n\tchain input {\n\t\ttype filter hook input priority filter;\n\t}\n}\n";
        assert!(!filters_input(open));
        assert!(!filters_input(&format!("{open}# drop everything\n")));
        assert!(filters_input("chain input {\n type filter hook input priority 0; policy drop;\n}"));
        assert!(filters_input(
            "chain input {\n type filter hook input priority 0; policy accept;\n ct state invalid reject\n}"
        ));
        assert!(!filters_input("chain forward {\n type filter hook forward priority 0; policy drop;\n}"));
    }

    proptest! {
        #[test]
        fn no_ruleset_is_too_much(text in "\\PC{0,300}") {
            let _ = filters_input(&text);
        }
    }
}
