//! What one look at the gateway shows: a pure function of this look and the one before.

use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

use clap::ValueEnum;
use serde_json::{Value, json};
use ztsa_proto::text::printable;
use ztsa_proto::time::UnixTime;

use crate::command::failure::Failure;
use crate::command::output::{bytes, count, counted, list, person, text, tunnel_count};

/// The columns.
pub(super) const HEAD: [&str; 11] =
    ["USER", "DEVICE", "APP", "TUNNELS", "STATE", "RISK", "UP/S", "DOWN/S", "UP", "DOWN", "SINCE"];
/// Where the numbers stand, which end where their column ends.
const NUMBERS: std::ops::Range<usize> = 5..10;
/// A name takes this many columns at most.
const NAME: usize = 24;

/// What the gateway answered, and when.
#[derive(Debug)]
pub(super) struct Look {
    pub(super) at: Instant,
    pub(super) answer: Value,
}

/// What stands first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Order {
    /// What moves most bytes now.
    Rate,
    /// What has moved most bytes.
    Bytes,
    /// The highest risk.
    Risk,
    /// People, in the order of their names.
    User,
}

impl Order {
    /// The one that the key `s` goes on to.
    pub(super) fn next(self) -> Self {
        match self {
            Self::Rate => Self::Bytes,
            Self::Bytes => Self::Risk,
            Self::Risk => Self::User,
            Self::User => Self::Rate,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Rate => "rate",
            Self::Bytes => "bytes",
            Self::Risk => "risk",
            Self::User => "user",
        }
    }
}

/// One app of one session.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row {
    user: String,
    device: String,
    session: String,
    app: String,
    tunnels: u64,
    suspended: u64,
    risk: u64,
    up: u64,
    down: u64,
    /// Bytes in a second, once there are two looks.
    rates: Option<(u64, u64)>,
    since: u64,
}

impl Row {
    pub(super) fn cells(&self) -> Vec<String> {
        let rate = |of: fn((u64, u64)) -> u64| self.rates.map_or_else(|| "-".to_owned(), |rates| bytes(of(rates)));
        vec![
            printable(&self.user, NAME),
            printable(&self.device, NAME),
            printable(&self.app, NAME),
            self.tunnels.to_string(),
            match (self.suspended, self.tunnels) {
                (0, _) => "open".to_owned(),
                (paused, all) if paused == all => "suspended".to_owned(),
                (paused, _) => format!("{paused} suspended"),
            },
            self.risk.to_string(),
            rate(|rates| rates.0),
            rate(|rates| rates.1),
            bytes(self.up),
            bytes(self.down),
            UnixTime(self.since).rfc3339(),
        ]
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "user": self.user, "device": self.device, "session": self.session, "app": self.app,
            "tunnels": self.tunnels, "suspended": self.suspended, "risk": self.risk,
            "up": self.up, "down": self.down, "since": self.since,
        })
    }
}

/// Adds the tunnels up: one row for each app of each session that has one open.
pub(super) fn rows(now: &Look, before: Option<&Look>) -> Vec<Row> {
    let seconds = before.map(|before| now.at.saturating_duration_since(before.at).as_secs_f64());
    let earlier: HashMap<u64, (u64, u64)> =
        before.into_iter().flat_map(|look| tunnels(&look.answer)).map(|(id, up, down)| (id, (up, down))).collect();
    let mut rows = BTreeMap::new();
    for session in list(&now.answer, "sessions") {
        let risk = session.get("risk").cloned().unwrap_or_default();
        let worst = count(&risk, "user").max(count(&risk, "device")).max(count(&risk, "session"));
        for tunnel in list(session, "tunnels") {
            let id = text(session, "session");
            let row = rows.entry((id.clone(), text(tunnel, "app"))).or_insert_with(|| Row {
                user: person(session),
                device: device(session),
                session: id,
                app: text(tunnel, "app"),
                tunnels: 0,
                suspended: 0,
                risk: worst,
                up: 0,
                down: 0,
                rates: seconds.map(|_| (0, 0)),
                since: u64::MAX,
            });
            let (up, down) = (count(tunnel, "up"), count(tunnel, "down"));
            row.tunnels += 1;
            row.suspended += u64::from(text(tunnel, "access") == "suspended");
            row.up += up;
            row.down += down;
            row.since = row.since.min(count(tunnel, "opened_at"));
            // one that was not there before has moved all that it has since then
            let (up_before, down_before) = earlier.get(&count(tunnel, "tunnel")).copied().unwrap_or_default();
            if let (Some(rates), Some(seconds)) = (&mut row.rates, seconds) {
                rates.0 += per_second(up.saturating_sub(up_before), seconds);
                rates.1 += per_second(down.saturating_sub(down_before), seconds);
            }
        }
    }
    rows.into_values().collect()
}

