//! What an administrator can ask for.

use serde::{Deserialize, Serialize};

use crate::measure::Why;

/// Holds one request, as it stands on its line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", deny_unknown_fields)]
pub enum Request {
    /// Lists the sessions and their tunnels.
    #[serde(rename = "sessions.list")]
    SessionsList {},
    /// Ends sessions and tunnels; exactly one of the five must be given.
    #[serde(rename = "sessions.revoke")]
    SessionsRevoke {
        /// A person: subject, name, e-mail address or `ISSUER|SUBJECT`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        user: Option<String>,
        /// A session's id.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        session: Option<String>,
        /// A device's id, or the beginning of it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        device: Option<String>,
        /// An app's name.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        app: Option<String>,
        /// Everybody.
        #[serde(default)]
        all: bool,
        /// Why, in words for the people concerned.
        #[serde(default)]
        reason: String,
    },
    /// Makes the risk of a person, a device or a session exactly a score; exactly one of the three must be given.
    #[serde(rename = "risk.set")]
    RiskSet {
        /// A person: subject, name, e-mail address or `ISSUER|SUBJECT`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        user: Option<String>,
        /// A device's id, or the beginning of it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        device: Option<String>,
        /// A session's id.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        session: Option<String>,
        /// 0 to 100.
        score: u8,
        /// Why, in words for the people concerned.
        #[serde(default)]
        reason: String,
        /// For how long, such as `1h`; until it is cleared unless it is said.
        #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
        lasts: Option<String>,
    },
    /// Shows scores and the signals behind them, of one of the three or of all.
    #[serde(rename = "risk.show")]
    RiskShow {
        /// A person: subject, name, e-mail address or `ISSUER|SUBJECT`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        user: Option<String>,
        /// A device's id, or the beginning of it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        device: Option<String>,
        /// A session's id.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        session: Option<String>,
    },
    /// Takes an administrator's word back.
    #[serde(rename = "risk.clear")]
    RiskClear {
        /// A person: subject, name, e-mail address or `ISSUER|SUBJECT`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        user: Option<String>,
        /// A device's id, or the beginning of it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        device: Option<String>,
        /// A session's id.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        session: Option<String>,
    },
    /// Forgets the habits that are remembered of a person.
    #[serde(rename = "risk.forget")]
    RiskForget {
        /// The person: subject, name, e-mail address or `ISSUER|SUBJECT`.
        user: String,
    },
    /// Lists the devices.
    #[serde(rename = "devices.list")]
    DevicesList {},
    /// Approves a device: it belongs to the organisation.
    #[serde(rename = "devices.approve")]
    DevicesApprove {
        /// The device's id, or the beginning of it.
        device: String,
    },
    /// Blocks a device: it may do nothing.
    #[serde(rename = "devices.block")]
    DevicesBlock {
        /// The device's id, or the beginning of it.
        device: String,
    },
    /// Forgets a device and ends its sessions.
    #[serde(rename = "devices.remove")]
    DevicesRemove {
        /// The device's id, or the beginning of it.
        device: String,
    },
    /// Reads the policies again.
    #[serde(rename = "policy.reload")]
    PolicyReload {},
    /// Reads the configuration, the policies and the certificate again.
    #[serde(rename = "reload")]
    Reload {},
    /// Explains what a person would be answered for an app now, in each of their sessions.
    #[serde(rename = "policy.explain")]
    PolicyExplain {
        /// The person.
        user: String,
        /// The app's name.
        app: String,
    },
    /// Tells how the gateway is.
    #[serde(rename = "status")]
    Status {},
    /// Gives the public key that checks the audit log's checkpoints, as a JWK.
    #[serde(rename = "audit.key")]
    AuditKey {},
}

impl Request {
    /// Says what the live tunnels that it changes are judged again for.
    pub fn why(&self) -> Why {
        match self {
            Self::DevicesList {}
            | Self::DevicesApprove { .. }
            | Self::DevicesBlock { .. }
            | Self::DevicesRemove { .. } => Why::Device,
            Self::PolicyReload {} => Why::Policy,
            Self::Reload {} => Why::Configuration,
            _ => Why::Administrator,
        }
    }
}
