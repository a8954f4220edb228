//! `tidelock project`.

use std::time::{Duration, Instant};

use clap::Subcommand;
use serde_json::json;

use crate::core::ProjectName;
use crate::registry::{Rehashed, Session};

use super::context::Context;
use super::error::{Answer, CliError};
use super::options::{Reason, RequiredReason};
use super::output::{Line, Output, plain, time_json};

/// Projects
#[derive(Subcommand)]
pub(super) enum ProjectVerb {
    /// Create a project, whose ADMIN you become
    #[command(after_help = "Example: tidelock project create shop")]
    Create {
        /// Its name
        name: ProjectName,
        #[command(flatten)]
        reason: Reason,
    },
    /// List the projects that you are a member of
    #[command(after_help = "Example: tidelock project list")]
    List {},
    /// Archive a project: it stays readable, and nothing in it changes any more
    #[command(after_help = "Example: tidelock project archive shop --reason 'closed'")]
    Archive {
        /// Its name
        name: ProjectName,
        #[command(flatten)]
        reason: Reason,
    },
    /// Make every hash of a project anew, under another hashing key: for when the one that it has became known
    ///
    /// Takes an ADMIN whose keyring holds every ring of the project, since each value is opened. It goes in small steps that
    /// writers do not feel; said again after an interruption, it goes on where it was. Hashes that the audit log has already
    /// stay as they are.
    #[command(after_help = "Example: tidelock project rehash shop --reason 'a laptop with the keyring was stolen'")]
    Rehash {
        /// Its name
        name: ProjectName,
        /// Introduce a new key even where hashes are left under the one before the last
        #[arg(long)]
        another: bool,
        #[command(flatten)]
        reason: RequiredReason,
    },
}

impl ProjectVerb {
    pub(super) async fn run(self, context: &Context, output: &Output) -> Result<Answer, CliError> {
        let mut session = context.session().await?;
        match self {
            Self::Create { name, reason } => {
                let keyring = context.keyring_if_there()?;
                let (id, sealed) = session.create_project(&name, keyring.as_ref(), &reason.reason).await?;
                output.note(&format!("created project {name}; next: tidelock environment create dev -p {name}"));
                if sealed.is_empty() {
                    output.note(
                        "it has no hashing key yet, as there is no keyring here with the ring default or production: \
                         the first write by an ADMIN makes it",
                    );
                }
                output.told(&json!({"name": name, "id": id}))?;
            }
            Self::List {} => {
                let projects = session.projects().await?;
                let lines = projects.iter().map(|project| Line {
                    cells: vec![
                        plain(&project.name),
                        plain(&project.role),
                        plain(project.environments),
                        plain(project.revision),
                        plain(if project.archived_at.is_some() { "archived" } else { "active" }),
                    ],
                    json: json!({
                        "name": project.name, "role": project.role, "environments": project.environments,
                        "revision": project.revision, "archivedAt": time_json(project.archived_at),
                    }),
                });
                output.list(&["NAME", "YOUR ROLE", "ENVIRONMENTS", "REVISION", "STATE"], lines)?;
            }
            Self::Archive { name, reason } => {
                session.archive_project(&name, &reason.reason).await?;
                output.note(&format!("archived project {name}"));
                output.told(&json!({"name": name, "archived": true}))?;
            }
            Self::Rehash { name, another, reason } => {
                return rehash(&mut session, context, output, &name, another, &reason.reason).await;
            }
        }
        Ok(Answer::Done)
    }
}

/// How long nothing is said while hashes are rewritten.
const QUIET: Duration = Duration::from_secs(5);

async fn rehash(
    session: &mut Session,
    context: &Context,
    output: &Output,
    name: &ProjectName,
    another: bool,
    reason: &str,
) -> Result<Answer, CliError> {
    let keyring = context.keyring()?;
    let mut said = Instant::now();
    let progress = |rewritten: i64| {
        if said.elapsed() > QUIET {
            said = Instant::now();
            output.note(&format!("{rewritten} hashes rewritten so far"));
        }
    };
    let Rehashed { hash_key, introduced, rewritten, left } =
        session.rehash(&keyring, name, another, reason, progress).await?;
    let began = if introduced { "introduced" } else { "went on with" };
    output.note(&format!("{began} hashing key {hash_key} of project {name}; {rewritten} hashes are under it now"));
    let left: Vec<CliError> = left.into_iter().map(CliError::from).collect();
    let failures: Vec<String> = left.iter().map(ToString::to_string).collect();
    output.told(&json!({
        "name": name, "hashKey": hash_key, "introduced": introduced, "rewritten": rewritten, "left": failures,
    }))?;
    let Some(worst) = left.iter().map(CliError::exit_code).max() else { return Ok(Answer::Done) };
    output.note(&format!("{} hashes stay as they are, since their values could not be checked:", left.len()));
    let (mut worst, others): (Vec<CliError>, Vec<CliError>) =
        left.into_iter().partition(|error| error.exit_code() == worst);
    let last = worst.pop();
    for error in others.iter().chain(&worst) {
        output.note(&error.to_string());
    }
    last.map_or(Ok(Answer::Done), Err)
}
