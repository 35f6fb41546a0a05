//! Why a token that somebody else issued is refused.

use std::time::Duration;

use super::text;

/// Says why an issuer's token is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenFault {
    /// It is not a JWT.
    #[error(
        "it is not a JWT; an issuer that gives opaque tokens needs tokens = \"userinfo\" or \"introspection\" here, or a `resource`"
    )]
    Opaque,
    /// It is encrypted.
    #[error("it is encrypted for somebody else")]
    Encrypted,
    /// It is over 64 KiB, or its parts do not read.
    #[error("it is malformed")]
    Malformed,
    /// `alg` is `none`, symmetric or unknown.
    #[error("its algorithm {0} is not accepted")]
    Algorithm(String),
    /// It demands an extension.
    #[error("it demands an extension (`crit`)")]
    Critical,
    /// `typ` is not `at+jwt`.
    #[error("its type is {0}, not \"at+jwt\"; for an issuer that cannot send that, set relaxed_typ = true")]
    Type(String),
    /// An ID token was sent as an access token.
    #[error("it is an ID token: send the access token")]
    IdToken,
    /// No key of the issuer signed it.
    #[error("its signature does not match the issuer's key")]
    Signature,
    /// The issuer has no such key.
    #[error("it names a key that the issuer does not have")]
    UnknownKey,
    /// `iss` is another.
    #[error("it was issued by somebody else")]
    Issuer,
    /// `aud` is another.
    #[error("it is for {found}, not for this gateway; add that to `audiences` if it should be")]
    Audience {
        /// What it is for.
        found: String,
    },
    /// It ran out.
    #[error("it ran out {} ago", text(*.0))]
    Expired(Duration),
    /// It is not valid yet.
    #[error("it is not valid yet: the issuer's clock or this gateway's is wrong")]
    NotYet,
    /// A claim is missing or of the wrong kind.
    #[error("its claim `{0}` is missing or of the wrong kind")]
    Claim(&'static str),
    /// The issuer says that it is not active.
    #[error("the issuer says that it is no longer valid")]
    Inactive,
    /// It is about another person than the access token.
    #[error("it is about another person")]
    Subject,
    /// It was not issued with this access token.
    #[error("it was not issued together with this access token (`at_hash`)")]
    AccessHash,
    /// An opaque access token came without an ID token.
    #[error("an opaque access token needs the ID token that came with it")]
    NoIdToken,
    /// It is bound to another device's key.
    #[error("it is bound to the key of another device")]
    Device,
    /// The person is in more groups than the issuer puts into a token (Entra ID's group overage).
    #[error(
        "the person is in more groups than the issuer puts into a token (group overage): at the issuer, give out only the groups assigned to the application, or app roles with groups_claim = \"roles\" here"
    )]
    GroupOverage,
    /// The person is in more groups, or in one with a longer name, than is taken.
    #[error(
        "the person is in more than 512 groups, or in one whose name is longer than 256 bytes: at the issuer, give out only the groups assigned to the application"
    )]
    TooManyGroups,
    /// It was exchanged with the keys of as many devices as it may be.
    #[error(
        "it was exchanged with the key of another device before: sign in on each device by itself, and let the processes of one job share a state directory"
    )]
    Shared,
    /// A job's token has the type of another sort of token.
    #[error("its type is {0}: send the JWT that the platform gives the job")]
    WorkloadType(String),
    /// A job's token is for somebody else, or for others as well.
    #[error("it is for {found}; ask the platform for a token with the audience {wanted:?} alone")]
    WorkloadAudience {
        /// What it is for.
        found: String,
        /// What it must be for.
        wanted: String,
    },
    /// A job's claims match no table.
    #[error("no [[workload]] here is for this job: `{claim}` is {found}")]
    Workload {
        /// The first claim that does not match, of the table that comes nearest.
        claim: String,
        /// What it is, as JSON.
        found: String,
    },
    /// After a revocation, the time of the login must be known, and it does not say.
    #[error("it does not tell when the person signed in (`auth_time`)")]
    NoLoginTime,
}

impl TokenFault {
    /// Says whether a new sign-in can mend it.
    pub(super) fn login_helps(&self) -> bool {
        matches!(
            self,
            TokenFault::Expired(_)
                | TokenFault::Inactive
                | TokenFault::Signature
                | TokenFault::UnknownKey
                | TokenFault::Subject
                | TokenFault::AccessHash
                | TokenFault::NoIdToken
                | TokenFault::Device
                | TokenFault::NoLoginTime
                | TokenFault::Shared
        )
    }
}
