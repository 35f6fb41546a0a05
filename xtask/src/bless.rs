//! Writes the generated files anew: `completions/`, `man/`, and two references in `docs/reference/`.

use crate::command::{self, Failure};
use crate::workspace::Workspace;

/// Runs the chore: the command writes what is made from its own tree.
pub(crate) fn run() -> Result<(), Failure> {
    let workspace = Workspace::find()?;
    command::run(&mut workspace.cargo(&["run", "--quiet", "--package", "ztsa-cli", "--", "generate", "."]))
}
