//! Another program's output: absolute path, no shell, no environment, bounded in time and size.

use std::{
    io::{self, Read},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc,
    time::{Duration, Instant},
};

use ztsa_proto::posture::Reason;

/// How long a program may take.
const PATIENCE: Duration = Duration::from_secs(3);
/// The longest output that is read, in bytes.
const LIMIT: u64 = 64 * 1024;
/// How often is looked whether a program that has said everything has ended.
const LOOK: Duration = Duration::from_millis(1);

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
    run_within(call, PATIENCE)
}

fn run_within(call: &Call<'_>, patience: Duration) -> Result<String, Reason> {
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
    let started = Instant::now();
    let read = receiver.recv_timeout(patience);
    let ended = end(&mut child, patience.saturating_sub(started.elapsed()));
    let bytes = read.map_err(|_| Reason::Timeout)?.map_err(|_| Reason::Parse)?;
    match ended {
        // cut off: what it says is not known
        _ if bytes.len() as u64 >= LIMIT => Err(Reason::Parse),
        Ok(None) => Err(Reason::Timeout),
        Ok(Some(status)) if status.success() => String::from_utf8(bytes).map_err(|_| Reason::Parse),
        _ => Err(Reason::Permission),
    }
}

/// Waits for a program's end for so long at most, then ends it: `None`.
fn end(child: &mut Child, patience: Duration) -> io::Result<Option<ExitStatus>> {
    let started = Instant::now();
    loop {
        match child.try_wait() {
            Ok(None) if started.elapsed() < patience => std::thread::sleep(LOOK),
            Ok(Some(status)) => return Ok(Some(status)),
            Ok(None) | Err(_) => {
                // one that has just ended is waited for all the same
                let _ = child.kill();
                return child.wait().map(|_| None);
            }
        }
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
    fn a_program_that_hangs_is_ended() {
        let patience = Duration::from_millis(300);
        let started = Instant::now();
        // one says nothing, one has said everything and stays
        let silent = Call { program: "/bin/sleep", arguments: &["100"], ..Call::default() };
        assert_eq!(run_within(&silent, patience), Err(Reason::Timeout));
        let stays = ["-c", "echo enough; exec >&- 2>&-; exec /bin/sleep 100"];
        let stays = Call { program: "/bin/sh", arguments: &stays, ..Call::default() };
        assert_eq!(run_within(&stays, patience), Err(Reason::Timeout));
        assert!(started.elapsed() < Duration::from_secs(50), "both were ended, not waited for");
    }

    #[test]
    fn a_program_that_talks_without_end_is_cut_off() {
        let call = Call { program: "/usr/bin/yes", ..Call::default() };
        assert_eq!(run(&call), Err(Reason::Parse));
    }
}
