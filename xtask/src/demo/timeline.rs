//! What a newcomer reads: when, whether it held, and what happened.

use std::future::Future;
use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use crate::command::Failure;

/// Prints the steps and counts those that did not hold.
#[derive(Debug)]
pub(super) struct Timeline {
    begun: Instant,
    held: usize,
    failed: usize,
    colour: bool,
}

/// What to tell of a step that held: the command that was typed, and what came of it.
#[derive(Debug, Default)]
pub(super) struct Told {
    command: Option<String>,
    notes: Vec<String>,
}

impl Told {
    /// Tells what came of a step.
    pub(super) fn note(text: impl Into<String>) -> Self {
        Self { command: None, notes: vec![text.into()] }
    }

    /// Tells which command a person would type.
    pub(super) fn typed(command: impl Into<String>) -> Self {
        Self { command: Some(command.into()), notes: Vec::new() }
    }

    /// Tells more of what came of it, one line each.
    pub(super) fn and(mut self, text: impl AsRef<str>) -> Self {
        self.notes.extend(text.as_ref().lines().map(str::to_owned));
        self
    }
}

impl Timeline {
    /// Begins to count the time.
    pub(super) fn begin() -> Self {
        let colour =
            std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        println!("\n    time  what happens");
        Self { begun: Instant::now(), held: 0, failed: 0, colour }
    }

    /// Does one step and prints what came of it; `None` when it did not hold.
    pub(super) async fn step<T>(
        &mut self,
        title: &str,
        step: impl Future<Output = Result<(T, Told), Failure>>,
    ) -> Option<T> {
        match step.await {
            Ok((value, told)) => {
                self.held += 1;
                self.line(&self.paint("32", "✓"), title);
                if let Some(command) = told.command {
                    println!("            {}", self.paint("1", &format!("$ {command}")));
                }
                for note in &told.notes {
                    println!("            {}", self.paint("2", note));
                }
                Some(value)
            }
            Err(failure) => {
                self.failed += 1;
                self.line(&self.paint("31", "✗"), title);
                for line in failure.to_string().lines() {
                    println!("            {}", self.paint("31", line));
                }
                None
            }
        }
    }

    /// Says something that is no step, such as what could not be shown on this machine.
    pub(super) fn remark(&self, text: &str) {
        self.line(&self.paint("33", "-"), text);
    }

    /// Prints the end and says whether every step held.
    pub(super) fn end(&self) -> Result<(), Failure> {
        let (all, took) = (self.held + self.failed, self.begun.elapsed());
        println!("\n{} of {all} steps held, in {}", self.held, seconds(took));
        if self.failed == 0 { Ok(()) } else { Err(Failure::Wrong(format!("{} steps did not hold", self.failed))) }
    }

    fn line(&self, mark: &str, title: &str) {
        println!("{:>8}  {mark} {title}", seconds(self.begun.elapsed()));
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// A time as people read it.
pub(super) fn seconds(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}

/// A short time as people read it.
pub(super) fn milliseconds(time: Duration) -> String {
    format!("{} ms", time.as_millis())
}
