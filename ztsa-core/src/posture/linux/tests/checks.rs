//! The checks besides disks, on trees of files.

use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::posture::command::Call;
use ztsa_proto::posture::{Paths, Product};

fn machine() -> Machine {
    let machine = Machine::new("22 1 8:1 / / rw - ext4 /dev/sda1 rw\n");
    machine.file("/etc/os-release", "ID=debian\nVERSION_ID=\"12\"\n").file("/sys/fs/cgroup/system.slice/x", "");
    machine.file("/proc/1/comm", "systemd\n").file("/proc/cpuinfo", "flags : fpu vme\n");
    machine
}

fn process(machine: &Machine, pid: u32, name: &str, exe: Option<&str>, line: &str) {
    machine.file(&format!("/proc/{pid}/comm"), &format!("{name}\n")).file(&format!("/proc/{pid}/cmdline"), line);
    if let Some(exe) = exe {
        machine.link(&format!("/proc/{pid}/exe"), exe);
    }
}

#[test]
fn secure_boot_is_on_only_when_the_firmware_says_so() {
    const ON: &str = "/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c";
    const SETUP: &str = "/sys/firmware/efi/efivars/SetupMode-8be4df61-93ca-11d2-aa0d-00e098032b8c";
    let machine = machine();
    let seen = |arch| {
        let found = boot::secure_boot(&machine.sys(), arch);
        (found.state, found.value.and_then(|value| value.as_str().map(str::to_owned)))
    };
    let is = |state, value: &str| (state, Some(value.to_owned()));
    assert_eq!(seen("x86_64"), is(State::Fail, "not UEFI"));
    assert_eq!(seen("aarch64"), is(State::NotApplicable, "not UEFI"));
    machine.file("/proc/cpuinfo", "flags : fpu hypervisor\n");
    assert_eq!(seen("x86_64"), is(State::NotApplicable, "not UEFI"), "a virtual machine has no firmware of its own");
    machine.file("/sys/firmware/efi/fw_platform_size", "64");
    assert_eq!(seen("x86_64").0, State::Unknown);
    machine.file(ON, "\u{6}\0\0\0\u{1}");
    assert_eq!(seen("x86_64"), is(State::Pass, "on"));
    machine.file(SETUP, "\u{6}\0\0\0\u{1}");
    assert_eq!(seen("x86_64"), is(State::Fail, "setup mode"));
    machine.file(SETUP, "\u{6}\0\0\0\0").file(ON, "\u{6}\0\0\0\0");
    assert_eq!(seen("x86_64"), is(State::Fail, "off"));
    machine.file(ON, "short");
    assert_eq!(seen("x86_64").0, State::Fail, "five bytes, and the last is not 1");
    machine.file(ON, "");
    assert_eq!(seen("x86_64").0, State::Unknown);
}

#[test]
fn lockdown_and_confinement_are_what_the_kernel_says() {
    let machine = machine();
    machine.is("boot.lockdown", State::Unknown, "absent");
    machine.file("/sys/kernel/security/lockdown", "[none] integrity confidentiality\n");
    machine.is("boot.lockdown", State::Fail, "none");
    machine.file("/sys/kernel/security/lockdown", "none [integrity] confidentiality\n");
    machine.is("boot.lockdown", State::Pass, "integrity");
    machine.is("boot.lsm", State::Unknown, "absent");
    machine.file("/sys/module/apparmor/parameters/enabled", "Y\n");
    machine.is("boot.lsm", State::Pass, "apparmor");
    machine.file("/sys/fs/selinux/enforce", "0");
    machine.is("boot.lsm", State::Fail, "selinux permissive");
    machine.file("/sys/fs/selinux/enforce", "1");
    machine.is("boot.lsm", State::Pass, "selinux");
}

#[test]
fn a_tpm_counts_by_its_version() {
    let machine = machine();
    machine.is("hw.tpm", State::Unknown, "absent");
    fs::create_dir_all(machine.path("/sys/class/tpm")).unwrap();
    machine.is("hw.tpm", State::Fail, "none");
    machine.file("/sys/class/tpm/tpm0/tpm_version_major", "1\n");
    assert_eq!(machine.look("hw.tpm").state, State::Fail);
    machine.file("/sys/class/tpm/tpm0/tpm_version_major", "2\n");
    assert_eq!(machine.look("hw.tpm").value, Some(json!(2)));
}

