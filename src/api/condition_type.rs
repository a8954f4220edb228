//! The words that the table of reasons is made of.

use std::fmt;

/// The types of condition, in the order in which a status lists them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConditionType {
    /// A source is reachable, found and allowed; a binding is resolved and delivered, and in sync under Degrade.
    Ready,
    /// The source of a binding exists, is granted, and has every key named.
    ResolvedRefs,
    /// The target of a binding holds what the source had at `status.revision`.
    Delivered,
    /// The registry comparison: nothing newer exists in another environment.
    InSync,
    /// Every workload that a binding restarts was restarted for what its target holds; only with restart targets.
    RolloutRestarted,
    /// Not Ready, and the operator is still at it; present only while true.
    Reconciling,
    /// Not Ready, and a person must act; present only while true.
    Stalled,
}

impl ConditionType {
    /// The name, as `status.conditions[].type` has it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "Ready",
            Self::ResolvedRefs => "ResolvedRefs",
            Self::Delivered => "Delivered",
            Self::InSync => "InSync",
            Self::RolloutRestarted => "RolloutRestarted",
            Self::Reconciling => "Reconciling",
            Self::Stalled => "Stalled",
        }
    }
}

impl fmt::Display for ConditionType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The status that a reason gives to a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ConditionStatus {
    /// The condition holds.
    True,
    /// It does not.
    False,
    /// It cannot be said.
    Unknown,
    /// What it was: nobody looked. Unknown, where it never was anything.
    AsBefore,
}

impl ConditionStatus {
    /// The name; of the first three, as `status.conditions[].status` has it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
            Self::AsBefore => "as before",
        }
    }
}

/// What may be expected of a reason while nobody does anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Progress {
    /// Nothing is wrong.
    Fine,
    /// The operator goes on by itself as soon as it can: `Reconciling`.
    Waits,
    /// Nothing will change until a person acts: `Stalled`.
    Stalled,
    /// A person asked for it.
    Suspended,
}
