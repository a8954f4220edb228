//! From values of a source to entries of a Secret: found, taken apart, renamed, merged, written as a file, put into templates.
//!
//! Pure: a spec and values go in, entries or an error come out. [`Shape::entries`] works on opened values. [`Shape::outline`]
//! works on names alone, before anything is opened, and says what the entries will be called as far as that does not depend
//! on a value. No error carries a value, nor a name that may be one (see [`shown_key`]).

mod entry;
mod error;
mod file_format;
mod find;
mod merge;
mod rewrite;
mod secret_type;
mod spelling;
mod template;
#[cfg(test)]
mod tests;
mod value;

use std::collections::{BTreeMap, BTreeSet};

use self::entry::{Entry, Place};
use self::rewrite::Step;
use crate::api::{
    CreationPolicy, DataEntry, DecodingStrategy, FileFormat, MergePolicy, MergeStrategy, NameTransformer,
    SecretBindingSpec, Selection,
};
use crate::core::{SecretValue, is_secret_key};

pub(crate) use error::{InvalidShape, ShapeError};
pub(crate) use find::Finder;
pub(crate) use secret_type::{TypeError, check_type};
pub(crate) use template::ConfigMapTexts;

/// What a spec says about the entries of its Secret, with its patterns and templates of names compiled.
pub(crate) struct Shape<'s> {
    spec: &'s SecretBindingSpec,
    found: Vec<Found<'s>>,
}

/// An entry of `dataFrom`.
struct Found<'s> {
    finder: Finder<'s>,
    decoding: DecodingStrategy,
    steps: Vec<Step<'s>>,
}

/// What is known of the entries before a value is opened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Outline {
    /// The names that are known.
    pub(crate) names: BTreeSet<String>,
    /// Whether these are all: what JSON values are taken apart into depends on the values.
    pub(crate) is_whole: bool,
}

impl<'s> Shape<'s> {
    /// Compiles what a spec says.
    pub(crate) fn new(spec: &'s SecretBindingSpec) -> Result<Self, InvalidShape> {
        check_words(spec)?;
        let compile = |(place, from): (usize, &'s crate::api::DataFromEntry)| {
            let finder = Finder::new(&from.find).map_err(|cause| InvalidShape::Find { place, cause })?;
            let steps = from.rewrite.iter().flatten().enumerate();
            let steps = steps.map(|(step, rewrite)| Step::new(rewrite, place, step)).collect::<Result<_, _>>()?;
            Ok(Found { finder, decoding: from.find.decoding_strategy.unwrap_or_default(), steps })
        };
        let found = spec.selection().found().iter().enumerate().map(compile).collect::<Result<_, _>>()?;
        if let Some(template) = spec.template() {
            template::check(template)?;
        }
        Ok(Self { spec, found })
    }

    /// What the entries are called that come of these keys.
    pub(crate) fn outline<'k>(&self, keys: impl Iterator<Item = &'k str>) -> Result<Outline, ShapeError> {
        let values = keys.map(|key| (key, None)).collect();
        let (entries, is_whole) = self.selected(&values)?;
        let mut names: BTreeSet<String> = entries.into_iter().map(|entry| entry.name).collect();
        if let Some(format) = self.spec.format() {
            names = [format.secret_key.clone()].into();
        } else if let Some(template) = self.spec.template().filter(|template| template.has_entries()) {
            let templates = template.inline().map(|(name, _)| name.to_owned());
            let others = template.config_maps().flat_map(|from| from.items.iter().map(|item| item.key.clone()));
            if template.merge_policy.unwrap_or_default() == MergePolicy::Merge {
                names.extend(templates.chain(others));
            } else {
                return Ok(Outline { names: templates.chain(others).collect(), is_whole: true });
            }
        }
        Ok(Outline { names, is_whole: is_whole || self.spec.format().is_some() })
    }

    /// The entries that come of these values, by their names.
    pub(crate) fn entries(
        &self,
        values: &BTreeMap<&str, &SecretValue>,
        config_maps: &ConfigMapTexts,
    ) -> Result<BTreeMap<String, SecretValue>, ShapeError> {
        let values = values.iter().map(|(key, value)| (*key, Some(*value))).collect();
        let (entries, _) = self.selected(&values)?;
        let entries: BTreeMap<String, SecretValue> =
            entries.into_iter().filter_map(|entry| Some((entry.name, entry.value?))).collect();
        if let Some(format) = self.spec.format() {
            let file = file_format::file(format, &entries)?;
            return Ok([(format.secret_key.clone(), file)].into());
        }
        match self.spec.template().filter(|template| template.has_entries()) {
            Some(template) => template::render(template, entries, config_maps),
            None => Ok(entries),
        }
    }

    /// What comes of `data` and `dataFrom`, or of every key, under the names that it has then, and whether that is all.
    fn selected(&self, values: &BTreeMap<&str, Option<&SecretValue>>) -> Result<(Vec<Entry>, bool), ShapeError> {
        let (mut entries, mut is_whole) = (Vec::new(), true);
        if self.spec.selection() == Selection::Every {
            entries.extend(values.iter().map(|(key, value)| Entry::new(key, Place::Every, *value)));
            self.spell(&mut entries);
        }
        for (place, entry) in self.spec.selection().named().iter().enumerate() {
            if let Some(value) = values.get(entry.remote_ref.key.as_str()) {
                entries.push(named(entry, Place::Data(place), *value)?);
            }
        }
        for (place, found) in self.found.iter().enumerate() {
            let place = Place::DataFrom(place);
            let keys = values.iter().filter(|(key, _)| found.finder.covers(key));
            let mut of_this: Vec<Entry> = keys
                .map(|(key, value)| Entry::new(key, place, *value).decoded(found.decoding))
                .collect::<Result<_, _>>()?;
            for step in &found.steps {
                is_whole &= step.keeps_names_known() || of_this.iter().all(|entry| entry.value.is_some());
                of_this = step.apply(of_this)?;
            }
            self.spell(&mut of_this);
            entries.extend(of_this);
        }
        check_names(&entries, self.goes_into_secret())?;
        Ok((entries, is_whole))
    }

    fn spell(&self, entries: &mut [Entry]) {
        let Some(transformer) = self.spec.name_transformer else { return };
        for entry in entries {
            entry.name = spelling::spelled(&entry.name, transformer);
        }
    }

    /// Whether the entries are the Secret's own, and not only what a file or templates are made of.
    fn goes_into_secret(&self) -> bool {
        let template = self.spec.template().filter(|template| template.has_entries());
        self.spec.format().is_none()
            && template.is_none_or(|template| template.merge_policy.unwrap_or_default() == MergePolicy::Merge)
    }
}

