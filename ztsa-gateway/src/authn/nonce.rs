//! DPoP nonces without memory: the time and a tag that only this process can make.
//!
//! The key lives as long as the process. A proof that was used before a restart, or at another node, carries a nonce that is
//! not ours and is asked to be made again: so replays need to be remembered only here and only for a nonce's life.

use std::time::Duration;

use aws_lc_rs::{hmac, rand};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ztsa_proto::time::UnixTime;

/// The bytes of the time, and of the tag that follows.
const TIME: usize = 8;
const TAG: usize = 16;
/// How far this machine's own clock may have been set back.
const BACK: u64 = 60;

/// Makes and recognises nonces.
pub(super) struct Nonces {
    key: hmac::Key,
    life: Duration,
}

impl Nonces {
    #[expect(clippy::expect_used, reason = "without randomness nothing here is safe; AWS-LC itself aborts then")]
    pub(super) fn new(life: Duration) -> Nonces {
        let mut bytes = [0; 32];
        rand::fill(&mut bytes).expect("the system gives randomness");
        Nonces { key: hmac::Key::new(hmac::HMAC_SHA256, &bytes), life }
    }

    pub(super) fn make(&self, now: UnixTime) -> String {
        let mut bytes = [0; TIME + TAG];
        let (time, tag) = bytes.split_at_mut(TIME);
        time.copy_from_slice(&now.0.to_be_bytes());
        let signed = hmac::sign(&self.key, time);
        tag.iter_mut().zip(signed.as_ref()).for_each(|(to, from)| *to = *from);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Says whether this process made the nonce, not longer ago than its life.
    pub(super) fn is_ours(&self, nonce: &str, now: UnixTime) -> bool {
        let mut bytes = [0; TIME + TAG];
        if !matches!(URL_SAFE_NO_PAD.decode_slice(nonce, &mut bytes), Ok(length) if length == bytes.len()) {
            return false;
        }
        let Some(time) = bytes.first_chunk::<TIME>() else { return false };
        let made = UnixTime(u64::from_be_bytes(*time));
        let fresh = made.0 <= now.0.saturating_add(BACK) && now.since(made) <= self.life;
        fresh && aws_lc_rs::constant_time::verify_slices_are_equal(self.make(made).as_bytes(), nonce.as_bytes()).is_ok()
    }
}

impl std::fmt::Debug for Nonces {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Nonces").field("life", &self.life).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime(1_795_000_000);

    fn nonces() -> Nonces {
        Nonces::new(Duration::from_secs(300))
    }

    #[test]
    fn a_nonce_lives_its_life_and_not_longer() {
        let nonces = nonces();
        let nonce = nonces.make(NOW);
        for (offset, ours) in [(0, true), (299, true), (300, true), (301, false), (86_400, false)] {
            assert_eq!(nonces.is_ours(&nonce, NOW.plus(Duration::from_secs(offset))), ours, "after {offset} s");
        }
        assert!(nonces.is_ours(&nonce, NOW.minus(Duration::from_secs(30))), "the clock was set back a little");
        assert!(!nonces.is_ours(&nonce, NOW.minus(Duration::from_secs(3600))), "the clock was set back an hour");
    }

    #[test]
    fn another_process_is_not_believed() {
        assert!(!nonces().is_ours(&nonces().make(NOW), NOW));
    }

    #[test]
    fn a_changed_nonce_is_refused() {
        let nonces = nonces();
        let nonce = nonces.make(NOW);
        for at in 0..nonce.len() {
            let mut bytes = nonce.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(bytes).unwrap();
            assert!(changed == nonce || !nonces.is_ours(&changed, NOW), "{changed}");
        }
        assert!(!nonces.is_ours("", NOW));
        assert!(!nonces.is_ours(&format!("{nonce}A"), NOW));
        assert!(!nonces.is_ours(&format!("{nonce}="), NOW));
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_answered(text in ".{0,80}") {
            proptest::prop_assert!(!nonces().is_ours(&text, NOW));
        }
    }
}
