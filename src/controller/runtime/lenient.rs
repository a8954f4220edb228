//! Objects as the API server has them, whatever it took: one that cannot be read costs no other one anything.
//!
//! A schema is never quite as strict as a type: a format's own parser takes other texts, a number has no bounds, a later
//! release knows more words. A watch whose decoding fails loses its connection and all that comes on it, for everybody.

use std::borrow::Cow;
use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use serde::de::{DeserializeOwned, Deserializer, Error as _};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;
use serde_path_to_error::{Path, Segment};

/// Most parts of one status that are left out before all of it is.
const PARTS_MAX: usize = 100;

/// Annotation that repeats the whole object.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// An object of that type, or as much as can be said of one that is none.
///
/// What cannot be read of a status is left out of it: nothing is decided by it that is not also looked at, and the next
/// status takes its place. Nothing else of an object is ever left out: without a part of its `spec` it would mean something
/// else. What only repeats the object, or tells who wrote which field, is not kept.
#[derive(Debug, Clone)]
pub(crate) enum Lenient<K> {
    Readable(K),
    Unreadable(Box<Unreadable>),
}

/// An object that is none of the type that it should be.
#[derive(Debug, Clone)]
pub(crate) struct Unreadable {
    /// Name, namespace, uid and resourceVersion; nothing else.
    metadata: ObjectMeta,
    /// Which part cannot be read; never what stands there.
    pub(crate) part: String,
}

impl<K> Lenient<K> {
    pub(crate) fn readable(self) -> Result<K, Box<Unreadable>> {
        match self {
            Self::Readable(object) => Ok(object),
            Self::Unreadable(unreadable) => Err(unreadable),
        }
    }
}

impl<'de, K: DeserializeOwned> Deserialize<'de> for Lenient<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut object = Value::deserialize(deserializer)?;
        leave_out_repetitions(&mut object);
        for _ in 0..=PARTS_MAX {
            let error = match serde_path_to_error::deserialize::<_, K>(&object) {
                Ok(object) => return Ok(Self::Readable(object)),
                Err(error) => error,
            };
            if !leave_out(&mut object, error.path()) {
                return Unreadable::of(&object, error.path()).map(Box::new).map(Self::Unreadable).ok_or_else(|| {
                    D::Error::custom(format!("an object without a name cannot be read at {}", error.path()))
                });
            }
        }
        if let Some(object) = object.as_object_mut() {
            object.remove("status");
        }
        K::deserialize(object).map(Self::Readable).map_err(|_| D::Error::custom("an object cannot be read"))
    }
}

/// Takes out what a store need not keep, before it is decoded.
fn leave_out_repetitions(object: &mut Value) {
    let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) else { return };
    metadata.remove("managedFields");
    if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
        annotations.remove(LAST_APPLIED);
    }
}

/// Takes a part of the status out of an object; an entry of a list with what is after it moving up. Whether it was one, and
/// was there.
fn leave_out(object: &mut Value, part: &Path) -> bool {
    let mut segments: Vec<Cow<'_, str>> = part.iter().filter_map(name_of).collect();
    if segments.first().is_none_or(|first| first != "status") {
        return false;
    }
    while let Some(last) = segments.pop() {
        let parent = segments.iter().try_fold(&mut *object, |value, segment| match value {
            Value::Array(entries) => entries.get_mut(segment.parse::<usize>().ok()?),
            value => value.get_mut(segment.as_ref()),
        });
        let was_there = match parent {
            Some(Value::Object(fields)) => fields.remove(last.as_ref()).is_some(),
            Some(Value::Array(entries)) => {
                let place = last.parse().ok().filter(|place| *place < entries.len());
                place.map(|place| entries.remove(place)).is_some()
            }
            // The part is within what a number or a text is taken for: the whole of it goes.
            _ => false,
        };
        if was_there {
            return true;
        }
    }
    false
}

fn name_of(segment: &Segment) -> Option<Cow<'_, str>> {
    match segment {
        Segment::Seq { index } => Some(index.to_string().into()),
        Segment::Map { key } => Some(key.into()),
        Segment::Enum { .. } | Segment::Unknown => None,
    }
}

impl Unreadable {
    fn of(object: &Value, part: &Path) -> Option<Self> {
        let text = |field: &str| object.get("metadata")?.get(field)?.as_str().map(str::to_owned);
        let metadata = ObjectMeta {
            name: Some(text("name")?),
            namespace: text("namespace"),
            uid: text("uid"),
            resource_version: text("resourceVersion"),
            ..ObjectMeta::default()
        };
        Some(Self { metadata, part: part.to_string() })
    }
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(namespace) = &self.metadata.namespace {
            write!(f, "{namespace}/")?;
        }
        f.write_str(self.metadata.name.as_deref().unwrap_or_default())
    }
}

impl<K: Serialize> Serialize for Lenient<K> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Readable(object) => object.serialize(serializer),
            Self::Unreadable(unreadable) => unreadable.metadata.serialize(serializer),
        }
    }
}

impl<K: Resource<DynamicType = ()>> Resource for Lenient<K> {
    type DynamicType = ();
    type Scope = K::Scope;

