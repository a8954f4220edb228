//! A manifest: the objects of a file that a plan is made from.

use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::Resource;
use kube::core::PartialObjectMeta;
use serde::de::DeserializeOwned;
use serde::{Deserialize as _, Serialize};
use serde_json::Value;

use crate::api::{ProjectEnvironment, SecretBinding};

/// What a file has that matters. Everything else in it is for others.
#[derive(Debug, Default)]
pub(super) struct Manifest {
    pub(super) bindings: Vec<SecretBinding>,
    pub(super) environments: Vec<ProjectEnvironment>,
    pub(super) namespaces: Vec<PartialObjectMeta<Namespace>>,
    pub(super) config_maps: Vec<ConfigMap>,
}

/// Why it is none. Quotes nothing of it but names of objects and fields: a file may have more in it than manifests.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ManifestError {
    #[error("is neither YAML nor JSON{}", .line.map(|line| format!(", at line {line}")).unwrap_or_default())]
    Syntax { line: Option<usize> },
    #[error("{object} cannot be read at {path}: what stands there is not of the field's type, or a field is missing")]
    Field { object: String, path: String },
    #[error("{object} has no field {path}: the API server would leave it out, or refuse it")]
    UnknownField { object: String, path: String },
    #[error("{object} is of a version that this program does not know; it knows v1alpha1")]
    Version { object: String },
    #[error("has no SecretBinding")]
    NoBinding,
}

impl Manifest {
    /// Reads it; objects may be several documents, or in a List.
    pub(super) fn read(text: &str) -> Result<Self, ManifestError> {
        let mut manifest = Self::default();
        for document in serde_yaml::Deserializer::from_str(text) {
            let syntax =
                |error: serde_yaml::Error| ManifestError::Syntax { line: error.location().map(|at| at.line()) };
            let value = serde_yaml::Value::deserialize(document).map_err(syntax)?;
            let value = serde_json::to_value(value).map_err(|_| ManifestError::Syntax { line: None })?;
            manifest.add(value)?;
        }
        if manifest.bindings.is_empty() { Err(ManifestError::NoBinding) } else { Ok(manifest) }
    }

    fn add(&mut self, mut value: Value) -> Result<(), ManifestError> {
        let text = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (api_version, kind) = (text("apiVersion"), text("kind"));
        if kind == "List" {
            let items = value.get_mut("items").and_then(Value::as_array_mut).map(std::mem::take);
            return items.unwrap_or_default().into_iter().try_for_each(|item| self.add(item));
        }
        let name = value.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
        let object = format!("{kind} {name}");
        match (api_version.split_once('/').map_or(&*api_version, |(group, _)| group), &*kind) {
            ("tidelock.dev", "SecretBinding") => {
                self.bindings.push(ours(&value, object, |read: &SecretBinding| &read.spec)?);
            }
            ("tidelock.dev", "ProjectEnvironment") => {
                self.environments.push(ours(&value, object, |read: &ProjectEnvironment| &read.spec)?);
            }
            ("v1", "Namespace") => self.namespaces.push(typed(&value, object)?),
            ("v1", "ConfigMap") => self.config_maps.push(typed(&value, object)?),
            _ => {}
        }
        Ok(())
    }
}

/// An object of ours, in which no field is without a meaning.
fn ours<K, S>(value: &Value, object: String, spec: impl Fn(&K) -> &S) -> Result<K, ManifestError>
where
    K: Resource<DynamicType = ()> + DeserializeOwned,
    S: Serialize,
{
    if value["apiVersion"] != *K::api_version(&()) {
        return Err(ManifestError::Version { object });
    }
    let mut read: K = typed(value, object.clone())?;
    read.meta_mut().managed_fields = None;
    if read.meta().name.is_none() {
        return Err(ManifestError::Field { object, path: "metadata.name".to_owned() });
    }
    let understood = serde_json::to_value(spec(&read)).unwrap_or_default();
    match unknown_field(&value["spec"], &understood, "spec") {
        Some(path) => Err(ManifestError::UnknownField { object, path }),
        None => Ok(read),
    }
}

fn typed<K: DeserializeOwned>(value: &Value, object: String) -> Result<K, ManifestError> {
    serde_path_to_error::deserialize(value)
        .map_err(|error| ManifestError::Field { path: error.path().to_string(), object })
}

/// A field that was given and is not among what was understood.
fn unknown_field(given: &Value, understood: &Value, path: &str) -> Option<String> {
    match (given, understood) {
        (Value::Object(given), Value::Object(understood)) => {
            given.iter().filter(|(_, value)| !value.is_null()).find_map(|(name, value)| {
                let path = format!("{path}.{name}");
                match understood.get(name) {
                    Some(known) => unknown_field(value, known, &path),
                    None => Some(path),
                }
            })
        }
        (Value::Array(given), Value::Array(understood)) => {
            let pairs = given.iter().zip(understood).enumerate();
            pairs
                .into_iter()
                .find_map(|(place, (given, known))| unknown_field(given, known, &format!("{path}[{place}]")))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BINDING: &str = "apiVersion: tidelock.dev/v1alpha1\nkind: SecretBinding\nmetadata: {name: app}\n";

    #[test]
    fn objects_come_from_documents_and_lists_and_others_are_passed_over() {
        let binding = format!("{BINDING}spec: {{sourceRef: {{name: dev}}}}\n");
        let list = "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Namespace, metadata: {name: shop}}\n\
                    - {apiVersion: v1, kind: Secret, stringData: {A: [not, even, text]}}\n";
        let source = "apiVersion: tidelock.dev/v1alpha1\nkind: ProjectEnvironment\nmetadata: {name: dev}\n\
                      spec: {project: shop, environment: dev, grants: [{namespaces: {names: [shop]}}]}\n";
        let manifest = Manifest::read(&format!("{binding}---\n{list}---\n{source}---\n")).expect("a manifest");
        let counts = (manifest.bindings.len(), manifest.environments.len(), manifest.namespaces.len());
        assert_eq!(counts, (1, 1, 1));
    }

    #[test]
    fn what_cannot_be_meant_is_refused_by_its_place_and_never_quoted() {
        let with = |spec: &str| format!("{BINDING}spec: {spec}\n");
        for (text, expected) in [
            (with("{sourceRef: {name: dev}, targt: {name: hunter2}}"), "SecretBinding app has no field spec.targt: "),
            (
                with("{sourceRef: {name: dev}, data: [{secretKey: A, remoteRef: {key: A, hunter: 2}}]}"),
                "has no field spec.data[0].remoteRef.hunter: ",
            ),
            (with("{sourceRef: {name: [hunter2]}}"), "SecretBinding app cannot be read at spec.sourceRef.name: "),
            (with("{}"), "SecretBinding app cannot be read at spec: "),
            (BINDING.replace("v1alpha1", "v9"), "SecretBinding app is of a version"),
            ("a: 'hunter2".to_owned(), "is neither YAML nor JSON, at line 1"),
            ("hunter2".to_owned(), "has no SecretBinding"),
            (String::new(), "has no SecretBinding"),
        ] {
            let told = Manifest::read(&text).expect_err(&text).to_string();
            assert!(told.contains(expected), "{told}");
            assert!(!told.contains("hunter2"), "{told}");
        }
    }
}
