//! Sends every line to a collector of OpenTelemetry (OTLP/HTTP, logs, protobuf).
//!
//! The log's own files are the outbox: what the collector has is noted in `FILE.otlp`, and the rest is read from the files, also
//! after a restart, also from files that were rotated meanwhile. Nothing here is on the way of anybody's bytes.

mod cursor;
mod post;
mod protobuf;
mod tail;

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;
use ztsa_net::task::Spawner;

use super::chain::Head;
use super::own::Own;
use super::queue::Queue;
use crate::config::{self, Otlp};
use cursor::Cursor;
use post::{Answer, Post};
use tail::{Line, Tail};

pub use post::OtlpError;

/// The first and the longest pause after a collector that does not take what it is sent.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(300));
/// How often the files are looked at in any case: another program may have moved one.
const LOOK: Duration = Duration::from_secs(60);

/// Sends lines; a clone is another handle.
#[derive(Clone, Debug)]
pub(super) struct Export {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    settings: Otlp,
    file: std::path::PathBuf,
    post: Post,
    queue: Arc<Queue>,
    written: watch::Receiver<Head>,
    counts: Counts,
}

#[derive(Debug, Default)]
struct Counts {
    /// The number of the last line that the collector has.
    sent: AtomicU64,
    failures: AtomicU64,
    rejected: AtomicU64,
    not_sent: AtomicU64,
    outage: Mutex<Option<String>>,
}

/// Says how the sending goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExportState {
    /// Lines that the collector does not have yet.
    pub waiting: u64,
    /// Requests that failed since the start.
    pub failures: u64,
    /// Events that the collector refused since the start.
    pub rejected: u64,
    /// Events since the start that were gone from the files before they were sent.
    pub not_sent: u64,
    /// Why the collector does not take what waits.
    pub outage: Option<String>,
}

