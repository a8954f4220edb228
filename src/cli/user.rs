//! `tidelock user`.

use clap::Subcommand;
use serde_json::json;

use crate::core::UserName;
use crate::registry::{LoginGrant, NewUser};

use super::context::Context;
use super::error::{Answer, CliError};
use super::options::{Reason, RequiredReason};
use super::output::{Line, Output, plain};

/// Users, and the database logins that are theirs; as the registry's owner
#[derive(Subcommand)]
pub(super) enum UserVerb {
    /// Add a user, and give the login the rights of one
    #[command(after_help = "Example: tidelock user add ana --db-role ana_login")]
    Add {
        /// The user's name
        name: UserName,
        /// The database login that is this user; without it, only a delegate acts for them
        #[arg(long, value_name = "ROLE")]
        db_role: Option<String>,
        /// It is a program, such as the operator: it only reads
        #[arg(long)]
        service: bool,
        #[command(flatten)]
        reason: Reason,
    },
    /// List all users
    #[command(after_help = "Example: tidelock user list")]
    List {},
    /// Say that the login of a user's name is theirs: one that was made again, or that came with a restored registry
    #[command(after_help = "Example: tidelock user confirm --all --reason 'restored on db2'")]
    Confirm {
        /// The users' names
        #[arg(required_unless_present = "all")]
        names: Vec<UserName>,
        /// Everybody's
        #[arg(long, conflicts_with = "names")]
        all: bool,
        #[command(flatten)]
        reason: RequiredReason,
    },
    /// Disable a user, who may do nothing from then on
    #[command(after_help = "Example: tidelock user disable ana --reason 'left the company'")]
    Disable {
        /// The user's name
        name: UserName,
        #[command(flatten)]
        reason: Reason,
    },
    /// Enable a user who was disabled
    #[command(after_help = "Example: tidelock user enable ana --reason 'is back'")]
    Enable {
        /// The user's name
        name: UserName,
        #[command(flatten)]
        reason: Reason,
    },
}

impl UserVerb {
    pub(super) async fn run(self, context: &Context, output: &Output) -> Result<Answer, CliError> {
        match self {
            Self::Add { name, db_role, service, reason } => {
                add(&NewUser { name, db_role, service }, &reason.reason, context, output).await
            }
            Self::List {} => list(context, output).await,
            Self::Confirm { names, all, reason } => {
                confirm((!all).then_some(names.as_slice()), &reason.reason, context, output).await
            }
            Self::Disable { name, reason } => set_disabled(&name, true, &reason.reason, context, output).await,
            Self::Enable { name, reason } => set_disabled(&name, false, &reason.reason, context, output).await,
        }
    }
}

async fn add(user: &NewUser, reason: &str, context: &Context, output: &Output) -> Result<Answer, CliError> {
    let grant = context.session().await?.add_user(user, reason).await?;
    let login = user.db_role.as_deref().unwrap_or_default();
    // What is left for an administrator to run; a program finds it in the answer.
    let mut left = None;
    match grant {
        LoginGrant::None => output.note(&format!("added {}, who acts through a delegate only", user.name)),
        LoginGrant::Made { group } => {
            output.note(&format!("added {}, who is the login {login} and has the role {group}", user.name));
        }
        LoginGrant::Needed { sql } => {
            output.note(&format!(
                "added {}, who is the login {login}; this login may not grant roles, so have an administrator run:",
                user.name
            ));
            if !output.is_json() {
                output.text(&format!("{sql};\n"))?;
            }
            left = Some(sql);
        }
    }
    output.told(&json!({"name": user.name, "dbRole": user.db_role, "service": user.service, "leftToRun": left}))?;
    Ok(Answer::Done)
}

async fn confirm(
    names: Option<&[UserName]>,
    reason: &str,
    context: &Context,
    output: &Output,
) -> Result<Answer, CliError> {
    let confirmed = context.session().await?.confirm_users(names, reason).await?;
    let mut told = Vec::new();
    for (name, grant) in confirmed {
        let left = match grant {
            LoginGrant::None => None,
            LoginGrant::Made { group } => {
                output.note(&format!("confirmed {name}, whose login has the role {group}"));
                None
            }
            LoginGrant::Needed { sql } => {
                output
                    .note(&format!("confirmed {name}; this login may not grant roles, so have an administrator run:"));
                if !output.is_json() {
                    output.text(&format!("{sql};\n"))?;
                }
                Some(sql)
            }
        };
        told.push(json!({"name": name, "leftToRun": left}));
    }
    if told.is_empty() {
        output.note("there is no login to confirm");
    }
    output.told(&json!(told))?;
    Ok(Answer::Done)
}

async fn list(context: &Context, output: &Output) -> Result<Answer, CliError> {
    let users = context.session().await?.users().await?;
    let lines = users.iter().map(|user| Line {
        cells: vec![
            plain(&user.name),
            plain(user.db_role.as_deref().unwrap_or("-")),
            plain(&user.kind),
            plain(match (user.disabled, user.confirmed) {
                (true, _) => "disabled",
                (false, true) => "enabled",
                (false, false) => "unconfirmed",
            }),
        ],
        json: json!({
            "name": user.name, "dbRole": user.db_role, "kind": user.kind, "disabled": user.disabled,
            "confirmed": user.confirmed,
        }),
    });
    output.list(&["NAME", "LOGIN", "KIND", "STATE"], lines)?;
    Ok(Answer::Done)
}

async fn set_disabled(
    name: &UserName,
    disabled: bool,
    reason: &str,
    context: &Context,
    output: &Output,
) -> Result<Answer, CliError> {
    context.session().await?.set_user_disabled(name, disabled, reason).await?;
    output.note(&format!("{} {name}", if disabled { "disabled" } else { "enabled" }));
    output.told(&json!({"name": name, "disabled": disabled}))?;
    Ok(Answer::Done)
}
