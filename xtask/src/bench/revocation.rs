//! How long a tunnel lives on after an administrator has ended it.

use std::io::{self, Read};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::io::AsyncReadExt;

use super::app::TRICKLE_PAUSE;
use super::idle;
use super::sample::Times;
use super::stack::{APP, Stack, USER};
use super::wire::TRICKLE;
use crate::command::Failure;

/// Live tunnels that the order concerns.
const TUNNELS: usize = 1000;
/// Live tunnels to another app that it does not, when the order names the app.
const OTHERS: usize = 50;
/// How long all tunnels live before the order.
const SETTLE: Duration = Duration::from_millis(400);
/// How long a tunnel may live on before the bench calls it a failure.
const LATEST: Duration = Duration::from_secs(10);

/// What was seen of the ended tunnels, over all repetitions.
#[derive(Debug, Default, Clone)]
pub(super) struct Revocation {
    /// From the call to the end that the local program sees: no byte comes after it.
    pub(super) end: Times,
    /// From the call to the last byte, of the tunnels that had one after the call.
    pub(super) last_byte: Times,
    /// From the call to the gateway's answer.
    pub(super) answer: Times,
    /// Tunnels that were ended.
    pub(super) ended: usize,
    /// Those whose local program saw a reset and not an orderly end.
    pub(super) resets: usize,
}

/// How one tunnel ended.
struct Ending {
    last_byte: Option<Instant>,
    at: Instant,
    reset: bool,
}

/// Repeats both orders: an app's tunnels revoked, then a person's risk set to 100 and cleared again.
pub(super) fn measure(stack: &Stack, repetitions: usize) -> Result<Revocation, Failure> {
    let mut seen = Revocation::default();
    for _ in 0..repetitions {
        once(stack, &json!({ "op": "sessions.revoke", "app": APP, "reason": "bench" }), true, &mut seen)?;
        once(stack, &json!({ "op": "risk.set", "user": USER, "score": 100, "reason": "bench" }), false, &mut seen)?;
        stack.administrator()?.order(&json!({ "op": "risk.clear", "user": USER }))?;
    }
    Ok(seen)
}

fn once(stack: &Stack, order: &Value, others_stay: bool, seen: &mut Revocation) -> Result<(), Failure> {
    let failed = |error: io::Error| stack.explain("1,000 live tunnels", &error);
    let tunnels = idle::connect(&stack.tunnel(), TUNNELS, TRICKLE).map_err(failed)?;
    let others = if others_stay { idle::connect(&stack.other(), OTHERS, TRICKLE).map_err(failed)? } else { Vec::new() };
    let mut administrator = stack.administrator()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(failed)?;
    let watched: Vec<_> = {
        let _inside = runtime.enter();
        tunnels.into_iter().map(|stream| Ok(runtime.spawn(watch(watchable(stream)?)))).collect::<io::Result<_>>()
    }
    .map_err(failed)?;
    thread::sleep(SETTLE);
    let call = Instant::now();
    administrator.order(order)?;
    seen.answer.add(call.elapsed());
    let ends = runtime.block_on(async {
        let mut ends = Vec::new();
        for task in watched {
            ends.push(tokio::time::timeout_at((call + LATEST).into(), task).await.map_err(io::Error::other)??);
        }
        Ok(ends)
    });
    let ends = ends.map_err(|error: io::Error| stack.explain("a tunnel that was revoked is still open", &error))?;
    for end in ends {
        if end.at < call {
            return Err(stack.explain("revocation", &"a tunnel ended before it was revoked"));
        }
        seen.end.add(end.at - call);
        if let Some(after) = end.last_byte.and_then(|at| at.checked_duration_since(call)) {
            seen.last_byte.add(after);
        }
        seen.ended += 1;
        seen.resets += usize::from(end.reset);
    }
    stay(&others).map_err(|error| stack.explain("a tunnel that was not revoked has ended", &error))
}

fn watchable(stream: TcpStream) -> io::Result<tokio::net::TcpStream> {
    stream.set_nonblocking(true)?;
    tokio::net::TcpStream::from_std(stream)
}

/// Reads a tunnel to its end.
async fn watch(mut stream: tokio::net::TcpStream) -> Ending {
    let mut last_byte = None;
    let mut buffer = [0; 512];
    loop {
        match stream.read(&mut buffer).await {
            Ok(0) => return Ending { last_byte, at: Instant::now(), reset: false },
            Ok(_) => last_byte = Some(Instant::now()),
            Err(_) => return Ending { last_byte, at: Instant::now(), reset: true },
        }
    }
}

/// Makes sure that each of these still gets bytes.
fn stay(others: &[TcpStream]) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    for stream in others {
        stream.set_nonblocking(true)?;
        // what came before the order
        while matches!((&mut &*stream).read(&mut buffer), Ok(1..)) {}
    }
    thread::sleep(TRICKLE_PAUSE * 3);
    for stream in others {
        if (&mut &*stream).read(&mut buffer)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(())
}
