//! The manifests under `examples/` say what the types mean: nothing that a type does not know, nothing it would add.

use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Grants, ProjectEnvironment, SecretBinding};

/// Every document of every example, with the file it is in.
fn documents() -> Vec<(String, Value)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let mut documents = Vec::new();
    for entry in std::fs::read_dir(&folder).expect("there are examples") {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("a readable example");
        for document in serde_yaml::Deserializer::from_str(&text) {
            let value = Value::deserialize(document).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            documents.push((path.display().to_string(), value));
        }
    }
    documents
}

fn read<K: DeserializeOwned + serde::Serialize>(file: &str, document: &Value) -> K {
    let object: K = serde_json::from_value(document.clone()).unwrap_or_else(|error| panic!("{file}: {error}"));
    let again = serde_json::to_value(&object).expect("an object is JSON");
    assert_eq!(again["spec"], document["spec"], "{file}");
    object
}

#[test]
fn every_example_is_understood_to_the_last_field() {
    let (mut sources, mut bindings) = (Vec::new(), Vec::new());
    for (file, document) in documents() {
        match document["kind"].as_str() {
            Some("ProjectEnvironment") => {
                let source: ProjectEnvironment = read(&file, &document);
                let grants = Grants::new(&source.spec.grants);
                assert_eq!(grants.invalid(), None, "{file}");
                sources.push(source);
            }
            Some("SecretBinding") => bindings.push(read::<SecretBinding>(&file, &document)),
            Some("Namespace" | "ConfigMap" | "Secret") => {}
            other => panic!("{file} has a document of the kind {other:?}"),
        }
    }
    assert_eq!(sources.len(), 3);
    for binding in &bindings {
        let name = &binding.spec.source_ref.name;
        assert!(
            sources.iter().any(|source| source.metadata.name.as_ref() == Some(name)),
            "no example of a ProjectEnvironment is called {name}"
        );
    }
}
