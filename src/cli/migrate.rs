//! `tidelock migrate`.

use clap::Args;
use serde_json::json;

use crate::registry;

use super::context::Context;
use super::error::{Answer, CliError};
use super::output::{Line, Output, plain};

/// Bring the registry's schema to what this program knows, as the login that owns it or will
#[derive(Args)]
#[command(after_help = "Example: tidelock migrate --database-url postgresql://owner@db.internal/registry")]
pub(super) struct Migrate {
    /// Only say what is missing: exit code 3 where something is
    #[arg(long)]
    check: bool,
}

impl Migrate {
    pub(super) async fn run(self, context: &Context, output: &Output) -> Result<Answer, CliError> {
        let settings = context.settings()?;
        let migrated =
            if self.check { registry::pending(&settings).await? } else { registry::migrate(&settings).await? };
        let names = migrated.migrations;
        output.note(match (names.is_empty(), self.check) {
            (true, _) => "the schema is up to date",
            (false, true) => "missing; `tidelock migrate` applies:",
            (false, false) => "applied:",
        });
        if output.is_json() || !names.is_empty() {
            let line = |name: &String| Line { cells: vec![plain(name)], json: json!(name) };
            output.list(&["MIGRATION"], names.iter().map(line))?;
        }
        Ok(Answer::differs_if(self.check && !names.is_empty()))
    }
}
