//! A refusal of the registry in the words of a condition.

use crate::api::Reason;
use crate::registry::{Refusal, SourceName};

/// The reason, and what was refused by name: the table's own words would leave a reader to look it up.
pub(crate) fn in_words(refusal: Refusal, source: &SourceName) -> (Reason, String) {
    let SourceName { project, environment } = source;
    match refusal {
        Refusal::ProjectNotVisible => (
            Reason::ProjectNotVisible,
            format!(
                "no project {project}, or the operator's user is not a member of it: the registry gives one answer to \
                 both"
            ),
        ),
        Refusal::ProjectArchived => {
            (Reason::ProjectArchived, format!("project {project} is archived; Secrets keep what they have"))
        }
        Refusal::EnvironmentNotFound => {
            (Reason::EnvironmentNotFound, format!("project {project} has no environment {environment}"))
        }
        Refusal::EnvironmentDeleted => (
            Reason::EnvironmentDeleted,
            format!("{environment} of project {project} was deleted in the registry; Secrets keep what they have"),
        ),
        Refusal::ProductionNotPermitted => (
            Reason::ProductionNotPermitted,
            format!("{environment} is production, and the operator's user is not an ADMIN of project {project}"),
        ),
        Refusal::EnvironmentNotPermitted => (
            Reason::EnvironmentNotPermitted,
            format!(
                "the membership of the operator's user in project {project} does not extend to {environment}, or has \
                 expired"
            ),
        ),
        Refusal::NameNotUnique => (
            Reason::DatabaseRefused,
            format!(
                "more than one project {project}, or environment {environment} in it, has that name; rename the others"
            ),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_names_the_project() {
        let source = SourceName { project: "shop".to_owned(), environment: "dev".to_owned() };
        for refusal in [
            Refusal::ProjectNotVisible,
            Refusal::ProjectArchived,
            Refusal::EnvironmentNotFound,
            Refusal::EnvironmentDeleted,
            Refusal::ProductionNotPermitted,
            Refusal::EnvironmentNotPermitted,
            Refusal::NameNotUnique,
        ] {
            let (_, words) = in_words(refusal, &source);
            assert!(words.contains("project shop"), "{words}");
        }
    }
}
