//! The command line: one file for each verb or noun.
//!
//! Verbs print through `output` only, and fail with `CliError`, whose kind is the exit code.

mod cluster;
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
mod kubectl;
mod line_breaks;
mod member;
mod migrate;
mod objects;
mod options;
mod output;
mod parsing;
mod plan;
mod program;
mod project;
mod registry;
mod secret;
mod status;
mod sync;
mod table;
mod user;
mod value_input;
mod variables;
mod why;
mod work_tree;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use context::Context;
use error::{Answer, CliError};
use kubectl::KubectlCli;
use options::CommonOptions;
use output::Output;
use program::Program;

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
    Plan(plan::Plan),
    Sync(sync::Sync),
    Why(why::Why),
}

/// Runs the command with its arguments, the program's name first, and answers the exit code. Under the name
/// `kubectl-tidelock` it is a plugin of kubectl.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    match Program::of(arguments.first().map(OsString::as_os_str)) {
        Program::Tidelock => {
            started::<Cli>(Program::Tidelock, &arguments, |cli| (Output::new(cli.common.output), perform))
        }
        Program::Kubectl => {
            started::<KubectlCli>(Program::Kubectl, &arguments, |cli| (cli.output(), perform_in_cluster))
        }
    }
}

/// Parses the arguments, does what they say, and tells what came of it.
fn started<P: CommandFactory + FromArgMatches>(
    program: Program,
    arguments: &[OsString],
    prepare: impl FnOnce(&P) -> (Output, fn(P, &Output) -> Result<Answer, CliError>),
) -> ExitCode {
    let cli = match parsing::parse::<P>(program, arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are errors to the parser, too; where they cannot be printed, nobody is listening.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { error::USAGE } else { 0 });
        }
    };
    let (output, perform) = prepare(&cli);
    match perform(cli, &output) {
        Ok(answer) => ExitCode::from(answer.exit_code()),
        Err(error) => {
            output.error(&error);
            ExitCode::from(error.exit_code())
        }
    }
}

fn perform_in_cluster(cli: KubectlCli, output: &Output) -> Result<Answer, CliError> {
    runtime(&mut tokio::runtime::Builder::new_current_thread())?.block_on(cli.run(output))
}

fn runtime(builder: &mut tokio::runtime::Builder) -> Result<tokio::runtime::Runtime, CliError> {
    builder.enable_all().build().map_err(CliError::failed("the asynchronous runtime cannot be started"))
}

fn perform(cli: Cli, output: &Output) -> Result<Answer, CliError> {
    let mut builder = match cli.verb {
        Verb::Controller(_) => tokio::runtime::Builder::new_multi_thread(),
        _ => tokio::runtime::Builder::new_current_thread(),
    };
    let runtime = runtime(&mut builder)?;
    let context = Context::new(cli.common)?;
    if !matches!(cli.verb, Verb::Controller(_) | Verb::Crd(_) | Verb::Keyring(_) | Verb::Sync(_) | Verb::Why(_))
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
        Verb::Plan(verb) => verb.run(context, output).await,
        Verb::Sync(verb) => verb.run(Program::Tidelock, output).await,
        Verb::Why(verb) => verb.run(Program::Tidelock, output).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_is_put_together_as_clap_wants_it() {
        Cli::command().debug_assert();
        KubectlCli::command().debug_assert();
    }

    #[test]
    fn every_command_that_the_documentation_names_exists() {
        let texts = [
            include_str!("../../README.md"),
            include_str!("../../docs/conditions.md"),
            include_str!("../../docs/by-hand.md"),
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
        for (program, command) in [
            (Program::Tidelock, parsing::command::<Cli>(Program::Tidelock)),
            (Program::Kubectl, parsing::command::<KubectlCli>(Program::Kubectl)),
        ] {
            check(program.name(), &command);
        }
    }
}
