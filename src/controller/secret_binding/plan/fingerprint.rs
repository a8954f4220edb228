//! `status.target.inputs`: a digest over everything that a Secret is made from.
//!
//! It needs nothing opened, so a restarted operator sees that there is nothing to do without reading a Secret or
//! decrypting a value. It is keyed: without the keyring nobody can test a guess at a hash against a status.

use crate::api::{SecretBinding, SecretBindingSpec};
use crate::controller::sources::Snapshot;
use crate::crypto::{EncryptionKeyId, Keyring, MacKey};
use crate::shape::ConfigMapTexts;

use super::content::SelectedKey;

/// Goes up when the same inputs would make another Secret: every Secret is looked at again then.
const RENDERER: &str = "1";

/// The fingerprint as a status holds it, `<renderer>:<encryption key id>:<hex>`; `None` where the keyring holds no key
/// to make it with, so that nothing is ever taken for unchanged.
///
/// Where `previous` still says the same, it is given back, though its encryption key may no longer be the primary one.
#[must_use]
pub(crate) fn inputs(
    keyring: &Keyring,
    binding: &SecretBinding,
    snapshot: &Snapshot,
    keys: &[SelectedKey],
    config_maps: &ConfigMapTexts,
    previous: Option<&str>,
) -> Option<String> {
    let parts = parts(binding, snapshot, keys, config_maps);
    let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
    INPUTS.of(&parts, keyring, snapshot, previous)
}

/// The digest of names and values alone: what a workload is restarted for. As [`inputs`] otherwise.
#[must_use]
pub(crate) fn content<'v>(
    keyring: &Keyring,
    snapshot: &Snapshot,
    data: impl Iterator<Item = (&'v str, &'v [u8])>,
    previous: Option<&str>,
) -> Option<String> {
    let parts: Vec<&[u8]> = data.flat_map(|(name, value)| [name.as_bytes(), value]).collect();
    CONTENT.of(&parts, keyring, snapshot, previous)
}

/// Whether the keyring holds what a digest of content was made with.
#[must_use]
pub(crate) fn is_content_readable(keyring: &Keyring, content: &str) -> bool {
    CONTENT.key_of(content, keyring).is_some()
}

/// A kind of digest.
struct Digest {
    form: &'static str,
    /// What the key is derived for.
    purpose: &'static str,
}

const INPUTS: Digest = Digest { form: RENDERER, purpose: "inputs" };

/// Another form would restart everything.
const CONTENT: Digest = Digest { form: "1", purpose: "content" };

impl Digest {
    fn of(&self, parts: &[&[u8]], keyring: &Keyring, snapshot: &Snapshot, previous: Option<&str>) -> Option<String> {
        let Self { form, purpose } = self;
        let text = |key: &MacKey| format!("{form}:{}:{}", key.encryption_key(), hex::encode(key.tag(parts)));
        let known = previous.and_then(|previous| self.key_of(previous, keyring));
        if let Some(same) = known.as_ref().map(text).filter(|text| Some(text.as_str()) == previous) {
            return Some(same);
        }
        // Tables that name no ring: any key that stays the same will do.
        let ring = match &snapshot.ring {
            Some(_) => snapshot.ring_name(),
            None => keyring.rings().next().map(|ring| ring.name().clone()),
        };
        keyring.fingerprint_key(&ring?, purpose).ok().as_ref().map(text)
    }

    /// The key that a digest was made with, where it is held.
    fn key_of(&self, digest: &str, keyring: &Keyring) -> Option<MacKey> {
        let id: EncryptionKeyId = digest.strip_prefix(self.form)?.strip_prefix(':')?.split_once(':')?.0.parse().ok()?;
        keyring.fingerprint_key_under(id, self.purpose)
    }
}