#[test]
fn a_firewall_is_seen_by_its_configuration_or_its_service_and_never_said_to_be_off_unseen() {
    let machine = machine();
    machine.is("fw.enabled", State::Unknown, "permission");
    machine.file("/etc/ufw/ufw.conf", "# /etc/ufw/ufw.conf\nENABLED=no\n");
    machine.is("fw.enabled", State::Unknown, "permission");
    machine.file("/etc/ufw/ufw.conf", "ENABLED=yes\n");
    machine.is("fw.enabled", State::Pass, "ufw");
    machine.file("/etc/ufw/ufw.conf", "ENABLED=no\n").file("/sys/fs/cgroup/system.slice/firewalld.service/x", "");
    machine.is("fw.enabled", State::Pass, "firewalld");
    fs::remove_dir_all(machine.path("/sys/fs/cgroup/system.slice/firewalld.service")).unwrap();
    machine.file("/sys/fs/cgroup/system.slice/opensnitch.service/x", "");
    machine.is("fw.enabled", State::Unknown, "permission");
    let door = |policy: &str| {
        let text = format!(
            "table inet filter {{\n chain input {{ type filter hook input priority 0; policy {policy}; }}\n \
             chain forward {{ type filter hook forward priority 0; policy drop; }}\n}}\n"
        );
        machine.file("/etc/nftables.conf", &text);
    };
    door("drop");
    machine.is("fw.enabled", State::Unknown, "permission");
    machine.link("/etc/systemd/system/sysinit.target.wants/nftables.service", "/x");
    machine.is("fw.enabled", State::Pass, "nftables");
    door("accept");
    machine.is("fw.enabled", State::Unknown, "permission");
    let root = |run| firewall::enabled(&Sys::at(machine.0.path(), 0, &[]).with_programs(run));
    let rules = root(|_| Ok("chain input { type filter hook input priority 0; policy drop; }\n".to_owned()));
    assert_eq!(rules.state, State::Pass);
    let left = root(|_| Ok("chain input { type filter hook input priority 0; jump checked; }\n".to_owned()));
    assert_eq!((left.state, left.reason), (State::Unknown, Some(Reason::Unsupported)));
    assert_eq!(root(|_| Ok(String::new())).state, State::Fail, "root sees that there is no rule");
    assert_eq!(root(|_| Err(Reason::Absent)).state, State::Unknown);
}

#[test]
fn the_screen_s_lock_is_that_of_the_desktop() {
    let machine = machine();
    machine.is("lock.enabled", State::Unknown, "absent");
    fs::create_dir_all(machine.path("/run/systemd/sessions")).unwrap();
    machine.is("lock.enabled", State::NotApplicable, "no graphical session");
    let session = |desktop: &str| {
        machine.file("/run/systemd/sessions/2", &format!("UID=1000\nCLASS=user\nTYPE=wayland\nDESKTOP={desktop}\n"));
    };
    session("plasma");
    machine.is("lock.enabled", State::Unknown, "absent");
    machine.file("/home/alice/.config/kscreenlockerrc", "[Daemon]\nAutolock=false\n");
    machine.is("lock.enabled", State::Fail, "lock off");
    machine.file("/home/alice/.config/kscreenlockerrc", "[Daemon]\nAutolock=true\nTimeout=10\n");
    machine.is("lock.enabled", State::Pass, "after 600 s");
    assert_eq!(machine.look("lock.delay").value, Some(json!(600)));
    session("sway");
    machine.is("lock.enabled", State::Unknown, "unsupported");
    session("GNOME");
    let run = |call: &Call<'_>| {
        assert_eq!((call.program, call.environment[0]), ("/usr/bin/gsettings", ("HOME", "/home/alice")));
        Ok(match call.arguments[1] {
            "org.gnome.desktop.session" => "org.gnome.desktop.session idle-delay uint32 300\n",
            _ => "org.gnome.desktop.screensaver lock-enabled true\norg.gnome.desktop.screensaver lock-delay uint32 0\n",
        }
        .to_owned())
    };
    assert_eq!(screen::delay(&machine.sys().with_programs(run)).value, Some(json!(300)));
    machine.is("lock.enabled", State::Unknown, "absent");
}

