//! What people and programs read on stdout.

use std::io::{self, Write as _};

use serde_json::{Map, Value};
use ztsa_proto::text::printable;
use ztsa_proto::time::UnixTime;

use super::failure::Failure;

/// Texts in a table are cut at this many characters.
const CELL: usize = 80;

/// Prints one line. A reader that went away is not a failure.
pub(crate) fn line(text: &str) -> Result<(), Failure> {
    match writeln!(io::stdout().lock(), "{text}") {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        done => Ok(done?),
    }
}

/// Prints an object for programs.
pub(crate) fn json(members: Map<String, Value>) -> Result<(), Failure> {
    line(&Value::Object(members).to_string())
}

/// Prints rows under a head, or a sentence when there are none.
pub(crate) fn table(head: &[&str], rows: &[Vec<String>], none: &str) -> Result<(), Failure> {
    if rows.is_empty() {
        return line(none);
    }
    let head: Vec<String> = head.iter().map(|name| (*name).to_owned()).collect();
    let rows: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(|cell| printable(cell, CELL)).collect()).collect();
    let width = |column: usize| {
        let cells = rows.iter().chain(std::iter::once(&head)).filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    for row in std::iter::once(&head).chain(&rows) {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        line(cells.join("  ").trim_end())?;
    }
    Ok(())
}

/// Gives a member's text, or a dash.
pub(crate) fn text(value: &Value, member: &str) -> String {
    match value.get(member) {
        Some(Value::String(text)) => printable(text, 1_000),
        Some(Value::Number(number)) => number.to_string(),
        Some(Value::Bool(yes)) => yes.to_string(),
        _ => "-".to_owned(),
    }
}

/// Gives a member's time, or a dash.
pub(crate) fn time(value: &Value, member: &str) -> String {
    value.get(member).and_then(Value::as_u64).map_or_else(|| "-".to_owned(), |at| UnixTime(at).rfc3339())
}

/// Gives a member's count.
pub(crate) fn count(value: &Value, member: &str) -> u64 {
    value.get(member).and_then(Value::as_u64).unwrap_or_default()
}

/// Says how many of something there are.
pub(crate) fn counted(count: impl std::fmt::Display, one: &str, many: &str) -> String {
    let count = count.to_string();
    let word = if count == "1" { one } else { many };
    format!("{count} {word}")
}

/// Gives a member's list.
pub(crate) fn list<'a>(value: &'a Value, member: &str) -> &'a [Value] {
    value.get(member).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// Names a person as people know them: their name, else the subject of `ISSUER|SUBJECT`.
pub(crate) fn person(value: &Value) -> String {
    let name = value.get("name").and_then(Value::as_str);
    let subject =
        value.get("user").and_then(Value::as_str).and_then(|user| user.split_once('|')).map(|(_, subject)| subject);
    printable(name.or(subject).unwrap_or("-"), CELL)
}

/// Says how many tunnels changed, in words.
pub(crate) fn changed(value: &Value) -> String {
    let tunnels = value.get("tunnels").cloned().unwrap_or_default();
    let part = |member: &str, word: &str| {
        let count = count(&tunnels, member);
        (count > 0).then(|| format!("{} {word}", tunnel_count(count)))
    };
    let parts: Vec<String> = [part("ended", "ended"), part("suspended", "suspended"), part("restored", "restored")]
        .into_iter()
        .flatten()
        .collect();
    if parts.is_empty() { "no live tunnel changed".to_owned() } else { parts.join(", ") }
}

/// Says a number of bytes in a few characters: `0 B`, `1.5 kB`, `23 MB`.
#[expect(clippy::cast_precision_loss, reason = "it is rounded for people")]
pub(crate) fn bytes(count: u64) -> String {
    let mut size = count as f64;
    for unit in ["B", "kB", "MB", "GB", "TB"] {
        if size < 999.5 {
            return if unit == "B" || size >= 9.95 { format!("{size:.0} {unit}") } else { format!("{size:.1} {unit}") };
        }
        size /= 1000.0;
    }
    format!("{size:.0} PB")
}

/// Counts tunnels in words.
pub(crate) fn tunnel_count(count: u64) -> String {
    if count == 1 { "1 tunnel".to_owned() } else { format!("{count} tunnels") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_said_in_a_few_characters() {
        for (count, said) in [
            (0, "0 B"),
            (999, "999 B"),
            (1_000, "1.0 kB"),
            (9_949, "9.9 kB"),
            (9_950, "10 kB"),
            (999_499, "999 kB"),
            (999_500, "1.0 MB"),
            (u64::MAX, "18447 PB"),
        ] {
            assert_eq!(bytes(count), said);
        }
    }
}
