//! What a verb works with: options, environment variables and the work tree's file, in this order of precedence.

use std::path::PathBuf;

use crate::core::{EnvironmentName, ProjectName};
use crate::crypto::Keyring;
use crate::registry::{ConnectSettings, Environment, Session};

use super::error::CliError;
use super::options::CommonOptions;
use super::variables;
use super::work_tree::WorkTree;

pub(super) struct Context {
    options: CommonOptions,
    work_tree: WorkTree,
    environment: Option<(EnvironmentName, Source)>,
}

/// How an environment came to be named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Option,
    Variable,
    WorkTree,
}

impl Context {
    pub(super) fn new(options: CommonOptions) -> Result<Self, CliError> {
        // Without a current folder there is no work tree either.
        let work_tree = match std::env::current_dir() {
            Ok(folder) => WorkTree::find(&folder)?,
            Err(_) => WorkTree::default(),
        };
        // What is no text is no name either.
        let variable = variables::said("TIDELOCK_ENVIRONMENT")
            .map(|name| name.to_string_lossy().parse())
            .transpose()
            .map_err(|source| CliError::Variable { name: "TIDELOCK_ENVIRONMENT", source })?;
        let environment = choose(options.environment.clone(), variable, work_tree.environment.clone());
        Ok(Self { options, work_tree, environment })
    }

    pub(super) fn settings(&self) -> Result<ConnectSettings, CliError> {
        // A file that a variable came from may have ended in a line break.
        let url =
            self.options.database_url.as_deref().map(str::trim).filter(|url| !url.is_empty()).ok_or_else(|| {
                CliError::Usage(
                    "where is the registry? Set TIDELOCK_DATABASE_URL, or say --database-url URL".to_owned(),
                )
            })?;
        Ok(ConnectSettings { schema: self.options.schema.clone(), ..ConnectSettings::new(url) })
    }

    /// Why a passfile that could have had the password is not used, if one is not.
    pub(super) fn ignored_passfile(&self) -> Option<String> {
        self.settings().ok()?.ignored_passfile().ok().flatten()
    }

    pub(super) async fn session(&self) -> Result<Session, CliError> {
        Ok(Session::open(&self.settings()?, self.options.user.as_ref()).await?)
    }

    pub(super) fn project(&self) -> Result<&ProjectName, CliError> {
        self.options.project.as_ref().or(self.work_tree.project.as_ref()).ok_or_else(|| {
            CliError::Usage(
                "which project? Say -p NAME, set TIDELOCK_PROJECT, or write project = \"NAME\" into .tidelock.toml"
                    .to_owned(),
            )
        })
    }

    /// The environment that the option names; a default does not count.
    pub(super) fn spoken_environment(&self) -> Option<&EnvironmentName> {
        self.options.environment.as_ref()
    }

    /// The environment, to read there.
    pub(super) async fn environment(&self, session: &mut Session) -> Result<Environment, CliError> {
        let (name, source) = self.named_environment()?;
        let environment = session.environment(self.project()?, name).await?;
        if environment.production && source == Source::WorkTree {
            return Err(CliError::Refused(format!(
                ".tidelock.toml names {name}, which is production: say -e {name}, and name another default"
            )));
        }
        Ok(environment)
    }

    /// The environment, to write there: production has to be spoken.
    pub(super) async fn environment_to_write(&self, session: &mut Session) -> Result<Environment, CliError> {
        let environment = self.environment(session).await?;
        let (name, source) = self.named_environment()?;
        if environment.production && source != Source::Option {
            return Err(CliError::Refused(format!(
                "{name} is production, and only TIDELOCK_ENVIRONMENT names it: to write there, say -e {name}"
            )));
        }
        environment.require_writable()?;
        Ok(environment)
    }

    fn named_environment(&self) -> Result<(&EnvironmentName, Source), CliError> {
        self.environment.as_ref().map(|(name, source)| (name, *source)).ok_or_else(|| {
            CliError::Usage(
                "which environment? Say -e NAME, set TIDELOCK_ENVIRONMENT, or write environment = \"NAME\" into \
                 .tidelock.toml"
                    .to_owned(),
            )
        })
    }

    pub(super) fn keyring_path(&self) -> Result<PathBuf, CliError> {
        if let Some(path) = &self.options.keyring {
            return Ok(path.clone());
        }
        let folder = |variable| std::env::var_os(variable).map(PathBuf::from).filter(|folder| folder.is_absolute());
        folder("XDG_CONFIG_HOME")
            .or_else(|| folder("HOME").map(|home| home.join(".config")))
            .map(|folder| folder.join("tidelock").join("keyring"))
            .ok_or_else(|| {
                CliError::Usage("where is the keyring? Set TIDELOCK_KEYRING, or say --keyring FILE".to_owned())
            })
    }

    pub(super) fn keyring(&self) -> Result<Keyring, CliError> {
        Ok(Keyring::read(&self.keyring_path()?)?)
    }

    /// For what can be done without one. A keyring that is there and cannot be read is an error all the same.
    pub(super) fn keyring_if_there(&self) -> Result<Option<Keyring>, CliError> {
        if self.keyring_path()?.exists() { self.keyring().map(Some) } else { Ok(None) }
    }

    /// ` -p NAME` where a command that is suggested needs it.
    pub(super) fn project_option(&self) -> String {
        self.options.project.as_ref().map(|name| format!(" -p {name}")).unwrap_or_default()
    }
}

fn choose(
    option: Option<EnvironmentName>,
    variable: Option<EnvironmentName>,
    work_tree: Option<EnvironmentName>,
) -> Option<(EnvironmentName, Source)> {
    option
        .map(|name| (name, Source::Option))
        .or_else(|| variable.map(|name| (name, Source::Variable)))
        .or_else(|| work_tree.map(|name| (name, Source::WorkTree)))
}

/// An argument as a shell takes it back.
pub(super) fn shell(argument: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/' | ':' | '@' | '+');
    if !argument.is_empty() && !argument.starts_with('-') && argument.chars().all(plain) {
        argument.to_owned()
    } else {
        format!("'{}'", argument.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_option_goes_before_the_variable_and_that_before_the_work_tree() {
        let name = |name: &str| name.parse::<EnvironmentName>().ok();
        let chosen =
            |option, variable, file| choose(option, variable, file).map(|(name, source)| (name.to_string(), source));
        assert_eq!(chosen(name("a"), name("b"), name("c")), Some(("a".to_owned(), Source::Option)));
        assert_eq!(chosen(None, name("b"), name("c")), Some(("b".to_owned(), Source::Variable)));
        assert_eq!(chosen(None, None, name("c")), Some(("c".to_owned(), Source::WorkTree)));
        assert_eq!(chosen(None, None, None), None);
    }

    #[test]
    fn a_suggested_command_can_be_pasted() {
        assert_eq!(shell("DATABASE_URL"), "DATABASE_URL");
        assert_eq!(shell("with space"), "'with space'");
        assert_eq!(shell("it's"), r"'it'\''s'");
    }
}
