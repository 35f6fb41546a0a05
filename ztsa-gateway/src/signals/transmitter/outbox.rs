//! Tokens that wait for their receiver: in order, bounded, and across a restart.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ztsa_proto::time::UnixTime;

use crate::store::{Document, Store};

/// The documents that hold tokens that wait.
const DOCUMENT: &str = "ssf.outbox";
/// How many wait at most for one stream; the oldest give way.
pub(super) const MOST: usize = 10_000;
/// How long a token waits at most: after that no receiver takes it for news.
pub(super) const LONGEST: Duration = Duration::from_secs(7 * 86_400);

/// Holds what waits in one stream.
#[derive(Debug)]
pub(super) struct Outbox {
    store: Store,
    stream: String,
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    tokens: VecDeque<Token>,
    next: u64,
}

/// One token that waits.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Token {
    number: u64,
    pub(super) jti: String,
    pub(super) text: String,
    pub(super) at: UnixTime,
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Token").field("jti", &self.jti).field("at", &self.at).finish_non_exhaustive()
    }
}

/// Reads what waited when the gateway went down, by stream.
pub(super) fn restored(store: &Store) -> BTreeMap<String, Vec<Token>> {
    let mut streams: BTreeMap<String, Vec<Token>> = BTreeMap::new();
    for document in store.take_documents(DOCUMENT) {
        let read = || {
            let mut parts = document.key.splitn(3, '|');
            let (stream, number, jti) = (parts.next()?, parts.next()?.parse().ok()?, parts.next()?);
            Some((
                stream.to_owned(),
                Token { number, jti: jti.to_owned(), text: document.value.clone(), at: document.at },
            ))
        };
        match read() {
            Some((stream, token)) => streams.entry(stream).or_default().push(token),
            None => store.delete_document(DOCUMENT, &document.key),
        }
    }
    streams
}

impl Outbox {
    pub(super) fn new(store: &Store, stream: &str, mut tokens: Vec<Token>) -> Outbox {
        tokens.sort_by_key(|token| token.number);
        let next = tokens.last().map_or(0, |token| token.number + 1);
        let waiting = Mutex::new(Waiting { tokens: tokens.into(), next });
        Outbox { store: store.clone(), stream: stream.to_owned(), waiting }
    }

    /// Puts a token at the end; says how many of the oldest had to give way or had waited for too long.
    pub(super) fn push(&self, jti: String, text: String, now: UnixTime) -> usize {
        let mut waiting = self.waiting();
        let token = Token { number: waiting.next, jti, text, at: now };
        waiting.next += 1;
        self.store.put_document(Document {
            kind: DOCUMENT,
            key: self.key(&token),
            value: token.text.clone(),
            at: token.at,
        });
        waiting.tokens.push_back(token);
        let mut lost = 0;
        while let Some(oldest) = waiting.tokens.front() {
            if waiting.tokens.len() <= MOST && now.since(oldest.at) <= LONGEST {
                break;
            }
            self.store.delete_document(DOCUMENT, &self.key(oldest));
            waiting.tokens.pop_front();
            lost += 1;
        }
        lost
    }

    /// Gives the oldest tokens that wait, and whether there are more.
    pub(super) fn first(&self, most: usize) -> (Vec<Token>, bool) {
        let waiting = self.waiting();
        (waiting.tokens.iter().take(most).cloned().collect(), waiting.tokens.len() > most)
    }

    /// Forgets a token that its receiver has taken or refused; says whether it waited.
    pub(super) fn done(&self, jti: &str) -> bool {
        let mut waiting = self.waiting();
        let place = waiting.tokens.iter().position(|token| token.jti == jti);
        let token = place.and_then(|place| waiting.tokens.remove(place));
        token.is_some_and(|token| {
            self.store.delete_document(DOCUMENT, &self.key(&token));
            true
        })
    }

    /// Forgets everything.
    pub(super) fn clear(&self) {
        for token in self.waiting().tokens.drain(..) {
            self.store.delete_document(DOCUMENT, &self.key(&token));
        }
    }

    fn key(&self, token: &Token) -> String {
        format!("{}|{}|{}", self.stream, token.number, token.jti)
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::StoreUrl;

    #[test]
    fn tokens_wait_in_order_and_the_oldest_give_way() {
        let store = Store::open(&StoreUrl::Memory).unwrap();
        let outbox = Outbox::new(&store, "s", Vec::new());
        let now = UnixTime(1_000_000);
        for number in 0..MOST {
            assert_eq!(outbox.push(number.to_string(), "t".to_owned(), now), 0);
        }
        assert_eq!(outbox.push("last".to_owned(), "t".to_owned(), now), 1);
        let (first, more) = outbox.first(2);
        assert_eq!((first.iter().map(|token| token.jti.as_str()).collect::<Vec<_>>(), more), (vec!["1", "2"], true));
        assert!(outbox.done("1") && !outbox.done("1"));
        let late = now.plus(LONGEST).plus(Duration::from_secs(1));
        assert_eq!(outbox.push("late".to_owned(), "t".to_owned(), late), MOST - 1);
        assert_eq!(outbox.first(9).0.len(), 1);
    }

    #[tokio::test]
    async fn what_waits_outlives_a_restart_in_its_order() {
        let path = std::env::temp_dir().join(format!("ztsa-outbox-{}.db", std::process::id()));
        let url = StoreUrl::Sqlite(path.clone());
        let store = Store::open(&url).unwrap();
        let outbox = Outbox::new(&store, "s", Vec::new());
        for number in 0..12 {
            outbox.push(format!("j{number}"), format!("t{number}"), UnixTime(5));
        }
        outbox.done("j0");
        store.flush().await.unwrap();
        drop((store, outbox));
        let store = Store::open(&url).unwrap();
        let tokens = restored(&store).remove("s").unwrap();
        let outbox = Outbox::new(&store, "s", tokens);
        let texts: Vec<String> = outbox.first(99).0.into_iter().map(|token| token.text).collect();
        assert_eq!(texts, (1..12).map(|number| format!("t{number}")).collect::<Vec<_>>());
        outbox.push("new".to_owned(), "new".to_owned(), UnixTime(6));
        assert_eq!(outbox.first(99).0.last().map(|token| token.number), Some(12));
        for end in ["", "-wal", "-shm", ".lock"] {
            let _ = std::fs::remove_file(format!("{}{end}", path.display()));
        }
    }
}