#[test]
fn a_program_that_locks_the_screen_is_the_person_s_own() {
    let machine = machine();
    let own = rustix::process::geteuid().as_raw();
    let session = |kind: &str| {
        let text = format!("UID={own}\nCLASS=user\n{kind}\n");
        machine
            .file("/run/systemd/sessions/2", &text)
            .file("/run/systemd/sessions/3", &text.replace(&own.to_string(), "7"));
    };
    let seen = |uid| {
        let found = screen::locks(&Sys::at(machine.0.path(), uid, &[]));
        (found.state, found.value.and_then(|value| value.as_str().map(str::to_owned)), found.reason)
    };
    let unsupported = (State::Unknown, None, Some(Reason::Unsupported));
    let sessionless = (State::NotApplicable, Some("no graphical session".to_owned()), None);
    session("TYPE=tty\nREMOTE=1");
    assert_eq!(seen(own), sessionless, "by network there is no screen");
    for kind in ["TYPE=wayland\nDESKTOP=sway", "TYPE=tty\nSEAT=seat0"] {
        session(kind);
        assert_eq!(seen(own), unsupported, "{kind}");
        process(&machine, 50, "xscreensaver", None, "xscreensaver");
        assert_eq!(seen(own), unsupported, "xscreensaver need not lock");
        process(&machine, 51, "swayidle", None, "swayidle");
        assert_eq!(seen(own), (State::Pass, Some("swayidle".to_owned()), None), "{kind}");
        assert_eq!(seen(7), unsupported, "another person's program locks another's screen");
        fs::remove_dir_all(machine.path("/proc/51")).unwrap();
    }
}

#[test]
fn updates_are_those_of_the_distribution() {
    let machine = machine();
    machine.is("updates.auto", State::Unknown, "absent");
    machine.file("/etc/apt/apt.conf.d/20auto-upgrades", "APT::Periodic::Unattended-Upgrade \"1\";\n");
    machine.is("updates.auto", State::Fail, "unattended-upgrades not installed");
    machine.file("/usr/bin/unattended-upgrade", "");
    machine.is("updates.auto", State::Unknown, "unsupported");
    fs::create_dir_all(machine.path("/run/systemd/system")).unwrap();
    machine.is("updates.auto", State::Fail, "apt-daily-upgrade.timer off");
    machine.link("/etc/systemd/system/timers.target.wants/apt-daily-upgrade.timer", "/x");
    machine.is("updates.auto", State::Pass, "unattended-upgrades");
    machine.link("/etc/systemd/system/apt-daily-upgrade.timer", "/dev/null");
    machine.is("updates.auto", State::Fail, "apt-daily-upgrade.timer off");
    fs::remove_file(machine.path("/etc/systemd/system/apt-daily-upgrade.timer")).unwrap();
    let local = |name: &str, text: &str| {
        machine.file(&format!("/etc/apt/apt.conf.d/{name}"), text);
    };
    local("99local.bak", "APT::Periodic::Unattended-Upgrade \"0\";\n");
    machine.is("updates.auto", State::Pass, "unattended-upgrades");
    local("99local", "APT::Periodic { Unattended-Upgrade \"1\"\n");
    machine.is("updates.auto", State::Unknown, "parse");
    local("99local", "APT::Periodic::Enable \"0\";\n");
    machine.is("updates.auto", State::Fail, "apt's daily work off");
    local("99local", "APT { Periodic { Unattended-Upgrade \"0\"; }; };\n");
    machine.is("updates.auto", State::Fail, "unattended-upgrades off");
    machine.file("/etc/os-release", "ID=fedora\nVERSION_ID=43\n");
    machine.is("updates.reboot", State::Unknown, "unsupported");
    machine.is("updates.auto", State::Fail, "dnf-automatic off");
    machine.link("/etc/systemd/system/timers.target.wants/dnf-automatic.timer", "/x");
    machine.file("/etc/dnf/automatic.conf", "[commands]\napply_updates = no\n");
    machine.is("updates.auto", State::Fail, "dnf-automatic only downloads");
    machine.file("/etc/dnf/automatic.conf", "[commands]\napply_updates = yes\n");
    machine.is("updates.auto", State::Pass, "dnf-automatic");
    machine.file("/etc/rpm-ostreed.conf", "[Daemon]\nAutomaticUpdatePolicy=stage\n");
    machine.is("updates.auto", State::Fail, "rpm-ostree not automatic");
    machine.link("/etc/systemd/system/timers.target.wants/rpm-ostreed-automatic.timer", "/x");
    machine.is("updates.auto", State::Pass, "rpm-ostree stage");
    machine.file("/etc/os-release", "ID=arch\n");
    fs::remove_file(machine.path("/etc/rpm-ostreed.conf")).unwrap();
    machine.is("updates.auto", State::Unknown, "unsupported");
}

