//! The command line: one file for each verb or noun.
//!
//! Verbs print through `output` only, and fail with `CliError`, whose kind is the exit code.

mod context;
mod controller;
mod crd;
mod diff;
mod dotenv;
mod environment;
mod error;
mod import;
mod key;
mod key_arguments;
mod keyring;
mod line_breaks;
mod member;
mod migrate;
mod options;
mod output;
mod project;
mod registry;
mod secret;
mod status;
mod table;
mod user;
mod value_input;
mod variables;
mod work_tree;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use context::Context;
use error::{Answer, CliError};
use options::CommonOptions;
use output::Output;

/// Keeps Kubernetes Secrets in step with a secrets registry in PostgreSQL.
#[derive(Parser)]
#[command(
    name = "tidelock",
    version,
    disable_help_subcommand = true,
    after_help = "Exit codes: 0 done; 1 failed; 2 wrong usage; 3 done, and the answer is \"differs\" or \"behind\"; \
                  4 refused; 5 not found; 6 tampering found.\n\n\
                  Example: tidelock secret set DATABASE_URL -p shop -e dev < url.txt"
)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
    #[command(flatten)]
    common: CommonOptions,
}

#[derive(Subcommand)]
enum Verb {
    Migrate(migrate::Migrate),
    #[command(subcommand)]
    Keyring(keyring::KeyringVerb),
    #[command(subcommand)]
    User(user::UserVerb),
    #[command(subcommand)]
    Member(member::MemberVerb),
    #[command(subcommand)]
    Project(project::ProjectVerb),
    #[command(subcommand)]
    Environment(environment::EnvironmentVerb),
    #[command(subcommand)]
    Registry(registry::RegistryVerb),
    #[command(subcommand)]
    Secret(secret::SecretVerb),
    #[command(subcommand)]
    Key(key::KeyVerb),
    Status(status::Status),
    Diff(diff::Diff),
    Import(import::Import),
    Controller(controller::Controller),
    Crd(crd::Crd),
}

/// Runs the command with its arguments, the program's name first, and answers the exit code.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let cli = match parse(&arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are errors to the parser, too; where they cannot be printed, nobody is listening.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { error::USAGE } else { 0 });
        }
    };
    let output = Output::new(cli.common.output);
    match perform(cli, &output) {
        Ok(answer) => ExitCode::from(answer.exit_code()),
        Err(error) => {
            output.error(&error);
            ExitCode::from(error.exit_code())
        }
    }
}

fn parse(arguments: &[OsString]) -> Result<Cli, clap::Error> {
    let parsed = variables::without_empty(Cli::command()).try_get_matches_from(arguments);
    parsed.and_then(|mut matches| Cli::from_arg_matches_mut(&mut matches)).map_err(|error| {
        // The help names every variable, also one that is empty just now.
        let help = Cli::try_parse_from(arguments).err().filter(|error| error.kind() == ErrorKind::DisplayHelp);
        help.unwrap_or_else(|| match error.kind() {
            ErrorKind::InvalidSubcommand => unknown_command(&error, arguments),
            _ => without_values(with_plain_usage(error, arguments)),
        })
    })
}

/// Of a word that is no command, its place: it may be a value that came one word too early.
fn unknown_command(error: &clap::Error, arguments: &[OsString]) -> clap::Error {
    let (mut command, mut path) = (Cli::command(), "tidelock".to_owned());
    command.build();
    let given = match error.get(ContextKind::InvalidSubcommand) {
        Some(ContextValue::String(given)) => given.as_str(),
        _ => "",
    };
    let place = arguments.iter().skip(1).position(|argument| argument.to_string_lossy() == given);
    for argument in arguments.iter().skip(1).take(place.unwrap_or_default()).filter_map(|argument| argument.to_str()) {
        if let Some(verb) = command.find_subcommand(argument) {
            path = format!("{path} {}", verb.get_name());
            command = verb.clone();
        }
    }
    let place = place.map_or("an argument".to_owned(), |place| format!("argument {}", place + 1));
    let similar = match error.get(ContextKind::SuggestedSubcommand) {
        Some(ContextValue::Strings(similar)) if !similar.is_empty() => {
            format!("\n\n  tip: perhaps '{}'", similar.join("' or '"))
        }
        _ => String::new(),
    };
    command.error(ErrorKind::InvalidSubcommand, format!("{place} is no command of '{path}'{similar}"))
}

/// What was refused, without what was given: where a name should stand there may be a secret.
fn without_values(mut error: clap::Error) -> clap::Error {
    let hidden = |value: &ContextValue| matches!(value, ContextValue::String(value) if !value.starts_with('-'));
    let given = match error.kind() {
        ErrorKind::ValueValidation => Some(ContextKind::InvalidValue),
        ErrorKind::UnknownArgument => Some(ContextKind::InvalidArg),
        _ => None,
    };
    if let Some(given) = given
        && error.get(given).is_some_and(hidden)
    {
        error.insert(given, ContextValue::String("...".to_owned()));
    }
    error
}

