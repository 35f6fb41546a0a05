//! Whether a firewall is on. The rules themselves are hidden from people without root, so that it is never said to be off
//! unless they can be read.

use ztsa_proto::posture::Reason;

use super::{Finding, Sys, is_enabled, runs, update::ini_setting};

const UFW: &str = "/etc/ufw/ufw.conf";
const FIREWALLD: &str = "firewalld.service";
const NFTABLES: &str = "/etc/nftables.conf";
const NFT: [&str; 2] = ["/usr/sbin/nft", "/sbin/nft"];

/// Looks for ufw's configuration, firewalld's running service, nftables' configuration that starts at boot, and the rules in
/// force, in this order. What only asks about outgoing connections (OpenSnitch) keeps nobody out.
pub(super) fn enabled(sys: &Sys) -> Finding {
    match sys.read(UFW).map(|text| ini_setting(&text, "ENABLED")) {
        Ok(Some(value)) if value.trim_matches('"').eq_ignore_ascii_case("yes") => return Finding::pass("ufw", UFW),
        _ => {}
    }
    if runs(sys, FIREWALLD) == Ok(true) {
        return Finding::pass("firewalld", format!("cgroup {FIREWALLD}"));
    }
    let starts = is_enabled(sys, "sysinit.target", "nftables.service") == Ok(true)
        || is_enabled(sys, "multi-user.target", "nftables.service") == Ok(true);
    if starts && sys.read(NFTABLES).is_ok_and(|text| filters_input(&text) == Some(true)) {
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
    let text = match answers.into_iter().reduce(Result::or) {
        Some(Ok(text)) => text,
        Some(Err(reason)) => return Finding::unknown(reason, SOURCE),
        None => return Finding::unknown(Reason::Absent, SOURCE),
    };
    match filters_input(&text) {
        Some(true) => Finding::pass("nftables", SOURCE),
        None => Finding::unknown(Reason::Unsupported, SOURCE),
        // Rules of the older sort are not in this list.
        Some(false) => match sys.read("/proc/net/ip_tables_names") {
            Ok(tables) if tables.lines().any(|table| table == "filter") => {
                Finding::unknown(Reason::Unsupported, "iptables")
            }
            Ok(_) | Err(Reason::Absent) => Finding::fail("no rules", SOURCE),
            Err(reason) => Finding::unknown(reason, "/proc/net/ip_tables_names"),
        },
    }
}

/// Whether a chain at the door of this machine drops or rejects something itself; `None` when none does, but one leaves it
/// to another chain or program.
fn filters_input(text: &str) -> Option<bool> {
    let plain = plain(text);
    let words: Vec<&str> = plain.split(is_between).filter(|word| !word.is_empty()).collect();
    let mut found = Some(false);
    for rest in words.split(|word| *word == "chain").skip(1) {
        let chain = block(rest);
        if !chain.windows(2).any(|pair| pair == ["hook", "input"]) {
            continue;
        }
        if chain.iter().any(|word| matches!(*word, "drop" | "reject")) {
            return Some(true);
        }
        let leaves = |word: &&str| matches!(*word, "jump" | "goto" | "vmap" | "queue" | "xt");
        if chain.iter().any(leaves) {
            found = None;
        }
    }
    found
}

/// The rules without comments and without what stands in quotes, and every brace as a word.
fn plain(text: &str) -> String {
    let (mut plain, mut quoted, mut comment) = (String::with_capacity(text.len()), false, false);
    for c in text.chars() {
        match c {
            '\n' => comment = false,
            _ if comment => continue,
            '"' => quoted = !quoted,
            '#' if !quoted => comment = true,
            _ => {}
        }
        match c {
            '{' | '}' if !quoted => plain.extend([' ', c, ' ']),
            '"' | '#' => plain.push(' '),
            _ if quoted => {}
            _ => plain.push(c),
        }
    }
    plain
}

/// Whether this is no part of a name, a variable, the name of a set, or a brace.
fn is_between(c: char) -> bool {
    !c.is_alphanumeric() && !"_-./\\@${}".contains(c)
}

/// What stands between the first brace and its counterpart.
fn block<'t>(words: &[&'t str]) -> Vec<&'t str> {
    let inside = words.iter().skip_while(|word| **word != "{").scan(0_usize, |depth, word| {
        match *word {
            "{" => *depth += 1,
            "}" => *depth = depth.saturating_sub(1),
            _ => {}
        }
        (*depth > 0).then_some(*word)
    });
    inside.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_chain_that_lets_everything_in_is_no_firewall() {
        let open = "table inet filter {\n\tchain input {\n\t\ttype filter hook input priority filter;\n\t}\n}\n";
        assert_eq!(filters_input(open), Some(false));
        assert_eq!(filters_input(&format!("{open}# drop everything\n")), Some(false));
        let door = |policy: &str, rule: &str| {
            let text = format!("chain input {{\n type filter hook input priority 0; policy {policy};\n {rule}\n}}");
            filters_input(&text)
        };
        assert_eq!(door("drop", ""), Some(true));
        assert_eq!(door("accept", "ct state invalid reject"), Some(true));
        assert_eq!(door("accept", "ct state vmap { established : accept, invalid : drop }"), Some(true));
        for lets_in in ["log prefix \"drop it\" accept", "ip saddr @drop accept # drop", "tcp dport { 22, 80 } accept"]
        {
            assert_eq!(door("accept", lets_in), Some(false), "{lets_in}");
        }
        assert_eq!(
            filters_input("chain forward {\n type filter hook forward priority 0; policy drop;\n}"),
            Some(false)
        );
    }

    #[test]
    fn what_another_chain_drops_is_not_dropped_at_the_door() {
        let forward = "chain forward {\n type filter hook forward priority filter; policy drop;\n}\n";
        let input = |rule: &str| {
            format!("chain input {{\n type filter hook input priority filter; policy accept;\n{rule} }}\n")
        };
        assert_eq!(filters_input(&format!("table ip a {{\n{}{forward}}}\n", input(""))), Some(false));
        assert_eq!(filters_input(&format!("table ip a {{\n{forward}{}}}\n", input(""))), Some(false));
        for left in
            ["jump checked-drop", "goto checked", "tcp dport vmap @ports", "queue num 0", "xt target \"REJECT\""]
        {
            let text = format!("table ip a {{\n chain checked {{\n drop\n }}\n{}{forward}}}\n", input(left));
            assert_eq!(filters_input(&text), None, "{left}");
        }
    }

    proptest! {
        #[test]
        fn no_ruleset_is_too_much(text in "\\PC{0,300}") {
            let _ = filters_input(&text);
        }
    }
}
