//! The steps of a `rewrite`.

use super::entry::Entry;
use super::error::{InvalidShape, ShapeError};
use super::merge;
use super::template::NameTemplate;
use crate::api::{MergeStrategy, NamePattern, Rewrite, RewriteMerge};

/// One step, compiled.
pub(super) struct Step<'s> {
    what: What<'s>,
    /// Where it stands, in words.
    at: String,
}

enum What<'s> {
    Replace { pattern: NamePattern, target: &'s str },
    Transform(Box<NameTemplate<'s>>),
    Merge(&'s RewriteMerge),
}

impl<'s> Step<'s> {
    pub(super) fn new(rewrite: &'s Rewrite, place: usize, step: usize) -> Result<Self, InvalidShape> {
        let at = format!("spec.dataFrom[{place}].rewrite[{step}]");
        let what = match rewrite {
            Rewrite { regexp: Some(regexp), transform: None, merge: None } => {
                let pattern = NamePattern::new(&regexp.source);
                let pattern = pattern.map_err(|cause| InvalidShape::Rewrite { place, step, cause })?;
                What::Replace { pattern, target: &regexp.target }
            }
            Rewrite { regexp: None, transform: Some(transform), merge: None } => {
                let at = format!("{at}.transform.template");
                What::Transform(Box::new(NameTemplate::new(&transform.template, &at)?))
            }
            Rewrite { regexp: None, transform: None, merge: Some(merge) } => What::Merge(merge),
            _ => return Err(InvalidShape::Step { place, step }),
        };
        Ok(Self { what, at })
    }

    /// Whether the names after it are known where those before it are, without a value.
    pub(super) fn keeps_names_known(&self) -> bool {
        match &self.what {
            What::Replace { .. } | What::Transform(_) => true,
            What::Merge(merge) => merge.strategy.unwrap_or_default() != MergeStrategy::Extract,
        }
    }

    pub(super) fn apply(&self, mut entries: Vec<Entry>) -> Result<Vec<Entry>, ShapeError> {
        match &self.what {
            What::Replace { pattern, target } => {
                for entry in &mut entries {
                    entry.name = pattern.replace_all(&entry.name, target);
                }
            }
            What::Transform(template) => {
                for entry in &mut entries {
                    entry.name = template.render(&entry.name)?;
                }
            }
            What::Merge(merge) => return merge::merged(merge, entries, &self.at),
        }
        Ok(entries)
    }
}
