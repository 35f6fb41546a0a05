//! Whether a transmitter still speaks: no event is no news only while it is known to be there.

use std::time::Duration;

use ztsa_proto::time::UnixTime;

/// Remembers the last sign of life of a transmitter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Freshness {
    heard: UnixTime,
    paused: bool,
    silent: bool,
}

/// Names a sign of life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// A token came.
    Token,
    /// A heartbeat that was asked for came.
    Heartbeat,
    /// A poll was answered.
    Answer,
    /// The transmitter said that it sends nothing for now.
    Paused,
    /// It said so over the stream that it sends again.
    Resumed,
    /// Its API says that the stream flows, which proves no delivery: it ends a pause and is no sign of life.
    Flows,
}

impl Freshness {
    /// Begins with the benefit of the doubt.
    pub fn begin(now: UnixTime) -> Self {
        Self { heard: now, paused: false, silent: false }
    }

    /// Notes a sign of life: something was delivered (SSF section 8.1.4). While a stream is paused, only its resumption is one.
    pub fn hear(&mut self, sign: Sign, now: UnixTime) {
        match sign {
            Sign::Paused => self.paused = true,
            Sign::Resumed => self.paused = false,
            Sign::Flows => {
                self.paused = false;
                return;
            }
            Sign::Token | Sign::Heartbeat | Sign::Answer => {}
        }
        if !self.paused {
            self.heard = self.heard.max(now);
        }
    }

    /// Says for how long nothing was heard, when that is longer than `most`, and whether that is new.
    ///
    /// Where nobody can be `asked` for a sign of life, only a stream that is paused is silent.
    pub fn silence(&mut self, most: Duration, asked: bool, now: UnixTime) -> (Option<Duration>, bool) {
        let since = now.since(self.heard);
        let silent = since > most && (asked || self.paused);
        let turned = std::mem::replace(&mut self.silent, silent) != silent;
        (silent.then_some(since), turned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: Duration = Duration::from_secs(60);

    #[test]
    fn silence_is_told_once_and_so_is_its_end() {
        let mut freshness = Freshness::begin(UnixTime(100));
        assert_eq!(freshness.silence(MOST, true, UnixTime(160)), (None, false));
        assert_eq!(freshness.silence(MOST, true, UnixTime(161)), (Some(Duration::from_secs(61)), true));
        assert_eq!(freshness.silence(MOST, true, UnixTime(170)), (Some(Duration::from_secs(70)), false));
        freshness.hear(Sign::Heartbeat, UnixTime(171));
        assert_eq!(freshness.silence(MOST, true, UnixTime(172)), (None, true));
        assert_eq!(freshness.silence(MOST, true, UnixTime(173)), (None, false));
    }

    #[test]
    fn a_paused_stream_grows_silent_whatever_else_is_heard() {
        let mut freshness = Freshness::begin(UnixTime(100));
        freshness.hear(Sign::Paused, UnixTime(110));
        freshness.hear(Sign::Answer, UnixTime(150));
        freshness.hear(Sign::Heartbeat, UnixTime(155));
        assert!(freshness.silence(MOST, true, UnixTime(161)).0.is_some());
        freshness.hear(Sign::Resumed, UnixTime(162));
        assert_eq!(freshness.silence(MOST, true, UnixTime(170)), (None, true));
    }

    #[test]
    fn an_api_that_calls_the_stream_enabled_proves_no_delivery() {
        let mut freshness = Freshness::begin(UnixTime(100));
        freshness.hear(Sign::Flows, UnixTime(150));
        assert!(freshness.silence(MOST, true, UnixTime(161)).0.is_some(), "nothing was delivered");
        assert_eq!(freshness.silence(MOST, false, UnixTime(162)), (None, true), "nobody can be asked");
        freshness.hear(Sign::Paused, UnixTime(170));
        assert!(freshness.silence(MOST, false, UnixTime(171)).0.is_some(), "it says itself that it sends nothing");
        freshness.hear(Sign::Flows, UnixTime(172));
        assert_eq!(freshness.silence(MOST, false, UnixTime(173)), (None, true));
    }
}
