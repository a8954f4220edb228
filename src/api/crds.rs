//! The custom resource definitions, as they are checked in and as `tidelock crd` prints them.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use serde_json::{Value, json};

use super::{ProjectEnvironment, SecretBinding};

/// The definitions of every kind.
#[must_use]
pub fn all() -> Vec<CustomResourceDefinition> {
    [ProjectEnvironment::crd(), SecretBinding::crd()].into_iter().map(finished).collect()
}

/// File name and content of every definition, as checked in under `crds/`.
#[must_use]
pub fn files() -> Vec<(String, String)> {
    all().iter().map(|crd| (format!("{}.yaml", crd.spec.names.plural), render(crd))).collect()
}

/// All definitions as one YAML stream.
#[must_use]
pub fn yaml() -> String {
    let documents: Vec<String> = files().into_iter().map(|(_, yaml)| yaml).collect();
    documents.join("---\n")
}

fn render(crd: &CustomResourceDefinition) -> String {
    let yaml = serde_yaml::to_string(crd).expect("a definition is YAML");
    format!("# Generated from the types in src/api by `make crds`: change those instead.\n{yaml}")
}

/// What the derive leaves to be done.
fn finished(crd: CustomResourceDefinition) -> CustomResourceDefinition {
    let mut crd = serde_json::to_value(crd).expect("a definition is JSON");
    for version in crd["spec"]["versions"].as_array_mut().expect("a definition has versions") {
        let schema = &mut version["schema"]["openAPIV3Schema"];
        no_nulls(schema);
        // kstatus takes an object without status for finished: one that was never looked at says so.
        schema["properties"]["status"]["default"] = json!({"observedGeneration": -1});
    }
    serde_json::from_value(crd).expect("a definition stays one")
}

/// An optional field is absent, never null: `nullable` would let nulls be stored and show as drift.
fn no_nulls(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            if fields.get("nullable").is_some_and(Value::is_boolean) {
                fields.remove("nullable");
            }
            fields.values_mut().for_each(no_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(no_nulls),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::generated;

    fn schemas() -> Vec<(String, Value)> {
        let schema = |crd: &CustomResourceDefinition| {
            let schema = crd.spec.versions[0].schema.as_ref().expect("every version has a schema");
            serde_json::to_value(&schema.open_api_v3_schema).expect("a schema is JSON")
        };
        all().iter().map(|crd| (crd.spec.names.kind.clone(), schema(crd))).collect()
    }

    fn walk(path: &str, schema: &Value, visit: &mut impl FnMut(&str, &Value)) {
        visit(path, schema);
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            walk(&format!("{path}.{name}"), property, visit);
        }
        for inner in ["items", "additionalProperties"] {
            if schema[inner].is_object() {
                walk(&format!("{path}[]"), &schema[inner], visit);
            }
        }
    }

    #[test]
    fn the_definitions_checked_in_are_those_of_the_types() {
        for (name, yaml) in files() {
            generated::check(&format!("crds/{name}"), &yaml);
            generated::check(&format!("charts/tidelock/files/crds/{name}"), &yaml);
        }
    }

    #[test]
    fn no_field_of_a_spec_has_a_default() {
        for (kind, schema) in schemas() {
            walk(&kind, &schema["properties"]["spec"], &mut |path, field| {
                assert_eq!(field["default"], Value::Null, "{path}");
            });
        }
    }

    #[test]
    fn every_list_map_and_string_is_bounded_and_nothing_is_null_or_of_several_shapes() {
        for (kind, schema) in schemas() {
            for part in ["spec", "status"] {
                walk(&format!("{kind}.{part}"), &schema["properties"][part], &mut |path, field| {
                    let bound = match field["type"].as_str() {
                        Some("array") => "maxItems",
                        Some("string") if field["enum"].is_array() || field["format"] == "date-time" => "type",
                        Some("string") => "maxLength",
                        Some("object") if field["additionalProperties"].is_object() => "maxProperties",
                        Some("object" | "boolean" | "integer") => "type",
                        other => panic!("{path} has the type {other:?}"),
                    };
                    assert!(!field[bound].is_null(), "{path} lacks {bound}");
                    for word in ["nullable", "anyOf", "oneOf", "allOf", "not"] {
                        assert!(field[word].is_null(), "{path} has {word}");
                    }
                });
            }
        }
    }

    #[test]
    fn every_field_says_what_it_is() {
        for (kind, schema) in schemas() {
            let mut silent = Vec::new();
            walk(&kind, &schema["properties"]["spec"], &mut |path, field| {
                let foreign = path.contains(".selector.") || path.ends_with("[]");
                if !foreign && field["description"].as_str().is_none_or(str::is_empty) {
                    silent.push(path.to_owned());
                }
            });
            assert!(silent.is_empty(), "{silent:?}");
        }
    }

    #[test]
    fn columns_are_those_that_people_were_promised() {
        let columns: Vec<Vec<String>> = all()
            .iter()
            .map(|crd| {
                let columns = crd.spec.versions[0].additional_printer_columns.iter().flatten();
                columns.map(|column| column.name.clone()).collect()
            })
            .collect();
        assert_eq!(columns[0], ["Project", "Environment", "Production", "Ready", "InSync", "Stale", "Missing", "Age"]);
        assert_eq!(columns[1], ["Source", "Target", "Ready", "InSync", "Reason", "Revision", "Age"]);
    }
}
