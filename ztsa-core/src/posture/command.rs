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

/// Names a program and how it is asked.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Call<'a> {
    /// Its absolute path.
    pub(super) program: &'a str,
    /// Its arguments.
    pub(super) arguments: &'a [&'a str],
    /// What it gets as environment, besides `LC_ALL=C`.
    pub(super) environment: &'a [(&'a str, &'a str)],
    /// Whether it answers on its standard error, as `sysadminctl` does.
    pub(super) stderr: bool,
}

/// Runs a program and gives what it wrote.
pub(super) fn run(call: &Call<'_>) -> Result<String, Reason> {
    let mut command = Command::new(call.program);
    let (stdout, stderr) = if call.stderr { (Stdio::null(), Stdio::piped()) } else { (Stdio::piped(), Stdio::null()) };
    command
        .args(call.arguments)
        .env_clear()
        .env("LC_ALL", "C")
        .envs(call.environment.iter().copied())
        .stdin(Stdio::null())
        .stderr(stderr)
        .stdout(stdout);
    let mut child = command.spawn().map_err(|error| super::sys::reason(&error))?;
    let output: Box<dyn Read + Send> = match (child.stdout.take(), child.stderr.take()) {
        (Some(stdout), _) => Box::new(stdout),
        (None, Some(stderr)) => Box::new(stderr),
        (None, None) => return Err(Reason::Parse),
    };
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
        let call = |program| Call { program, ..Call::default() };
        assert_eq!(run(&call("/usr/bin/env")).unwrap(), "LC_ALL=C\n");
        let home = Call { environment: &[("HOME", "/home/a")], ..call("/usr/bin/env") };
        assert!(run(&home).unwrap().lines().any(|line| line == "HOME=/home/a"));
        assert_eq!(run(&call("/no/such/program")), Err(Reason::Absent));
        assert_eq!(run(&call("/bin/false")), Err(Reason::Permission));
        let complaint = Call { arguments: &["/no/such/file"], ..call("/bin/cat") };
        assert_eq!(run(&complaint), Err(Reason::Permission));
    }

    #[test]
    fn a_program_that_talks_without_end_is_cut_off() {
        let call = Call { program: "/usr/bin/yes", ..Call::default() };
        assert!(run(&call).is_err());
    }
}
