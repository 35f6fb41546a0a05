//! Decides where the chain goes on at a start, and what of the log is not known to be the gateway's.
//!
//! What shows that the gateway wrote a line is its note, which names the last one, or a checkpoint behind it. Everything else may
//! be anybody's: no later checkpoint vouches for it without a line that says so.

use super::chain::{Head, Link};
use super::note::Noted;
use super::own::Own;

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Stand {
    /// Where the chain goes on.
    pub(super) head: Head,
    /// What the log has to tell of it.
    pub(super) wrong: Vec<Own>,
    /// The file does not hold what the gateway wrote last, but something else.
    pub(super) replaced: bool,
}

/// Decides, from the whole lines at the end of the file, the note, and a look at a line that says whether it is a checkpoint
/// with the gateway's signature.
pub(super) fn stand(end: &[u8], noted: Noted, signed: impl Fn(&Link) -> bool) -> Stand {
    let mut lines = end.strip_suffix(b"\n").into_iter().flat_map(|end| end.rsplit(|byte| *byte == b'\n'));
    let last = lines.next().map(|line| Link::read(line).ok());
    let noted = match noted {
        Noted::Head(noted) => noted,
        Noted::Nothing if last.is_none() => return Stand { head: Head::new(), wrong: Vec::new(), replaced: false },
        Noted::Nothing | Noted::Foreign => {
            let Some(last) = last.flatten() else {
                return Stand { head: Head::new(), wrong: vec![Own::Unnoted], replaced: false };
            };
            let to = known(&last, lines, None, signed).unwrap_or(0);
            let wrong = std::iter::once(Own::Unnoted).chain(since(to, &last)).collect();
            return Stand { head: last.head, wrong, replaced: false };
        }
    };
    // it was moved away meanwhile: what was noted goes on
    let Some(last) = last else { return Stand { head: noted, wrong: Vec::new(), replaced: false } };
    let Some(last) = last.filter(|last| last.head.chain == noted.chain) else {
        return Stand { head: noted, wrong: Vec::new(), replaced: true };
    };
    if last.head.sequence < noted.sequence {
        let wrong = vec![Own::Missing(last.head.sequence, noted.sequence)];
        return Stand { head: noted, wrong, replaced: false };
    }
    if last.head == noted {
        return Stand { head: noted, wrong: Vec::new(), replaced: false };
    }
    // the gateway ended between a line and its note, or somebody added lines
    let beyond = last.head.sequence > noted.sequence;
    match known(&last, lines, Some(&noted), signed).filter(|_| beyond) {
        Some(to) => Stand { wrong: since(to, &last).into_iter().collect(), head: last.head, replaced: false },
        None => Stand { head: noted, wrong: Vec::new(), replaced: true },
    }
}

/// The number of the last line that the gateway is known to have written, of those that the last one leads back to.
fn known<'a>(
    last: &Link,
    mut before: impl Iterator<Item = &'a [u8]>,
    noted: Option<&Head>,
    signed: impl Fn(&Link) -> bool,
) -> Option<u64> {
    let mut link = last.clone();
    loop {
        if signed(&link) {
            return Some(link.head.sequence);
        }
        let behind = link.before();
        if noted == Some(&behind) {
            return Some(behind.sequence);
        }
        let previous = Link::read(before.next()?).ok()?;
        if previous.head != behind {
            return None;
        }
        link = previous;
    }
}

fn since(to: u64, last: &Link) -> Option<Own> {
    (to < last.head.sequence).then(|| Own::Unvouched(to.saturating_add(1), last.head.sequence))
}