/// The usage as the help shows it: the parser's own lists every option that an environment variable gave.
fn with_plain_usage(mut error: clap::Error, arguments: &[OsString]) -> clap::Error {
    if error.get(ContextKind::Usage).is_some() {
        let mut command = Cli::command();
        command.build();
        for argument in arguments.iter().skip(1).filter_map(|argument| argument.to_str()) {
            if let Some(verb) = command.find_subcommand(argument) {
                command = verb.clone();
            }
        }
        error.insert(ContextKind::Usage, ContextValue::StyledStr(command.render_usage()));
    }
    error
}

fn perform(cli: Cli, output: &Output) -> Result<Answer, CliError> {
    let mut runtime = match cli.verb {
        Verb::Controller(_) => tokio::runtime::Builder::new_multi_thread(),
        _ => tokio::runtime::Builder::new_current_thread(),
    };
    let runtime =
        runtime.enable_all().build().map_err(CliError::failed("the asynchronous runtime cannot be started"))?;
    let context = Context::new(cli.common)?;
    if !matches!(cli.verb, Verb::Controller(_) | Verb::Crd(_) | Verb::Keyring(_))
        && let Some(why) = context.ignored_passfile()
    {
        output.note(&format!("warning: {why}"));
    }
    runtime.block_on(dispatch(cli.verb, &context, output))
}

async fn dispatch(verb: Verb, context: &Context, output: &Output) -> Result<Answer, CliError> {
    match verb {
        Verb::Migrate(verb) => verb.run(context, output).await,
        Verb::Keyring(verb) => verb.run(context, output),
        Verb::User(verb) => verb.run(context, output).await,
        Verb::Member(verb) => verb.run(context, output).await,
        Verb::Project(verb) => verb.run(context, output).await,
        Verb::Environment(verb) => verb.run(context, output).await,
        Verb::Registry(verb) => verb.run(context, output).await,
        Verb::Secret(verb) => verb.run(context, output).await,
        Verb::Key(verb) => verb.run(context, output).await,
        Verb::Status(verb) => verb.run(context, output).await,
        Verb::Diff(verb) => verb.run(context, output).await,
        Verb::Import(verb) => verb.run(context, output).await,
        Verb::Controller(verb) => verb.run(context).await,
        Verb::Crd(crd::Crd {}) => crd::run(output),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_is_put_together_as_clap_wants_it() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_usage_in_an_error_is_that_of_the_help_whatever_the_environment_gives() {
        let arguments = ["tidelock", "-p", "shop", "secret", "get"].map(OsString::from);
        let error = with_plain_usage(Cli::try_parse_from(&arguments).err().unwrap(), &arguments).to_string();
        assert!(error.contains("Usage: tidelock secret get [OPTIONS] <KEY>"), "{error}");
    }

    #[test]
    fn a_word_that_is_no_command_is_told_by_its_place() {
        for (arguments, expected) in [
            (&["-p", "shop", "hunter2"][..], "error: argument 3 is no command of 'tidelock'\n"),
            (&["secret", "hunter2", "API_KEY"], "error: argument 2 is no command of 'tidelock secret'\n"),
            (&["secret", "sett", "API_KEY"], "' or 'set'"),
        ] {
            let given: Vec<OsString> = ["tidelock"].iter().chain(arguments).map(OsString::from).collect();
            let told = parse(&given).err().expect("an error").to_string();
            assert!(told.contains(expected) && told.contains("Usage: tidelock"), "{told}");
            assert!(!told.contains("hunter2") && !told.contains("sett"), "{told}");
        }
    }

    #[test]
    fn every_command_that_the_documentation_names_exists() {
        let texts = [
            include_str!("../../README.md"),
            include_str!("../../docs/conditions.md"),
            include_str!("../../docs/operations.md"),
            include_str!("../../charts/tidelock/README.md"),
            include_str!("../../charts/tidelock/templates/NOTES.txt"),
        ];
        for line in texts.iter().flat_map(|text| text.split(['\n', '`'])) {
            let Some(named) = line.trim_start().strip_prefix("tidelock ") else { continue };
            let mut command = Cli::command();
            for word in named.split_whitespace() {
                if !command.has_subcommands() || word.starts_with('-') {
                    break;
                }
                let verb = command.find_subcommand(word).unwrap_or_else(|| panic!("tidelock {named}: no {word}"));
                command = verb.clone();
            }
        }
    }

    #[test]
    fn every_verb_says_what_it_does_and_shows_an_example() {
        fn check(path: &str, command: &clap::Command) {
            assert!(command.get_about().is_some(), "{path} has no description");
            if command.has_subcommands() {
                command.get_subcommands().for_each(|verb| check(&format!("{path} {}", verb.get_name()), verb));
            } else {
                let shown = command.get_after_help().map(ToString::to_string).unwrap_or_default();
                assert!(shown.contains(&format!("Example: {path}")), "{path} shows no example");
            }
        }
        check("tidelock", &Cli::command());
    }
}
