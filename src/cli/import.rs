//! `tidelock import`.

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use serde_json::json;

use crate::core::{KeyName, SecretValue};
use crate::registry::{Environment, Session, WriteOptions, WriteOutcome};

use super::context::Context;
use super::dotenv::{self, Assignment};
use super::error::{Answer, CliError};
use super::key_arguments::AllowedNames;
use super::options::Reason;
use super::output::{Line, Output, all_of, keys_in_words, plain, undeliverable};
use super::secret::behind_elsewhere;
use super::value_input::{LARGEST_VALUE, read_file, read_stdin};

/// Room for some ten thousand keys.
const LARGEST_FILE: usize = 32 * 1024 * 1024;

/// Set all secrets of a file in one transaction; keys that the file does not have stay as they are
#[derive(Args)]
#[command(after_help = "Example: tidelock import dev.env -p shop -e dev --dry-run")]
pub(super) struct Import {
    /// The file; `-` or nothing: standard input
    file: Option<PathBuf>,
    /// How it is written
    #[arg(long, value_enum, default_value = "dotenv")]
    format: FileFormat,
    /// Only catch up with what changed elsewhere: no other environment becomes stale
    #[arg(long)]
    follow: bool,
    /// Only say what it would do
    #[arg(long)]
    dry_run: bool,
    /// Let empty values take the place of values that are there
    #[arg(long)]
    allow_empty: bool,
    #[command(flatten)]
    allowed: AllowedNames,
    #[command(flatten)]
    reason: Reason,
}

#[derive(Clone, Copy, ValueEnum)]
enum FileFormat {
    Dotenv,
}

impl Import {
    pub(super) async fn run(self, context: &Context, output: &Output) -> Result<Answer, CliError> {
        let keyring = context.keyring()?;
        let mut session = context.session().await?;
        let environment = context.environment_to_write(&mut session).await?;
        // Before the file is read: who wrote it cannot have known of what changes from here on.
        let observed = session.observed_times(&environment, &[]).await?;
        let values = self.values(output)?;
        let options = WriteOptions {
            follow: self.follow,
            observed: &observed,
            dry_run: self.dry_run,
            allow_empty: self.allow_empty,
            reason: &self.reason.reason,
        };
        let written = session.write_values(&keyring, &environment, &values, options).await?;
        report(&written, self.dry_run, &environment, output)?;
        if !self.dry_run {
            advise(&mut session, context, &environment, &written, output).await;
        }
        Ok(Answer::Done)
    }

    fn values(&self, output: &Output) -> Result<Vec<(KeyName, SecretValue)>, CliError> {
        let file = self.file.as_deref().filter(|file| *file != Path::new("-"));
        let text = match file {
            Some(file) => read_file(file, LARGEST_FILE)?,
            None if io::stdin().is_terminal() => {
                return Err(CliError::Usage("name a file, or pipe one to standard input".to_owned()));
            }
            None => read_stdin(LARGEST_FILE)?,
        };
        let FileFormat::Dotenv = self.format;
        let name = file.map_or("standard input".to_owned(), |file| file.display().to_string());
        let found = dotenv::parse(&text, &self.allowed.names())
            .map_err(|source| CliError::Dotenv { file: name.clone(), source })?;
        if found.is_empty() {
            // A pipe whose first program failed looks like this.
            return Err(CliError::Usage(format!("{name} has no NAME=value in it, so there is nothing to import")));
        }
        // As `secret set` has it: no binding could deliver it.
        if let Some(large) = found.iter().find(|found| found.value.len() > LARGEST_VALUE) {
            let (key, bytes) = (&large.key, large.value.len());
            return Err(CliError::Usage(format!(
                "{name}: the value of {key} has {bytes} bytes; a Secret takes {LARGEST_VALUE} in all its values together"
            )));
        }
        told_of(&found, output);
        Ok(found.into_iter().map(|found| (found.key, found.value)).collect())
    }
}

/// What somebody may not have meant, before anything is written. Told however many there are: each is a value.
fn told_of(found: &[Assignment], output: &Output) {
    let told = |what: &str, is_so: &dyn Fn(&Assignment) -> bool| {
        let keys: Vec<&str> = found.iter().filter(|found| is_so(found)).map(|found| found.key.as_str()).collect();
        if !keys.is_empty() {
            output.note(&format!("{what}: {}", all_of(&keys)));
        }
    };
    told("taken as written, though some programs would expand the $ in it", &|found| found.expandable);
    told("cut where a comment begins; in quotes a # belongs to the value", &|found| {
        found.cut_by_comment && !found.value.is_empty()
    });
    told("empty, as a comment is all that follows; in quotes a # belongs to the value", &|found| {
        found.cut_by_comment && found.value.is_empty()
    });
    told("empty in the file", &|found| !found.cut_by_comment && found.value.is_empty());
}

fn report(
    written: &[(String, WriteOutcome)],
    dry_run: bool,
    environment: &Environment,
    output: &Output,
) -> Result<(), CliError> {
    let counted = [
        WriteOutcome::Created,
        WriteOutcome::Changed,
        WriteOutcome::Followed,
        WriteOutcome::Confirmed,
        WriteOutcome::Repaired,
        WriteOutcome::Unchanged,
    ]
    .map(|outcome| written.iter().filter(|(_, other)| *other == outcome).count());
    let [created, changed, followed, confirmed, repaired, unchanged] = counted;
    let done = if dry_run { "would be imported" } else { "imported" };
    output.note(&format!("{} {done} into {}", keys_in_words(written.len()), environment.name));
    let new = written.iter().filter(|(_, outcome)| *outcome == WriteOutcome::Created).map(|(key, _)| key.as_str());
    if let Some(note) = undeliverable(new) {
        output.note(&note);
    }
    if output.is_json() {
        return output.json(&json!({
            "environment": environment.name, "dryRun": dry_run, "created": created, "changed": changed,
            "followed": followed, "confirmed": confirmed, "repaired": repaired, "unchanged": unchanged,
        }));
    }
    let line = Line { cells: counted.map(plain).to_vec(), json: json!(null) };
    output.list(&["CREATED", "CHANGED", "FOLLOWED", "CONFIRMED", "REPAIRED", "UNCHANGED"], [line])
}

async fn advise(
    session: &mut Session,
    context: &Context,
    environment: &Environment,
    written: &[(String, WriteOutcome)],
    output: &Output,
) {
    let changed: Vec<String> = written
        .iter()
        .filter(|(_, outcome)| matches!(outcome, WriteOutcome::Created | WriteOutcome::Changed))
        .map(|(key, _)| key.clone())
        .collect();
    let imported = written.iter().map(|(key, _)| key.as_str());
    behind_elsewhere(session, context, environment, &changed, output).await.summarise(imported, context, output);
}
