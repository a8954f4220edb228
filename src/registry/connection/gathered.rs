//! Every option of a connection with what it was given and by whom: the string first, then the service, then the process's
//! environment, as libpq has it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use super::keywords::{KEYWORDS, Treatment};
use super::parse::{Pair, ParseError, parse};
use super::service_file;
use super::surroundings::Surroundings;

/// Who said something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Origin {
    /// The connection string.
    Text,
    /// A service, in this file.
    Service(PathBuf),
    /// An environment variable.
    Variable(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text => f.write_str("the database URL"),
            Self::Service(file) => write!(f, "the service file {}", file.display()),
            Self::Variable(name) => f.write_str(name),
        }
    }
}

/// Why a connection string cannot be used. Carries no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum SettingError {
    /// It cannot be read.
    #[error("{0}")]
    Text(#[from] ParseError),
    /// An option that this program does not know how to honour.
    #[error("{option} in {origin} is not supported")]
    Unsupported { option: &'static str, origin: Origin, remedy: &'static str },
    /// An option with a value that it cannot have, or that does not go with another one.
    #[error("{option}{} {problem}", by(.origin.as_ref()))]
    Value { option: &'static str, origin: Option<Origin>, problem: String },
    /// The file that the string is in.
    #[error("{0}")]
    File(String),
    /// The service.
    #[error("service: {0}")]
    Service(String),
}

impl SettingError {
    /// What to do about it, where the error does not say it.
    pub(super) const fn remedy(&self) -> Option<&'static str> {
        match self {
            Self::Unsupported { remedy, .. } => Some(remedy),
            Self::Text(_) => Some("it is postgresql://LOGIN:PASSWORD@HOST/DATABASE, or what else libpq takes"),
            Self::Value { .. } | Self::File(_) | Self::Service(_) => None,
        }
    }
}

fn by(origin: Option<&Origin>) -> String {
    origin.map(|origin| format!(" in {origin}")).unwrap_or_default()
}

/// What was said. Has no `Debug`: the password is among it.
#[derive(Default, PartialEq, Eq)]
pub(super) struct Gathered(BTreeMap<&'static str, (String, Origin)>);

impl Gathered {
    /// Everything that counts for a connection string in these surroundings.
    pub(super) fn from(text: &str, surroundings: &Surroundings) -> Result<Self, SettingError> {
        let mut gathered = Self::default();
        // The later of two in one string.
        for pair in parse(text)?.into_iter().rev() {
            gathered.add(pair, &Origin::Text)?;
        }
        let service = gathered.get("service").or_else(|| surroundings.variable("PGSERVICE"));
        if let Some(service) = service {
            let named = gathered.get("servicefile").or_else(|| surroundings.variable("PGSERVICEFILE"));
            let (file, pairs) = service_file::options(service, named, surroundings).map_err(SettingError::Service)?;
            // The earlier of two in the file.
            for pair in pairs {
                gathered.add(pair, &Origin::Service(file.clone()))?;
            }
        }
        for keyword in KEYWORDS {
            let said = keyword.variable.and_then(|name| Some((name, surroundings.variable(name)?)));
            if let Some((name, value)) = said {
                gathered.add((keyword, value.to_owned()), &Origin::Variable(name))?;
            }
        }
        Ok(gathered)
    }

    /// Adds what was not said yet. Empty is as good as unsaid, and says so to what comes later.
    fn add(&mut self, (keyword, value): Pair, origin: &Origin) -> Result<(), SettingError> {
        let option = keyword.name;
        if self.0.contains_key(option) {
            return Ok(());
        }
        let unsupported = |remedy| SettingError::Unsupported { option, origin: origin.clone(), remedy };
        match keyword.treatment {
            Treatment::Refused(remedy) if !value.is_empty() => return Err(unsupported(remedy)),
            Treatment::OnlyAs(fine, remedy)
                if !value.is_empty() && !fine.iter().any(|fine| fine.eq_ignore_ascii_case(&value)) =>
            {
                return Err(unsupported(remedy));
            }
            _ => {}
        }
        self.0.insert(option, (value, origin.clone()));
        Ok(())
    }

    /// What was said of an option; `None` for nothing and for an empty value.
    pub(super) fn get(&self, option: &str) -> Option<&str> {
        self.0.get(option).map(|(value, _)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// An error about what was said of an option.
    pub(super) fn wrong(&self, option: &'static str, problem: impl Into<String>) -> SettingError {
        let origin = self.0.get(option).map(|(_, origin)| origin.clone());
        SettingError::Value { option, origin, problem: problem.into() }
    }

    /// One of several words; the first is what is meant where nothing was said.
    pub(super) fn word<T: Copy>(&self, option: &'static str, words: &[(&str, T)]) -> Result<T, SettingError> {
        // libpq takes an empty word for a wrong one; an empty variable is as good as none.
        let is_empty =
            matches!(self.0.get(option), Some((value, Origin::Text | Origin::Service(_))) if value.is_empty());
        let said = if is_empty { "" } else { self.get(option).unwrap_or(words[0].0) };
        words.iter().find(|(word, _)| *word == said).map(|(_, meaning)| *meaning).ok_or_else(|| {
            let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            self.wrong(option, format!("has to be one of {}", words.join(", ")))
        })
    }

    /// A whole number.
    pub(super) fn number(&self, option: &'static str) -> Result<Option<i64>, SettingError> {
        let said = self.get(option).map(str::trim);
        said.map(str::parse).transpose().map_err(|_| self.wrong(option, "has to be a whole number"))
    }

    /// The parts of a list, each without spaces around it.
    pub(super) fn list(&self, option: &str) -> Vec<&str> {
        self.get(option).map(|value| value.split(',').map(str::trim).collect()).unwrap_or_default()
    }
}
