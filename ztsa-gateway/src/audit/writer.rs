//! The one thread that appends to the audit log.

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::{Record, event};

/// The events that may wait for the disk.
const QUEUE: usize = 16_384;
/// The bytes gathered before they are written, when more events wait.
const BATCH: usize = 256 * 1024;
/// How often it is looked whether somebody moved the file away.
const LOOK: Duration = Duration::from_secs(1);

#[derive(Clone, Debug)]
pub(super) struct Writer {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    queue: Option<SyncSender<Message>>,
    lost: Arc<AtomicU64>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

enum Message {
    Record(Box<Record>),
    Flush(oneshot::Sender<()>),
}

impl Writer {
    pub(super) fn open(path: &Path) -> std::io::Result<Writer> {
        let log = Log::open(path)?;
        let (queue, messages) = sync_channel(QUEUE);
        let lost = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&lost);
        let thread =
            std::thread::Builder::new().name("ztsa-audit".to_owned()).spawn(move || run(log, &messages, &counted))?;
        Ok(Writer { shared: Arc::new(Shared { queue: Some(queue), lost, thread: Mutex::new(Some(thread)) }) })
    }

    pub(super) fn send(&self, record: Record) {
        let sent =
            self.shared.queue.as_ref().is_some_and(|queue| queue.try_send(Message::Record(Box::new(record))).is_ok());
        if !sent && self.shared.lost.fetch_add(1, Ordering::Relaxed) == 0 {
            tracing::warn!("the audit queue is full: events are lost (said once; the count is in the status)");
        }
    }

    pub(super) fn lost(&self) -> u64 {
        self.shared.lost.load(Ordering::Relaxed)
    }

    pub(super) async fn flush(&self) {
        let Some(queue) = self.shared.queue.clone() else { return };
        let (tell, told) = oneshot::channel();
        let mut message = Message::Flush(tell);
        // the queue may be full for a moment; the thread is emptying it
        while let Err(error) = queue.try_send(message) {
            match error {
                std::sync::mpsc::TrySendError::Full(back) => message = back,
                std::sync::mpsc::TrySendError::Disconnected(_) => return,
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        drop(queue);
        drop(told.await);
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        drop(self.queue.take());
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            drop(thread.join());
        }
    }
}

/// Beyond this many sheets of one file, those that come again are written again.
const SHEETS: usize = 100_000;

fn run(mut log: Log, messages: &Receiver<Message>, lost: &AtomicU64) {
    let mut buffer = Vec::with_capacity(BATCH);
    let mut flushes = Vec::new();
    while let Ok(first) = messages.recv() {
        let mut events = 0;
        // before a line is made: what it refers to stands in the same file
        let renewed = log.renew();
        let mut next = Some(first);
        while let Some(message) = next {
            match message {
                Message::Record(record) => {
                    for sheet in log.unwritten(&record) {
                        if serde_json::to_writer(&mut buffer, &sheet).is_ok() {
                            buffer.push(b'\n');
                        }
                    }
                    if serde_json::to_writer(&mut buffer, &event::json(&record)).is_ok() {
                        events += 1;
                        buffer.push(b'\n');
                    }
                }
                Message::Flush(tell) => flushes.push(tell),
            }
            next = if buffer.len() < BATCH { messages.try_recv().ok() } else { None };
        }
        log.append(&buffer, events, lost, renewed);
        buffer.clear();
        for tell in flushes.drain(..) {
            // whoever asked may have gone
            let _ = tell.send(());
        }
    }
}

struct Log {
    path: PathBuf,
    file: File,
    /// A line may have been cut: the next one starts on a line of its own.
    torn: bool,
    failing: bool,
    /// The digests of the sheets that this file has.
    sheets: HashSet<String>,
    /// When the name of the file was last compared with what is open.
    looked: Instant,
}

impl Log {
    fn open(path: &Path) -> std::io::Result<Log> {
        let file = append_to(path)?;
        let torn = ends_torn(path);
        let sheets = HashSet::new();
        Ok(Log { path: path.to_owned(), torn, file, failing: false, sheets, looked: Instant::now() })
    }

    /// Makes the events of what a record refers to and this file does not have yet.
    fn unwritten(&mut self, record: &Record) -> Vec<serde_json::Value> {
        let Some(input) = &record.input else { return Vec::new() };
        if self.sheets.len() >= SHEETS {
            self.sheets.clear();
        }
        let new = input.sheets.iter().filter(|sheet| self.sheets.insert(sheet.digest.clone()));
        new.map(|sheet| event::sheet(sheet, record)).collect()
    }

    fn append(&mut self, lines: &[u8], events: u64, lost: &AtomicU64, renewed: std::io::Result<()>) {
        if lines.is_empty() {
            return;
        }
        match renewed.and_then(|()| self.try_append(lines)) {
            Ok(()) => {
                if std::mem::take(&mut self.failing) {
                    tracing::info!(lost = lost.load(Ordering::Relaxed), "the audit log can be written again");
                }
            }
            Err(cause) => {
                self.torn = true;
                self.sheets.clear();
                lost.fetch_add(events, Ordering::Relaxed);
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::warn!(path = %self.path.display(), %cause, "the audit log cannot be written: events are lost until it can");
                }
            }
        }
    }

    /// Goes on in a new file when somebody moved the old one away.
    fn renew(&mut self) -> std::io::Result<()> {
        // not for every tunnel that ends: a rotated file is noticed within a second
        let due = self.looked.elapsed() >= LOOK || self.failing;
        if due && self.moved() {
            self.file = append_to(&self.path)?;
            self.torn = false;
            self.sheets.clear();
        }
        if due {
            self.looked = Instant::now();
        }
        Ok(())
    }

    fn try_append(&mut self, lines: &[u8]) -> std::io::Result<()> {
        if self.torn {
            self.file.write_all(b"\n")?;
            self.torn = false;
        }
        self.file.write_all(lines)
    }

    /// Says whether somebody moved the file away, as log rotation does.
    fn moved(&self) -> bool {
        match (self.file.metadata(), std::fs::metadata(&self.path)) {
            (Ok(open), Ok(named)) => open.ino() != named.ino() || open.dev() != named.dev(),
            (_, Err(_)) => true,
            (Err(_), Ok(_)) => false,
        }
    }
}

fn append_to(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

/// Says whether the last line of a log that is there already was cut, as by a crash or a full disk.
fn ends_torn(path: &Path) -> bool {
    use std::io::{Read as _, Seek as _, SeekFrom};
    let Ok(mut file) = File::open(path) else { return false };
    let mut last = [0];
    file.seek(SeekFrom::End(-1)).is_ok() && file.read_exact(&mut last).is_ok() && last != *b"\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rotated_log_goes_on_in_a_new_file_within_a_second() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = std::env::temp_dir().join(format!("ztsa-rotate-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let (path, old) = (dir.join("audit.ndjson"), dir.join("audit.ndjson.1"));
        let lost = AtomicU64::new(0);
        let mut log = Log::open(&path).unwrap();
        let append = |log: &mut Log, line: &[u8]| {
            let renewed = log.renew();
            log.append(line, 1, &lost, renewed);
        };
        append(&mut log, b"before\n");
        std::fs::rename(&path, &old).unwrap();
        append(&mut log, b"meanwhile\n");
        assert!(!path.exists(), "the name is not asked for at every line");
        log.looked -= LOOK;
        append(&mut log, b"after\n");
        let read = |path: &Path| std::fs::read_to_string(path).unwrap();
        assert_eq!((read(&old).as_str(), read(&path).as_str()), ("before\nmeanwhile\n", "after\n"));
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(lost.into_inner(), 0);
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
