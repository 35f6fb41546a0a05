//! What people have been told of the way to the gateway: each change once, whichever task has noticed it.

use std::sync::Arc;

use ztsa_proto::problem::{Problem, Retry};

use crate::listener::event::Event;

/// Which task has noticed something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    /// The renewal of the session.
    Renewal,
    /// The stream of the gateway's events.
    Events,
}

/// What has been told and still holds.
#[derive(Debug, Default)]
pub(super) struct Told {
    login: bool,
    renewal_offline: bool,
    events_offline: bool,
}

impl Told {
    /// Notes a failure; gives what is to be told of it.
    pub(super) fn failed(&mut self, by: By, problem: Problem) -> Option<Event> {
        if matches!(problem.retry, Retry::AfterLogin | Retry::AfterStepUp) {
            let told = std::mem::replace(&mut self.login, true);
            return (!told).then(|| Event::LoginNeeded(Arc::new(problem)));
        }
        if problem.exit() != 6 {
            return None;
        }
        let told = self.is_offline();
        *self.offline(by) = true;
        (!told).then(|| Event::Offline(Arc::new(problem)))
    }

    /// Notes that a task has got through; gives what is to be told of it.
    ///
    /// Whichever it was, there is a session, and nobody has to sign in. A stream of events is followed with a session
    /// that is good; but a session that is renewed says nothing of the stream.
    pub(super) fn worked(&mut self, by: By) -> Option<Event> {
        self.login = false;
        let told = self.is_offline();
        self.renewal_offline = false;
        *self.offline(by) = false;
        (told && !self.is_offline()).then_some(Event::Online)
    }

    const fn is_offline(&self) -> bool {
        self.renewal_offline || self.events_offline
    }

    const fn offline(&mut self, by: By) -> &mut bool {
        match by {
            By::Renewal => &mut self.renewal_offline,
            By::Events => &mut self.events_offline,
        }
    }
}

#[cfg(test)]
mod tests {
    use ztsa_proto::problem;

    use super::By::{Events, Renewal};
    use super::*;

    /// What is told step by step: a failure has a code, and success has none.
    fn words(steps: &[(By, &str)]) -> Vec<&'static str> {
        let mut told = Told::default();
        let step = |(by, code): &(By, &str)| match *code {
            "" => told.worked(*by),
            code => told.failed(*by, problem::new(code)),
        };
        let word = |event| match event {
            None => "",
            Some(Event::LoginNeeded(_)) => "login",
            Some(Event::Offline(_)) => "offline",
            Some(Event::Online) => "online",
            Some(other) => panic!("{other:?}"),
        };
        steps.iter().map(step).map(word).collect()
    }

    #[test]
    fn a_renewal_that_works_again_is_told_although_the_stream_never_broke() {
        let away = (Renewal, "gateway.unavailable");
        assert_eq!(words(&[away, away, (Renewal, ""), (Renewal, ""), away]), ["offline", "", "online", "", "offline"]);
        let login = (Renewal, "auth.required");
        assert_eq!(words(&[login, login, (Renewal, ""), login]), ["login", "", "", "login"]);
    }

    #[test]
    fn a_renewal_does_not_say_that_a_stream_is_back_and_a_stream_says_both() {
        let (renewal, events) = ((Renewal, "network.lost"), (Events, "network.lost"));
        assert_eq!(words(&[events, (Renewal, ""), (Events, "")]), ["offline", "", "online"]);
        assert_eq!(words(&[renewal, events, (Renewal, ""), (Events, "")]), ["offline", "", "", "online"]);
        assert_eq!(words(&[events, renewal, (Events, ""), (Renewal, "")]), ["offline", "", "online", ""]);
        assert_eq!(words(&[(Events, "auth.required"), (Renewal, "auth.required")]), ["login", ""]);
        assert_eq!(words(&[(Events, "policy.no_match"), (Events, "")]), ["", ""], "a denial is neither");
    }
}
