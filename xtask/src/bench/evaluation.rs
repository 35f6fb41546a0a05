//! Continuous evaluation at size: ten thousand live tunnels of a hundred people, and how long they live on when the
//! answer changes, for one of the people and for all of them.
//!
//! Every person is a `ztsa proxy` of its own, signed in with a token of its own. What is seen from outside stands beside
//! what the gateway says of itself.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::idle;
use super::people::{People, user};
use super::sample::Times;
use super::scrape::{Histogram, scrape};
use super::wire::ECHO;
use crate::command::Failure;

/// People with tunnels of their own.
pub(super) const PEOPLE: usize = 100;
/// Tunnels of each.
pub(super) const EACH: usize = 100;
/// People whose tunnels are ended or paused one after the other.
const ONE_BY_ONE: usize = 40;
/// How long a tunnel may live on before the bench calls it a failure.
const LATEST: Duration = Duration::from_secs(20);
/// The pause between two people.
const PAUSE: Duration = Duration::from_millis(100);

/// What was seen of one change, over all its repetitions.
#[derive(Debug, Default)]
pub(super) struct Change {
    /// How many tunnels changed.
    pub(super) tunnels: usize,
    /// From the call to what the local program sees: a reset, or the echo of what it sent while its tunnel was paused.
    pub(super) outside: Times,
    /// From the call to the gateway's answer.
    pub(super) answer: Times,
    /// From the call's arrival to the last byte, as the gateway measures it; nothing for what goes on again.
    pub(super) inside: Histogram,
}

/// Everything that was measured of continuous evaluation.
#[derive(Debug, Default)]
pub(super) struct Evaluation {
    /// Live tunnels.
    pub(super) live: usize,
    /// One person's tunnels paused, by a risk of 70.
    pub(super) one_suspended: Change,
    /// They go on, the risk cleared.
    pub(super) one_restored: Change,
    /// One person's tunnels ended, by a risk of 100.
    pub(super) one_ended: Change,
    /// All paused, by a policy.
    pub(super) all_suspended: Change,
    /// All go on, the policy removed.
    pub(super) all_restored: Change,
    /// All ended, by an administrator.
    pub(super) all_ended: Change,
}

/// One person's tunnels, as a local program has them.
type Own = Vec<tokio::net::TcpStream>;

pub(super) fn measure(programs: &std::path::Path) -> Result<Evaluation, Failure> {
    let people = People::start(programs, PEOPLE)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::Wrong(format!("no runtime: {error}")))?;
    let bench = Bench { people: &people, runtime: &runtime };
    let mut own: Vec<Own> = (0..PEOPLE).map(|person| bench.connect(person)).collect::<Result<_, _>>()?;
    let mut seen = Evaluation { live: own.iter().map(Vec::len).sum(), ..Evaluation::default() };
    for (person, own) in own.iter_mut().enumerate().take(ONE_BY_ONE) {
        bench.pause(person, own, &mut seen)?;
    }
    for (person, own) in own.iter_mut().enumerate().take(ONE_BY_ONE) {
        *own = bench.end_one(person, std::mem::take(own), &mut seen.one_ended)?;
    }
    for _ in 0..3 {
        bench.pause_all(&mut own, &mut seen)?;
    }
    bench.end_all(own, &mut seen.all_ended)?;
    Ok(seen)
}

struct Bench<'a> {
    people: &'a People,
    runtime: &'a tokio::runtime::Runtime,
}

