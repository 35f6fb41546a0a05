//! A message bus and GNOME's key store, each a program of its own.

use crate::binary::command;
use crate::folder::Folder;
use crate::process::Process;

/// A bus that starts nothing by itself: with the machine's service files, the first question would start another key store.
const SETTINGS: &str = r#"<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>unix:dir=FOLDER</listen>
  <auth>EXTERNAL</auth>
  <policy context="default"><allow send_destination="*"/><allow receive_sender="*"/><allow own="*"/></policy>
</busconfig>
"#;

/// A session bus of D-Bus.
pub struct Bus {
    pub address: String,
    _process: Process,
}

impl Bus {
    pub fn start(folder: &Folder) -> Self {
        let mut bus = command("dbus-daemon");
        let settings = folder.write("bus.conf", &SETTINGS.replace("FOLDER", &folder.path().display().to_string()));
        bus.args(["--nofork", "--nopidfile", "--print-address=1", "--config-file"]).arg(settings);
        let mut process = Process::start("dbus-daemon", folder, &mut bus);
        let address = process.line("unix:").trim().to_owned();
        Self { address, _process: process }
    }

    /// Starts GNOME's key store on this bus, with the keyrings of this folder; `password` unlocks them, or makes the first.
    pub fn keyring(&self, folder: &Folder, password: Option<&str>) -> Process {
        let mut shell = command("sh");
        let daemon = "exec gnome-keyring-daemon --foreground --components=secrets";
        let script = match password {
            Some(password) => format!("printf %s {password} | ({daemon} --unlock)"),
            None => daemon.to_owned(),
        };
        std::fs::create_dir_all(folder.join("run")).unwrap();
        shell
            .args(["-c", &script])
            .env("DBUS_SESSION_BUS_ADDRESS", &self.address)
            .env("HOME", folder.path())
            .env("XDG_DATA_HOME", folder.join("data"))
            .env("XDG_RUNTIME_DIR", folder.join("run"));
        let process = Process::start("gnome-keyring", folder, &mut shell);
        crate::process::until("the key store to answer on the bus", crate::process::PATIENCE, || {
            let mut ask = command("dbus-send");
            ask.env("DBUS_SESSION_BUS_ADDRESS", &self.address).args([
                "--session",
                "--print-reply",
                "--reply-timeout=2000",
                "--dest=org.freedesktop.secrets",
                "/org/freedesktop/secrets",
                "org.freedesktop.DBus.Peer.Ping",
            ]);
            (crate::process::finish(&mut ask).code == Some(0)).then_some(())
        });
        process
    }
}
