//! What went wrong in a template, in words that quote nothing but the template.

use std::collections::BTreeSet;
use std::error::Error as _;

use minijinja::{Error, ErrorKind, Template};

use super::filters::Refused;

/// What went wrong. `missing` are names that the template uses and that are not there.
pub(super) fn in_words(error: &Error, missing: &[String]) -> String {
    if let Some(Refused(why)) = error.source().and_then(|source| source.downcast_ref()) {
        return (*why).to_owned();
    }
    // These speak of the template's own text.
    let detail = error.detail().unwrap_or_default();
    match error.kind() {
        ErrorKind::SyntaxError | ErrorKind::UnknownFilter | ErrorKind::UnknownTest | ErrorKind::UnknownFunction => {
            detail.to_owned()
        }
        ErrorKind::UndefinedError if missing.is_empty() => "something that it uses is not there".to_owned(),
        ErrorKind::UndefinedError => format!("it uses what is not there: {}", missing.join(", ")),
        ErrorKind::OutOfFuel => "it takes more steps, or makes more text, than a template may".to_owned(),
        ErrorKind::InvalidOperation if detail.contains("recursion") => "it goes deeper than a template may".to_owned(),
        ErrorKind::UnknownMethod => "it calls a method that its value does not have".to_owned(),
        ErrorKind::TooManyArguments => "a filter or function is given too many arguments".to_owned(),
        ErrorKind::MissingArgument => "a filter or function lacks an argument".to_owned(),
        ErrorKind::CannotUnpack => "a loop has more or fewer variables than its items have parts".to_owned(),
        _ => "an operation is not possible with the kinds of values that it is given".to_owned(),
    }
}

/// Names that a template uses and that are not there, as it spells them.
pub(super) fn missing_names(template: &Template, names: &BTreeSet<String>, all: &str) -> Vec<String> {
    let used: BTreeSet<String> = template.undeclared_variables(true).into_iter().collect();
    let is_missing = |path: &String| {
        let (first, rest) = path.split_once('.').map_or((path.as_str(), None), |(first, rest)| (first, Some(rest)));
        match rest {
            Some(rest) if first == all => {
                !names.iter().any(|name| rest == name || rest.starts_with(&format!("{name}.")))
            }
            _ => first != all && !names.contains(first) && !is_function(first),
        }
    };
    used.into_iter().filter(is_missing).collect()
}

fn is_function(name: &str) -> bool {
    ["range", "dict", "namespace"].contains(&name)
}
