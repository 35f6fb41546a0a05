//! Bulk: how fast bytes move, and what the processes pay for them.

use std::io;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use super::route::Route;
use super::sample::{self, Throughput};
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

/// Measures the loads over the three ways, one after the other, so that what else the machine does falls on all alike.
pub(super) fn round(stack: &Stack, lasts: Duration, into: &mut [Throughput; 4]) -> Result<(), Failure> {
    let routes = [("TCP", stack.tcp()), ("TLS", stack.tls()?), ("tunnel", stack.tunnel())];
    for (into, Load { name, direction, streams, .. }) in into.iter_mut().zip(LOADS) {
        let mut rates = [0.0; 3];
        let mut cpu = [0.0; 2];
        for ((kind, route), rate) in routes.iter().zip(&mut rates) {
            let failed = |error: &io::Error| stack.explain(&format!("throughput ({name}) over {kind}"), error);
            let first = run(route, direction, streams, FIRST).map_err(|error| failed(&error))?;
            let bytes = sample::whole(sample::float(FIRST) / first.as_secs_f64() * lasts.as_secs_f64()).max(FIRST);
            let before = [stack.client.cpu()?, stack.gateway.cpu()?];
            let took = run(route, direction, streams, bytes).map_err(|error| failed(&error))?;
            let after = [stack.client.cpu()?, stack.gateway.cpu()?];
            *rate = sample::float(bytes) / took.as_secs_f64() / 1e6;
            for ((cpu, after), before) in cpu.iter_mut().zip(after).zip(before) {
                *cpu = (after - before) / (sample::float(bytes) / GIB);
            }
        }
        into.add(rates, cpu);
    }
    Ok(())
}

/// Moves `bytes` in all over `streams` and returns the time from the first request until the last byte has arrived at
/// the side that receives it. Each stream's count is checked.
fn run(route: &Route, direction: Direction, streams: usize, bytes: u64) -> io::Result<Duration> {
    let share = bytes / streams as u64;
    let mut open = Vec::new();
    for _ in 0..streams {
        open.push(route.open()?);
    }
    let barrier = Arc::new(Barrier::new(streams + 1));
    let threads: Vec<_> = open
        .into_iter()
        .map(|mut stream| {
            let barrier = Arc::clone(&barrier);
            thread::spawn(move || {
                barrier.wait();
                let moved = transfer(&mut *stream, direction, share)?;
                let end = Instant::now();
                if moved == share {
                    Ok(end)
                } else {
                    Err(io::Error::other(format!("{moved} bytes of {share} arrived")))
                }
            })
        })
        .collect();
    barrier.wait();
    let begin = Instant::now();
    let mut last = begin;
    for thread in threads {
        let end = thread.join().map_err(|_| io::Error::other("a stream's thread panicked"))??;
        last = last.max(end);
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
