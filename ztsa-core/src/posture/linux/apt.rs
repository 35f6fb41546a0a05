//! apt's configuration, as apt.conf(5) has it.

use ztsa_proto::posture::Reason;

use super::Sys;

pub(super) const PARTS: &str = "/etc/apt/apt.conf.d";
const MAIN: &str = "/etc/apt/apt.conf";
/// The most files that are read; where there are more, the last word is not known.
const MOST: usize = 200;

/// Settings in the order in which apt reads them: the whole name, in lower case, and the value.
pub(super) type Settings = Vec<(String, String)>;

/// Reads all of apt's files. One that cannot be made out matters when it speaks of what apt does by itself.
pub(super) fn settings(sys: &Sys) -> Result<Settings, Reason> {
    let parts = sys.names(PARTS)?.into_iter().filter(|name| is_read(name)).map(|name| format!("{PARTS}/{name}"));
    let files: Vec<String> = parts.chain([MAIN.to_owned()]).collect();
    if files.len() > MOST {
        return Err(Reason::Unsupported);
    }
    let mut all = Settings::new();
    for file in files {
        match sys.read(&file) {
            Ok(text) => match parse(&text) {
                Some(found) => all.extend(found),
                None if text.to_ascii_lowercase().contains("periodic") => return Err(Reason::Parse),
                None => {}
            },
            Err(Reason::Absent) => {}
            Err(reason) => return Err(reason),
        }
    }
    Ok(all)
}

/// The last word on a setting, which is named in lower case.
pub(super) fn last<'s>(settings: &'s [(String, String)], name: &str) -> Option<&'s str> {
    settings.iter().rev().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

/// Whether apt reads a file of this name: no extension or `conf`, and only letters, digits, hyphens, underscores, periods.
fn is_read(name: &str) -> bool {
    let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    plain && !name.starts_with('.') && name.rsplit_once('.').is_none_or(|(_, extension)| extension == "conf")
}

/// Reads one file; `None` when it is not well formed, or clears or includes something.
fn parse(text: &str) -> Option<Settings> {
    let (mut all, mut blocks, mut words) = (Settings::new(), Vec::new(), Vec::new());
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        rest = if let Some(comment) = rest.strip_prefix("/*") {
            comment.split_once("*/")?.1
        } else if rest.starts_with("#clear") || rest.starts_with("#include") {
            return None;
        } else if rest.starts_with("//") || rest.starts_with('#') {
            rest.split_once('\n').map_or("", |(_, after)| after)
        } else if let Some(after) = rest.strip_prefix('{') {
            blocks.push(std::mem::take(&mut words).join("::"));
            after
        } else if let Some(after) = rest.strip_prefix('}') {
            all.extend(setting(&blocks, &words));
            words.clear();
            blocks.pop()?;
            after
        } else if let Some(after) = rest.strip_prefix(';') {
            all.extend(setting(&blocks, &words));
            words.clear();
            after
        } else if let Some(quoted) = rest.strip_prefix('"') {
            let (word, after) = quoted.split_once('"')?;
            words.push(word.to_owned());
            after
        } else {
            let end = rest.find(|c: char| c.is_whitespace() || "{};\"".contains(c)).unwrap_or(rest.len());
            let (word, after) = rest.split_at(end);
            words.push(word.to_owned());
            after
        }
        .trim_start();
    }
    (blocks.is_empty() && words.is_empty()).then_some(all)
}

/// A name and its value; an entry of a list has no name.
fn setting(blocks: &[String], words: &[String]) -> Option<(String, String)> {
    let [name, value] = words else { return None };
    let whole: Vec<&str> = blocks.iter().chain([name]).map(String::as_str).collect();
    Some((whole.join("::").to_ascii_lowercase(), value.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NAME: &str = "apt::periodic::unattended-upgrade";

    fn said(text: &str) -> Option<String> {
        last(&parse(text)?, NAME).map(str::to_owned)
    }

    #[test]
    fn a_setting_has_many_shapes_and_the_last_word_counts() {
        for text in [
            "APT::Periodic::Unattended-Upgrade \"1\";\n",
            "APT::Periodic::Unattended-Upgrade \"1\"; // every day\n",
            "APT::Periodic::Unattended-Upgrade 1;",
            "apt::periodic::unattended-upgrade\n \"1\";",
            "APT { Periodic { Update-Package-Lists \"1\"; Unattended-Upgrade \"1\"; }; };",
            "APT::Periodic {\n  # by itself\n  Unattended-Upgrade \"1\";\n}\n",
            "/* \"0\"; */ APT::Periodic::Unattended-Upgrade \"0\";\nAPT::Periodic::Unattended-Upgrade \"1\";",
            "DPkg::Post-Invoke { \"rm -f /x/*.bin || true\"; \"a // b\"; };\nAPT::Periodic::Unattended-Upgrade \"1\";",
        ] {
            assert_eq!(said(text).as_deref(), Some("1"), "{text}");
        }
        for text in [
            "#APT::Periodic::Unattended-Upgrade \"1\";",
            "// APT::Periodic::Unattended-Upgrade \"1\";",
            "Unattended-Upgrade::Automatic-Reboot \"1\";\nUnattended-Upgrade::Allowed-Origins {\n \"a:b\";\n};\n",
            "Other { APT::Periodic::Unattended-Upgrade \"1\"; };",
        ] {
            assert!(parse(text).is_some(), "{text}");
            assert_eq!(said(text), None, "{text}");
        }
        for text in ["APT { Periodic { A \"1\"; };", "A \"1", "A \"1\"", "};", "#clear APT::Periodic;", "/* A"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn apt_reads_only_some_files() {
        for name in ["20auto-upgrades", "50unattended-upgrades", "99local.conf", "a_b", "10a.b.conf"] {
            assert!(is_read(name), "{name}");
        }
        for name in
            ["20auto-upgrades~", "20auto.bak", "20a.ucf-dist", "20a.dpkg-old", "20a.conf.disabled", ".conf", "a b"]
        {
            assert!(!is_read(name), "{name}");
        }
    }

    proptest! {
        #[test]
        fn no_configuration_is_too_much(text in "\\PC{0,200}", name in "[A-Za-z:-]{1,20}", value in "[a-z0-9]{0,9}") {
            let _ = parse(&text);
            let found = parse(&format!("{name} \"{value}\";"));
            prop_assert_eq!(found, Some(vec![(name.to_ascii_lowercase(), value)]));
        }
    }
}
