//! The closed table of reasons: what a condition may say, what that means and what to do about it.
//!
//! Everything that names a reason derives from this table: the conditions themselves, `docs/conditions.md`, and what
//! counts as stalled. A reason is added here or nowhere.

use std::fmt;

use super::condition_type::{ConditionStatus, ConditionType, Progress};
use ConditionStatus::{AsBefore, False, True, Unknown};
use ConditionType::{Delivered as DeliveredTo, InSync, Ready as IsReady, ResolvedRefs, RolloutRestarted};
use Progress::{Fine, Stalled, Suspended as OnHold, Waits};

/// One row of the table.
#[derive(Debug)]
pub struct Entry {
    /// The reason.
    pub reason: Reason,
    /// The name, as `status.conditions[].reason` has it.
    pub name: &'static str,
    /// The conditions that it can stand on, and the status that it gives to each. A binding's `Ready` borrows any
    /// reason of the others that keeps it from being true.
    pub places: &'static [(ConditionType, ConditionStatus)],
    /// What may be expected while nobody does anything.
    pub progress: Progress,
    /// What it means, in one sentence.
    pub meaning: &'static str,
    /// What a person can do about it.
    pub remedy: &'static str,
}

macro_rules! reasons {
    ($($reason:ident: $progress:ident, [$($condition:ident $status:ident),+], $meaning:literal, $remedy:literal;)+) => {
        /// Why a condition has the status it has.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Reason {
            $(#[doc = $meaning] $reason,)+
        }

        /// Every reason there is, in the order of the documentation.
        pub const TABLE: &[Entry] = &[$(Entry {
            reason: Reason::$reason,
            name: stringify!($reason),
            places: &[$(($condition, $status)),+],
            progress: $progress,
            meaning: $meaning,
            remedy: $remedy,
        }),+];
    };
}

