//! Work that may hang in the operating system (a key store, a TPM), each piece on a thread of its own and bounded in time.

use std::time::Duration;

use tokio::sync::oneshot;
use ztsa_proto::jws::{SignError, Signer};

/// How long a device key may take to sign.
const SIGNING: Duration = Duration::from_secs(10);

/// Why work that was done apart gave nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Apart {
    /// It took too long and was left behind.
    #[error("it did not answer within {} s", .0.as_secs())]
    Silent(Duration),
    /// It could not begin, or it broke.
    #[error("its client failed: {0}")]
    Failed(String),
}

/// Runs work on a detached thread and leaves it behind when it takes longer than `patience`. A `tokio` blocking thread
/// would keep the runtime from ending while the work hangs.
///
/// # Cancel safety
/// Dropping the future leaves the work behind.
pub(crate) async fn run<T: Send + 'static>(
    name: &str,
    patience: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Apart> {
    let (sender, receiver) = oneshot::channel();
    let started = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
        // Nobody listens any more when it took too long.
        let _ = sender.send(work());
    });
    started.map_err(|error| Apart::Failed(error.to_string()))?;
    match tokio::time::timeout(patience, receiver).await {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(_)) => Err(Apart::Failed("it ended without an answer".to_owned())),
        Err(_) => Err(Apart::Silent(patience)),
    }
}

/// Signs: at once where the key is in memory, apart where it is in a device that takes its time, so that no tunnel waits
/// for the signature of another.
///
/// # Errors
/// The key does not sign, or not within ten seconds.
pub(crate) async fn sign<T: Send + 'static>(
    signer: &dyn Signer,
    work: impl FnOnce(&dyn Signer) -> Result<T, SignError> + Send + 'static,
) -> Result<T, SignError> {
    match signer.elsewhere() {
        None => work(signer),
        Some(signer) => run("ztsa-device-key", SIGNING, move || work(&*signer))
            .await
            .unwrap_or_else(|apart| Err(SignError::Unavailable { reason: apart.to_string() })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn work_that_hangs_is_left_behind() {
        let patience = Duration::from_secs(3);
        let answer = run("hangs", patience, || {
            loop {
                std::thread::park();
            }
        });
        assert_eq!(answer.await, Err::<(), _>(Apart::Silent(patience)));
    }

    #[tokio::test]
    async fn work_that_panics_is_a_failure() {
        let answer: Result<(), _> =
            run("panics", SIGNING, || panic!("Cannot start a runtime from within a runtime")).await;
        assert!(matches!(answer, Err(Apart::Failed(_))));
    }
}
