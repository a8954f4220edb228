//! Templates of entries and of names: Jinja, with what can go wrong bounded.
//!
//! A name that is not there is an error, never an empty text. Nothing is read but the values that a template is given. Steps
//! and bytes are counted together as fuel, so that a loop or a doubling ends early, and nesting has a limit. Errors name the
//! template, the line and the kind of what is wrong; what the engine itself would say may quote a value.

mod binary;
mod filters;
mod problem;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use minijinja::syntax::SyntaxConfig;
use minijinja::{AutoEscape, Environment, UndefinedBehavior, Value, context};

use self::binary::{Printed, value_of};
use self::problem::{in_words, missing_names};
use super::error::{InvalidShape, ShapeError};
use crate::api::{MergePolicy, Template};
use crate::core::SecretValue;

/// Steps of one Secret's templates together; 64 bytes of text that is made or looked through count as one.
const FUEL: u64 = 1_000_000;

/// Steps for the template of one name.
const NAME_FUEL: u64 = 10_000;

/// Loops within loops.
const DEPTH_MAX: usize = 32;

/// Largest template, in bytes: the schema counts characters, and does not see those of ConfigMaps.
const TEMPLATE_MAX: usize = 65_536;

/// Most bytes that all entries may have together.
const ENTRIES_MAX: usize = 1_048_576;

/// The variable that has every value by its name, for names that are no variables and for loops.
const ALL: &str = "data";

/// Templates of ConfigMaps, as far as they were read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ConfigMapTexts {
    /// Whether the operator reads ConfigMaps at all.
    pub(crate) is_enabled: bool,
    /// The data of those that the binding names, that are there, and that bear the label.
    pub(crate) maps: BTreeMap<String, BTreeMap<String, String>>,
}

impl ConfigMapTexts {
    fn find(&self, config_map: &str, key: &str) -> Result<&str, ShapeError> {
        let missing = |cause: &str| {
            let (config_map, cause) = (config_map.to_owned(), cause.to_owned());
            Err(ShapeError::TemplateNotFound { config_map, cause })
        };
        if !self.is_enabled {
            return missing(
                "templates in ConfigMaps are off; the operator reads them with TIDELOCK_TEMPLATE_CONFIG_MAPS=true",
            );
        }
        let Some(map) = self.maps.get(config_map) else {
            return missing("there is none in this namespace that has the label tidelock.dev/template=true");
        };
        map.get(key).map_or_else(|| missing(&format!("it has no key {key}")), |text| Ok(text.as_str()))
    }
}

/// The template of a name.
pub(super) struct NameTemplate<'s> {
    engine: Environment<'s>,
    /// Where it stands.
    at: String,
}

impl<'s> NameTemplate<'s> {
    pub(super) fn new(text: &'s str, at: &str) -> Result<Self, InvalidShape> {
        let mut engine = engine(&Printed::default());
        engine.set_fuel(Some(NAME_FUEL));
        let invalid = |cause| InvalidShape::Template { template: at.to_owned(), cause };
        engine.add_template("name", text).map_err(|error| invalid(in_words(&error, &[])))?;
        Ok(Self { engine, at: at.to_owned() })
    }

    pub(super) fn render(&self, name: &str) -> Result<String, ShapeError> {
        let template = self.engine.get_template("name");
        template.and_then(|template| template.render(context! { value => name })).map_err(|error| {
            ShapeError::Template { template: self.at.clone(), line: error.line(), cause: in_words(&error, &[]) }
        })
    }
}

/// Whether each template that stands in the spec can be one, and no entry has two.
pub(super) fn check(template: &Template) -> Result<(), InvalidShape> {
    let engine = engine(&Printed::default());
    let mut places = BTreeMap::new();
    for (name, text) in template.inline() {
        let at = format!("spec.target.template.data.{name}");
        let invalid = |cause| Err(InvalidShape::Template { template: at.clone(), cause });
        if text.len() > TEMPLATE_MAX {
            return invalid(format!("it has more than {TEMPLATE_MAX} bytes"));
        }
        if let Err(error) = engine.template_from_named_str(name, text) {
            let line = error.line().map(|line| format!("line {line}: ")).unwrap_or_default();
            return invalid(format!("{line}{}", in_words(&error, &[])));
        }
        places.insert(name, at);
    }
    for from in template.config_maps() {
        for item in &from.items {
            let second = format!("ConfigMap {}", from.name);
            if let Some(first) = places.insert(&item.key, second.clone()) {
                return Err(InvalidShape::TemplateTwice { name: item.key.clone(), first, second });
            }
        }
    }
    Ok(())
}

