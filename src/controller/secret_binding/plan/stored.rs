//! Is what the API server stored what was sent? Admission can change an object on its way, and the answer says so.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::ObjectVersion;
use super::differences::Differences;
use super::provenance::Provenance;
use super::target::FullSecret;
use crate::api::names::{BINDING, MANAGED_BY_LABEL, ROWS, SOURCE};

/// The Secret as it was stored, where that is what was sent; else how it differs.
pub(crate) fn compare(sent: &FullSecret, stored: &FullSecret) -> Result<ObjectVersion, Differences> {
    let data = sent.0.data.iter().flatten().map(|(name, value)| (name.as_str(), value.0.as_slice()));
    let mut differences = Differences::of_data(data, stored.0.data.as_ref());
    if sent.type_() != stored.type_() {
        differences.fields.push("type");
    }
    if sent.is_immutable() != stored.is_immutable() {
        differences.fields.push("immutable");
    }
    differences.metadata = marks(&sent.0.metadata, &stored.0.metadata);
    if differences.is_empty() { Ok(ObjectVersion::from(&stored.0.metadata)) } else { Err(differences) }
}

/// Which of our own marks are not as they were sent. What others add beside them is theirs.
fn marks(sent: &ObjectMeta, stored: &ObjectMeta) -> Vec<String> {
    let said = sent.annotations.as_ref().and_then(|annotations| Provenance::read(annotations).ok());
    let origin = said.as_ref().map(|said| &said.origin);
    let of_template = |names: Option<&'_ Vec<String>>| names.cloned().unwrap_or_default();
    let mut labels = of_template(origin.map(|origin| &origin.labels));
    labels.push(MANAGED_BY_LABEL.to_owned());
    let mut annotations = of_template(origin.map(|origin| &origin.annotations));
    annotations.extend([BINDING, ROWS, SOURCE].map(str::to_owned));

    let differ = |sent: &Option<BTreeMap<String, String>>, stored: &Option<BTreeMap<String, String>>, name: &str| {
        let of = |map: &Option<BTreeMap<String, String>>| map.as_ref().and_then(|map| map.get(name)).cloned();
        of(sent) != of(stored)
    };
    let mut altered = labels;
    altered.retain(|name| differ(&sent.labels, &stored.labels, name));
    altered.extend(annotations.into_iter().filter(|name| differ(&sent.annotations, &stored.annotations, name)));
    let controller = |metadata: &ObjectMeta| {
        metadata.owner_references.iter().flatten().find(|owner| owner.controller == Some(true)).cloned()
    };
    if controller(sent) != controller(stored) {
        altered.push("ownerReferences".to_owned());
    }
    altered
}

#[cfg(test)]
mod tests {
    use k8s_openapi::ByteString;
    use k8s_openapi::api::core::v1::Secret;

    use super::*;
    use crate::controller::secret_binding::fixtures::{binding, secret, snapshot};
    use crate::controller::secret_binding::plan::content;

    /// What admission does.
    type Change = fn(&mut Secret);

    fn sent() -> FullSecret {
        let (binding, snapshot) =
            (binding("app").labelled("team", "shop").build(), snapshot().with("A", "one").build());
        let selected = content::select(binding.spec.selection(), |_| true, &snapshot);
        let mut sent = secret("app").with("A", "one").with("B", "two").controlled_by(&binding).build();
        let marks = Provenance::of(&binding, &snapshot, &selected.keys).annotations();
        let annotations = sent.metadata.annotations.get_or_insert_default();
        annotations.extend(marks.map(|(name, text)| (name.to_owned(), text)));
        annotations.insert(BINDING.to_owned(), "app".to_owned());
        let labels = sent.metadata.labels.get_or_insert_default();
        labels.extend([("team", "shop"), (MANAGED_BY_LABEL, "tidelock")].map(|(k, v)| (k.to_owned(), v.to_owned())));
        FullSecret(sent)
    }

    #[test]
    fn what_admission_altered_of_ours_is_seen_and_named() {
        let table: [(Change, &str); 10] = [
            (
                |it| drop(it.data.as_mut().expect("data").insert("A".into(), ByteString(b"x".to_vec()))),
                "changed keys A",
            ),
            (|it| drop(it.data.as_mut().expect("data").remove("B")), "missing keys B"),
            (|it| drop(it.data.as_mut().expect("data").insert("C".into(), ByteString(vec![]))), "extra keys C"),
            (|it| it.data = None, "missing keys A, B"),
            (|it| it.type_ = Some("example.com/x".into()), "fields type"),
            (|it| it.immutable = Some(true), "fields immutable"),
            (|it| drop(it.metadata.labels.as_mut().expect("ours").remove("team")), "metadata team"),
            (
                |it| drop(it.metadata.labels.as_mut().expect("ours").remove(MANAGED_BY_LABEL)),
                "metadata app.kubernetes.io/managed-by",
            ),
            (
                |it| drop(it.metadata.annotations.as_mut().expect("ours").insert(ROWS.into(), "x".into())),
                "metadata tidelock.dev/rows",
            ),
            (|it| it.metadata.owner_references = None, "metadata ownerReferences"),
        ];
        for (change, expected) in table {
            let mut stored = sent();
            change(&mut stored.0);
            let said = compare(&sent(), &stored).expect_err(expected).to_string();
            assert_eq!(said, expected);
        }
    }

    #[test]
    fn what_the_api_server_and_others_add_is_no_difference() {
        let table: [Change; 5] = [
            |_| {},
            |it| it.metadata.resource_version = Some("77".into()),
            |it| drop(it.metadata.labels.as_mut().expect("ours").insert("theirs".into(), "1".into())),
            |it| drop(it.metadata.annotations.as_mut().expect("ours").insert("theirs".into(), "1".into())),
            |it| it.immutable = Some(false),
        ];
        for change in table {
            let mut stored = sent();
            change(&mut stored.0);
            assert_eq!(compare(&sent(), &stored), Ok(ObjectVersion::from(&stored.0.metadata)));
        }
        let mut without_type = sent();
        without_type.0.type_ = None;
        assert!(compare(&without_type, &sent()).is_ok(), "the API server fills the default in");
    }
}
