//! `tidelock member`.

use clap::{Subcommand, ValueEnum};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};
use serde_json::{Value, json};

use crate::core::{EnvironmentName, ProjectName, RegistryTime, UserName};
use crate::registry::{Membership, Role};

use super::context::Context;
use super::error::{Answer, CliError};
use super::options::Reason;
use super::output::{Line, Output, enumerate, plain, time_cell, time_json};

/// Who is a member of a project, as what, and where
#[derive(Subcommand)]
pub(super) enum MemberVerb {
    /// Add a member, or change a membership to be as said here
    #[command(
        after_help = "Example: tidelock member add operator -p shop --role admin --read-only --only staging production"
    )]
    Add {
        /// The user's name
        name: UserName,
        /// What they may do; only an admin reads or writes production
        #[arg(long, value_enum, ignore_case = true)]
        role: RoleName,
        /// Only in these environments
        #[arg(long, value_name = "ENVIRONMENT", num_args = 1.., value_delimiter = ',')]
        only: Vec<EnvironmentName>,
        /// Only reading
        #[arg(long)]
        read_only: bool,
        /// Until when: a time (2026-12-31T18:00:00Z), the end of a day in UTC (2026-12-31), or from now (30d, 8h)
        #[arg(long, value_name = "WHEN", value_parser = parse_expiry)]
        expires: Option<Timestamp>,
        #[command(flatten)]
        reason: Reason,
    },
    /// End a membership
    #[command(after_help = "Example: tidelock member remove ana -p shop --reason 'moved to another team'")]
    Remove {
        /// The user's name
        name: UserName,
        #[command(flatten)]
        reason: Reason,
    },
    /// List the members of a project
    #[command(after_help = "Example: tidelock member list -p shop")]
    List {},
}

#[derive(Clone, Copy, ValueEnum)]
pub(super) enum RoleName {
    Admin,
    Developer,
    Viewer,
}

impl MemberVerb {
    pub(super) async fn run(self, context: &Context, output: &Output) -> Result<Answer, CliError> {
        let project = context.project()?;
        match self {
            Self::Add { name, role, only, read_only, expires, reason } => {
                let role = match role {
                    RoleName::Admin => Role::Admin,
                    RoleName::Developer => Role::Developer,
                    RoleName::Viewer => Role::Viewer,
                };
                let membership = Membership { user: name, role, only, read_only, expires_at: expires };
                let mut session = context.session().await?;
                let added = session.add_member(project, &membership, &reason.reason).await?;
                output.note(&done(&membership, project, added));
                output.told(&told(&membership, added))?;
            }
            Self::Remove { name, reason } => {
                context.session().await?.remove_member(project, &name, &reason.reason).await?;
                output.note(&format!("removed {name} from {project}"));
                output.told(&json!({"name": name, "removed": true}))?;
            }
            Self::List {} => list(context, output).await?,
        }
        Ok(Answer::Done)
    }
}

/// A membership is replaced as a whole, so all of it is said: who left out `--read-only` sees what that gave.
fn done(membership: &Membership, project: &ProjectName, added: bool) -> String {
    let Membership { user, role, only, read_only, expires_at } = membership;
    let rights = if *read_only || *role == Role::Viewer { "reads" } else { "reads and writes" };
    let only: Vec<&str> = only.iter().map(EnvironmentName::as_str).collect();
    let place = if only.is_empty() { "every environment".to_owned() } else { enumerate(&only) };
    // What lies past the role's rights is not theirs, whatever the membership says.
    let place = if *role == Role::Admin { place } else { format!("{place}, production apart") };
    let until = expires_at.map(|time| format!(", until {time:.0}")).unwrap_or_default();
    let is = if added { "is now" } else { "was a member already and is now" };
    format!("{user} {is} {} of {project}: {rights} {place}{until}", role.as_str())
}

/// For programs: as the list has it, and whether it is new.
fn told(membership: &Membership, added: bool) -> Value {
    let Membership { user, role, only, read_only, expires_at } = membership;
    let only = (!only.is_empty()).then_some(only);
    let expires_at = expires_at.map(|time| RegistryTime::from_micros(time.as_microsecond()));
    json!({
        "name": user, "role": role.as_str(), "only": only, "readOnly": read_only, "expiresAt": time_json(expires_at),
        "added": added,
    })
}

async fn list(context: &Context, output: &Output) -> Result<(), CliError> {
    let members = context.session().await?.members(context.project()?).await?;
    let lines = members.iter().map(|member| Line {
        cells: vec![
            plain(&member.user),
            plain(&member.kind),
            plain(&member.role),
            plain(member.only.as_ref().map_or("all".to_owned(), |only| only.join(", "))),
            plain(if member.read_only || member.role == Role::Viewer.as_str() { "read" } else { "read, write" }),
            time_cell(member.expires_at),
        ],
        json: json!({
            "name": member.user, "kind": member.kind, "role": member.role, "only": member.only,
            "readOnly": member.read_only, "expiresAt": time_json(member.expires_at),
        }),
    });
    output.list(&["NAME", "KIND", "ROLE", "ENVIRONMENTS", "RIGHTS", "EXPIRES"], lines)
}

fn parse_expiry(text: &str) -> Result<Timestamp, String> {
    expiry(text, Timestamp::now())
}

fn expiry(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time);
    }
    let end = if let Ok(day) = text.parse::<Date>() {
        day.tomorrow().and_then(|next| next.to_zoned(TimeZone::UTC))
    } else {
        let span = text.parse::<Span>().map_err(|_| "use 2026-12-31T18:00:00Z, 2026-12-31, 30d or 8h".to_owned())?;
        now.to_zoned(TimeZone::UTC).checked_add(span)
    };
    end.map(|end| end.timestamp()).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_member_may_do_is_said_in_full() {
        let project = "shop".parse().unwrap();
        let membership = |role, only: &[&str], read_only, expires_at| Membership {
            user: "bob".parse().unwrap(),
            role,
            only: only.iter().map(|name| name.parse().unwrap()).collect(),
            read_only,
            expires_at,
        };
        let said = |membership: Membership, added| done(&membership, &project, added);
        assert_eq!(
            said(membership(Role::Admin, &[], true, None), true),
            "bob is now ADMIN of shop: reads every environment"
        );
        assert_eq!(
            said(membership(Role::Admin, &[], false, None), false),
            "bob was a member already and is now ADMIN of shop: reads and writes every environment"
        );
        let until = "2027-01-01T00:00:00Z".parse().ok();
        assert_eq!(
            said(membership(Role::Developer, &["dev", "staging"], false, until), true),
            "bob is now DEVELOPER of shop: reads and writes dev and staging, production apart, until 2027-01-01T00:00:00Z"
        );
    }

    #[test]
    fn an_expiry_is_a_time_the_end_of_a_day_or_counts_from_now() {
        let now: Timestamp = "2026-02-27T12:00:00Z".parse().unwrap();
        for (text, expected) in [
            ("2026-12-31T18:00:00Z", "2026-12-31T18:00:00Z"),
            ("2026-12-31", "2027-01-01T00:00:00Z"),
            ("2d", "2026-03-01T12:00:00Z"),
            ("8h", "2026-02-27T20:00:00Z"),
        ] {
            assert_eq!(expiry(text, now).unwrap(), expected.parse().unwrap(), "{text}");
        }
        assert!(expiry("soon", now).is_err());
    }
}
