//! `tidelock registry backup`.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use crate::registry::{BackupPlan, back_up};

use super::super::context::Context;
use super::super::error::{Answer, CliError};
use super::super::output::{Line, Output, plain};

/// Dump the whole registry with pg_dump, as a login with the role tidelock_backup; no file is left that lacks a row
#[derive(Args)]
#[command(
    after_help = "Example: tidelock registry backup registry.dump --database-url postgresql://backup@db.internal/registry"
)]
pub(in super::super) struct BackupArguments {
    /// Where to write it, for pg_restore; FILE.roles.sql beside it has the roles, without passwords. Nothing is overwritten
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The folder with pg_dump and pg_restore, at least as new as the server [default: PATH, or where pg_config says]
    #[arg(long, value_name = "FOLDER", env = "TIDELOCK_PG_BIN")]
    pg_bin: Option<PathBuf>,
}

impl BackupArguments {
    pub(super) async fn run(self, context: &Context, output: &Output) -> Result<Answer, CliError> {
        let plan = BackupPlan { file: self.file, programs: self.pg_bin };
        let backup = back_up(&context.settings()?, &plan).await?;
        let (file, roles) = (plan.file.display(), backup.roles.display());
        if output.is_json() {
            output.json(&json!({
                "file": plan.file, "roles": backup.roles, "rows": backup.tables,
            }))?;
        } else {
            let line =
                |(table, rows): (&String, &u64)| Line { cells: vec![plain(table), plain(rows)], json: json!(null) };
            output.list(&["TABLE", "ROWS"], backup.tables.iter().map(line))?;
        }
        output.note(&format!(
            "made {file}, with every row that the registry had, and {roles}. To restore: psql -f {roles}, then pg_restore; \
             values open with the keyring alone, which is in no backup of the database."
        ));
        Ok(Answer::Done)
    }
}
