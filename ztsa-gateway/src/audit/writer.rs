//! The one thread that appends to the audit log: it numbers, seals and signs, and keeps what the disk does not take.

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::watch;
use ztsa_proto::jws::SoftwareKey;

use super::chain::Head;
use super::log::{Log, Opened};
use super::own::{self, Own};
use super::queue::{Queue, Work};
use super::{Record, checkpoint, event, rotation};
use crate::config;

/// The pause after a failed write.
const RETRY: Duration = Duration::from_millis(500);
/// How often the thread looks at the time when nothing happens.
const IDLE: Duration = Duration::from_secs(60);
/// The pause after a new file could not be begun.
const TURN_AGAIN: Duration = Duration::from_secs(60);

/// Beyond this many sheets of one file, those that come again are written again.
const SHEETS: usize = 100_000;

/// Feeds the thread, and ends it when it is dropped: what waits is written first.
pub(super) struct Writer {
    pub(super) queue: Arc<Queue>,
    /// The number of the last line that is in the file.
    pub(super) written: watch::Receiver<Head>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Writer {
    pub(super) fn open(config: &config::Audit, key: SoftwareKey) -> std::io::Result<Writer> {
        let Opened { log, head, wrong } = Log::open(&config.file, &key)?;
        let queue = Arc::new(Queue::new(config.queue, config.when_full));
        for wrong in &wrong {
            let path = config.file.display();
            tracing::warn!(%path, "the audit log was not as it was left: {}", wrong.message());
        }
        let (tell, written) = watch::channel(head.clone());
        let thread = Thread {
            queue: Arc::clone(&queue),
            log,
            head,
            key,
            checkpoints: config.checkpoint,
            rotate: config.rotate,
            written: tell,
            unsigned: 0,
            signed: Instant::now(),
            sheets: HashSet::new(),
            records: Vec::new(),
            own: wrong,
            failed: false,
            turn_at: None,
        };
        let thread = std::thread::Builder::new().name("ztsa-audit".to_owned()).spawn(move || thread.run())?;
        Ok(Writer { queue, written, thread: Mutex::new(Some(thread)) })
    }
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").field("written", &self.written.borrow().sequence).finish_non_exhaustive()
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.queue.close();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            drop(thread.join());
        }
    }
}

struct Thread {
    queue: Arc<Queue>,
    log: Log,
    head: Head,
    key: SoftwareKey,
    checkpoints: config::Checkpoints,
    rotate: Option<config::Rotate>,
    written: watch::Sender<Head>,
    /// Lines since the last checkpoint.
    unsigned: u64,
    /// When the last one was, or the first line after it.
    signed: Instant,
    /// The digests of the sheets that the file has.
    sheets: HashSet<String>,
    /// What was taken from the queue and is not written yet.
    records: Vec<Record>,
    own: Vec<Own>,
    /// The last write failed.
    failed: bool,
    /// A new file could not be begun, and is not tried again before this.
    turn_at: Option<Instant>,
}

/// Lines that are sealed.
struct Batch {
    lines: Vec<u8>,
    head: Head,
    count: u64,
    signs: bool,
}

impl Thread {
    fn run(mut self) {
        // what is wrong with the log is told before anything that happens now
        if !self.own.is_empty() {
            self.write(false);
        }
        loop {
            let pending = self.records.len() + self.own.len();
            let work = self.queue.next(self.patience(), pending == 0);
            let Work { records, own, asking, closing } = work;
            self.records.extend(records);
            self.own.extend(own);
            let idle = closing && self.records.is_empty() && self.own.is_empty();
            let written = self.write(idle);
            for tell in asking {
                // whoever asked may have gone
                let _ = tell.send(());
            }
            if closing && !written {
                let lost = self.queue.lose(self.records.len());
                tracing::error!(lost, "the audit log closes with events that could not be written");
                return;
            }
            if idle {
                return;
            }
        }
    }

    /// How long nothing need be done.
    fn patience(&self) -> Duration {
        // a checkpoint that is due waits like any event
        if self.failed || !self.records.is_empty() || !self.own.is_empty() {
            return RETRY;
        }
        let mut patience = IDLE;
        if self.unsigned > 0 {
            patience = patience.min(self.checkpoints.every.saturating_sub(self.signed.elapsed()));
        }
        let age = self.rotate.and_then(|rotate| rotate.age).zip(self.log.began());
        if let Some((age, began)) = age {
            let left = age.saturating_sub(Duration::from_millis(now().saturating_sub(began)));
            let again = self.turn_at.map_or(Duration::ZERO, |at| at.saturating_duration_since(Instant::now()));
            patience = patience.min(left.max(again));
        }
        patience.max(Duration::from_millis(1))
    }

