//! `tidelock registry subscriber`.

use clap::Subcommand;
use serde_json::json;

use crate::registry::{CutOver, Replication, cut_over, subscribe};

use super::super::context::Context;
use super::super::error::{Answer, CliError};
use super::super::output::{Line, Output, plain};

/// Have the registry be a copy of another one by logical replication; as the registry's owner
#[derive(Subcommand)]
pub(in super::super) enum SubscriberVerb {
    /// Take no more writes but those that are replicated, and print the SQL for both sides
    #[command(
        after_help = "Example: tidelock registry subscriber on --database-url postgresql://owner@new.internal/registry"
    )]
    On {},
    /// Verify all audit chains, counts and references, then open the registry for writes: exit code 4 where something is wrong
    #[command(
        after_help = "Example: tidelock registry subscriber off --database-url postgresql://owner@new.internal/registry"
    )]
    Off {},
}

impl SubscriberVerb {
    pub(super) async fn run(self, context: &Context, output: &Output) -> Result<Answer, CliError> {
        let settings = context.settings()?;
        match self {
            Self::On {} => told(&subscribe(&settings).await?, output),
            Self::Off {} => opened(cut_over(&settings).await?, output),
        }
    }
}

fn told(replication: &Replication, output: &Output) -> Result<Answer, CliError> {
    let Replication { publisher, subscriber, was_on, has_rows } = replication;
    output.note(match (was_on, has_rows) {
        (true, _) => "this registry is a subscriber already",
        (false, false) => "this registry is a subscriber now. It is empty, and takes no writes but those that are replicated.",
        (false, true) => {
            "this registry is a subscriber now. It keeps the rows that it has, and takes no writes but those that are replicated."
        }
    });
    if output.is_json() {
        output.json(&json!({"publisher": publisher, "subscriber": subscriber, "hasRows": has_rows}))?;
    } else {
        output.text(&format!(
            "-- On the publisher, as an administrator:\n{publisher}\
             -- Then on this server, as an administrator:\n{subscriber}"
        ))?;
    }
    Ok(Answer::Done)
}

fn opened(cut_over: CutOver, output: &Output) -> Result<Answer, CliError> {
    match cut_over {
        CutOver::WasOff => {
            output.note("this registry is no subscriber");
            output.told(&json!({"rows": null}))?;
        }
        CutOver::Opened(rows) => {
            if output.is_json() {
                output.json(&json!({"rows": rows}))?;
            } else {
                let line =
                    |(table, rows): (&String, &u64)| Line { cells: vec![plain(table), plain(rows)], json: json!(null) };
                output.list(&["TABLE", "ROWS"], rows.iter().map(line))?;
            }
            output.note("every audit chain, count and reference is right; this registry takes writes now");
        }
        CutOver::Refused(findings) => {
            let line = |finding: &String| Line { cells: vec![plain(finding)], json: json!(finding) };
            output.list(&["FINDING"], findings.iter().map(line))?;
            let message = "this registry stays a subscriber until nothing is found (see docs/operations.md)";
            return Err(CliError::Refused(message.to_owned()));
        }
    }
    Ok(Answer::Done)
}
