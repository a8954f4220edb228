//! Is what was delivered part of the history that the database has now?

use uuid::Uuid;

use super::provenance::Origin;
use crate::controller::sources::{Fence, Snapshot};
use crate::core::ProjectId;

/// Whether the database's history is the one that was delivered from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum History {
    /// It is, or there is nothing to compare.
    Continues,
    /// It is another one.
    Diverged {
        /// What was delivered.
        delivered: Fence,
        /// How it shows, in words.
        how: String,
    },
    /// It could not be asked for.
    Unknown,
}

/// What has to be looked up to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Inquiry {
    /// Nothing.
    Settled(History),
    /// The token that the project's log has for the delivered revision.
    TokenOf {
        project: ProjectId,
        /// What was delivered.
        delivered: Fence,
    },
}

/// What has to be looked up to know whether the history goes on.
#[must_use]
pub(crate) fn inquire(origin: Option<&Origin>, snapshot: &Snapshot) -> Inquiry {
    let continues = Inquiry::Settled(History::Continues);
    let diverged = |delivered, how: String| Inquiry::Settled(History::Diverged { delivered, how });
    let Some(origin) = origin.filter(|origin| origin.environment == snapshot.environment) else { return continues };
    let (Some(delivered), Some(current)) = (origin.at, snapshot.fence()) else { return continues };
    let (epoch, project) = (current.epoch, snapshot.registry_revision().unwrap_or_default());
    if delivered.epoch < epoch {
        // A person accepted the history that the database has.
        return continues;
    }
    if delivered.epoch > epoch {
        return diverged(
            delivered,
            format!("it was delivered in epoch {}, the database is in {epoch}", delivered.epoch),
        );
    }
    if delivered.revision > project {
        return diverged(delivered, format!("the database is at revision {project} only"));
    }
    match (delivered.revision, current.revision) {
        // Before the first revision there was nothing that could be another's.
        (0, _) => continues,
        (ours, theirs) if ours == theirs => Inquiry::Settled(compare(delivered, Some(current.token))),
        _ => Inquiry::TokenOf { project: snapshot.project, delivered },
    }
}

/// Compares what was delivered with the token that the log has for that revision; `None`: the log does not have it.
#[must_use]
pub(crate) fn compare(delivered: Fence, logged: Option<Uuid>) -> History {
    let how = match logged {
        Some(token) if token == delivered.token => return History::Continues,
        Some(_) => "the database has another revision of that number",
        None => "the database's log does not have that revision",
    };
    History::Diverged { delivered, how: how.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::super::provenance::Provenance;
    use super::*;
    use crate::controller::secret_binding::fixtures::{SnapshotFixture, binding, snapshot, token};

    fn inquire_after(delivered: SnapshotFixture, now: SnapshotFixture) -> Inquiry {
        let origin = Provenance::of(&binding("app").build(), &delivered.build(), &[]).origin;
        inquire(Some(&origin), &now.build())
    }

    fn is_diverged(inquiry: &Inquiry) -> bool {
        matches!(inquiry, Inquiry::Settled(History::Diverged { .. }))
    }

    #[test]
    fn a_database_that_is_behind_what_was_delivered_has_another_history() {
        assert!(is_diverged(&inquire_after(snapshot().at_revision(9), snapshot().at_revision(7))));
    }

    #[test]
    fn one_number_with_two_tokens_is_another_history() {
        let other = snapshot().at_revision(9).with_token(token(1234));
        assert!(is_diverged(&inquire_after(snapshot().at_revision(9), other)));
        let delivered = Fence { epoch: 1, revision: 9, token: token(9) };
        assert!(matches!(compare(delivered, Some(token(1234))), History::Diverged { .. }));
        assert!(matches!(compare(delivered, None), History::Diverged { .. }));
        assert_eq!(compare(delivered, Some(token(9))), History::Continues);
    }

    #[test]
    fn an_older_revision_is_looked_up_in_the_log() {
        let inquiry = inquire_after(snapshot().at_revision(4), snapshot().at_revision(9));
        let delivered = Fence { epoch: 1, revision: 4, token: token(4) };
        assert_eq!(inquiry, Inquiry::TokenOf { project: snapshot().build().project, delivered });
    }

    #[test]
    fn a_newer_epoch_accepts_whatever_the_database_has_and_an_older_one_never() {
        let behind = |epoch| snapshot().at_revision(2).at_epoch(epoch);
        let delivered = || snapshot().at_revision(9).at_epoch(3);
        assert_eq!(inquire_after(delivered(), behind(4)), Inquiry::Settled(History::Continues));
        assert!(is_diverged(&inquire_after(delivered(), behind(3))));
        assert!(is_diverged(&inquire_after(delivered(), behind(2).at_revision(99))));
    }

    #[test]
    fn nothing_delivered_another_environment_and_foreign_tables_have_no_history_to_compare() {
        let continues = Inquiry::Settled(History::Continues);
        assert_eq!(inquire(None, &snapshot().build()), continues);
        let delivered = || snapshot().at_revision(9);
        assert_eq!(inquire_after(delivered(), snapshot().at_revision(1).of_environment(8)), continues);
        assert_eq!(inquire_after(delivered(), snapshot().in_foreign_tables()), continues);
        assert_eq!(inquire_after(snapshot().in_foreign_tables(), snapshot()), continues);
    }
}