reasons! {
    Available: Fine, [IsReady True],
        "The environment was found, and the operator may read it.",
        "Nothing.";
    Ready: Fine, [IsReady True],
        "The source is resolved and the Secret holds what it had.",
        "Nothing.";
    Resolved: Fine, [ResolvedRefs True],
        "The source exists, is granted to this namespace, and has every key that is named.",
        "Nothing.";
    Delivered: Fine, [DeliveredTo True],
        "The Secret holds what the source had at `status.revision`.",
        "Nothing.";
    SourceEmpty: Fine, [DeliveredTo True],
        "Nothing that the binding selects is there, and `deletionPolicy` is Delete: the Secret was deleted, or never made.",
        "Nothing; the Secret is made as soon as there is a key.";
    AllKeysInSync: Fine, [InSync True],
        "No key has a newer version in another environment.",
        "Nothing.";
    Pending: Waits, [IsReady Unknown, ResolvedRefs Unknown, DeliveredTo Unknown, InSync Unknown],
        "The operator has not looked yet.",
        "Wait a moment; if it lasts, see whether the operator runs and whether its log says what it waits for.";
    Suspended: OnHold, [IsReady AsBefore, ResolvedRefs AsBefore, DeliveredTo AsBefore, InSync AsBefore, RolloutRestarted AsBefore],
        "`spec.suspend` is true, here or on the source: the status is the last one known, with the generation that it was known of, and nothing is written.",
        "Remove `spec.suspend` to go on.";

    ProjectNotVisible: Stalled, [IsReady False],
        "There is no project of that name, or the operator's user is not a member: the registry gives one answer to both.",
        "Correct `spec.project`, or add the operator's user to the project with `tidelock member add`.";
    EnvironmentNotFound: Stalled, [IsReady False],
        "The project has no environment of that name.",
        "Correct `spec.environment`, or create it with `tidelock environment create`.";
    ProjectArchived: Stalled, [IsReady False],
        "The project was archived in the registry, which ends the reading of its values; Secrets keep what they have.",
        "Delete the ProjectEnvironment and its bindings, or have the values of a project that is in use.";
    EnvironmentDeleted: Stalled, [IsReady False],
        "The environment was deleted in the registry; Secrets keep what they have.",
        "Delete the ProjectEnvironment and its bindings, or create the environment again.";
    EnvironmentNotPermitted: Stalled, [IsReady False],
        "The membership of the operator's user is narrowed to other environments, or has expired.",
        "Let a project ADMIN extend the membership with `tidelock member add`.";
    ProductionNotPermitted: Stalled, [IsReady False],
        "It is the production environment, and the operator's user is not an ADMIN of the project.",
        "Let a project ADMIN give the operator's user an ADMIN membership that is read-only and only for its environments.";
    DatabaseUnavailable: Waits, [IsReady False, DeliveredTo Unknown, InSync Unknown],
        "The database could not be reached or did not answer in time; Secrets keep what they have.",
        "See the message for the database's answer; the operator tries again by itself.";
    DatabaseRefused: Stalled, [IsReady False, DeliveredTo Unknown, InSync Unknown],
        "The database answers, but with a refusal that does not pass by itself: a right, a table or a login is missing.",
        "See the message for the database's answer, and have the owner of the schema grant what is missing.";
    SchemaNotServed: Stalled, [IsReady False, DeliveredTo Unknown, InSync Unknown],
        "The registry's schema no longer serves operators of this version.",
        "Upgrade the operator.";

    SourceNotFound: Waits, [ResolvedRefs False, InSync Unknown],
        "There is no source of that kind and name.",
        "Correct `spec.sourceRef`, or have the source created; the binding goes on as soon as it exists.";
    SourceNotReady: Stalled, [ResolvedRefs False, InSync Unknown],
        "The source exists and is not Ready; the Secret keeps what it has.",
        "Look at the source's own condition Ready: it names the cause and what to do.";
    NotGranted: Stalled, [ResolvedRefs False, InSync Unknown],
        "No grant of the source covers this namespace, or none covers a key that is named.",
        "Have the owner of the source add a grant, or name only keys that are granted.";
    KeyMissing: Stalled, [ResolvedRefs False],
        "A key that `spec.data` names does not exist in the environment; the Secret keeps what it has.",
        "Set the key with `tidelock secret set`, restore it, mark the entry `optional`, or remove the entry.";
    RemovalUnproven: Stalled, [ResolvedRefs False],
        "A key that was delivered is gone and nothing proves that it was deleted on purpose; the Secret keeps it.",
        "Restore the row, or delete the key properly; if it is meant, annotate the binding `tidelock.dev/release-removal=<revision>` as the message spells it.";
    RowsMayBeHidden: Stalled, [ResolvedRefs False, InSync Unknown],
        "Row-level security may hide rows from the operator, so that absence proves nothing; the Secret keeps all it has.",
        "Let the operator's login read every row of the environment; if the removal is meant, annotate the binding `tidelock.dev/release-removal=<revision>` as the message spells it.";
    MassRemoval: Stalled, [ResolvedRefs False],
        "More than half of at least 10 keys were removed in one revision; the Secret keeps them until a person agrees.",
        "If it is meant, annotate the binding `tidelock.dev/release-removal=<revision>` as the message spells it; else restore the keys.";
    InvalidSpec: Stalled, [IsReady False, ResolvedRefs False, InSync Unknown],
        "The spec asks for something that cannot be done.",
        "Correct the field that the message names.";

    NotResolved: Waits, [DeliveredTo False, InSync Unknown],
        "The references are not resolved, so nothing was written; the Secret keeps what it has.",
        "Look at the condition ResolvedRefs.";
    Revoked: Stalled, [DeliveredTo False],
        "The grant was withdrawn and the source says `onRevoke: Delete`: the Secret was deleted.",
        "Have the owner of the source grant it again, or delete the binding.";
    TargetForeign: Stalled, [DeliveredTo False],
        "The target exists and belongs to somebody else; it was not touched.",
        "Choose another `spec.target.name`, delete the Secret, or hand it over: annotate it `tidelock.dev/adopt=<binding>`.";
    TargetTaken: Stalled, [DeliveredTo False],
        "Another SecretBinding already writes this target.",
        "Choose another `spec.target.name`, or delete the other binding, which the message names.";
    TargetTooLarge: Stalled, [DeliveredTo False],
        "The values together are larger than a Secret may be (1,048,576 bytes); the Secret keeps what it has.",
        "Name fewer keys in `spec.data`, or spread them over several bindings.";
    TargetImmutable: Stalled, [DeliveredTo False],
        "The Secret is immutable, or its type would have to change, and Kubernetes allows neither.",
        "Choose a new `spec.target.name`, or delete the Secret, so that it is made anew; the operator never deletes to re-create.";
    TargetAltered: Stalled, [DeliveredTo False],
        "The API server stored another Secret than was sent: an admission policy or webhook altered it on its way. It is sent again with growing pauses, at least once a minute.",
        "See the message for what differs, and let the MutatingAdmissionPolicies and mutating webhooks of the cluster leave this Secret alone.";
    TargetContested: Stalled, [DeliveredTo False],
        "Somebody changes or deletes the Secret again and again; it is put right with growing pauses, at least once a minute.",
        "Find out who writes it, from `metadata.managedFields` or the API server's audit log, and have one of the two stop.";
    KeyNameInvalid: Stalled, [DeliveredTo False],
        "A key's name is not valid in a Secret, or two keys would have one name.",
        "Give it a valid name of its own with `spec.data[].secretKey`. A name that no Secret takes is not shown: `tidelock key list` has it.";
    ValueUnsuitable: Stalled, [DeliveredTo False],
        "A value is not what an entry takes it for: not JSON, without the property, not base64, or not text.",
        "Correct the value, or the entry of the spec that the message names.";
    TemplateFailed: Stalled, [DeliveredTo False],
        "A template of `spec.target.template` cannot be filled in; the message names the template, the line and what is wrong.",
        "Correct the template, or deliver the key that it lacks.";
    TemplateNotFound: Stalled, [DeliveredTo False],
        "A ConfigMap of `spec.target.template.templateFrom`, or a key of it, is not there, lacks the label `tidelock.dev/template=true`, or the operator does not read ConfigMaps.",
        "Create or label it, or have the operator run with `TIDELOCK_TEMPLATE_CONFIG_MAPS=true` (chart: `templateConfigMaps.enabled`).";
    SecretTypeInvalid: Stalled, [DeliveredTo False],
        "The data is not what the Secret's built-in type asks for: an entry is missing, cannot be read, or a TLS key is not its certificate's.",
        "Correct the values in the registry, or `spec.target.template`.";
    MergeConflict: Stalled, [DeliveredTo False],
        "`creationPolicy: Merge`, and the Secret has keys of that name already that the binding did not write; nothing was written.",
        "Give the entries other names, or have the Secret's owner take its keys out.";
    TargetMissing: Waits, [DeliveredTo False],
        "`creationPolicy: Merge`, and there is no Secret of that name to add keys to.",
        "Create the Secret with the annotation `tidelock.dev/merge=<binding>`; the binding goes on within seconds.";
    RingNotHeld: Stalled, [DeliveredTo False],
        "The operator's keyring lacks the ring or the encryption key that a value was sealed with.",
        "Put the ring that the message names into the operator's keyring, or bind an environment whose ring it holds.";
    OpenFailed: Stalled, [DeliveredTo False],
        "A value could not be opened: it was altered, cut, moved from another row, or sealed with another encryption key.",
        "Write the key that the message names again, and find out who changed its row.";
    HashMismatch: Stalled, [DeliveredTo False],
        "A value was opened and does not match its `value_hash`.",
        "Write the key that the message names again, and find out who changed its row.";
    HistoryDiverged: Stalled, [DeliveredTo False],
        "The database has another history than the one delivered from: it was restored, or failed over to a replica that was behind.",
        "Compare the values, then delete the Secret: it is made anew from what the database has now.";
    StandbyBehind: Waits, [DeliveredTo Unknown, InSync Unknown],
        "The database that is read is a standby, and has not come as far as what was delivered; the Secret keeps what it has.",
        "Wait for the standby, or let the operator read the primary; with `TIDELOCK_PRIMARY_URL` it can tell this from another history.";
    WriteRefused: Stalled, [DeliveredTo False],
        "The API server refused to write the Secret: a right, an admission policy, a quota or a rule of the Secret's type.",
        "See the message for the API server's answer.";
    WriteFailed: Waits, [DeliveredTo False],
        "The Secret could not be written: the API server could not be reached, or somebody else wrote it at the same time.",
        "Nothing: the operator tries again by itself.";

    KeysStale: Stalled, [InSync False],
        "A newer version of at least one key exists in another environment.",
        "`tidelock status` shows which; catch up with `tidelock secret set --follow`, or keep the value with `tidelock secret confirm`.";
    KeysMissing: Stalled, [InSync False],
        "At least one key of the project has no value here.",
        "Set it with `tidelock secret set`, or declare that it is not needed here with `tidelock key exempt`.";
    KeysUnregistered: Stalled, [InSync False],
        "At least one key here is not in the project's registry.",
        "Write it once through the registry with `tidelock secret set`, or delete it.";

    NoRestartDue: Fine, [RolloutRestarted True],
        "The content has not changed since it was first delivered, or since the targets were named: there is nothing to restart for.",
        "Nothing.";
    Restarted: Fine, [RolloutRestarted True],
        "The targets were restarted for what the Secret holds.",
        "Nothing.";
    RestartPending: Waits, [RolloutRestarted Unknown],
        "The content has changed; the targets are restarted some seconds later, so that bindings that change together share one restart.",
        "Wait a moment.";
    NotDelivered: Waits, [RolloutRestarted False],
        "Nothing was delivered at the last look, so nothing is restarted.",
        "Look at the condition Delivered.";
    RestartsNotEnabled: Stalled, [RolloutRestarted False],
        "The operator runs without the right to restart workloads; what changes meanwhile is not made up for later.",
        "Have it run with `TIDELOCK_ROLLOUT_RESTARTS=true` (chart: `rolloutRestarts.enabled`), or remove `spec.rolloutRestartTargets`.";
    RolloutPaused: Stalled, [RolloutRestarted False],
        "A target is paused and was left alone.",
        "Resume it: it is restarted within some two minutes.";
    RolloutOnDelete: Stalled, [RolloutRestarted False],
        "The update strategy of a target is OnDelete, so that only its pods' deletion restarts it; it was left alone.",
        "Delete its pods yourself, or give it the strategy RollingUpdate, with which the next change restarts it.";
    RestartTargetNotFound: Stalled, [RolloutRestarted False],
        "A target does not exist. One that is created later starts with what the Secret holds, and is restarted for the next change.",
        "Correct its kind or name in `spec.rolloutRestartTargets`, and restart the workload yourself if it runs.";
    RestartRefused: Stalled, [RolloutRestarted False],
        "The API server refused to let the operator read or restart a target: a right or an admission policy. It is tried again every minute.",
        "See the message for the answer, and install the chart with `rolloutRestarts.enabled`, which gives the right.";
    RestartFailed: Waits, [RolloutRestarted False],
        "A target could not be restarted: the API server could not be reached, or somebody else wrote it at the same time.",
        "Nothing: the operator tries again by itself.";
}

