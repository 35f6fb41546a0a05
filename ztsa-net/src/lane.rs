//! Threads that each carry whole connections.
//!
//! A connection's tunnels hand their bytes to the one task that seals and writes them. On one thread that costs a push
//! onto a queue; between threads it wakes a thread for nearly every frame, a fifth of the time that a bulk transfer costs a
//! gateway (docs/reference/performance.md). So each connection, with all that is started for it, stays on one thread, and the
//! connections are spread over as many as there are processors.
//!
//! The tunnels of one connection share one processor, then, even while others idle; and what blocks a thread holds up every
//! connection on it, as no other thread takes them over.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio::runtime::{Builder, Handle};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::task::Spawner;

/// A thread for each processor. Dropping it ends the threads and all that runs on them, and waits for that, a second at most: the
/// library of our cryptography ends the process by force when a thread asks it for a random number while the process exits.
#[derive(Debug)]
pub struct Lanes {
    all: Vec<Lane>,
    threads: Vec<JoinHandle<()>>,
    end: Option<DropGuard>,
}

/// How long the threads are waited for when they shall end.
const PATIENCE: Duration = Duration::from_secs(1);

#[derive(Debug)]
struct Lane {
    runtime: Handle,
    held: Arc<AtomicUsize>,
}

/// A connection's place on its lane, given back when dropped.
struct Place(Arc<AtomicUsize>);

impl Lanes {
    /// Starts the threads.
    ///
    /// # Errors
    /// The operating system's error when it gives no thread, or no file for its events.
    pub fn start() -> io::Result<Self> {
        let end = CancellationToken::new();
        let guard = end.clone().drop_guard();
        let count = thread::available_parallelism().map_or(1, usize::from);
        let lane = |number: usize| {
            // what other threads wake goes first: those are tunnels told to stop, and ten thousand of them must not wait
            // for the goodbyes and the closing of those that have stopped
            let runtime = Builder::new_current_thread().enable_all().global_queue_interval(1).build()?;
            let (handle, end) = (runtime.handle().clone(), end.clone());
            let named = thread::Builder::new().name(format!("lane-{number}"));
            let thread = named.spawn(move || runtime.block_on(end.cancelled()))?;
            Ok((Lane { runtime: handle, held: Arc::default() }, thread))
        };
        let (all, threads) = (0..count).map(lane).collect::<io::Result<_>>()?;
        Ok(Self { all, threads, end: Some(guard) })
    }

    /// Starts `serve` with `stream` on the lane that carries the fewest connections. What `serve` starts in turn, by any
    /// [`Spawner`], runs there too. It belongs to the scope of `spawner`.
    ///
    /// # Errors
    /// The operating system's error when the stream cannot be taken along.
    pub fn carry<F>(
        &self,
        stream: TcpStream,
        spawner: &Spawner,
        serve: impl FnOnce(TcpStream) -> F + Send + 'static,
    ) -> io::Result<()>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let Some(lane) = self.all.iter().min_by_key(|lane| lane.held.load(Ordering::Relaxed)) else {
            return Err(io::Error::other("there is no lane"));
        };
        let stream = stream.into_std()?;
        lane.held.fetch_add(1, Ordering::Relaxed);
        let place = Place(Arc::clone(&lane.held));
        spawner.spawn_on(&lane.runtime, async move {
            let _place = place;
            // its events come to this thread from now on
            match TcpStream::from_std(stream) {
                Ok(stream) => serve(stream).await,
                Err(error) => tracing::warn!(%error, "a connection was given up"),
            }
        });
        Ok(())
    }
}

impl Drop for Lanes {
    fn drop(&mut self) {
        drop(self.end.take());
        let begun = Instant::now();
        // one of them may be what drops this
        let others = self.threads.iter().filter(|thread| thread.thread().id() != thread::current().id());
        for thread in others {
            while !thread.is_finished() && begun.elapsed() < PATIENCE {
                thread::sleep(Duration::from_millis(1));
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::Scope;
    use std::collections::HashMap;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::sync::mpsc;

    #[tokio::test]
    async fn connections_are_spread_and_what_one_starts_stays_on_its_thread() {
        let (lanes, scope) = (Lanes::start().unwrap(), Scope::new());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (tell, mut told) = mpsc::unbounded_channel();
        let (mut clients, mut threads) = (Vec::new(), HashMap::new());
        for _ in 0..2 * lanes.all.len() {
            let (client, accepted) =
                tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
            let (tell, spawner) = (tell.clone(), scope.spawner());
            let serve = async move |mut stream: TcpStream| {
                let here = thread::current().id();
                let inner = tell.clone();
                spawner.spawn(async move { inner.send((here, thread::current().id())).unwrap() });
                let byte = stream.read_u8().await.unwrap();
                stream.write_u8(byte + 1).await.unwrap();
                std::future::pending::<()>().await;
            };
            lanes.carry(accepted.unwrap().0, &scope.spawner(), serve).unwrap();
            let mut client = client.unwrap();
            client.write_u8(6).await.unwrap();
            assert_eq!(client.read_u8().await.unwrap(), 7);
            clients.push(client);
            let (outer, inner) = told.recv().await.unwrap();
            assert_eq!(outer, inner);
            assert_ne!(outer, thread::current().id());
            *threads.entry(outer).or_insert(0) += 1;
        }
        assert_eq!(threads.len(), lanes.all.len());
        assert!(threads.values().all(|count| *count == 2));
        drop(scope);
        for client in &mut clients {
            assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
        }
    }

    #[tokio::test]
    async fn a_panic_ends_one_connection_and_no_lane() {
        let (lanes, scope) = (Lanes::start().unwrap(), Scope::new());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        for panics in [true, false] {
            for _ in 0..lanes.all.len() {
                let (client, accepted) =
                    tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
                let serve = async move |mut stream: TcpStream| {
                    assert!(!panics, "as this test wants it");
                    stream.write_u8(7).await.unwrap();
                    std::future::pending::<()>().await;
                };
                lanes.carry(accepted.unwrap().0, &scope.spawner(), serve).unwrap();
                let mut got = [0; 1];
                let count = client.unwrap().read(&mut got).await.unwrap();
                assert_eq!((count, got), if panics { (0, [0]) } else { (1, [7]) });
            }
        }
        assert_eq!(scope.running(), lanes.all.len());
    }

    #[tokio::test]
    async fn dropping_the_lanes_ends_what_runs_on_them() {
        let (lanes, scope) = (Lanes::start().unwrap(), Scope::new());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (client, accepted) = tokio::join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept());
        let serve = async move |_stream: TcpStream| std::future::pending().await;
        lanes.carry(accepted.unwrap().0, &scope.spawner(), serve).unwrap();
        drop(lanes);
        assert_eq!(client.unwrap().read(&mut [0]).await.unwrap(), 0);
        scope.idle().await;
    }
}
