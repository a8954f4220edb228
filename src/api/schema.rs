//! Pieces of schema that the derive cannot say: bounds on types that are not ours, and on maps.

use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

/// A DNS-1123 label, as namespaces are named.
pub(super) const DNS_LABEL: &str = "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";

/// A DNS-1123 subdomain, as most objects are named.
pub(super) const DNS_SUBDOMAIN: &str = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";

/// A key of a Secret: letters, digits, `-`, `_` and `.`, but neither `.` nor anything that starts with `..`.
pub(super) const SECRET_KEY: &str = r"^\.?[-_a-zA-Z0-9][-._a-zA-Z0-9]*$";

/// A project's or environment's name, as [`crate::core::ProjectName`] takes it.
pub(super) const REGISTRY_NAME: &str = "^[a-zA-Z0-9][-._a-zA-Z0-9]*$";

/// A time as RFC 3339 spells it: the format `date-time` of Kubernetes takes other texts, too.
const RFC_3339: &str =
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?(Z|[-+][0-9]{2}:[0-9]{2})$";

/// Most characters of a condition's message.
pub(super) const MESSAGE_MAX: usize = 32_768;

/// `status.conditions`, bounded as Kubernetes bounds them in its own types.
pub(super) fn conditions(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 16,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "type": "object",
            "required": ["lastTransitionTime", "message", "reason", "status", "type"],
            "properties": {
                "type": {"type": "string", "maxLength": 316},
                "status": {"type": "string", "enum": ["True", "False", "Unknown"]},
                "reason": {
                    "type": "string", "minLength": 1, "maxLength": 1024,
                    "pattern": "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$",
                },
                "message": {"type": "string", "maxLength": MESSAGE_MAX},
                "observedGeneration": {"type": "integer", "format": "int64"},
                "lastTransitionTime": {"type": "string", "format": "date-time", "pattern": RFC_3339},
            },
        },
    })
}

/// A moment, in RFC 3339.
pub(super) fn time(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "format": "date-time", "pattern": RFC_3339})
}

/// A label selector that selects something less than everything.
pub(super) fn selector(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "x-kubernetes-map-type": "atomic",
        "x-kubernetes-validations": [{
            "rule": "(has(self.matchLabels) && size(self.matchLabels) > 0) \
                     || (has(self.matchExpressions) && size(self.matchExpressions) > 0)",
            "message": "an empty selector would grant every namespace: name at least one label",
        }],
        "properties": {
            "matchLabels": labels(32, 63),
            "matchExpressions": {
                "type": "array",
                "maxItems": 16,
                "x-kubernetes-list-type": "atomic",
                "items": {
                    "type": "object",
                    "required": ["key", "operator"],
                    "x-kubernetes-validations": [{
                        "rule": "(self.operator in ['In', 'NotIn']) == (has(self.values) && size(self.values) > 0)",
                        "message": "In and NotIn need values; Exists and DoesNotExist take none",
                    }],
                    "properties": {
                        "key": {"type": "string", "minLength": 1, "maxLength": 317},
                        "operator": {"type": "string", "enum": ["In", "NotIn", "Exists", "DoesNotExist"]},
                        "values": {
                            "type": "array",
                            "maxItems": 64,
                            "x-kubernetes-list-type": "atomic",
                            "items": {"type": "string", "maxLength": 63},
                        },
                    },
                },
            },
        },
    })
}

/// Labels for a target.
pub(super) fn template_labels(_: &mut SchemaGenerator) -> Schema {
    let mut schema = template_map("labels", labels(64, 63));
    rules(&mut schema).push(json!({
        "rule": "self.all(name, !format.labelValue().validate(self[name]).hasValue())",
        "message": "a label's value has at most 63 letters, digits, '-', '_' and '.', and starts and ends with a letter or digit",
    }));
    schema
}

/// Annotations for a target.
pub(super) fn template_annotations(_: &mut SchemaGenerator) -> Schema {
    template_map("annotations", labels(64, 4096))
}

/// Templates of entries of a Secret, by name. Their sum is bounded by what etcd takes of one object.
pub(super) fn templates(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "minProperties": 1,
        "maxProperties": 256,
        "additionalProperties": {"type": "string", "maxLength": 65_536},
        "x-kubernetes-validations": [{
            "rule": format!("self.all(name, size(name) <= 253 && name.matches('{}'))", SECRET_KEY.replace('\\', "\\\\")),
            "message": "an entry's name has at most 253 letters, digits, '-', '_' and '.', and starts with no '..'",
        }],
    })
}

fn labels(max_properties: usize, max_length: usize) -> Value {
    json!({
        "type": "object",
        "maxProperties": max_properties,
        "additionalProperties": {"type": "string", "maxLength": max_length},
    })
}

/// A map whose names are qualified, and not those of [`super::names::is_reserved`].
fn template_map(what: &str, mut map: Value) -> Schema {
    map["x-kubernetes-validations"] = json!([
        {
            "rule": "self.all(name, !name.startsWith('tidelock.dev/') && !name.startsWith('argocd.argoproj.io/') \
                     && !(name in ['app.kubernetes.io/instance', 'app.kubernetes.io/managed-by']))",
            "message": format!(
                "{what} tidelock.dev/*, argocd.argoproj.io/*, app.kubernetes.io/instance and \
                 app.kubernetes.io/managed-by are reserved"
            ),
        },
        {
            "rule": "self.all(name, !format.qualifiedName().validate(name).hasValue())",
            "message": format!("names of {what} are like example.com/name: a domain, where given, and at most 63 characters"),
        },
    ]);
    Schema::try_from(map).expect("an object is a schema")
}

fn rules(schema: &mut Schema) -> &mut Vec<Value> {
    let rules = schema.ensure_object().entry("x-kubernetes-validations").or_insert_with(|| json!([]));
    rules.as_array_mut().expect("rules are a list")
}
