//! Where the running gateway is asked.

use std::path::{Path, PathBuf};

use serde_json::Value;
use ztsa_gateway::admin::call::call;
use ztsa_gateway::admin::request::Request;

use super::failure::Failure;

/// Where `run` and `dev` put their sockets when nothing else is said.
const USUAL: [&str; 2] = ["admin.sock", ".ztsa-dev/admin.sock"];

/// Which gateway is asked, and how it is shown.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Args {
    /// The administrator's socket of the gateway [default: ./admin.sock, else .ztsa-dev/admin.sock].
    #[arg(long, env = "ZTSA_ADMIN", value_name = "SOCKET", global = true)]
    pub(crate) admin: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

impl Args {
    /// Asks the gateway.
    pub(crate) fn ask(&self, request: &Request) -> Result<Value, Failure> {
        Ok(Value::Object(call(&self.socket()?, request)?))
    }

    /// Asks, and prints the answer for programs, or as `show` does for people.
    pub(crate) fn show(
        &self,
        request: &Request,
        show: impl FnOnce(&Value) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let answer = self.ask(request)?;
        if self.json { super::output::line(&answer.to_string()) } else { show(&answer) }
    }

    fn socket(&self) -> Result<PathBuf, Failure> {
        if let Some(socket) = &self.admin {
            return Ok(socket.clone());
        }
        let usual = USUAL.iter().map(Path::new).find(|path| path.exists());
        usual.map(Path::to_owned).ok_or_else(|| {
            Failure::new("no gateway is running from this directory")
                .hint("name its administrator's socket with --admin SOCKET or ZTSA_ADMIN")
                .unreachable()
        })
    }
}