impl Reason {
    /// Its row in the table.
    #[must_use]
    pub fn entry(self) -> &'static Entry {
        &TABLE[self as usize]
    }

    /// The name, as `status.conditions[].reason` has it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.entry().name
    }

    /// The status that it gives to a condition; `None` where it cannot stand on it.
    #[must_use]
    pub fn status_on(self, condition: ConditionType) -> Option<ConditionStatus> {
        self.entry().places.iter().find(|(on, _)| *on == condition).map(|(_, status)| *status)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_finds_its_own_row() {
        for entry in TABLE {
            assert_eq!(entry.reason.entry().name, entry.name);
        }
    }

    #[test]
    fn a_reason_is_fine_exactly_where_its_conditions_are_true() {
        for entry in TABLE {
            for (condition, status) in entry.places {
                assert_eq!(*status == True, entry.progress == Fine, "{} on {condition}", entry.name);
                assert_eq!(*status == AsBefore, entry.progress == OnHold, "{} on {condition}", entry.name);
            }
        }
    }

    #[test]
    fn what_the_table_says_are_sentences() {
        for entry in TABLE {
            for text in [entry.meaning, entry.remedy] {
                assert!(text.ends_with('.') && !text.contains(['|', '\n']), "{}: {text}", entry.name);
            }
        }
    }
}