#[test]
fn a_restart_is_wanted_or_not_only_where_something_says_so() {
    let machine = machine();
    machine.is("updates.reboot", State::Unknown, "unsupported");
    machine.file("/usr/share/update-notifier/notify-reboot-required", "");
    machine.is("updates.reboot", State::Pass, "none");
    fs::remove_file(machine.path("/usr/share/update-notifier/notify-reboot-required")).unwrap();
    machine.file("/etc/kernel/postinst.d/unattended-upgrades", "");
    machine.is("updates.reboot", State::Pass, "none");
    machine.file("/run/reboot-required", "*** System restart required ***\n");
    machine.is("updates.reboot", State::Fail, "restart wanted");
}

#[test]
fn a_program_is_found_by_its_file_or_by_its_name_and_hidden_ones_are_not_absent() {
    let machine = machine();
    let linux = Some("/opt/agent/agentd".to_owned());
    let agent = Wanted { path: Paths { linux, ..Paths::default() }, ..Wanted::from("process.agent") };
    let value = || {
        let found = look(&agent, &machine.sys(), UnixTime(0));
        (found.state, found.value.and_then(|value| value.as_str().map(str::to_owned)), found.reason)
    };
    let is = |state, value: &str| (state, Some(value.to_owned()), None);
    assert_eq!(value(), is(State::Fail, "not running"));
    process(&machine, 70, "agentd", Some("/tmp/agentd"), "/opt/agent/agentd\0-x");
    assert_eq!(value(), is(State::Fail, "not running"), "another file of that name");
    process(&machine, 71, "agentd", None, "/opt/agent/agentd\0-x");
    assert_eq!(value(), is(State::Pass, "name"));
    process(&machine, 72, "agentd", Some("/opt/agent/agentd"), "");
    assert_eq!(value(), is(State::Pass, "path"));
    assert_eq!(pids_of(std::slice::from_ref(&agent), &machine.sys()).len(), 3);
    for pid in [70, 71, 72] {
        fs::remove_dir_all(machine.path(&format!("/proc/{pid}"))).unwrap();
    }
    fs::remove_dir_all(machine.path("/proc/1")).unwrap();
    assert_eq!(value(), (State::Unknown, None, Some(Reason::Permission)), "others' processes are hidden");
}

#[test]
fn protection_is_what_the_gateway_names() {
    let machine = machine();
    machine.is("edr", State::NotApplicable, "the gateway names none");
    let product = |name: &str, process: &str| Product { name: name.to_owned(), processes: vec![process.to_owned()] };
    let products = vec![product("acme", "acme-endpoint-protection"), product("other", "otherd")];
    let edr = Wanted { products, ..Wanted::from("edr") };
    assert_eq!(look(&edr, &machine.sys(), UnixTime(0)).state, State::Fail);
    process(&machine, 80, "acme-endpoint-p", None, "");
    assert_eq!(look(&edr, &machine.sys(), UnixTime(0)).value, Some(json!("acme")));
}

#[test]
fn rights_and_ownership_are_told_by_groups_and_services() {
    let machine = machine();
    machine.is("user.admin", State::Unknown, "absent");
    machine.file("/etc/group", "sudo:x:27:alice\nalice:x:1000:\n");
    machine.is("user.admin", State::Pass, "none");
    assert_eq!(account::administrator(&Sys::at(machine.0.path(), 1000, &[1000, 27])).value, Some(json!("sudo")));
    assert_eq!(account::administrator(&Sys::at(machine.0.path(), 0, &[])).state, State::Fail);
    machine.is("user.root", State::Pass, "no");
    machine.is("os.managed", State::Fail, "none seen");
    machine.file("/sys/fs/cgroup/system.slice/puppet.service/x", "");
    machine.is("os.managed", State::Pass, "puppet");
    machine.is("os.domain", State::Fail, "not joined");
    machine.file("/etc/krb5.conf", "[libdefaults]\n default_realm = CORP.EXAMPLE\n");
    machine.is("os.domain", State::Fail, "not joined");
    machine.file("/etc/krb5.keytab", "x");
    machine.is("os.domain", State::Fail, "joined, but neither sssd nor winbind runs");
    machine.file("/sys/fs/cgroup/system.slice/sssd.service/x", "");
    machine.is("os.domain", State::Pass, "CORP.EXAMPLE");
    fs::remove_dir_all(machine.path("/sys")).unwrap();
    machine.is("os.managed", State::Unknown, "unsupported");
}