impl Export {
    pub(super) fn new(
        config: &config::Audit,
        settings: &Otlp,
        queue: &Arc<Queue>,
        written: &watch::Receiver<Head>,
    ) -> Result<Self, OtlpError> {
        let counts = Counts::default();
        let chain = written.borrow().chain.clone();
        counts.sent.store(Cursor::read(&config.file, &chain), Ordering::Relaxed);
        let inner = Inner {
            post: Post::new(settings)?,
            settings: settings.clone(),
            file: config.file.clone(),
            queue: Arc::clone(queue),
            written: written.clone(),
            counts,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Sends what there is and what comes, until the scope of `spawner` begins to end.
    pub(super) fn start(&self, spawner: &Spawner) {
        let (export, ending) = (self.clone(), spawner.ending());
        spawner.spawn(async move {
            tokio::select! {
                () = ending => {}
                () = export.run() => {}
            }
        });
    }

    pub(super) fn state(&self) -> ExportState {
        let counts = &self.inner.counts;
        ExportState {
            waiting: self.waiting(),
            failures: counts.failures.load(Ordering::Relaxed),
            rejected: counts.rejected.load(Ordering::Relaxed),
            not_sent: counts.not_sent.load(Ordering::Relaxed),
            outage: counts.outage.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }

    /// Says whether more lines wait than the configuration allows.
    pub(super) fn is_full(&self) -> bool {
        self.waiting() >= self.inner.settings.outbox
    }

    fn waiting(&self) -> u64 {
        let sent = self.inner.counts.sent.load(Ordering::Relaxed);
        self.inner.written.borrow().sequence.saturating_sub(sent)
    }

    async fn run(&self) {
        let Inner { file, settings, .. } = &*self.inner;
        let mut written = self.inner.written.clone();
        let mut tail = Tail::new(file, self.inner.counts.sent.load(Ordering::Relaxed));
        let mut cursor = Cursor::open(file);
        let mut missed = None;
        loop {
            let head = written.borrow_and_update().clone();
            let batch = u64::try_from(settings.batch).unwrap_or(u64::MAX);
            if head.sequence.saturating_sub(tail.after()) < batch {
                // others may go with them
                tokio::time::sleep(settings.every).await;
            }
            let most = settings.batch;
            // files are read on a thread that may block
            let read = tokio::task::spawn_blocking(move || {
                let lines = tail.read(most);
                (tail, lines)
            });
            let lines;
            (tail, lines) = match read.await {
                Ok(read) => read,
                Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
            };
            let readable = lines.is_ok();
            let lines = lines.unwrap_or_else(|cause| {
                tracing::warn!(path = %file.display(), %cause, "the audit log cannot be read to be sent");
                Vec::new()
            });
            if lines.is_empty() {
                let lacks = (readable && head.sequence > tail.after()).then_some(head.sequence);
                if let Some(written) = missed.take().filter(|_| lacks.is_some()) {
                    // written, and not to be found at two looks: who waits for them to be sent would wait for ever
                    self.gone(written + 1);
                    tail.skip(written);
                    self.sent(written, &head.chain, &mut cursor);
                    continue;
                }
                missed = lacks;
                let pause = if missed.is_some() { settings.every } else { LOOK };
                // nobody writes any more when the sender is gone; the scope ends with the gateway
                let _ = tokio::time::timeout(pause, written.changed()).await;
                continue;
            }
            missed = None;
            self.gaps(&lines);
            self.deliver(&lines, &head.chain).await;
            if let Some(last) = lines.last() {
                self.sent(last.sequence, &head.chain, &mut cursor);
            }
        }
    }

    /// Notes that everything up to a line is done with.
    fn sent(&self, sequence: u64, chain: &str, cursor: &mut Cursor) {
        self.inner.counts.sent.store(sequence, Ordering::Relaxed);
        cursor.write(chain, sequence);
        self.inner.queue.advance(|| self.is_full());
    }

    /// Counts the lines before `next` that were gone before they were sent.
    fn gone(&self, next: u64) {
        let missing = next.saturating_sub(self.inner.counts.sent.load(Ordering::Relaxed).saturating_add(1));
        if missing > 0 {
            self.not_sent(missing, "they were not in the files any more");
        }
    }

    /// Counts lines that were gone before they were sent: before the first of these, and between them.
    fn gaps(&self, lines: &[Line]) {
        let mut last = self.inner.counts.sent.load(Ordering::Relaxed);
        let mut missing: u64 = 0;
        for line in lines {
            missing = missing.saturating_add(line.sequence.saturating_sub(last.saturating_add(1)));
            last = line.sequence;
        }
        if missing > 0 {
            self.not_sent(missing, "they were not in the files any more");
        }
    }

    fn not_sent(&self, count: u64, why: &str) {
        self.inner.counts.not_sent.fetch_add(count, Ordering::Relaxed);
        tracing::warn!(count, why, "events are not sent to the collector");
        self.inner.queue.tell(Own::NotSent(count));
    }

    /// Sends lines until the collector has taken or refused them.
    async fn deliver(&self, lines: &[Line], chain: &str) {
        let Inner { post, counts, .. } = &*self.inner;
        let mut parts: Vec<&[Line]> = vec![lines];
        let mut pause = PAUSES.0;
        while let Some(part) = parts.pop() {
            let bodies: Vec<_> = part.iter().filter_map(|line| serde_json::from_slice(&line.bytes).ok()).collect();
            let (wait, cause) = match post.send(protobuf::request(&bodies, chain)).await {
                Answer::Taken { rejected, message } => {
                    self.outage(None);
                    if rejected > 0 {
                        counts.rejected.fetch_add(rejected, Ordering::Relaxed);
                        tracing::warn!(rejected, message, "the collector refuses events");
                    }
                    pause = PAUSES.0;
                    continue;
                }
                Answer::TooLarge if part.len() > 1 => {
                    let (first, second) = part.split_at(part.len() / 2);
                    parts.extend([second, first]);
                    continue;
                }
                Answer::TooLarge => {
                    self.refused(part, "it is too large");
                    continue;
                }
                Answer::Refused(cause) => {
                    self.refused(part, &cause);
                    continue;
                }
                Answer::Later { after, cause } => (after, cause),
            };
            counts.failures.fetch_add(1, Ordering::Relaxed);
            if self.outage(Some(cause.clone())) {
                tracing::warn!(cause, "the collector cannot be told; events wait in the log");
            }
            parts.push(part);
            tokio::time::sleep(wait.map_or_else(|| jittered(pause), |after| after.clamp(PAUSES.0, PAUSES.1))).await;
            pause = (pause * 2).min(PAUSES.1);
        }
    }

    fn refused(&self, part: &[Line], cause: &str) {
        let count = u64::try_from(part.len()).unwrap_or(u64::MAX);
        self.inner.counts.failures.fetch_add(1, Ordering::Relaxed);
        self.inner.counts.rejected.fetch_add(count, Ordering::Relaxed);
        tracing::warn!(count, cause, "the collector refuses events; they are in the file");
    }

    /// Notes what keeps the collector from taking what waits; says whether that is news.
    fn outage(&self, outage: Option<String>) -> bool {
        let mut now = self.inner.counts.outage.lock().unwrap_or_else(PoisonError::into_inner);
        let news = now.is_some() != outage.is_some();
        if news && outage.is_none() {
            tracing::info!("the collector takes events again");
        }
        *now = outage;
        news
    }
}

/// Checks that the log is something that can be read again: it is the outbox.
pub(super) fn check_file(path: &Path) -> Result<(), OtlpError> {
    let about = std::fs::metadata(path);
    if about.is_ok_and(|about| !about.is_file()) {
        let cause = "is no file, and what it took cannot be read again to be sent".to_owned();
        return Err(OtlpError::File { path: path.to_owned(), cause });
    }
    Ok(())
}

/// Checks that the files that the settings name can be used.
pub(super) fn check(settings: &Otlp) -> Result<(), OtlpError> {
    Post::new(settings).map(drop)
}

/// Names the file in which it is noted what the collector has.
fn noted(file: &Path) -> std::path::PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".otlp");
    name.into()
}

/// Between half of a pause and all of it, so that many gateways do not come at once.
fn jittered(pause: Duration) -> Duration {
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.subsec_nanos());
    pause / 2 + pause / 2 * (nanos % 1000) / 1000
}

#[cfg(test)]
mod tests;