fn named(entry: &DataEntry, place: Place, value: Option<&SecretValue>) -> Result<Entry, ShapeError> {
    let reference = &entry.remote_ref;
    let mut made = Entry::new(&reference.key, place, value);
    made.name.clone_from(&entry.secret_key);
    if let (Some(property), Some(value)) = (&reference.property, &made.value) {
        made.value = Some(value::property(value, property).map_err(|cause| made.unsuitable(cause))?);
    }
    made.decoded(reference.decoding_strategy.unwrap_or_default())
}

/// No two entries of one name, and no name that a Secret does not take.
fn check_names(entries: &[Entry], are_keys: bool) -> Result<(), ShapeError> {
    let mut seen = BTreeMap::new();
    for entry in entries {
        if let Some(other) = seen.insert(entry.name.as_str(), entry) {
            return Err(ShapeError::name_twice(&entry.name, other, entry));
        }
    }
    let mut invalid = entries.iter().filter(|entry| are_keys && !is_secret_key(&entry.name)).peekable();
    if invalid.peek().is_some() {
        return Err(ShapeError::NameInvalid { entries: invalid.map(ToString::to_string).collect() });
    }
    Ok(())
}

/// Words that only a later release knows.
fn check_words(spec: &SecretBindingSpec) -> Result<(), InvalidShape> {
    let unknown = |is_unknown: bool, field: &dyn Fn() -> String| {
        if is_unknown { Err(InvalidShape::Unknown { field: field() }) } else { Ok(()) }
    };
    let decoding = |strategy: Option<DecodingStrategy>, field: &dyn Fn() -> String| {
        unknown(strategy == Some(DecodingStrategy::Unknown), field)
    };
    for (place, entry) in spec.selection().named().iter().enumerate() {
        decoding(entry.remote_ref.decoding_strategy, &|| format!("spec.data[{place}].remoteRef.decodingStrategy"))?;
    }
    for (place, entry) in spec.selection().found().iter().enumerate() {
        decoding(entry.find.decoding_strategy, &|| format!("spec.dataFrom[{place}].find.decodingStrategy"))?;
        for (step, rewrite) in entry.rewrite.iter().flatten().enumerate() {
            let strategy = rewrite.merge.as_ref().and_then(|merge| merge.strategy);
            let field = || format!("spec.dataFrom[{place}].rewrite[{step}].merge.strategy");
            unknown(strategy == Some(MergeStrategy::Unknown), &field)?;
        }
    }
    unknown(spec.name_transformer == Some(NameTransformer::Unknown), &|| "spec.nameTransformer".to_owned())?;
    unknown(spec.creation_policy() == CreationPolicy::Unknown, &|| "spec.target.creationPolicy".to_owned())?;
    let format = spec.format().map(|format| format.as_);
    unknown(format == Some(FileFormat::Unknown), &|| "spec.target.format.as".to_owned())?;
    let merge = spec.template().and_then(|template| template.merge_policy);
    unknown(merge == Some(MergePolicy::Unknown), &|| "spec.target.template.mergePolicy".to_owned())
}
