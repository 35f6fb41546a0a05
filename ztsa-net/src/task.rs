//! Who owns what runs: no task outlives its scope.

use std::future::Future;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tokio_util::task::TaskTracker;

/// Owns tasks: dropping it aborts them, [`Scope::drain`] lets them end by themselves first.
///
/// Everything that runs in ztsa belongs to a scope; `tokio::spawn` is forbidden elsewhere by a lint.
#[derive(Debug)]
pub struct Scope {
    spawner: Spawner,
}

/// Starts tasks in the [`Scope`] it came from; cheap to clone.
#[derive(Debug, Clone)]
pub struct Spawner {
    tracker: TaskTracker,
    draining: CancellationToken,
    abort: CancellationToken,
}

impl Scope {
    /// Creates a scope without tasks.
    #[must_use]
    pub fn new() -> Self {
        let abort = CancellationToken::new();
        Self { spawner: Spawner { tracker: TaskTracker::new(), draining: abort.child_token(), abort } }
    }

    /// Returns a handle that starts tasks in this scope.
    #[must_use]
    pub fn spawner(&self) -> Spawner {
        self.spawner.clone()
    }

    /// Starts a task. It is dropped at its next suspension point when the scope is dropped.
    pub fn spawn<F>(&self, future: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.spawner.spawn(future);
    }

    /// Returns a future that completes when the scope begins to end: accept loops leave on it.
    pub fn ending(&self) -> WaitForCancellationFutureOwned {
        self.spawner.ending()
    }

    /// Counts the tasks that still run.
    #[must_use]
    pub fn running(&self) -> usize {
        self.spawner.tracker.len()
    }

    /// Tells the tasks that the scope is ending, without waiting for them.
    pub fn end(&self) {
        self.spawner.draining.cancel();
        self.spawner.tracker.close();
    }

    /// Ends the scope: tells the tasks, waits up to `grace` for them, then aborts what is left. Returns whether all
    /// ended by themselves.
    ///
    /// # Cancel safety
    /// Dropping the future aborts the tasks at once.
    pub async fn drain(self, grace: Duration) -> bool {
        self.end();
        let clean = tokio::time::timeout(grace, self.spawner.tracker.wait()).await.is_ok();
        if !clean {
            self.spawner.abort.cancel();
            self.spawner.tracker.wait().await;
        }
        clean
    }

    /// Waits until every task has ended. New tasks may still be started meanwhile.
    ///
    /// # Cancel safety
    /// Cancel-safe.
    pub async fn idle(&self) {
        self.spawner.tracker.close();
        self.spawner.tracker.wait().await;
    }
}

impl Default for Scope {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        self.spawner.abort.cancel();
        self.spawner.tracker.close();
    }
}

impl Spawner {
    /// Starts a task in the scope; when the scope has been dropped, the future is dropped at once.
    #[expect(clippy::disallowed_methods, reason = "the one place that starts tasks; they are tracked here")]
    pub fn spawn<F>(&self, future: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        tokio::spawn(self.own(future));
    }

    /// Starts a task in the scope on a runtime that is not the caller's.
    pub(crate) fn spawn_on<F>(&self, runtime: &Handle, future: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        runtime.spawn(self.own(future));
    }

    /// Makes a future the scope's: it is dropped when the scope is.
    fn own<F>(&self, future: F) -> impl Future<Output = ()> + Send + 'static
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let abort = self.abort.clone();
        self.tracker.track_future(async move {
            tokio::select! {
                biased;
                () = abort.cancelled_owned() => {}
                () = future => {}
            }
        })
    }

    /// Returns a future that completes when the scope begins to end.
    pub fn ending(&self) -> WaitForCancellationFutureOwned {
        self.draining.clone().cancelled_owned()
    }

    /// Tells whether the scope has begun to end.
    #[must_use]
    pub fn is_ending(&self) -> bool {
        self.draining.is_cancelled()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    struct Count(Arc<AtomicUsize>);
    impl Drop for Count {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn dropping_the_scope_drops_its_tasks() {
        let dropped = Arc::new(AtomicUsize::new(0));
        let scope = Scope::new();
        for _ in 0..3 {
            let guard = Count(dropped.clone());
            scope.spawn(async move {
                let _guard = guard;
                std::future::pending::<()>().await;
            });
        }
        tokio::task::yield_now().await;
        assert_eq!(scope.running(), 3);
        let tracker = scope.spawner.tracker.clone();
        drop(scope);
        tracker.wait().await;
        assert_eq!(dropped.load(Ordering::SeqCst), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn drain_waits_for_tasks_that_heed_the_ending_and_aborts_the_rest() {
        let scope = Scope::new();
        let ending = scope.ending();
        scope.spawn(ending);
        assert!(scope.drain(Duration::from_secs(1)).await);

        let scope = Scope::new();
        scope.spawn(std::future::pending());
        assert!(!scope.drain(Duration::from_secs(1)).await);
    }

    #[tokio::test]
    async fn a_task_given_to_a_dropped_scope_does_not_run() {
        let scope = Scope::new();
        let spawner = scope.spawner();
        drop(scope);
        let dropped = Arc::new(AtomicUsize::new(0));
        let guard = Count(dropped.clone());
        spawner.spawn(async move {
            let _guard = guard;
            std::future::pending::<()>().await;
        });
        spawner.tracker.wait().await;
        assert_eq!(dropped.load(Ordering::SeqCst), 1);
    }
}
