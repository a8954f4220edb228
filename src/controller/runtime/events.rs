//! Events for conditions that turned.

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use crate::telemetry::{Events, Severity};

/// Which conditions of a kind people are told of.
#[derive(Debug, Clone)]
pub(crate) struct Announced {
    /// Types of conditions. The first sums the object up: that one is news on a new object, too; the others only where they
    /// are false.
    pub(crate) types: &'static [&'static str],
    /// Whether somebody should have a look.
    pub(crate) is_warning: fn(&Condition) -> bool,
    /// Whether another object's Event says it already, by the reasons before and after: for all objects at once.
    pub(crate) is_said_elsewhere: fn(Option<&str>, &str) -> bool,
    /// What stands behind the message.
    pub(crate) suffix: String,
}

/// Emits an Event, and writes a line to the log, for each announced condition that has another status or reason than
/// before.
pub(crate) fn emit_transitions(
    events: &Events,
    about: &ObjectReference,
    before: &[Condition],
    after: &[Condition],
    announced: &Announced,
) {
    for turned in turned(before, after, announced.types) {
        let then = before.iter().find(|condition| condition.type_ == turned.type_);
        if (announced.is_said_elsewhere)(then.map(|condition| condition.reason.as_str()), &turned.reason) {
            continue;
        }
        let message = format!("{}{}", turned.message, announced.suffix);
        let severity = if (announced.is_warning)(turned) { Severity::Warning } else { Severity::Normal };
        let (object, condition) = (path(about), format_args!("{}={}", turned.type_, turned.status));
        match severity {
            Severity::Normal => tracing::info!(object, %condition, reason = turned.reason, "{message}"),
            Severity::Warning => tracing::warn!(object, %condition, reason = turned.reason, "{message}"),
        }
        events.emit(about.clone(), severity, turned.reason.clone(), "Reconcile", message);
    }
}

/// `Kind/namespace/name`, `Kind/name` for what is in no namespace.
fn path(about: &ObjectReference) -> String {
    let parts = [&about.kind, &about.namespace, &about.name];
    let parts: Vec<&str> = parts.into_iter().filter_map(|part| part.as_deref()).collect();
    parts.join("/")
}

fn turned<'a>(before: &[Condition], after: &'a [Condition], types: &[&str]) -> Vec<&'a Condition> {
    fn find<'c>(conditions: &'c [Condition], type_: &str) -> Option<&'c Condition> {
        conditions.iter().find(|condition| condition.type_ == type_)
    }
    let turned = |(place, type_): (usize, &&str)| {
        let now = find(after, type_)?;
        let news = match find(before, type_) {
            Some(then) => then.status != now.status || then.reason != now.reason,
            None => place == 0 || now.status == "False",
        };
        news.then_some(now)
    };
    let mut all: Vec<&Condition> = types.iter().enumerate().filter_map(turned).collect();
    // What sums up borrows its reason from what keeps it from being true: one Event says both.
    all.dedup_by(|second, first| second.reason == first.reason);
    all
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;

    fn conditions(all: &[(&str, &str, &str)]) -> Vec<Condition> {
        let condition = |(type_, status, reason): &(&str, &str, &str)| Condition {
            type_: (*type_).to_owned(),
            status: (*status).to_owned(),
            reason: (*reason).to_owned(),
            message: String::new(),
            observed_generation: None,
            last_transition_time: Time(Timestamp::UNIX_EPOCH),
        };
        all.iter().map(condition).collect()
    }

    #[test]
    fn an_object_is_named_by_its_path() {
        let about = |namespace: Option<&str>| ObjectReference {
            kind: Some("Kind".to_owned()),
            namespace: namespace.map(str::to_owned),
            name: Some("name".to_owned()),
            ..ObjectReference::default()
        };
        assert_eq!(path(&about(Some("space"))), "Kind/space/name");
        assert_eq!(path(&about(None)), "Kind/name");
    }

    #[test]
    fn only_what_turned_is_told() {
        let fine = conditions(&[("Ready", "True", "Ready"), ("InSync", "True", "AllKeysInSync")]);
        let stale = conditions(&[("Ready", "True", "Ready"), ("InSync", "False", "KeysStale")]);
        let away =
            conditions(&[("Ready", "False", "DatabaseUnavailable"), ("InSync", "Unknown", "DatabaseUnavailable")]);
        let told = |before: &[Condition], after: &[Condition]| -> Vec<String> {
            turned(before, after, &["Ready", "InSync"]).iter().map(|condition| condition.reason.clone()).collect()
        };
        assert_eq!(told(&[], &fine), ["Ready"]);
        assert_eq!(told(&[], &stale), ["Ready", "KeysStale"]);
        assert_eq!(told(&fine, &fine), Vec::<String>::new());
        assert_eq!(told(&fine, &stale), ["KeysStale"]);
        assert_eq!(told(&fine, &away), ["DatabaseUnavailable"]);
        assert_eq!(told(&away, &fine), ["Ready", "AllKeysInSync"]);
    }
}