impl Bench<'_> {
    fn failed(&self, what: &str, error: &dyn std::fmt::Display) -> Failure {
        self.people.explain(what, error)
    }

    /// Opens one person's tunnels, each used for one byte.
    fn connect(&self, person: usize) -> Result<Own, Failure> {
        let failed = |error: io::Error| self.failed("ten thousand live tunnels", &error);
        let streams = idle::connect(&self.people.route(person), EACH, ECHO).map_err(failed)?;
        let _inside = self.runtime.enter();
        streams.into_iter().map(watchable).collect::<io::Result<_>>().map_err(failed)
    }

    /// Gives an order, and tells when it was given.
    fn order(&self, order: &serde_json::Value, change: &mut Change) -> Result<Instant, Failure> {
        let mut administrator = self.people.administrator()?;
        let call = Instant::now();
        administrator.order(order)?;
        change.answer.add(call.elapsed());
        Ok(call)
    }

    /// What the gateway has measured so far, whatever the cause: a client that asks anew for its state reports its device, and
    /// then this may be what its tunnels are judged for.
    fn inside(&self, outcome: &str) -> Result<Histogram, Failure> {
        scrape(self.people.metrics, "ztsa_signal_to_last_byte_seconds", &[("outcome", outcome)])
            .map_err(|error| self.failed("a scrape of the gateway", &error))
    }

    /// Waits until the gateway has counted as many more.
    fn counted(&self, outcome: &str, before: &Histogram, more: usize) -> Result<Histogram, Failure> {
        let deadline = Instant::now() + LATEST;
        loop {
            let now = self.inside(outcome)?.since(before);
            if now.count() >= more as u64 {
                return Ok(now);
            }
            if Instant::now() > deadline {
                return Err(self.failed("what the gateway measured", &format!("{} of {more}", now.count())));
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Pauses one person's tunnels and lets them go on.
    fn pause(&self, person: usize, own: &mut Own, seen: &mut Evaluation) -> Result<(), Failure> {
        let of = "suspended";
        let before = self.inside(of)?;
        let risk = json!({ "op": "risk.set", "user": user(person), "score": 70, "reason": "bench" });
        self.order(&risk, &mut seen.one_suspended)?;
        seen.one_suspended.inside.add(&self.counted(of, &before, own.len())?);
        seen.one_suspended.tunnels += own.len();
        let cleared = json!({ "op": "risk.clear", "user": user(person) });
        self.resume(std::slice::from_mut(own), || Ok(cleared), &mut seen.one_restored)?;
        thread::sleep(PAUSE);
        Ok(())
    }

    /// Sends a byte into each paused tunnel, gives the order, and waits for the echoes.
    fn resume(
        &self,
        own: &mut [Own],
        order: impl FnOnce() -> Result<serde_json::Value, Failure>,
        change: &mut Change,
    ) -> Result<(), Failure> {
        let failed = |error: io::Error| self.failed("a paused tunnel", &error);
        let sent = self.runtime.block_on(async {
            for stream in own.iter_mut().flatten() {
                stream.write_all(b"x").await?;
            }
            // a byte that came back would show that nothing was paused
            tokio::time::sleep(Duration::from_millis(300)).await;
            let through = own.iter().flatten().filter(|stream| stream.try_read(&mut [0; 1]).is_ok()).count();
            if through > 0 { Err(io::Error::other(format!("{through} of them let a byte through"))) } else { Ok(()) }
        });
        sent.map_err(failed)?;
        let streams: Vec<Own> = own.iter_mut().map(std::mem::take).collect();
        let tasks: Vec<Vec<_>> = streams
            .into_iter()
            .map(|own| own.into_iter().map(|stream| self.runtime.spawn(echoed(stream))).collect())
            .collect();
        let call = self.order(&order()?, change)?;
        for (own, tasks) in own.iter_mut().zip(tasks) {
            for task in tasks {
                let echo = self.runtime.block_on(async { tokio::time::timeout_at((call + LATEST).into(), task).await });
                let echo = echo.map_err(io::Error::other).and_then(|task| task.map_err(io::Error::other));
                let (at, stream) = echo.and_then(|echo| echo).map_err(failed)?;
                change.outside.add(at.saturating_duration_since(call));
                change.tunnels += 1;
                own.push(stream);
            }
        }
        Ok(())
    }

    /// Ends one person's tunnels, and opens them again once the risk is gone.
    fn end_one(&self, person: usize, own: Own, change: &mut Change) -> Result<Own, Failure> {
        let risk = json!({ "op": "risk.set", "user": user(person), "score": 100, "reason": "bench" });
        let live = self.people.live()?;
        let ended = own.len();
        self.end(vec![own], &risk, change)?;
        self.left(live, ended as u64)?;
        self.people.administrator()?.order(&json!({ "op": "risk.clear", "user": user(person) }))?;
        thread::sleep(PAUSE);
        self.connect(person)
    }

    /// Waits until as many tunnels have left the gateway's registry, and no more.
    fn left(&self, live: u64, ended: u64) -> Result<(), Failure> {
        let deadline = Instant::now() + LATEST;
        loop {
            let left = self.people.live()?;
            if left + ended == live {
                return Ok(());
            }
            if left + ended < live || Instant::now() > deadline {
                let text = format!("of {live} live tunnels {ended} were to end, and {left} are left");
                return Err(self.failed("one person's tunnels", &text));
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    fn end_all(&self, own: Vec<Own>, change: &mut Change) -> Result<(), Failure> {
        let order = json!({ "op": "sessions.revoke", "all": true, "reason": "bench" });
        self.end(own, &order, change)
    }

    fn end(&self, own: Vec<Own>, order: &serde_json::Value, change: &mut Change) -> Result<(), Failure> {
        let of = "ended";
        let before = self.inside(of)?;
        let tasks: Vec<_> = own.into_iter().flatten().map(|stream| self.runtime.spawn(ended(stream))).collect();
        thread::sleep(PAUSE);
        let call = self.order(order, change)?;
        let count = tasks.len();
        for task in tasks {
            let end = self.runtime.block_on(async { tokio::time::timeout_at((call + LATEST).into(), task).await });
            let end = end.map_err(io::Error::other).and_then(|task| task.map_err(io::Error::other));
            let at = end.map_err(|error| self.failed("a tunnel that was ended is still open", &error))?;
            let after = at.checked_duration_since(call);
            change.outside.add(after.ok_or_else(|| self.failed("a tunnel", &"it ended before it was told to"))?);
        }
        change.tunnels += count;
        change.inside.add(&self.counted(of, &before, count)?);
        Ok(())
    }

    /// Pauses everything by a policy, and lets everything go on by its removal.
    fn pause_all(&self, own: &mut [Own], seen: &mut Evaluation) -> Result<(), Failure> {
        let policy: PathBuf = self.people.policies().join("bench.cedar");
        let text = "@id(\"bench\") @on_change(\"suspend\") forbid (principal, action, resource);\n";
        let file = |source| Failure::file(&policy, source);
        let of = "suspended";
        let before = self.inside(of)?;
        let all = own.iter().map(Vec::len).sum();
        let reload = json!({ "op": "policy.reload" });
        std::fs::write(&policy, text).map_err(file)?;
        self.order(&reload, &mut seen.all_suspended)?;
        seen.all_suspended.inside.add(&self.counted(of, &before, all)?);
        seen.all_suspended.tunnels += all;
        // at the last moment: the gateway looks at its policies every second by itself
        let opened = || std::fs::remove_file(&policy).map_err(file).map(|()| reload);
        self.resume(own, opened, &mut seen.all_restored)
    }
}

fn watchable(stream: TcpStream) -> io::Result<tokio::net::TcpStream> {
    stream.set_nonblocking(true)?;
    tokio::net::TcpStream::from_std(stream)
}

/// Waits for one byte.
async fn echoed(mut stream: tokio::net::TcpStream) -> io::Result<(Instant, tokio::net::TcpStream)> {
    stream.read_exact(&mut [0; 1]).await?;
    Ok((Instant::now(), stream))
}

/// Waits for the end.
async fn ended(mut stream: tokio::net::TcpStream) -> Instant {
    let mut buffer = [0; 64];
    while let Ok(1..) = stream.read(&mut buffer).await {}
    Instant::now()
}

/// Asks over HTTP/1.1 and gives the body.
pub(super) fn get(address: SocketAddr, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(LATEST))?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: bench\r\nconnection: close\r\n\r\n").as_bytes())?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    text.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).ok_or_else(|| io::ErrorKind::InvalidData.into())
}
