//! No load hangs for ever: past its deadline the bench says which one it was, ends what it started, and fails.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::process;

/// Runs one load. When it takes longer than `most`, the whole bench ends.
pub(super) fn within<T>(what: &str, most: Duration, load: impl FnOnce() -> T) -> T {
    let over = Arc::new((Mutex::new(false), Condvar::new()));
    let (watched, what) = (Arc::clone(&over), what.to_owned());
    let watch = std::thread::spawn(move || {
        let (done, changed) = &*watched;
        let done = done.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = changed.wait_timeout_while(done, most, |done| !*done);
        if waited.is_ok_and(|(done, _)| !*done) {
            give_up(&what, most);
        }
    });
    let result = load();
    let (done, changed) = &*over;
    *done.lock().unwrap_or_else(PoisonError::into_inner) = true;
    changed.notify_all();
    // it ends at once, or has ended the bench
    drop(watch.join());
    result
}

#[expect(clippy::exit, reason = "the thread that hangs cannot be reached in any other way")]
fn give_up(what: &str, most: Duration) {
    eprintln!("error: {what} was not over after {} s: the bench gives up", most.as_secs());
    process::kill_all();
    std::process::exit(1);
}