/// The entries that the templates make of those that there are, by their names.
pub(super) fn render(
    template: &Template,
    entries: BTreeMap<String, SecretValue>,
    config_maps: &ConfigMapTexts,
) -> Result<BTreeMap<String, SecretValue>, ShapeError> {
    let mut texts: Vec<(&str, String, &str)> =
        template.inline().map(|(name, text)| (name, format!("spec.target.template.data.{name}"), text)).collect();
    for from in template.config_maps() {
        for item in &from.items {
            let text = config_maps.find(&from.name, &item.key)?;
            texts.push((&item.key, format!("ConfigMap {}, key {}", from.name, item.key), text));
        }
    }
    let mut made = Rendering::new(&entries).all(&texts)?;
    if template.merge_policy.unwrap_or_default() == MergePolicy::Merge {
        for (name, value) in entries {
            made.entry(name).or_insert(value);
        }
    }
    Ok(made)
}

/// The engine with the values, and what is left of what it may use.
struct Rendering {
    engine: Environment<'static>,
    values: Value,
    names: BTreeSet<String>,
    printed: Printed,
    fuel: u64,
    bytes: usize,
}

impl Rendering {
    fn new(entries: &BTreeMap<String, SecretValue>) -> Self {
        let printed = Printed::default();
        let all: BTreeMap<String, Value> =
            entries.iter().map(|(name, value)| (name.clone(), value_of(value.expose(), &printed))).collect();
        let values = all.iter().map(|(name, value)| (name.clone(), value.clone()));
        let values = Value::from_pairs(values.chain([(ALL.to_owned(), Value::from_pairs(all.clone()))]));
        let names = entries.keys().cloned().collect();
        Self { engine: engine(&printed), values, names, printed, fuel: FUEL, bytes: 0 }
    }

    fn all(mut self, texts: &[(&str, String, &str)]) -> Result<BTreeMap<String, SecretValue>, ShapeError> {
        let mut made = BTreeMap::new();
        for (name, at, text) in texts {
            made.insert((*name).to_owned(), self.one(at, text)?);
        }
        Ok(made)
    }

    fn one(&mut self, at: &str, text: &str) -> Result<SecretValue, ShapeError> {
        let failed = |line, cause| Err(ShapeError::Template { template: at.to_owned(), line, cause });
        if text.len() > TEMPLATE_MAX {
            return failed(None, format!("it has more than {TEMPLATE_MAX} bytes"));
        }
        self.engine.set_fuel(Some(self.fuel));
        let template = match self.engine.template_from_named_str(at, text) {
            Ok(template) => template,
            Err(error) => return failed(error.line(), in_words(&error, &[])),
        };
        let captured = match template.render_captured(self.values.clone()) {
            Ok(captured) => captured,
            Err(error) => {
                let missing = missing_names(&template, &self.names, ALL);
                return failed(error.line(), in_words(&error, &missing));
            }
        };
        if self.printed.was_binary() {
            return failed(None, "it prints a value that is not text in UTF-8; b64enc makes text of it".to_owned());
        }
        self.fuel = captured.state().fuel_levels().map_or(0, |(_, left)| left);
        let value = SecretValue::from(captured.into_output().into_bytes());
        self.bytes += value.len();
        if self.bytes > ENTRIES_MAX {
            return Err(ShapeError::TooLarge { limit: ENTRIES_MAX });
        }
        Ok(value)
    }
}

static SYNTAX: LazyLock<SyntaxConfig> =
    LazyLock::new(|| SyntaxConfig::builder().keep_trailing_newline(true).build().expect("the engine's own delimiters"));

/// Without loaders and escapes, and strict.
fn engine<'t>(printed: &Printed) -> Environment<'t> {
    let mut engine = Environment::new();
    engine.set_undefined_behavior(UndefinedBehavior::Strict);
    engine.set_auto_escape_callback(|_| AutoEscape::None);
    engine.set_recursion_limit(DEPTH_MAX);
    // What a file ends with is what the Secret has.
    engine.set_syntax(SYNTAX.clone());
    // Shows every variable.
    engine.remove_global("debug");
    filters::add(&mut engine, printed);
    engine
}

#[cfg(test)]
mod tests;
