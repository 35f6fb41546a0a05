//! What happens to a live connection when the answer changes, and when it changes back.

use std::time::Instant;

use serde_json::Value;

use crate::command::Failure;

use super::app::Database;
use super::place::Place;
use super::process::{PATIENCE, Running, finish, said};
use super::road::{expect, json};
use super::timeline::{Told, milliseconds};

/// The administrator's words, which must arrive in front of the person.
const REASON: &str = "the laptop was reported stolen";
type Step<T> = Result<(T, Told), Failure>;

/// Opens a session with the database that would last for minutes.
pub(super) async fn stay(place: &Place, database: &Database) -> Step<Running> {
    let mut command = place.ztsa(&["connect", database.app(), "--"]);
    command.args(database.stay());
    let typed = said(&command);
    let mut session = Running::start(&mut command)?;
    session.line("live", PATIENCE).await?;
    let listed = finish(&mut place.gateway(&["sessions", "list", "--json"])).await?.ok()?;
    let open = tunnels(&json(&listed)?, database.app());
    if open == 0 {
        return Err(Failure::Wrong(format!("the administrator sees no tunnel to {}: {listed}", database.app())));
    }
    let told = Told::typed(typed).and("it is connected, and would be for ten minutes");
    Ok((session, told.and(format!("the administrator sees it: {open} open to {}", database.app()))))
}

/// Counts the tunnels to one app in what the administrator is shown.
fn tunnels(listed: &Value, app: &str) -> usize {
    let sessions = listed.get("sessions").and_then(Value::as_array).into_iter().flatten();
    let tunnels = sessions.filter_map(|session| session.get("tunnels")?.as_array()).flatten();
    tunnels.filter(|tunnel| tunnel.get("app").and_then(Value::as_str) == Some(app)).count()
}

/// Raises alice's risk: the live session must end, and say why.
pub(super) async fn raise(place: &Place, mut session: Running) -> Step<()> {
    let mut command = place.gateway(&["risk", "set", "alice", "90", "--reason", REASON]);
    let typed = said(&command);
    let pressed = Instant::now();
    let mut order = Running::start(&mut command)?;
    let outcome = session.ended(PATIENCE).await?;
    let order = order.ended(PATIENCE).await?;
    let answered = order.ok()?;
    if outcome.status.success() {
        return Err(Failure::Wrong(format!("the session ended as if all was well: {}", outcome.all())));
    }
    let reason = outcome.line(REASON);
    let reason = reason.ok_or_else(|| Failure::Wrong(format!("the person was not told why: {}", outcome.all())))?;
    let took = |at: Instant| milliseconds(at.saturating_duration_since(pressed));
    let told = Told::typed(typed)
        .and(format!("{answered} ({} after Enter)", took(order.at)))
        .and(format!("{} after Enter, in front of alice:", took(reason.at)))
        .and(indented(&outcome.stderr()))
        .and(format!("{} after Enter her client had ended, with {}", took(outcome.at), outcome.status));
    Ok(((), told))
}

/// Tries to connect while the risk is high.
pub(super) async fn refused(place: &Place, database: &Database) -> Step<()> {
    let mut command = place.ztsa(&["connect", database.app(), "--"]);
    command.args(database.ask());
    let outcome = finish(&mut command).await?;
    if outcome.status.code() != Some(4) {
        return Err(Failure::Wrong(format!("not exit code 4, denied: {}", outcome.all())));
    }
    expect(&outcome.stderr(), REASON)?;
    Ok(((), Told::typed(said(&command)).and(outcome.stderr())))
}

/// Takes the risk back: a new connection works, and nobody has signed in again.
pub(super) async fn fall(place: &Place, database: &Database) -> Step<()> {
    let mut clear = place.gateway(&["risk", "clear", "alice"]);
    let typed = said(&clear);
    finish(&mut clear).await?.ok()?;
    let mut command = place.ztsa(&["connect", database.app(), "--"]);
    command.args(database.ask());
    let answer = finish(&mut command).await?.ok()?;
    expect(&answer, &database.answer())?;
    Ok(((), Told::typed(typed).and(format!("$ {}\n{answer}", said(&command)))))
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}
