//! What the Secret is to be, and how the one that is there differs.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;

use super::content::Values;
use super::differences::Differences;
use super::ownership::controller_reference;
use super::provenance::{Merged, Provenance};
use crate::api::names::{BINDING, MANAGED_BY, MANAGED_BY_LABEL, ROWS, SOURCE};
use crate::api::{CreationPolicy, SecretBinding, TemplateMetadata};

/// Most bytes that the annotations of an object may have together, names included.
const ANNOTATIONS_MAX: usize = 262_144;

/// Most bytes of an object that are asked of etcd: 16 KiB below its limit of 1.5 MiB for a whole request.
const OBJECT_MAX: usize = 1_572_864 - 16_384;

/// What an object has beside its names and values, roughly, in bytes.
const OBJECT_BASE: usize = 4_096;

/// What each key costs beside its value and its name: framing, and its mention in the managed fields.
const KEY_COST: usize = 24;

/// A Secret with its data. Its `Debug` shows none of it.
#[derive(Clone)]
pub(crate) struct FullSecret(pub(crate) Secret);

impl fmt::Debug for FullSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys = self.0.data.as_ref().map_or(0, BTreeMap::len);
        write!(f, "Secret({}, {keys} keys)", self.0.name_any())
    }
}

impl FullSecret {
    /// The names of its keys, in order.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.data.iter().flat_map(BTreeMap::keys).map(String::as_str)
    }

    /// Its type; absent: `Opaque`.
    #[must_use]
    pub(crate) fn type_(&self) -> &str {
        self.0.type_.as_deref().unwrap_or("Opaque")
    }

    /// As its owner has it, without the keys that a binding added.
    pub(crate) fn without(&self, merged: &Merged) -> Self {
        let mut secret = self.0.clone();
        secret.data.get_or_insert_default().retain(|name, _| !merged.keys.contains(name));
        secret.metadata.annotations.get_or_insert_default().retain(|name, _| name != SOURCE && name != ROWS);
        secret.metadata.managed_fields = None;
        Self(secret)
    }

    /// Whether its data can no longer change.
    #[must_use]
    pub(crate) fn is_immutable(&self) -> bool {
        self.0.immutable.unwrap_or_default()
    }
}

/// What the Secret is to be.
#[derive(Debug)]
pub(crate) struct Desired<'a> {
    /// Whose it is to be.
    pub(crate) binding: &'a SecretBinding,
    pub(crate) values: Values,
    /// What it is to say about itself.
    pub(crate) provenance: Provenance,
}

/// The Secret would be larger than Kubernetes takes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the Secret would have {bytes} bytes of {what}; Kubernetes takes {limit}")]
pub(crate) struct TooLarge {
    what: &'static str,
    bytes: usize,
    limit: usize,
}