fn parts(
    binding: &SecretBinding,
    snapshot: &Snapshot,
    keys: &[SelectedKey],
    config_maps: &ConfigMapTexts,
) -> Vec<Vec<u8>> {
    let spec = &binding.spec;
    // Maps in a spec are sorted, so equal specs give equal text. What a binding selects stands in the keys.
    let spec = serde_json::to_vec(&(spec.source_kind(), &spec.source_ref.name, binding.target_name(), &spec.target));
    let epoch = snapshot.fence().map(|fence| fence.epoch.to_be_bytes().to_vec()).unwrap_or_default();
    let uid = binding.metadata.uid.clone().unwrap_or_default().into_bytes();
    let mut parts = vec![spec.unwrap_or_default(), uid, snapshot.environment.0.as_bytes().to_vec(), epoch];
    // Without a shape, what makes the Secret is what it was before there were any: an upgrade writes nothing.
    if binding.spec.is_shaped() {
        let SecretBindingSpec { data, data_from, name_transformer, .. } = &binding.spec;
        let shape = serde_json::to_vec(&(data, data_from, name_transformer, &config_maps.maps));
        parts.extend([b"shape".to_vec(), shape.unwrap_or_default()]);
    }
    for key in keys {
        parts.push(key.secret_key.as_bytes().to_vec());
        parts.push(key.key.as_bytes().to_vec());
        parts.push(key.row.id.0.as_bytes().to_vec());
        parts.push(key.row.version.to_be_bytes().to_vec());
        // With the epoch, a version names the value. Its hash does not: it is made anew under another hashing key.
        if key.row.version == 0 {
            parts.push(key.row.value_version.as_bytes().to_vec());
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::content;
    use super::*;
    use crate::controller::secret_binding::fixtures::{BindingFixture, SnapshotFixture, binding, keyring, snapshot};
    use crate::controller::sources::SecretRow;

    fn of(binding: BindingFixture, snapshot: SnapshotFixture) -> String {
        let (binding, snapshot) = (binding.build(), snapshot.build());
        let selected = content::select(binding.spec.selection(), |_| true, &snapshot);
        inputs(&keyring(), &binding, &snapshot, &selected.keys, &ConfigMapTexts::default(), None)
            .expect("the ring is held")
    }

    fn with(fields: serde_json::Value) -> BindingFixture {
        binding("app").with_spec(fields)
    }

    fn source() -> SnapshotFixture {
        snapshot().with("A", "one").with("B", "two")
    }

    #[test]
    fn equal_inputs_have_equal_fingerprints_at_any_revision() {
        assert_eq!(of(binding("app"), source()), of(binding("app"), source().at_revision(99)));
        assert_eq!(
            of(binding("app").selecting(&["A"]), source()),
            of(binding("app").selecting(&["A"]), source().with("C", "3"))
        );
    }

    #[test]
    fn a_binding_without_a_shape_has_the_parts_that_it_had_before_there_were_shapes() {
        let (binding, snapshot) =
            (binding("app").selecting(&["A"]).immutable().build(), snapshot().with_row("A", 7, "one").build());
        let selected = content::select(binding.spec.selection(), |_| true, &snapshot);
        let parts = parts(&binding, &snapshot, &selected.keys, &ConfigMapTexts::default());
        let text = |place: usize| String::from_utf8_lossy(&parts[place]).into_owned();
        assert_eq!(text(0), r#"["ProjectEnvironment","shop-dev","app",{"immutable":true}]"#);
        assert_eq!((parts.len(), text(1), text(4), text(5)), (8, "uid-of-app".into(), "A".into(), "A".into()));
    }

    #[test]
    fn everything_that_changes_the_secret_changes_the_fingerprint() {
        let changed = [
            of(binding("app"), source()),
            of(binding("app"), source().with("A", "other")),
            of(binding("app"), source().with_row("A", 99, "one")),
            of(binding("app"), source().with("C", "3")),
            of(binding("app"), source().at_epoch(2)),
            of(binding("app"), source().of_environment(9)),
            of(binding("app").selecting(&["A"]), source()),
            of(binding("app").selecting_as(&[("X", "A")]), source()),
            of(binding("app").into_target("other"), source()),
            of(binding("app").labelled("team", "shop"), source()),
            of(binding("app").immutable(), source()),
            of(binding("app").with_uid("another"), source()),
            of(with(json!({"nameTransformer": "camel"})), source()),
            of(with(json!({"dataFrom": [{"find": {}}]})), source()),
            of(with(json!({"dataFrom": [{"find": {}, "rewrite": [{"merge": {}}]}]})), source()),
            of(with(json!({"dataFrom": [{"find": {"keys": ["A"]}}]})), source()),
            of(with(json!({"data": [{"secretKey": "A", "remoteRef": {"key": "A", "property": "p"}}]})), source()),
            of(
                with(json!({"data": [{"secretKey": "A", "remoteRef": {"key": "A", "decodingStrategy": "Auto"}}]})),
                source(),
            ),
            of(with(json!({"target": {"format": {"as": "json", "secretKey": "a"}}})), source()),
            of(with(json!({"target": {"template": {"data": {"a": "b"}}}})), source()),
            of(with(json!({"target": {"template": {"data": {"a": "b"}, "mergePolicy": "Merge"}}})), source()),
            of(with(json!({"target": {"creationPolicy": "Orphan"}})), source()),
        ];
        for (n, fingerprint) in changed.iter().enumerate() {
            assert_eq!(changed.iter().position(|other| other == fingerprint), Some(n), "no two are equal");
        }
    }

    #[test]
    fn what_names_a_value_is_its_version_or_in_tables_without_versions_the_sealed_text() {
        let named = |version, text: &str| {
            let change = |row: &mut SecretRow| (row.version, row.value_version) = (version, text.into());
            of(binding("app"), source().row("A", change))
        };
        assert_ne!(named(0, "sealed"), named(0, "sealed anew"));
        assert_eq!(named(1, "hash"), named(1, "hash under another key"));
        assert_ne!(named(1, "hash"), named(2, "hash"));
    }

    #[test]
    fn it_fits_its_field_and_a_ring_that_is_not_held_gives_none() {
        assert!(of(binding("app"), source()).len() <= 128);
        let (binding, snapshot) = (binding("app").build(), source().under_ring("production").build());
        assert_eq!(inputs(&Keyring::generate(&[]), &binding, &snapshot, &[], &ConfigMapTexts::default(), None), None);
    }

    #[test]
    fn a_fingerprint_from_before_a_promotion_still_counts() {
        let (binding, snapshot) = (binding("app").build(), source().build());
        let old = inputs(&keyring(), &binding, &snapshot, &[], &ConfigMapTexts::default(), None);
        // The key that made it is held, and the ring's primary is another one now.
        let promoted = snapshot.clone();
        let promoted = Snapshot { ring: Some("production".into()), ..promoted };
        assert_eq!(inputs(&keyring(), &binding, &promoted, &[], &ConfigMapTexts::default(), old.as_deref()), old);
        assert_ne!(inputs(&keyring(), &binding, &promoted, &[], &ConfigMapTexts::default(), None), old);
    }
}
