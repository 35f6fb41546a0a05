//! Small things: a new tunnel, tunnels per second, a round trip.

use std::io::{self, Read, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::route::Route;
use super::sample::{Times, float};
use super::wire::{Duplex, ECHO};

/// Connections that are opened at a time when tunnels per second are counted.
const AT_A_TIME: usize = 8;
/// Bytes of a round trip.
const PING: usize = 64;
/// Round trips before those that count.
const WARM: usize = 50;

/// Opens a connection and waits for the first byte that the app sends back.
fn open(route: &Route) -> io::Result<Box<dyn Duplex>> {
    let mut stream = route.open()?;
    stream.write_all(&[ECHO])?;
    stream.flush()?;
    let mut echo = [0; 1];
    stream.read_exact(&mut echo)?;
    Ok(stream)
}

/// Times `count` openings, one after the other, each from the local connect to the first echoed byte.
pub(super) fn openings(route: &Route, count: usize) -> io::Result<Times> {
    let mut times = Times::default();
    for index in 0..count + WARM {
        let begin = Instant::now();
        let mut stream = open(route)?;
        let took = begin.elapsed();
        if index >= WARM {
            times.add(took);
        }
        stream.finish()?;
        let mut rest = [0; 1];
        let _ = stream.read(&mut rest)?;
    }
    Ok(times)
}

/// Counts the connections that eight threads open, use for one byte and close in a second.
pub(super) fn rate(route: &Route, lasts: Duration) -> io::Result<f64> {
    let (count, over) = (AtomicU64::new(0), AtomicBool::new(false));
    let begin = Instant::now();
    thread::scope(|scope| {
        let work = || -> io::Result<()> {
            while !over.load(Ordering::Relaxed) {
                let mut stream = open(route)?;
                stream.finish()?;
                let mut rest = [0; 1];
                let _ = stream.read(&mut rest)?;
                count.fetch_add(1, Ordering::Relaxed);
            }
            Ok(())
        };
        let threads: Vec<_> = (0..AT_A_TIME).map(|_| scope.spawn(work)).collect();
        thread::sleep(lasts);
        over.store(true, Ordering::Relaxed);
        for thread in threads {
            thread.join().map_err(|_| io::Error::other("a thread panicked"))??;
        }
        Ok::<(), io::Error>(())
    })?;
    Ok(float(count.into_inner()) / begin.elapsed().as_secs_f64())
}

/// Times `count` round trips of 64 bytes over one open connection.
pub(super) fn pings(route: &Route, count: usize) -> io::Result<Times> {
    let mut stream = open(route)?;
    let mut buffer = [0x5a; PING];
    let mut times = Times::default();
    for index in 0..count + WARM {
        let begin = Instant::now();
        stream.write_all(&buffer)?;
        stream.flush()?;
        stream.read_exact(&mut buffer)?;
        if index >= WARM {
            times.add(begin.elapsed());
        }
    }
    Ok(times)
}
