//! Is what was delivered part of the history that the database has now?

use super::provenance::Origin;
use crate::controller::sources::{Fence, LoggedToken, Snapshot};
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
    /// It is, as far as anybody can tell, and what is read is a standby that is behind what was delivered.
    Behind {
        /// What was delivered.
        delivered: Fence,
        /// The newest revision that the standby has.
        standby: i64,
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
    if delivered.revision > project && snapshot.from_standby {
        return Inquiry::TokenOf { project: snapshot.project, delivered };
    }
    if delivered.revision > project {
        return diverged(delivered, format!("the database is at revision {project} only"));
    }
    match (delivered.revision, current.revision) {
        // Before the first revision there was nothing that could be another's.
        (0, _) => continues,
        (ours, theirs) if ours == theirs => {
            Inquiry::Settled(compare(delivered, LoggedToken::Token(current.token), project))
        }
        _ => Inquiry::TokenOf { project: snapshot.project, delivered },
    }
}

/// Compares what was delivered with what the log says of that revision; `newest` is the newest that was read.
#[must_use]
pub(crate) fn compare(delivered: Fence, logged: LoggedToken, newest: i64) -> History {
    let is_behind = delivered.revision > newest;
    let how = match logged {
        LoggedToken::Token(token) if token == delivered.token && !is_behind => return History::Continues,
        // The primary has it.
        LoggedToken::Token(token) if token == delivered.token => {
            return History::Behind { delivered, standby: newest };
        }
        LoggedToken::NotYet => return History::Behind { delivered, standby: newest },
        LoggedToken::Token(_) => "the database has another revision of that number",
        LoggedToken::Absent => "the database's log does not have that revision",
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
        let compare = |logged| compare(delivered, logged, 9);
        assert!(matches!(compare(LoggedToken::Token(token(1234))), History::Diverged { .. }));
        assert!(matches!(compare(LoggedToken::Absent), History::Diverged { .. }));
        assert_eq!(compare(LoggedToken::Token(token(9))), History::Continues);
    }

    #[test]
    fn a_standby_that_is_behind_has_no_other_history_unless_the_primary_says_so() {
        let inquiry = inquire_after(snapshot().at_revision(9), snapshot().at_revision(7).on_a_standby());
        let delivered = Fence { epoch: 1, revision: 9, token: token(9) };
        assert_eq!(inquiry, Inquiry::TokenOf { project: snapshot().build().project, delivered });
        let compare = |logged| compare(delivered, logged, 7);
        assert_eq!(compare(LoggedToken::NotYet), History::Behind { delivered, standby: 7 });
        assert_eq!(compare(LoggedToken::Token(token(9))), History::Behind { delivered, standby: 7 });
        assert!(matches!(compare(LoggedToken::Absent), History::Diverged { .. }));
        assert!(matches!(compare(LoggedToken::Token(token(1234))), History::Diverged { .. }));
        // One number with two tokens is another history on a standby, too.
        let other = snapshot().at_revision(9).with_token(token(1234)).on_a_standby();
        assert!(is_diverged(&inquire_after(snapshot().at_revision(9), other)));
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
