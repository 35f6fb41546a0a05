//! What each command does, one file each.

use ztsa_core::client::Client;
use ztsa_core::token::{LoginReason, TokenError};

use crate::cli::Command;
use crate::env::Environment;
use crate::interrupt::interrupt;
use crate::report::Failure;
use crate::settings::Settings;
use crate::ui::Printer;

use lead::Lead;

mod apps;
mod connect;
mod doctor;
pub(crate) mod generate;
mod lead;
mod login;
mod logout;
mod posture;
mod profile;
mod proxy;
mod sign_in;
mod ssh_config;
mod status;
mod stdio;
mod ticket;
mod watch;
mod why;

/// What every command is given.
#[derive(Debug, Clone)]
pub(crate) struct Context {
    /// The settings that hold.
    pub(crate) settings: Settings,
    /// Where to speak.
    pub(crate) printer: Printer,
    /// The environment.
    pub(crate) environment: Environment,
    /// Whether stdin and stdout carry an app's bytes: nothing is opened in front of the person then.
    pub(crate) piped: bool,
}

impl Context {
    /// Opens the client of the profile; asks nobody on the network.
    pub(crate) async fn client(&self) -> Result<Client, Failure> {
        Ok(Client::open(self.settings.config()?).await?)
    }

    /// Opens the client of the profile for somebody who has signed in, or who is led to the sign-in now.
    pub(crate) async fn signed_in(&self) -> Result<Client, Failure> {
        let client = self.client().await?;
        if client.status().await?.sign_in.is_none() {
            let nobody = TokenError::LoginRequired(LoginReason::Never).into();
            Lead::default().after(self, &client, nobody).await?;
        }
        Ok(client)
    }

    /// Does some work with a client; where it lacks a sign-in, or one that is strong and fresh enough, leads the person
    /// there once and does the work again.
    pub(crate) async fn led<T>(
        &self,
        client: &Client,
        mut work: impl AsyncFnMut() -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let mut lead = Lead::default();
        loop {
            match work().await {
                Ok(done) => return Ok(done),
                Err(failure) => Box::pin(lead.after(self, client, failure)).await?,
            }
        }
    }
}

/// How a command ended well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Done {
    /// With exit code 0.
    Ok,
    /// With the exit code of the command that it ran.
    Code(u8),
}

/// Does what the command line says.
///
/// # Errors
/// Why it could not be done; the report says what a person should do.
pub(crate) async fn run(command: Command, context: Context) -> Result<Done, Failure> {
    // These see to their own ending: what they run is shut down, not dropped.
    match command {
        Command::Connect(args) => Box::pin(connect::run(args, context)).await,
        Command::Proxy(args) => Box::pin(proxy::run(args, context)).await,
        Command::Stdio(args) => Box::pin(stdio::run(args, &context)).await,
        other => tokio::select! {
            done = Box::pin(short(other, context)) => done,
            by = interrupt() => Err(Failure::Interrupted(by?)),
        },
    }
}

async fn short(command: Command, context: Context) -> Result<Done, Failure> {
    match command {
        Command::Login(args) => login::run(args, context).await,
        Command::Logout(args) => logout::run(args, &context).await,
        Command::Profile(args) => profile::run(args, &context).await,
        Command::Status(args) => status::run(args, &context).await,
        Command::Apps(args) => apps::run(args, &context).await,
        Command::Ticket(args) => ticket::run(args, &context).await,
        Command::Why(args) => why::run(args, &context).await,
        Command::Posture => posture::run(&context).await,
        Command::Doctor(args) => doctor::run(args, &context).await,
        Command::SshConfig(_) => ssh_config::run(&context).await,
        // Those that see to their own ending, and those that need no settings, are dealt with before.
        Command::Connect(_)
        | Command::Proxy(_)
        | Command::Stdio(_)
        | Command::Completions(_)
        | Command::Man(_)
        | Command::Generate(_) => Ok(Done::Ok),
    }
}
