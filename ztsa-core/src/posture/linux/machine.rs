//! What sort of machine this is, and for how long it has run. Each hint has its name: they contradict each other at times.

use ztsa_proto::posture::Reason;

use super::{Finding, Sys};

const CPUS: &str = "/proc/cpuinfo";
const DMI: &str = "/sys/class/dmi/id";
const UPTIME: &str = "/proc/uptime";
/// What virtual machines call themselves.
const VENDORS: [(&str, &str); 11] = [
    ("QEMU", "qemu"),
    ("KVM", "kvm"),
    ("VMware", "vmware"),
    ("innotek", "virtualbox"),
    ("VirtualBox", "virtualbox"),
    ("Xen", "xen"),
    ("Amazon EC2", "amazon"),
    ("Google Compute", "google"),
    ("Microsoft Corporation Virtual", "hyperv"),
    ("Parallels", "parallels"),
    ("Apple Virtualization", "apple"),
];

pub(super) fn virtual_machine(sys: &Sys) -> Finding {
    match hints(sys) {
        Ok(hints) if hints.is_empty() => Finding::pass("none", CPUS),
        Ok(hints) => Finding::fail(hints.join("+"), format!("{CPUS}, {DMI}")),
        Err(reason) => Finding::unknown(reason, CPUS),
    }
}

/// The hints at a virtual machine.
pub(super) fn hints(sys: &Sys) -> Result<Vec<&'static str>, Reason> {
    let mut hints = Vec::new();
    if hypervisor(&sys.read(CPUS)?) {
        hints.push("hypervisor");
    }
    let said = |name: &str| sys.read(&format!("{DMI}/{name}")).unwrap_or_default();
    // Hyper-V shares its maker's name with laptops: maker and product together tell.
    let product = format!("{} {}", said("sys_vendor").trim(), said("product_name").trim());
    hints.extend(VENDORS.iter().filter(|(words, _)| product.contains(words)).map(|(_, name)| *name));
    hints.dedup();
    Ok(hints)
}

/// The processor's flag that says it is lent.
fn hypervisor(cpus: &str) -> bool {
    let flags = cpus.lines().find(|line| line.starts_with("flags"));
    flags.is_some_and(|line| line.split_whitespace().any(|flag| flag == "hypervisor"))
}

pub(super) fn container(sys: &Sys) -> Finding {
    const MARKS: [(&str, &str); 4] = [
        ("/.dockerenv", "docker"),
        ("/run/.containerenv", "podman"),
        ("/run/systemd/container", "systemd"),
        ("/run/host/os-release", "host"),
    ];
    let mut hints = Vec::new();
    for (path, name) in MARKS {
        match sys.exists(path) {
            Ok(true) => hints.push(name),
            Ok(false) => {}
            Err(reason) => return Finding::unknown(reason, path),
        }
    }
    let none = hints.is_empty();
    Finding::of(none, if none { "none".to_owned() } else { hints.join("+") }, "/.dockerenv, /run")
}

pub(super) fn uptime(sys: &Sys) -> Finding {
    let seconds = sys.read(UPTIME).and_then(|text| seconds(&text).ok_or(Reason::Parse));
    Finding::known(seconds.map(Into::into), UPTIME)
}

/// `350735.47 234388.90`: whole seconds since the start.
fn seconds(text: &str) -> Option<u64> {
    text.split_whitespace().next()?.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn uptime_and_flags_are_read() {
        assert_eq!(seconds("350735.47 234388.90\n"), Some(350_735));
        assert_eq!((seconds(""), seconds("x.1")), (None, None));
        assert!(hypervisor("processor\t: 0\nflags\t\t: fpu vme hypervisor lahf_lm\n"));
        assert!(!hypervisor("processor\t: 0\nflags\t\t: fpu vme nohypervisor\n"));
    }

    proptest! {
        #[test]
        fn no_text_is_too_much(text in "\\PC{0,200}") {
            let _ = (seconds(&text), hypervisor(&text));
        }
    }
}