#[test]
fn machines_and_containers_are_told_by_each_hint() {
    let machine = machine();
    machine.is("virt.machine", State::Pass, "none");
    machine
        .file("/sys/class/dmi/id/sys_vendor", "Microsoft Corporation\n")
        .file("/sys/class/dmi/id/product_name", "Surface\n");
    machine.is("virt.machine", State::Pass, "none");
    machine.file("/sys/class/dmi/id/product_name", "Virtual Machine\n").file("/proc/cpuinfo", "flags : hypervisor\n");
    machine.is("virt.machine", State::Fail, "hypervisor+hyperv");
    machine.is("virt.container", State::Pass, "none");
    machine.file("/.dockerenv", "");
    machine.is("virt.container", State::Fail, "docker");
    machine.file("/proc/uptime", "350735.47 234388.90\n");
    assert_eq!(machine.look("os.uptime").value, Some(json!(350_735)));
}

#[test]
fn browsers_and_authorities_are_found_where_distributions_put_them() {
    let machine = machine();
    machine.is("browser.firefox", State::Unknown, "unsupported");
    machine
        .file("/var/lib/dpkg/status", "Package: chromium\nStatus: install ok installed\nVersion: 131.0-1~deb12u1\n\n");
    machine.is("browser.chromium", State::Pass, "131.0");
    machine.is("browser.firefox", State::NotApplicable, "not installed");
    for (browser, place) in [
        ("browser.firefox", "/snap/firefox/current/meta/snap.yaml"),
        ("browser.chrome", "/var/lib/flatpak/app/com.google.Chrome/current"),
        ("browser.brave", "/var/lib/flatpak/app/com.brave.Browser/current"),
    ] {
        machine.is(browser, State::NotApplicable, "not installed");
        machine.file(place, "");
        machine.is(browser, State::Unknown, "unsupported");
    }
    machine.file("/usr/lib/firefox/application.ini", "[App]\nName=Firefox\nVersion=133.0\n");
    machine.is("browser.firefox", State::Pass, "133.0");
    let digest = "BA:78:16:BF:8F:01:CF:EA:41:41:40:DE:5D:AE:22:23:B0:03:61:A3:96:17:7A:9C:B4:10:FF:61:F2:00:15:AD";
    let ca = Wanted { sha256: Some(digest.to_owned()), ..Wanted::from("ca.corp") };
    let state = || look(&ca, &machine.sys(), UnixTime(0)).state;
    assert_eq!(state(), State::Unknown);
    machine
        .file("/etc/ssl/certs/ca-certificates.crt", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    assert_eq!(state(), State::Fail);
    machine
        .file("/etc/ssl/certs/ca-certificates.crt", "-----BEGIN CERTIFICATE-----\nYWJj\n-----END CERTIFICATE-----\n");
    assert_eq!(state(), State::Pass);
}

#[test]
fn browsers_of_arch_s_users_have_names_of_their_own() {
    let machine = machine();
    fs::create_dir_all(machine.path("/var/lib/pacman/local/google-chrome-131.0.6778.85-1")).unwrap();
    fs::create_dir_all(machine.path("/var/lib/pacman/local/microsoft-edge-stable-bin-131.0.2903.51-1")).unwrap();
    fs::create_dir_all(machine.path("/var/lib/pacman/local/brave-bin-1:1.73.91-1")).unwrap();
    machine.is("browser.chrome", State::Pass, "131.0.6778.85");
    machine.is("browser.edge", State::Pass, "131.0.2903.51");
    machine.is("browser.brave", State::Pass, "1.73.91");
    machine.is("browser.chromium", State::NotApplicable, "not installed");
}

#[test]
fn a_missing_permission_is_not_a_missing_file() {
    if rustix::process::geteuid().is_root() {
        // root may read everything: the kernel's own answer is told apart instead
        let denied = std::io::Error::from(std::io::ErrorKind::PermissionDenied);
        assert_eq!(crate::posture::sys::reason(&denied), Reason::Permission);
        return;
    }
    let machine = machine();
    machine.file("/sys/kernel/security/lockdown", "[none]");
    fs::set_permissions(machine.path("/sys/kernel/security/lockdown"), fs::Permissions::from_mode(0o000)).unwrap();
    machine.is("boot.lockdown", State::Unknown, "permission");
}
