//! `ztsa-gateway top`: who is connected to what, as it changes.

mod frame;
mod screen;

use std::io::{IsTerminal as _, Read as _};
use std::time::Duration;

use serde_json::Value;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior};
use ztsa_gateway::admin::request::Request;

use super::failure::Failure;
use super::{output, run, socket};
use frame::{Look, Order, Row, rows};
use screen::Screen;

/// Ctrl-C, as a terminal gives it that leaves it to us.
const CTRL_C: u8 = 3;

#[derive(Debug, clap::Args)]
#[group(id = "top-args")]
pub(crate) struct Args {
    #[command(flatten)]
    socket: socket::Args,
    /// Seconds between two looks, 1 to 3600.
    #[arg(long, value_name = "SECS", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=3600))]
    interval: u64,
    /// Look once and end; so it is, too, where stdout is no terminal.
    #[arg(long)]
    once: bool,
    /// What stands first.
    #[arg(long, value_enum, default_value_t = Order::Rate)]
    sort: Order,
}

pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let first = look(&args.socket)?;
    let live = std::io::stdout().is_terminal() && std::io::stdin().is_terminal();
    if args.once || args.socket.json || !live {
        return once(args, &first);
    }
    run::runtime()?.block_on(follow(args, first))
}

/// Asks the gateway who is connected.
fn look(socket: &socket::Args) -> Result<Look, Failure> {
    let answer = socket.ask(&Request::SessionsList {})?;
    Ok(Look { at: std::time::Instant::now(), answer })
}

fn once(args: &Args, look: &Look) -> Result<(), Failure> {
    let mut rows = rows(look, None);
    frame::sort(&mut rows, args.sort);
    if args.socket.json {
        let rows: Vec<Value> = rows.iter().map(Row::json).collect();
        return output::line(&serde_json::json!({ "rows": rows }).to_string());
    }
    let cells: Vec<Vec<String>> = rows.iter().map(Row::cells).collect();
    output::table(&frame::HEAD, &cells, "nobody is connected")
}

async fn follow(args: &Args, first: Look) -> Result<(), Failure> {
    let mut stop = run::Stop::new()?;
    let no_signals = |error: std::io::Error| Failure::new(format!("signals cannot be received: {error}"));
    let mut hangup = signal(SignalKind::hangup()).map_err(no_signals)?;
    let mut resized = signal(SignalKind::window_change()).map_err(no_signals)?;
    let screen = Screen::enter()?;
    let mut keys = keys();
    let every = Duration::from_secs(args.interval);
    let mut ticks = tokio::time::interval_at(Instant::now() + every, every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut order, mut before, mut now) = (args.sort, None, Ok(first));
    loop {
        screen.draw(&frame::lines(now.as_ref(), before.as_ref(), order, screen::size()))?;
        tokio::select! {
            () = stop.wait() => return Ok(()),
            _ = hangup.recv() => return Ok(()),
            _ = resized.recv() => {}
            key = keys.recv() => match key {
                // without a keyboard nobody watches
                None | Some(b'q' | b'Q' | CTRL_C) => return Ok(()),
                Some(b's') => order = order.next(),
                Some(_) => {}
            },
            _ = ticks.tick() => {
                let socket = args.socket.clone();
                let next = tokio::task::spawn_blocking(move || look(&socket)).await;
                let next = next.unwrap_or_else(|error| Err(Failure::new(error.to_string())));
                // a gateway that is away for a moment is waited for
                if let Ok(old) = std::mem::replace(&mut now, next) {
                    before = Some(old);
                }
            }
        }
    }
}

/// Reads what is typed, byte by byte, on a thread that ends with the program.
fn keys() -> mpsc::Receiver<u8> {
    let (send, keys) = mpsc::channel(16);
    std::thread::spawn(move || {
        let mut byte = [0; 1];
        while let Ok(1) = std::io::stdin().lock().read(&mut byte) {
            let [key] = byte;
            if send.blocking_send(key).is_err() {
                return;
            }
        }
    });
    keys
}
