//! The scopes this issuer knows.

use std::fmt;

/// A set of known scopes, in a fixed order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Scope(Vec<Known>);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Known {
    OpenId,
    Profile,
    Email,
    Groups,
    OfflineAccess,
}

impl Known {
    pub(crate) const ALL: [Self; 5] = [Self::OpenId, Self::Profile, Self::Email, Self::Groups, Self::OfflineAccess];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::OpenId => "openid",
            Self::Profile => "profile",
            Self::Email => "email",
            Self::Groups => "groups",
            Self::OfflineAccess => "offline_access",
        }
    }

    /// Says what the scope gives, as the consent page does.
    pub(crate) fn meaning(self) -> &'static str {
        match self {
            Self::OpenId => "know who you are",
            Self::Profile => "see your name and your groups",
            Self::Email => "see your mail address",
            Self::Groups => "see your groups",
            Self::OfflineAccess => "stay signed in without asking you again",
        }
    }
}

impl Scope {
    /// Reads a scope parameter; scopes that are not known are left out, and the answer says what was granted
    /// (RFC 6749 section 3.3).
    pub(crate) fn parse(text: &str) -> Self {
        let asked: Vec<&str> = text.split(' ').collect();
        Self(Known::ALL.into_iter().filter(|known| asked.contains(&known.name())).collect())
    }

    pub(crate) fn has(&self, known: Known) -> bool {
        self.0.contains(&known)
    }

    pub(crate) fn is_within(&self, other: &Self) -> bool {
        self.0.iter().all(|known| other.has(*known))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Known> {
        self.0.iter().copied()
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.iter().map(Known::name).collect();
        formatter.write_str(&names.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_scopes_are_left_out_and_repeated_ones_counted_once() {
        let scope = Scope::parse("email launch_rockets openid  email");
        assert_eq!(scope.to_string(), "openid email");
        assert!(Scope::parse("openid").is_within(&scope));
        assert!(!Scope::parse("openid profile").is_within(&scope));
    }
}
