//! The command as a person meets it.
#![cfg(test)]

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ztsa-idp"));
    command.args(arguments).env_clear().stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Ends its process when the test ends, however it ends.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // fails only when the process has ended already
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn first_line(running: &mut Running) -> String {
    let mut line = String::new();
    BufReader::new(running.0.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    line
}

#[test]
fn it_prints_its_issuer_and_nothing_else_on_stdout() {
    let mut plain = Running(command(&["--listen", "127.0.0.1:0"]).spawn().unwrap());
    let line = first_line(&mut plain);
    assert!(line.starts_with("http://127.0.0.1:") && line.ends_with('\n'), "{line:?}");
    let mut json = Running(command(&["--listen", "[::1]:0", "--approve", "alice", "--json"]).spawn().unwrap());
    let line = first_line(&mut json);
    let ready: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(ready["event"], "ready");
    assert!(ready["issuer"].as_str().unwrap().starts_with("http://[::1]:"), "{line}");
}

#[test]
fn a_mistake_is_said_with_what_to_do() {
    let table: [(&[&str], i32, &str); 3] = [
        (
            &["--listen", "0.0.0.0:0"],
            1,
            "ztsa-idp: 0.0.0.0:0 is not a loopback address; this issuer is for development and binds nothing else\n\
             hint: use --listen 127.0.0.1:0 or --listen [::1]:0\n",
        ),
        (
            &["--approve", "eve"],
            1,
            "ztsa-idp: there is no user 'eve' to approve sign-ins as\nhint: the users are alice, bob and mallory\n",
        ),
        (&["--listen", "here"], 2, "invalid value 'here' for '--listen <ADDR:PORT>'"),
    ];
    for (arguments, code, text) in table {
        let output = command(arguments).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {stderr}");
        assert!(stderr.contains(text), "{arguments:?}: {stderr}");
        assert!(output.stdout.is_empty());
    }
}