impl Desired<'_> {
    /// How a Secret differs from this. What other people set is no difference.
    #[must_use]
    pub(crate) fn differences(&self, current: &FullSecret) -> Differences {
        let data = self.data(Some(current));
        let values = data.iter().map(|(name, value)| (name.as_str(), value.0.as_slice()));
        let mut differences = Differences::of_data(values, current.0.data.as_ref());
        differences.metadata = self.metadata_differences(&current.0.metadata);
        if self.binding.spec.is_immutable() && !current.is_immutable() {
            differences.fields.push("immutable");
        }
        differences
    }

    fn metadata_differences(&self, current: &ObjectMeta) -> Vec<String> {
        let mut wanted = current.clone();
        self.impose_on(&mut wanted);
        let mut names = differing(current.labels.as_ref(), wanted.labels.as_ref());
        names.extend(differing(current.annotations.as_ref(), wanted.annotations.as_ref()));
        if current.owner_references != wanted.owner_references {
            names.push("ownerReferences".to_owned());
        }
        names
    }

    /// All of the data: ours, and in somebody else's Secret what was not.
    fn data(&self, current: Option<&FullSecret>) -> BTreeMap<String, ByteString> {
        let ours = self.values.iter().map(|(name, value)| (name.to_owned(), ByteString(value.expose().to_vec())));
        let mut data: BTreeMap<String, ByteString> = match (self.is_merged(), current) {
            (true, Some(current)) => {
                let before = self.merged_before(&current.0.metadata);
                let theirs = current.0.data.iter().flatten().filter(|(name, _)| !before.contains(*name));
                theirs.map(|(name, value)| (name.clone(), value.clone())).collect()
            }
            _ => BTreeMap::new(),
        };
        data.extend(ours);
        data
    }

    /// The type that is asked for; somebody else's Secret keeps its own.
    pub(crate) fn type_over<'a>(&'a self, current: &'a FullSecret) -> &'a str {
        if self.is_merged() { current.type_() } else { self.binding.spec.target_type() }
    }

    const fn is_merged(&self) -> bool {
        self.provenance.origin.merged.is_some()
    }

    /// The keys that this binding added to somebody else's Secret, as that says.
    fn merged_before(&self, metadata: &ObjectMeta) -> BTreeSet<String> {
        let said = metadata.annotations.as_ref().and_then(|annotations| Provenance::read(annotations).ok());
        let ours = said.filter(|said| said.merged_by(self.binding)).and_then(|said| said.origin.merged);
        ours.map(|merged| merged.keys).unwrap_or_default()
    }

    /// Keys of somebody else's Secret that have names of ours.
    pub(crate) fn conflicts(&self, current: &FullSecret) -> Vec<String> {
        if !self.is_merged() {
            return Vec::new();
        }
        let before = self.merged_before(&current.0.metadata);
        let theirs = current.names().filter(|name| !before.contains(*name));
        let wanted: BTreeSet<&str> = self.values.iter().map(|(name, _)| name).collect();
        theirs.filter(|name| wanted.contains(name)).map(str::to_owned).collect()
    }

    /// Sets what is ours in an object's metadata and leaves everything else.
    fn impose_on(&self, metadata: &mut ObjectMeta) {
        if self.is_merged() {
            let annotations = metadata.annotations.get_or_insert_default();
            let said = Provenance::read(annotations).ok();
            if !said.is_some_and(|said| said.stands_for(&self.provenance)) {
                annotations.extend(self.provenance.annotations().map(|(name, text)| (name.to_owned(), text)));
            }
            return;
        }
        let template = self.binding.spec.target_metadata();
        let TemplateMetadata { labels: set_labels, annotations: set_annotations } =
            template.cloned().unwrap_or_default();
        let said = metadata.annotations.as_ref().and_then(|annotations| Provenance::read(annotations).ok());

        let labels = metadata.labels.get_or_insert_default();
        labels.retain(|name, _| said.as_ref().is_none_or(|said| !said.origin.labels.contains(name)));
        labels.extend(set_labels);
        labels.insert(MANAGED_BY_LABEL.to_owned(), MANAGED_BY.to_owned());

        let annotations = metadata.annotations.get_or_insert_default();
        annotations.retain(|name, _| said.as_ref().is_none_or(|said| !said.origin.annotations.contains(name)));
        annotations.extend(set_annotations);
        annotations.insert(BINDING.to_owned(), self.binding.name_any());
        if !said.is_some_and(|said| said.stands_for(&self.provenance)) {
            annotations.extend(self.provenance.annotations().map(|(name, text)| (name.to_owned(), text)));
        }

        let owner = controller_reference(self.binding);
        if self.binding.spec.creation_policy() == CreationPolicy::Orphan {
            if let Some(owners) = &mut metadata.owner_references {
                owners.retain(|other| other.uid != owner.uid && other.controller != Some(true));
            }
            return;
        }
        let owners = metadata.owner_references.get_or_insert_default();
        let is_controller = |uid: &str, controller: Option<bool>| controller == Some(true) || uid == owner.uid;
        match owners.iter().find(|other| is_controller(&other.uid, other.controller)) {
            Some(ours) if ours.uid == owner.uid && ours.controller == Some(true) => {}
            _ => {
                owners.retain(|other| !is_controller(&other.uid, other.controller));
                owners.push(owner);
            }
        }
    }

    /// The object to write: new, or over one with this metadata, whose uid and resourceVersion it then carries as its
    /// precondition. A data key is ours alone; other people's labels, annotations and finalizers stay.
    pub(crate) fn build(&self, over: Option<&ObjectMeta>) -> Result<FullSecret, TooLarge> {
        self.assemble(over, self.data(None), self.binding.spec.target_type())
    }

    /// As [`build`](Self::build), over a Secret that was read. In somebody else's its type and its keys stay.
    pub(crate) fn build_over(&self, current: &FullSecret) -> Result<FullSecret, TooLarge> {
        let mut next = self.assemble(Some(&current.0.metadata), self.data(Some(current)), self.type_over(current))?;
        // Nobody can take it back.
        next.0.immutable = next.0.immutable.or(current.is_immutable().then_some(true));
        Ok(next)
    }

    fn assemble(
        &self,
        over: Option<&ObjectMeta>,
        data: BTreeMap<String, ByteString>,
        type_: &str,
    ) -> Result<FullSecret, TooLarge> {
        let mut metadata = over.cloned().unwrap_or_else(|| ObjectMeta {
            name: Some(self.binding.target_name()),
            namespace: self.binding.namespace(),
            ..ObjectMeta::default()
        });
        metadata.managed_fields = None;
        self.impose_on(&mut metadata);
        // Whatever stood for the same before: a write says exactly what it was made from.
        let annotations = metadata.annotations.get_or_insert_default();
        annotations.extend(self.provenance.annotations().map(|(name, text)| (name.to_owned(), text)));
        check_size(&metadata, &data)?;
        Ok(FullSecret(Secret {
            metadata,
            type_: Some(type_.to_owned()),
            immutable: self.binding.spec.is_immutable().then_some(true),
            data: Some(data),
            string_data: None,
        }))
    }
}

fn check_size(metadata: &ObjectMeta, data: &BTreeMap<String, ByteString>) -> Result<(), TooLarge> {
    let size = |map: Option<&BTreeMap<String, String>>| -> usize {
        map.into_iter().flatten().map(|(name, text)| name.len() + text.len()).sum()
    };
    let annotations = size(metadata.annotations.as_ref());
    if annotations > ANNOTATIONS_MAX {
        let what = "annotations, which say for each key where it came from";
        return Err(TooLarge { what, bytes: annotations, limit: ANNOTATIONS_MAX });
    }
    // A name stands in the data and again in the managed fields.
    let keys: usize = data.iter().map(|(name, value)| value.0.len() + 2 * name.len() + KEY_COST).sum();
    let bytes = OBJECT_BASE + annotations + 2 * size(metadata.labels.as_ref()) + keys;
    if bytes > OBJECT_MAX {
        return Err(TooLarge { what: "names, values and annotations", bytes, limit: OBJECT_MAX });
    }
    Ok(())
}

fn differing(current: Option<&BTreeMap<String, String>>, wanted: Option<&BTreeMap<String, String>>) -> Vec<String> {
    let empty = BTreeMap::new();
    let (current, wanted) = (current.unwrap_or(&empty), wanted.unwrap_or(&empty));
    let names: BTreeSet<&String> = current.keys().chain(wanted.keys()).collect();
    names.into_iter().filter(|name| current.get(*name) != wanted.get(*name)).cloned().collect()
}

#[cfg(test)]
mod tests;
