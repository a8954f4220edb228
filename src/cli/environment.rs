//! `tidelock environment`.

use clap::Subcommand;
use serde_json::json;

use crate::core::{EnvironmentName, RingName};
use crate::registry::NewEnvironment;

use super::context::Context;
use super::error::{Answer, CliError};
use super::options::Reason;
use super::output::{Line, Output, plain, time_cell, time_json};

/// The environments of a project
#[derive(Subcommand)]
pub(super) enum EnvironmentVerb {
    /// Create an environment
    #[command(after_help = "Example: tidelock environment create production -p shop --production")]
    Create {
        /// Its name
        name: EnvironmentName,
        /// It is the project's production environment, which only an ADMIN reads or writes
        #[arg(long)]
        production: bool,
        /// The ring that its values are sealed under [default: production for production, else default]
        #[arg(long, value_name = "NAME")]
        ring: Option<RingName>,
        #[command(flatten)]
        reason: Reason,
    },
    /// List the environments of a project
    #[command(after_help = "Example: tidelock environment list -p shop")]
    List {},
}

impl EnvironmentVerb {
    pub(super) async fn run(self, context: &Context, output: &Output) -> Result<Answer, CliError> {
        match self {
            Self::Create { name, production, ring, reason } => {
                create(&NewEnvironment { name, production, ring }, &reason.reason, context, output).await
            }
            Self::List {} => list(context, output).await,
        }
    }
}

async fn create(new: &NewEnvironment, reason: &str, context: &Context, output: &Output) -> Result<Answer, CliError> {
    let project = context.project()?;
    let keyring = context.keyring_if_there()?;
    let mut session = context.session().await?;
    let made = session.create_environment(project, new, keyring.as_ref(), reason).await?;
    let kind = if new.production { "production environment" } else { "environment" };
    output.note(&format!("created {kind} {} of {project}, sealed under ring {}", new.name, made.ring));
    if !made.hash_key_sealed {
        output.note(&format!(
            "the project's hashing key is not sealed for ring {} yet; the first write by an ADMIN who holds it and an \
             older ring of the project does that",
            made.ring
        ));
    }
    output.told(&json!({
        "name": new.name, "id": made.id, "production": new.production, "ring": made.ring,
    }))?;
    Ok(Answer::Done)
}

async fn list(context: &Context, output: &Output) -> Result<Answer, CliError> {
    let environments = context.session().await?.environments(context.project()?).await?;
    let lines = environments.iter().map(|environment| Line {
        cells: vec![
            plain(&environment.name),
            plain(if environment.production { "yes" } else { "no" }),
            plain(&environment.ring),
            plain(environment.live_secrets),
            plain(environment.revision),
            time_cell(environment.created_at),
        ],
        json: json!({
            "name": environment.name, "production": environment.production, "ring": environment.ring,
            "secrets": environment.live_secrets, "revision": environment.revision,
            "createdAt": time_json(environment.created_at),
        }),
    });
    output.list(&["NAME", "PRODUCTION", "RING", "SECRETS", "REVISION", "CREATED"], lines)?;
    Ok(Answer::Done)
}
