//! `grant.refused`: a person who tries what they may not have.

use ztsa_proto::time::UnixTime;

use super::{Finding, Known, mark, size};
use crate::config::duration;
use crate::config::risk::GrantRefused;
use crate::history::{Attempt, Person};

/// Counts one refusal; of the same destination only so many, since a program that is stuck asks for one thing again and again.
pub(super) fn count(person: &mut Person, asked: &str, settings: &GrantRefused, now: UnixTime) {
    let attempt = Attempt { at: now, kind: GrantRefused::KIND, whose: String::new(), what: mark(asked) };
    person.note_attempt(attempt, size(settings.each), settings.window);
}

pub(super) fn detect(known: Known<'_>, settings: &GrantRefused) -> Option<Finding> {
    let refused = known.person.attempts(GrantRefused::KIND, "", settings.window, known.now).count();
    (refused >= size(settings.count)).then(|| Finding {
        kind: GrantRefused::KIND,
        about: None,
        cause: String::new(),
        reason: format!(
            "{refused} requests within {} for what you may not open",
            duration::text(settings.window.as_secs())
        ),
        weight: settings.weight,
    })
}
