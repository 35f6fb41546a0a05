//! Bounded waits: nothing sleeps for longer than it takes, and nothing waits for ever.

use std::future::Future;
use std::time::{Duration, Instant};

/// How long anything may take, on a machine with other work to do.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// How long bytes that must not come are waited for.
pub const SILENCE: Duration = Duration::from_millis(200);

/// Waits for a future; a deadline is a failure that says what was waited for.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("waited {PATIENCE:?} for {what}"),
    }
}

/// Looks again and again until there is an answer.
pub async fn until<T>(what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ready() {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} for {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