    fn kind((): &()) -> Cow<'_, str> {
        K::kind(&())
    }

    fn group((): &()) -> Cow<'_, str> {
        K::group(&())
    }

    fn version((): &()) -> Cow<'_, str> {
        K::version(&())
    }

    fn plural((): &()) -> Cow<'_, str> {
        K::plural(&())
    }

    /// Of a type that is metadata alone, nothing else is asked for.
    fn metadata_api() -> bool {
        K::metadata_api()
    }

    fn meta(&self) -> &ObjectMeta {
        match self {
            Self::Readable(object) => object.meta(),
            Self::Unreadable(unreadable) => &unreadable.metadata,
        }
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        match self {
            Self::Readable(object) => object.meta_mut(),
            Self::Unreadable(unreadable) => &mut unreadable.metadata,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::{ProjectEnvironment, SecretBinding};

    const AT: &str = "2024-01-01T00:00:00Z";

    fn binding(spec: &Value, status: &Value) -> Value {
        json!({
            "apiVersion": "tidelock.dev/v1alpha1", "kind": "SecretBinding",
            "metadata": {"name": "app", "namespace": "shop", "uid": "u", "resourceVersion": "7"},
            "spec": spec, "status": status,
        })
    }

    fn read(object: &Value) -> Result<SecretBinding, Box<Unreadable>> {
        Lenient::<SecretBinding>::deserialize(object).expect("some object").readable()
    }

    fn condition(of_type: &str, at: &str) -> Value {
        json!({"type": of_type, "status": "True", "reason": "A", "message": "", "lastTransitionTime": at})
    }

    #[test]
    fn whatever_a_status_says_the_rest_of_it_and_the_object_are_read() {
        let spec = json!({"sourceRef": {"name": "shop-dev"}});
        for bad in [
            json!({"conditions": [condition("Bad", "2024-01-01T00:00:00x1Z"), condition("Good", AT)]}),
            json!({"conditions": [{"type": "Bad"}, condition("Good", AT), "Bad", 7, null]}),
            json!({"lastSyncTime": "2024-02-30T00:00:00Z", "conditions": [condition("Good", AT)]}),
            json!({"lastSyncTime": {"a": 1}, "revision": 1e300, "target": [1], "conditions": [condition("Good", AT)]}),
            json!({"observedGeneration": -0.5, "target": {"name": 1}, "conditions": [condition("Good", AT)]}),
        ] {
            let object = read(&binding(&spec, &bad)).unwrap_or_else(|why| panic!("{bad}: {}", why.part));
            let status = object.status.unwrap_or_default();
            let types: Vec<&str> = status.conditions.iter().map(|condition| condition.type_.as_str()).collect();
            assert_eq!(types, ["Good"], "{bad}");
        }
        for status in [json!("text"), json!(7), json!([]), json!({"conditions": {"a": 1}}), json!({"conditions": "a"})]
        {
            assert!(read(&binding(&spec, &status)).is_ok());
        }
        let many = json!({"conditions": vec![json!(1); PARTS_MAX + 50]});
        assert_eq!(read(&binding(&spec, &many)).unwrap().status, None);
    }

    #[test]
    fn an_object_that_is_none_is_named_with_the_part_that_cannot_be_read_and_not_what_stands_there() {
        let why = read(&binding(&json!({"sourceRef": {"name": 1}, "c4n4ry": "c4n4ry"}), &json!({}))).unwrap_err();
        assert_eq!((why.to_string(), why.part.as_str()), ("shop/app".to_owned(), "spec.sourceRef.name"));
        assert!(!format!("{why:?}").contains("c4n4ry"));
        let why = read(&binding(&json!({}), &json!({}))).unwrap_err();
        assert_eq!(why.part, "spec");
    }

    #[test]
    fn words_of_a_later_release_are_read() {
        let spec = json!({"sourceRef": {"kind": "Later", "name": "a"}, "outOfSyncPolicy": "Later", "later": {"a": 1}});
        assert!(read(&binding(&spec, &json!({}))).is_ok());
        let environment = json!({
            "metadata": {"name": "dev"},
            "spec": {"project": "shop", "environment": "dev", "grants": [], "onRevoke": "Later", "outOfSyncPolicy": "Later"},
            "status": {"outOfSync": [{"key": "A", "state": "Later"}, {"key": "B", "state": "Stale"}]},
        });
        let environment: Lenient<ProjectEnvironment> = serde_json::from_value(environment).unwrap();
        let status = environment.readable().unwrap().status.unwrap();
        assert_eq!(status.out_of_sync.iter().map(|key| key.key.as_str()).collect::<Vec<_>>(), ["B"]);
    }

    #[test]
    fn what_only_repeats_the_object_is_not_kept() {
        let mut object = binding(&json!({"sourceRef": {"name": "shop-dev"}}), &json!({}));
        object["metadata"]["managedFields"] = json!([{"manager": "kubectl", "time": "whenever"}]);
        object["metadata"]["annotations"] = json!({LAST_APPLIED: "{}", "kept": "kept"});
        let metadata = read(&object).unwrap().metadata;
        assert_eq!((metadata.managed_fields, metadata.annotations.unwrap().len()), (None, 1));
    }
}
