//! What people and programs see: data on stdout, words on stderr; colour and progress only on a terminal.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

use serde::Serialize;

use crate::cli::Color;
use crate::env::{self, Environment};
use crate::settings::Again;

mod qr;
mod table;

pub(crate) use qr::qr;
pub(crate) use table::Table;

/// How loudly to speak, and in which form.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each says one thing of a terminal")]
pub(crate) struct Printer {
    out: Style,
    err: Style,
    json: bool,
    quiet: bool,
    verbose: u8,
    progress: bool,
    attended: bool,
    present: bool,
    again: Again,
}

/// Whether a stream takes colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Style {
    color: bool,
}

impl Style {
    /// Without colour.
    #[cfg(test)]
    pub(crate) const fn plain() -> Self {
        Self { color: false }
    }

    /// Chooses for a stream.
    fn choose(when: Color, terminal: bool, environment: &Environment) -> Self {
        let plain = environment.has(env::NO_COLOR) || environment.text(env::TERM) == Some("dumb");
        let color = match when {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => terminal && !plain,
        };
        Self { color }
    }

    /// Whether colour is on.
    pub(crate) fn is_colored(self) -> bool {
        self.color
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.color { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    /// For names and values that matter.
    pub(crate) fn bold(self, text: &str) -> String {
        self.paint("1", text)
    }

    /// For what matters less.
    pub(crate) fn dim(self, text: &str) -> String {
        self.paint("2", text)
    }

    /// For what is well.
    pub(crate) fn good(self, text: &str) -> String {
        self.paint("32", text)
    }

    /// For what a person should look at.
    pub(crate) fn warn(self, text: &str) -> String {
        self.paint("33", text)
    }

    /// For what failed or is denied.
    pub(crate) fn bad(self, text: &str) -> String {
        self.paint("1;31", text)
    }
}

impl Printer {
    /// Looks at the streams once.
    pub(crate) fn new(when: Color, json: bool, quiet: bool, verbose: u8, environment: &Environment) -> Self {
        let (out, err) = (io::stdout().is_terminal(), io::stderr().is_terminal());
        let dumb = environment.text(env::TERM) == Some("dumb") || environment.has(env::CI);
        Self {
            out: Style::choose(when, out, environment),
            err: Style::choose(when, err, environment),
            json,
            quiet,
            verbose,
            present: err && !json && !environment.has(env::CI),
            again: Again::default(),
            attended: err && io::stdin().is_terminal() && !environment.has(env::CI),
            progress: err && !dumb && !quiet && verbose == 0,
        }
    }

    /// Completes the commands in hints by what this command line said.
    pub(crate) fn with_again(self, again: Again) -> Self {
        Self { again, ..self }
    }

    /// A hint with its commands as they have to be typed here.
    pub(crate) fn exact(&self, hint: &str) -> String {
        self.again.exact(hint)
    }

    /// The same, once a login has remembered gateway and certificates.
    pub(crate) fn exact_after_login(&self, hint: &str) -> String {
        self.again.after_login().exact(hint)
    }

    /// The style of stdout.
    pub(crate) fn out_style(&self) -> Style {
        self.out
    }

    /// The style of stderr.
    pub(crate) fn err_style(&self) -> Style {
        self.err
    }

    /// Whether data is wanted as JSON.
    pub(crate) fn json(&self) -> bool {
        self.json
    }

    /// Whether the person asked for more words.
    pub(crate) fn verbose(&self) -> bool {
        self.verbose > 0
    }

    /// Whether a person is at the terminal: both to read what is said and to act on it.
    pub(crate) fn attended(&self) -> bool {
        self.attended
    }

    /// Whether a person reads what is said, and can act on it elsewhere: at a browser, or on a telephone.
    pub(crate) fn present(&self) -> bool {
        self.present
    }

    /// Asks the person at the terminal; the answer is typed behind the question.
    #[expect(clippy::unused_self, reason = "whoever speaks has been given the printer")]
    pub(crate) fn question(&self, text: &str) {
        let mut err = io::stderr().lock();
        // Nobody answers when stderr is gone.
        let _gone = write!(err, "{text}").and_then(|()| err.flush());
    }

    /// Writes data to stdout, and a line feed.
    ///
    /// # Errors
    /// The stream is closed or full.
    #[expect(clippy::unused_self, reason = "whoever speaks has been given the printer")]
    pub(crate) fn data(&self, text: &str) -> io::Result<()> {
        let mut out = io::stdout().lock();
        writeln!(out, "{text}")?;
        out.flush()
    }

    /// Writes bytes to stdout as they are.
    ///
    /// # Errors
    /// The stream is closed or full.
    #[expect(clippy::unused_self, reason = "whoever speaks has been given the printer")]
    pub(crate) fn bytes(&self, bytes: &[u8]) -> io::Result<()> {
        let mut out = io::stdout().lock();
        out.write_all(bytes)?;
        out.flush()
    }

    /// Writes one JSON value to stdout: one line when it is an event of a running command, else indented.
    ///
    /// # Errors
    /// The stream is closed or full.
    pub(crate) fn json_value(&self, value: &impl Serialize) -> io::Result<()> {
        self.data(&serde_json::to_string_pretty(value)?)
    }

    /// Writes one line of NDJSON to stdout.
    ///
    /// # Errors
    /// The stream is closed or full.
    pub(crate) fn json_line(&self, value: &impl Serialize) -> io::Result<()> {
        self.data(&serde_json::to_string(value)?)
    }

    /// Tells a person something on stderr, unless `--quiet`.
    pub(crate) fn say(&self, text: &str) {
        if !self.quiet {
            self.must_say(text);
        }
    }

    /// Tells a person something on stderr even with `--quiet`: errors, and what they must act on.
    #[expect(clippy::unused_self, reason = "whoever speaks has been given the printer")]
    pub(crate) fn must_say(&self, text: &str) {
        // Nobody is left to be told when stderr is gone.
        // In one piece: several processes may speak at the same terminal.
        let _gone = io::stderr().lock().write_all(format!("{text}\n").as_bytes());
    }

    /// Warns a person on stderr.
    pub(crate) fn warn(&self, text: &str) {
        self.say(&format!("{} {text}", self.err.warn("warning:")));
    }

    /// Makes a line at the foot of stderr; nothing where stderr is no terminal.
    pub(crate) fn foot(&self) -> Option<Foot> {
        self.progress.then_some(Foot(None))
    }

    /// Shows a spinner on stderr while something is awaited; nothing where stderr is no terminal.
    pub(crate) fn spinner(&self, text: &str) -> Spinner {
        if !self.progress {
            return Spinner(None);
        }
        let bar = indicatif::ProgressBar::new_spinner();
        bar.set_message(text.to_owned());
        bar.enable_steady_tick(Duration::from_millis(100));
        Spinner(Some(bar))
    }
}

/// A line at the foot of a terminal; dropping it clears it.
#[derive(Debug)]
pub(crate) struct Foot(Option<indicatif::ProgressBar>);

impl Foot {
    /// Shows a text in place of what was there.
    pub(crate) fn show(&mut self, text: &str) {
        let bar = self.0.get_or_insert_with(|| {
            let bar = indicatif::ProgressBar::new_spinner();
            // cut at the width of the terminal: a line that runs over could not be taken back
            match indicatif::ProgressStyle::with_template("{wide_msg}") {
                Ok(style) => bar.with_style(style),
                Err(_) => bar,
            }
        });
        bar.set_message(text.to_owned());
        bar.tick();
    }

    /// Takes the line away.
    pub(crate) fn clear(&mut self) {
        if let Some(bar) = self.0.take() {
            bar.finish_and_clear();
        }
    }

    /// Writes above the line.
    pub(crate) fn above(&self, write: impl FnOnce()) {
        match &self.0 {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }
}

impl Drop for Foot {
    fn drop(&mut self) {
        self.clear();
    }
}

/// A spinner on a terminal; dropping it clears its line.
#[derive(Debug)]
pub(crate) struct Spinner(Option<indicatif::ProgressBar>);

impl Drop for Spinner {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

/// Says a length of time in words: `45 s`, `4 min`, `1 h 30 min`, `3 days`.
pub(crate) fn span(seconds: u64) -> String {
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7199 => format!("{} min", seconds / 60),
        7200..=172_799 => match (seconds / 3600, seconds % 3600 / 60) {
            (hours, 0) => format!("{hours} h"),
            (hours, minutes) => format!("{hours} h {minutes} min"),
        },
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_said_in_one_or_two_units() {
        for (seconds, said) in
            [(0, "0 s"), (119, "119 s"), (120, "2 min"), (7200, "2 h"), (9000, "2 h 30 min"), (259_200, "3 days")]
        {
            assert_eq!(span(seconds), said);
        }
    }

    #[test]
    fn colour_needs_a_terminal_or_an_order() {
        let none = Environment::default();
        let no_color = Environment::of(&[(env::NO_COLOR, "1")]);
        for (when, terminal, environment, expected) in [
            (Color::Auto, true, &none, true),
            (Color::Auto, false, &none, false),
            (Color::Auto, true, &no_color, false),
            (Color::Always, false, &no_color, true),
            (Color::Never, true, &none, false),
        ] {
            assert_eq!(Style::choose(when, terminal, environment).color, expected, "{when:?} {terminal}");
        }
    }
}