/// Puts first what is wanted first; what is alike stands by name.
pub(super) fn sort(rows: &mut [Row], order: Order) {
    let name = |row: &Row| (row.user.clone(), row.app.clone(), row.session.clone());
    let falling = |key: u64| std::cmp::Reverse(key);
    rows.sort_by_cached_key(|row| match order {
        Order::Rate => (falling(row.rates.map_or(0, |rates| rates.0 + rates.1)), falling(row.up + row.down), name(row)),
        Order::Bytes => (falling(row.up + row.down), falling(0), name(row)),
        Order::Risk => (falling(row.risk), falling(row.suspended), name(row)),
        Order::User => (falling(0), falling(0), name(row)),
    });
}

/// The lines of the whole screen.
pub(super) fn lines(
    now: Result<&Look, &Failure>,
    before: Option<&Look>,
    order: Order,
    (columns, height): (usize, usize),
) -> Vec<String> {
    let help = format!("sorted by {}; s sorts otherwise, q ends", order.as_str());
    let look = match now {
        Ok(look) => look,
        Err(failure) => return vec![cut(&format!("{failure}; trying again"), columns), cut(&help, columns)],
    };
    let mut rows = rows(look, before);
    sort(&mut rows, order);
    let (sum, rate) = (
        |of: fn(&Row) -> u64| rows.iter().map(of).sum::<u64>(),
        |of: fn((u64, u64)) -> u64| bytes(rows.iter().filter_map(|row| row.rates).map(of).sum()),
    );
    let summary = format!(
        "{}, {}, {} suspended, {}/s up, {}/s down",
        counted(list(&look.answer, "sessions").len(), "session", "sessions"),
        tunnel_count(sum(|row| row.tunnels)),
        sum(|row| row.suspended),
        rate(|rates| rates.0),
        rate(|rates| rates.1),
    );
    let cells: Vec<Vec<String>> =
        std::iter::once(HEAD.map(str::to_owned).to_vec()).chain(rows.iter().map(Row::cells)).collect();
    let width = |column: usize| cells.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..HEAD.len()).map(|column| width(column).unwrap_or_default()).collect();
    let line = |cells: &Vec<String>| {
        let aligned = cells.iter().zip(&widths).enumerate().map(|(column, (cell, width))| {
            if NUMBERS.contains(&column) { format!("{cell:>width$}") } else { format!("{cell:width$}") }
        });
        cut(aligned.collect::<Vec<_>>().join("  ").trim_end(), columns)
    };
    let mut lines = vec![cut(&format!("ztsa-gateway  {summary}"), columns), cut(&help, columns), String::new()];
    let room = height.saturating_sub(lines.len());
    let hidden = cells.len().saturating_sub(room);
    let shown = if hidden > 0 { room.saturating_sub(1) } else { room };
    lines.extend(cells.iter().take(shown).enumerate().map(|(number, cells)| match number {
        // the head stands out
        0 => format!("\x1b[7m{:columns$}\x1b[0m", line(cells)),
        _ => line(cells),
    }));
    if hidden > 0 {
        lines.push(cut(&format!("and {} more", cells.len().saturating_sub(shown)), columns));
    }
    if rows.is_empty() {
        lines.push("nobody is connected".to_owned());
    }
    lines
}

fn tunnels(answer: &Value) -> impl Iterator<Item = (u64, u64, u64)> {
    let all = list(answer, "sessions").iter().flat_map(|session| list(session, "tunnels"));
    all.map(|tunnel| (count(tunnel, "tunnel"), count(tunnel, "up"), count(tunnel, "down")))
}

/// Names a device as people know it, else by the beginning of its id.
fn device(session: &Value) -> String {
    match session.get("device_name").and_then(Value::as_str) {
        Some(name) => printable(name, NAME),
        None => text(session, "device").chars().take(12).collect(),
    }
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a rate is rounded for people, and the cast saturates"
)]
fn per_second(bytes: u64, seconds: f64) -> u64 {
    if seconds > 0.0 { (bytes as f64 / seconds) as u64 } else { 0 }
}

fn cut(text: &str, columns: usize) -> String {
    text.chars().take(columns).collect()
}

#[cfg(test)]
mod tests;
