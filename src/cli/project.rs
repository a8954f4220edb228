//! `tidelock project`.

use clap::Subcommand;
use serde_json::json;

use crate::core::ProjectName;

use super::context::Context;
use super::error::{Answer, CliError};
use super::options::Reason;
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
        }
        Ok(Answer::Done)
    }
}
