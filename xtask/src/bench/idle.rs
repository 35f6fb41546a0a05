//! Tunnels that are open and say nothing: what memory they hold.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use super::route::Route;
use super::stack::Stack;
use super::wire::ECHO;
use crate::command::Failure;

/// Threads that open tunnels.
const AT_A_TIME: usize = 8;
/// How long memory is left to settle before it is read.
const SETTLE: Duration = Duration::from_millis(700);

/// Resident memory of client and gateway with a number of idle tunnels, in KiB.
#[derive(Debug, Clone, Copy)]
pub(super) struct Memory {
    /// The idle tunnels.
    pub(super) tunnels: usize,
    /// `ztsa proxy`.
    pub(super) client: f64,
    /// `ztsa-gateway`.
    pub(super) gateway: f64,
}

/// Opens tunnels up to each of `counts` and reads the memory at each. The first is 0: one tunnel has been opened and
/// closed, so that what is made once is there.
pub(super) fn measure(stack: &Stack, counts: &[usize]) -> Result<Vec<Memory>, Failure> {
    let route = stack.tunnel();
    let failed = |count: usize| move |error: io::Error| stack.explain(&format!("{count} idle tunnels"), &error);
    drop(open(&route, 1).map_err(failed(1))?);
    let (mut held, mut read) = (Vec::new(), Vec::new());
    for count in counts {
        held.extend(open(&route, count.saturating_sub(held.len())).map_err(failed(*count))?);
        thread::sleep(SETTLE);
        read.push(Memory { tunnels: *count, client: stack.client.resident()?, gateway: stack.gateway.resident()? });
    }
    Ok(read)
}

/// Opens `count` tunnels, each used for one byte.
fn open(route: &Route, count: usize) -> io::Result<Vec<TcpStream>> {
    connect(route, count, ECHO)
}

/// Opens `count` tunnels whose first byte is `wanted`, and waits for the first byte of each.
pub(super) fn connect(route: &Route, count: usize, wanted: u8) -> io::Result<Vec<TcpStream>> {
    let one = || -> io::Result<TcpStream> {
        let mut stream = route.socket()?;
        stream.write_all(&[wanted])?;
        stream.read_exact(&mut [0; 1])?;
        Ok(stream)
    };
    thread::scope(|scope| {
        let share = |index: usize| count / AT_A_TIME + usize::from(index < count % AT_A_TIME);
        let many = |count: usize| (0..count).map(|_| one()).collect::<io::Result<Vec<_>>>();
        let threads: Vec<_> = (0..AT_A_TIME).map(|index| scope.spawn(move || many(share(index)))).collect();
        let mut all = Vec::new();
        for thread in threads {
            all.extend(thread.join().map_err(|_| io::Error::other("a thread panicked"))??);
        }
        Ok(all)
    })
}
