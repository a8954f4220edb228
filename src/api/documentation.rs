//! `docs/conditions.md`, written from the table of reasons.

use std::fmt::Write;

use super::condition_type::{ConditionStatus, ConditionType, Progress};
use super::reason::{Entry, TABLE};

const INTRODUCTION: &str = "\
<!-- Generated from src/api/reason.rs by `make crds`: change that instead. -->

# Conditions

Every custom resource says in `status.conditions` how it stands. Each condition carries the `observedGeneration` that
it is about, a reason from the closed list below, and a message that names the key, the object or the database's
answer, never a value.

| condition | on | true means |
|---|---|---|
| `Ready` | ProjectEnvironment | the environment was found and may be read; with `outOfSyncPolicy: Degrade` it is also `InSync` |
| `Ready` | SecretBinding | `ResolvedRefs` and `Delivered` hold; with `outOfSyncPolicy: Degrade` also `InSync` |
| `ResolvedRefs` | SecretBinding | the source exists, is granted to the namespace, and has every key that is named |
| `Delivered` | SecretBinding | the Secret holds what the source had at `status.revision` |
| `InSync` | both | no key has a newer version in another environment, and none is missing or unregistered |
| `RolloutRestarted` | SecretBinding | only with `rolloutRestartTargets`: no target has to be restarted for what the Secret holds ([how](rollouts.md)) |
| `Reconciling` | both | not `Ready`, and the operator goes on by itself; present only while true |
| `Stalled` | both | not `Ready`, and a person must act; present only while true |

`Reconciling` and `Stalled` carry the reason and the message of `Ready`. An object that was never looked at has
`status.observedGeneration: -1`. A condition keeps its `lastTransitionTime` until its status changes.

To wait for an answer that cannot be an old one, set the annotation `tidelock.dev/sync` to a value of your own (at most
253 bytes), wait until `status.lastHandledSync` is that value, then look at the condition. Everything is read anew then,
also what was altered in the database past its triggers; without that, it is noticed within some 70 minutes.

`Ready` of a SecretBinding has the reason `Ready`, or the first reason that keeps `ResolvedRefs`, `Delivered` or, with
`Degrade`, `InSync` from being true.
";

/// The page, as checked in under `docs/`.
#[must_use]
pub fn conditions_page() -> String {
    let mut page = INTRODUCTION.to_owned();
    for condition in [
        ConditionType::Ready,
        ConditionType::ResolvedRefs,
        ConditionType::Delivered,
        ConditionType::InSync,
        ConditionType::RolloutRestarted,
    ] {
        section(&mut page, condition);
    }
    page
}

fn section(page: &mut String, condition: ConditionType) {
    let rows = TABLE.iter().filter_map(|entry| Some((entry, entry.reason.status_on(condition)?)));
    let rows: String = rows.map(|(entry, status)| row(entry, status)).collect();
    write!(
        page,
        "\n## {condition}\n\n| reason | status | who acts | meaning | what to do |\n|---|---|---|---|---|\n{rows}"
    )
    .expect("a string takes all that is written");
}

fn row(entry: &Entry, status: ConditionStatus) -> String {
    let who = match entry.progress {
        Progress::Fine | Progress::Suspended => "",
        Progress::Waits => "the operator",
        Progress::Stalled => "a person",
    };
    format!("| `{}` | {} | {who} | {} | {} |\n", entry.name, status.as_str(), entry.meaning, entry.remedy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::generated;

    #[test]
    fn the_page_checked_in_is_that_of_the_table() {
        generated::check("docs/conditions.md", &conditions_page());
    }

    #[test]
    fn every_reason_is_documented() {
        let page = conditions_page();
        for entry in TABLE {
            assert!(page.contains(&format!("| `{}` |", entry.name)), "{}", entry.name);
        }
    }
}