    /// Writes what was taken; says whether nothing is left.
    fn write(&mut self, closing: bool) -> bool {
        let written = self.try_write(closing);
        self.failed = written.is_err();
        match written {
            Ok(()) => {
                self.records.clear();
                self.own.clear();
                if self.queue.outage(None) {
                    tracing::info!("the audit log can be written again");
                }
                self.turn();
                true
            }
            Err(cause) => {
                // what stands in the file is not known to be what was sealed
                self.sheets.clear();
                let path = self.log.path.display().to_string();
                if self.queue.outage(Some(format!("{path}: {cause}"))) {
                    tracing::warn!(path, %cause, "the audit log cannot be written: events wait until it can");
                }
                false
            }
        }
    }

    fn try_write(&mut self, closing: bool) -> std::io::Result<()> {
        // before a line is made: what it refers to stands in the same file
        if self.log.renew()? {
            self.sheets.clear();
        }
        let Some(batch) = self.batch(closing) else { return Ok(()) };
        self.log.append(&batch.lines, &batch.head, now())?;
        self.head = batch.head;
        self.unsigned = if batch.signs {
            self.log.sync();
            0
        } else {
            self.unsigned.saturating_add(batch.count)
        };
        self.written.send_replace(self.head.clone());
        Ok(())
    }

    /// Seals what is to be written; a checkpoint goes along when one is due, and when the log closes.
    fn batch(&mut self, closing: bool) -> Option<Batch> {
        let (mut lines, mut head, now) = (Vec::new(), self.head.clone(), now());
        if self.sheets.len() >= SHEETS {
            self.sheets.clear();
        }
        for record in &self.records {
            for sheet in record.input.iter().flat_map(|input| &input.sheets) {
                if self.sheets.insert(sheet.digest.clone()) {
                    head.seal(event::sheet(sheet, record), now, &mut lines);
                }
            }
            head.seal(event::members(record), now, &mut lines);
        }
        for own in &self.own {
            head.seal(own.members(now), now, &mut lines);
        }
        let count = head.sequence.saturating_sub(self.head.sequence);
        if self.unsigned == 0 && count > 0 {
            self.signed = Instant::now();
        }
        let unsigned = self.unsigned.saturating_add(count);
        let due = unsigned >= self.checkpoints.events || self.signed.elapsed() >= self.checkpoints.every;
        let turn = self.turns(lines.len(), now).is_some();
        let signs = unsigned > 0 && (due || closing || turn) && self.sign(&mut head, now, &mut lines);
        (!lines.is_empty()).then_some(Batch { lines, head, count, signs })
    }

    /// Adds a checkpoint; says whether it could be signed.
    fn sign(&self, head: &mut Head, now: u64, lines: &mut Vec<u8>) -> bool {
        match checkpoint::sign(&self.key, head, now / 1000) {
            Ok(signed) => {
                head.seal(own::checkpoint(&signed, now), now, lines);
                true
            }
            Err(error) => {
                tracing::warn!(%error, "the audit log cannot be signed");
                false
            }
        }
    }

    /// Says whether a new file is due once so many bytes are appended, and how it is begun.
    fn turns(&self, more: usize, now: u64) -> Option<config::Rotate> {
        let waits = self.turn_at.is_some_and(|at| at > Instant::now());
        self.rotate.filter(|rotate| !waits && rotation::is_due(rotate, &self.log, more, now))
    }

    /// Goes on in a new file when that is due and the old one ends with a checkpoint.
    fn turn(&mut self) {
        let Some(rotate) = self.turns(0, now()) else { return };
        if self.unsigned > 0 {
            return;
        }
        match rotation::rotate(&rotate, &mut self.log, &self.head, now()) {
            Ok(name) => {
                self.sheets.clear();
                self.turn_at = None;
                tracing::info!(file = %name.display(), "the audit log goes on in a new file");
            }
            Err(cause) => {
                self.turn_at = Some(Instant::now() + TURN_AGAIN);
                tracing::warn!(path = %self.log.path.display(), %cause, "the audit log cannot begin a new file");
            }
        }
    }
}

/// Milliseconds since 1970, by this machine's clock.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
