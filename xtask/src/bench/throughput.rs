//! Bulk: how fast bytes move, and what the processes pay for them.

use std::io;
use std::sync::{Arc, Barrier, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use super::cost::Cost;
use super::route::Route;
use super::sample::{self, Throughput, WAYS};
use super::stack::Stack;
use super::wire::{self, DOWN, Duplex, UP};
use crate::command::Failure;

/// Which way the bulk goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    /// From the app.
    Down,
    /// To the app.
    Up,
}

/// What is moved at a time.
pub(super) struct Load {
    /// Its key in the JSON.
    pub(super) key: &'static str,
    /// Its name for people.
    pub(super) name: &'static str,
    direction: Direction,
    streams: usize,
}

/// What is measured, in this order.
pub(super) const LOADS: [Load; 4] = [
    Load { key: "down_1", name: "down, one stream", direction: Direction::Down, streams: 1 },
    Load { key: "up_1", name: "up, one stream", direction: Direction::Up, streams: 1 },
    Load { key: "down_16", name: "down, 16 streams", direction: Direction::Down, streams: 16 },
    Load { key: "up_16", name: "up, 16 streams", direction: Direction::Up, streams: 16 },
];

/// Bytes of the run that finds out how many fill the wanted time.
const FIRST: u64 = 48 << 20;
/// A GiB, in which CPU time is told.
const GIB: f64 = 1_073_741_824.0;

/// How long one load may take beside the time that is wanted of it: a stream that stands still is told of by then.
const LATEST: Duration = Duration::from_secs(40);

/// Measures the loads over each way, one after the other, so that what else the machine does falls on all alike.
/// Of the loads, those are left out whose key is not in `only`, unless it is empty.
pub(super) fn round(
    stack: &Stack,
    lasts: Duration,
    only: &[String],
    into: &mut [Throughput; 4],
) -> Result<(), Failure> {
    let routes =
        [("TCP", stack.tcp()), ("TLS", stack.tls()?), ("two relays", stack.relays()), ("tunnel", stack.tunnel())];
    let wanted = |load: &Load| only.is_empty() || only.iter().any(|key| key == load.key);
    for (into, Load { name, direction, streams, .. }) in into.iter_mut().zip(LOADS).filter(|(_, load)| wanted(load)) {
        let mut rates = [0.0; WAYS];
        let mut costs = [Cost::default(); WAYS];
        for (((kind, route), rate), cost) in routes.iter().zip(&mut rates).zip(&mut costs) {
            let failed = |error: &io::Error| stack.explain(&format!("throughput ({name}) over {kind}"), error);
            let limit = lasts + LATEST;
            let first = run(route, direction, streams, FIRST, limit).map_err(|error| failed(&error))?;
            let bytes = sample::whole(sample::float(FIRST) / first.as_secs_f64() * lasts.as_secs_f64()).max(FIRST);
            let before = Cost::now(stack)?;
            let took = run(route, direction, streams, bytes, limit).map_err(|error| failed(&error))?;
            *cost = Cost::now(stack)?.since(&before).over(sample::float(bytes) / GIB);
            *rate = sample::float(bytes) / took.as_secs_f64() / 1e6;
        }
        into.add(rates, costs);
    }
    Ok(())
}

/// Moves `bytes` in all over `streams` and returns the time from the first request until the last byte has arrived at
/// the side that receives it. Each stream's count is checked.
///
/// # Errors
/// `TimedOut` when a stream has not ended after `limit`, however many bytes it still moves.
fn run(route: &Route, direction: Direction, streams: usize, bytes: u64, limit: Duration) -> io::Result<Duration> {
    let share = bytes / streams as u64;
    let mut open = Vec::new();
    for _ in 0..streams {
        open.push(route.open()?);
    }
    let barrier = Arc::new(Barrier::new(streams + 1));
    let (told, ends) = mpsc::channel();
    for mut stream in open {
        let (barrier, told) = (Arc::clone(&barrier), told.clone());
        thread::spawn(move || {
            barrier.wait();
            let ended = transfer(&mut *stream, direction, share).and_then(|moved| {
                let end = Instant::now();
                let short = || io::Error::other(format!("{moved} bytes of {share} arrived"));
                if moved == share { Ok(end) } else { Err(short()) }
            });
            // nobody listens any more once another stream has failed
            let _ = told.send(ended);
        });
    }
    barrier.wait();
    let begin = Instant::now();
    let mut last = begin;
    for _ in 0..streams {
        let left = limit.saturating_sub(begin.elapsed());
        let late = |_| io::Error::new(io::ErrorKind::TimedOut, format!("a stream has not ended after {limit:?}"));
        last = last.max(ends.recv_timeout(left).map_err(late)??);
    }
    Ok(last - begin)
}

fn transfer(stream: &mut dyn Duplex, direction: Direction, share: u64) -> io::Result<u64> {
    match direction {
        Direction::Down => {
            let mut request = vec![DOWN];
            request.extend_from_slice(&share.to_be_bytes());
            stream.write_all(&request)?;
            stream.flush()?;
            wire::receive(stream)
        }
        Direction::Up => {
            stream.write_all(&[UP])?;
            wire::send(stream, share)?;
            stream.finish()?;
            wire::number(stream)
        }
    }
}
