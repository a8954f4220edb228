//! From arguments to a verb; and what is said of arguments that lead to none, which never repeats them.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Command, CommandFactory, FromArgMatches};

use super::program::Program;
use super::variables;

/// The command, with examples as they are typed.
pub(super) fn command<P: CommandFactory>(program: Program) -> Command {
    if program == Program::Tidelock { P::command() } else { with_examples_of(program, P::command()) }
}

fn with_examples_of(program: Program, command: Command) -> Command {
    let shown = command
        .get_after_help()
        .map(|shown| shown.to_string().replace("Example: tidelock ", &format!("Example: {} ", program.name())));
    let command = match shown {
        Some(shown) => command.after_help(shown),
        None => command,
    };
    command.mut_subcommands(|verb| with_examples_of(program, verb))
}

pub(super) fn parse<P: CommandFactory + FromArgMatches>(
    program: Program,
    arguments: &[OsString],
) -> Result<P, clap::Error> {
    let parsed = variables::without_empty(command::<P>(program)).try_get_matches_from(arguments);
    parsed.and_then(|mut matches| P::from_arg_matches_mut(&mut matches)).map_err(|error| {
        // The help names every variable, also one that is empty just now.
        let again = command::<P>(program).try_get_matches_from(arguments);
        let help = again.err().filter(|error| error.kind() == ErrorKind::DisplayHelp);
        help.unwrap_or_else(|| match error.kind() {
            ErrorKind::InvalidSubcommand => unknown_command(&error, command::<P>(program), program, arguments),
            _ => without_values(with_plain_usage(error, command::<P>(program), arguments)),
        })
    })
}

/// Of a word that is no command, its place: it may be a value that came one word too early.
fn unknown_command(error: &clap::Error, mut command: Command, program: Program, arguments: &[OsString]) -> clap::Error {
    let mut path = program.name().to_owned();
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
fn with_plain_usage(mut error: clap::Error, mut command: Command, arguments: &[OsString]) -> clap::Error {
    if error.get(ContextKind::Usage).is_some() {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Cli;
    use crate::cli::kubectl::KubectlCli;

    fn given(arguments: &[&str]) -> Vec<OsString> {
        arguments.iter().map(OsString::from).collect()
    }

    #[test]
    fn the_usage_in_an_error_is_that_of_the_help_whatever_the_environment_gives() {
        let arguments = given(&["tidelock", "-p", "shop", "secret", "get"]);
        let error = Cli::command().try_get_matches_from(&arguments).unwrap_err();
        let error = with_plain_usage(error, Cli::command(), &arguments).to_string();
        assert!(error.contains("Usage: tidelock secret get [OPTIONS] <KEY>"), "{error}");
    }

    #[test]
    fn a_word_that_is_no_command_is_told_by_its_place() {
        for (arguments, expected) in [
            (&["-p", "shop", "hunter2"][..], "error: argument 3 is no command of 'tidelock'\n"),
            (&["secret", "hunter2", "API_KEY"], "error: argument 2 is no command of 'tidelock secret'\n"),
            (&["secret", "sett", "API_KEY"], "' or 'set'"),
        ] {
            let told = parse::<Cli>(Program::Tidelock, &given(&[&["tidelock"], arguments].concat()));
            let told = told.err().expect("an error").to_string();
            assert!(told.contains(expected) && told.contains("Usage: tidelock"), "{told}");
            assert!(!told.contains("hunter2") && !told.contains("sett"), "{told}");
        }
    }

    #[test]
    fn what_kubectl_calls_calls_itself_so_and_has_no_verb_that_needs_a_registry() {
        let told = |arguments: &[&str]| {
            let arguments = given(&[&["/usr/bin/kubectl-tidelock"], arguments].concat());
            parse::<KubectlCli>(Program::Kubectl, &arguments).err().expect("an answer").to_string()
        };
        assert!(told(&["secret", "get", "A"]).contains("argument 1 is no command of 'kubectl tidelock'"));
        assert!(told(&["why"]).contains("Usage: kubectl tidelock why [OPTIONS] <OBJECT>"));
        let help = told(&["sync", "--help"]);
        assert!(help.contains("Usage: kubectl tidelock sync"), "{help}");
        assert!(help.contains("Example: kubectl tidelock sync sb/app"), "{help}");
        assert!(!help.contains("TIDELOCK_DATABASE_URL"), "{help}");
    }
}
