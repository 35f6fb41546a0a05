//! Another program's output: absolute path, no shell, no environment, bounded in time and size.

use std::{
    io::Read,
    process::{Command, Stdio},
    sync::mpsc,
    time::Duration,
};

use ztsa_proto::posture::Reason;

/// How long a program may take.
const PATIENCE: Duration = Duration::from_secs(3);
/// The longest output that is read, in bytes.
const LIMIT: u64 = 64 * 1024;

/// Runs a program and gives what it wrote to its standard output.
pub(super) fn run(program: &str, arguments: &[&str]) -> Result<String, Reason> {
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .stdout(Stdio::piped());
    let mut child = command.spawn().map_err(|error| super::reason(&error))?;
    let output = child.stdout.take().ok_or(Reason::Parse)?;
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let read = output.take(LIMIT).read_to_end(&mut bytes);
        // Nobody listens any more when it took too long.
        let _ = sender.send(read.map(|_| bytes));
    });
    let read = receiver.recv_timeout(PATIENCE);
    if read.is_err() {
        let _ = child.kill();
    }
    let ended = child.wait();
    let bytes = read.map_err(|_| Reason::Timeout)?.map_err(|_| Reason::Parse)?;
    match ended {
        Ok(status) if status.success() => String::from_utf8(bytes).map_err(|_| Reason::Parse),
        _ => Err(Reason::Permission),
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_run_without_environment() {
        let seen = run("/usr/bin/env", &[]).unwrap();
        assert_eq!(seen, "LC_ALL=C\n");
        assert_eq!(run("/no/such/program", &[]), Err(Reason::Absent));
        assert_eq!(run("/bin/false", &[]), Err(Reason::Permission));
    }
}
