//! How one snapshot differs from another, beside its keys.

use std::sync::Arc;

use super::{SealedHashKey, Snapshot, SnapshotVersion};
use crate::core::{EnvironmentId, ProjectId};

impl PartialEq for Snapshot {
    fn eq(&self, other: &Self) -> bool {
        self.frame() == other.frame() && self.keys == other.keys
    }
}

impl Eq for Snapshot {}

impl Snapshot {
    /// The keys that anything may have happened to since `before`; `None` where more than keys is different, or nobody knows
    /// which.
    #[must_use]
    pub fn keys_changed_since(&self, before: &Self) -> Option<&[Arc<str>]> {
        let known = self.brought_up_to_date.as_ref().filter(|known| known.from == before.version)?;
        let is_framed_alike = self.frame().at_any_time() == before.frame().at_any_time()
            && self.version.epoch() == before.version.epoch()
            // What a standby has not seen yet can be in it without a word of the keys that it is in.
            && !self.from_standby
            && !self.hides_rows()
            && !before.hides_rows();
        is_framed_alike.then_some(&known.keys)
    }

    /// Everything but the keys.
    fn frame(&self) -> Frame<'_> {
        let Self {
            project,
            environment,
            version,
            production,
            from_standby,
            ring,
            live_secrets,
            rows_may_be_hidden,
            audit_position,
            keys: _,
            hash_keys,
            brought_up_to_date: _,
        } = self;
        Frame {
            ids: (*project, *environment),
            version: Some(*version),
            production: *production,
            from_standby: *from_standby,
            ring: ring.as_deref(),
            live_secrets: *live_secrets,
            rows_may_be_hidden: *rows_may_be_hidden,
            audit_position: *audit_position,
            hash_keys,
        }
    }
}

/// What a snapshot says of the environment as a whole.
#[derive(PartialEq, Eq)]
struct Frame<'a> {
    ids: (ProjectId, EnvironmentId),
    version: Option<SnapshotVersion>,
    production: bool,
    from_standby: bool,
    ring: Option<&'a str>,
    live_secrets: Option<i64>,
    rows_may_be_hidden: bool,
    audit_position: i64,
    hash_keys: &'a [SealedHashKey],
}

impl Frame<'_> {
    /// Without what every change moves.
    fn at_any_time(self) -> Self {
        Self { version: None, live_secrets: None, audit_position: 0, ..self }
    }
}

impl SnapshotVersion {
    /// The epoch of a history; `None` for tables that keep none.
    const fn epoch(&self) -> Option<i64> {
        match *self {
            Self::Revisions { epoch, .. } => Some(epoch),
            Self::Digest { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::registry::{BroughtUpToDate, Revision};

    type Change = fn(&mut Snapshot);

    /// Brought up to date from revision 6, by key `A`.
    fn pair() -> (Snapshot, Snapshot) {
        let at = |number| {
            let revision = Revision { number, token: Uuid::from_u128(9) };
            SnapshotVersion::Revisions { epoch: 1, project: revision, environment: revision }
        };
        let empty = |number| Snapshot::empty(ProjectId(Uuid::nil()), EnvironmentId(Uuid::nil()), at(number), false);
        let (before, mut after) = (empty(6), empty(7));
        (after.audit_position, after.live_secrets) = (3, Some(0));
        after.brought_up_to_date = Some(BroughtUpToDate { from: before.version, keys: vec!["A".into()] });
        (before, after)
    }

    #[test]
    fn the_keys_that_changed_are_known_where_nothing_else_did() {
        let (before, after) = pair();
        assert_eq!(after.keys_changed_since(&before), Some([Arc::from("A")].as_slice()));
        assert_eq!(before.keys_changed_since(&after), None, "read whole");
        let (mut later, _) = pair();
        later.version = after.version;
        assert_eq!(after.keys_changed_since(&later), None, "brought up to date from another one");

        let changes: [(&str, Change); 9] = [
            ("project", |after| after.project = ProjectId(Uuid::max())),
            ("environment", |after| after.environment = EnvironmentId(Uuid::max())),
            ("production", |after| after.production = true),
            ("standby", |after| after.from_standby = true),
            ("ring", |after| after.ring = Some("other".to_owned())),
            ("hidden rows", |after| after.live_secrets = Some(1)),
            ("policies", |after| after.rows_may_be_hidden = true),
            ("hashing keys", |after| {
                after.hash_keys = vec![SealedHashKey { id: String::new(), ring: String::new(), sealed: String::new() }];
            }),
            ("epoch", |after| {
                let SnapshotVersion::Revisions { epoch, .. } = &mut after.version else { return };
                *epoch = 2;
            }),
        ];
        for (what, change) in changes {
            let (before, mut after) = pair();
            change(&mut after);
            assert_eq!(after.keys_changed_since(&before), None, "{what}");
        }
    }

    #[test]
    fn how_it_was_read_is_no_part_of_what_a_snapshot_says() {
        let (_, after) = pair();
        let mut whole = after.clone();
        whole.brought_up_to_date = None;
        assert_eq!(after, whole);
        whole.audit_position = 4;
        assert_ne!(after, whole);
    }
}
