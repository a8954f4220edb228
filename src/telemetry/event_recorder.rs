//! Sends Events to the API server, and makes a series of equal ones.
//!
//! Not kube's own recorder: that names an Event after its object and a time, which is too long for an object whose name is
//! as long as it may be, so that nothing of such an object would ever be told.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::Client;
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde_json::json;
use tokio::time::Instant;

use super::events::{Note, Severity};

/// What reports, and which of it.
const REPORTER: &str = "tidelock";

/// For how long an equal Event continues a series.
const SERIES: Duration = Duration::from_mins(6);

/// From one search for series that ended to the next.
const SWEEP: Duration = Duration::from_secs(30);

/// The longest name of an object.
const NAME_MAX: usize = 253;

/// The namespace for Events about objects that are in none.
const DEFAULT_NAMESPACE: &str = "default";

/// Sends Events, one after the other.
pub(super) struct EventRecorder {
    client: Client,
    recent: HashMap<Key, Series>,
    swept: Instant,
}

/// What makes two Events equal: all but their words.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Key {
    about: (Option<String>, Option<String>, Option<String>, Option<String>),
    severity: Severity,
    reason: String,
    action: &'static str,
}

#[derive(Debug)]
struct Series {
    /// Name of the Event.
    name: String,
    count: i32,
    last: Instant,
}

impl EventRecorder {
    pub(super) fn new(client: Client) -> Self {
        Self { client, recent: HashMap::new(), swept: Instant::now() }
    }

    /// Sends one, or counts it in its series.
    pub(super) async fn publish(&mut self, about: &ObjectReference, note: &Note) -> Result<(), kube::Error> {
        if self.swept.elapsed() >= SWEEP {
            self.swept = Instant::now();
            self.recent.retain(|_, series| series.last.elapsed() < SERIES);
        }
        let api = Api::namespaced(self.client.clone(), about.namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE));
        let (key, now) = (Key::of(about, note), Timestamp::now());
        if let Some(series) = self.recent.get_mut(&key).filter(|series| series.last.elapsed() < SERIES) {
            series.count = series.count.saturating_add(1);
            series.last = Instant::now();
            let told = json!({"series": {"count": series.count, "lastObservedTime": MicroTime(now)}});
            match api.patch(&series.name, &PatchParams::default(), &Patch::Merge(told)).await {
                // The API server forgets Events after a while.
                Err(kube::Error::Api(answer)) if answer.is_not_found() => {}
                sent => return sent.map(drop),
            }
        }
        let name = event_name(about.name.as_deref().unwrap_or(REPORTER), now);
        api.create(&PostParams::default(), &event(name.clone(), about, note, now)).await?;
        self.recent.insert(key, Series { name, count: 1, last: Instant::now() });
        Ok(())
    }
}

impl Key {
    fn of(about: &ObjectReference, note: &Note) -> Self {
        let about = (about.kind.clone(), about.namespace.clone(), about.name.clone(), about.uid.clone());
        Self { about, severity: note.severity, reason: note.reason.clone(), action: note.action }
    }
}

/// As much of the object's name as fits, and a time that no other Event about it has.
fn event_name(object: &str, now: Timestamp) -> String {
    let time = format!(".{:x}", now.as_nanosecond());
    // Names are ASCII; what a cut leaves at the end has to be a letter or a digit.
    let fits = &object[..object.floor_char_boundary(NAME_MAX - time.len())];
    format!("{}{time}", fits.trim_end_matches(['.', '-']))
}

fn event(name: String, about: &ObjectReference, note: &Note, now: Timestamp) -> Event {
    Event {
        metadata: ObjectMeta { name: Some(name), namespace: about.namespace.clone(), ..ObjectMeta::default() },
        action: Some(note.action.to_owned()),
        reason: Some(note.reason.clone()),
        note: Some(note.text.clone()),
        type_: Some(note.severity.as_str().to_owned()),
        event_time: Some(MicroTime(now)),
        regarding: Some(about.clone()),
        reporting_controller: Some(REPORTER.to_owned()),
        reporting_instance: Some(REPORTER.to_owned()),
        ..Event::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_an_event_fits_whatever_the_name_of_its_object() {
        let now: Timestamp = "2026-11-23T10:00:00.123456789Z".parse().expect("a time");
        assert_eq!(event_name("app", now), format!("app.{:x}", now.as_nanosecond()));
        for length in [235, 236, 237, 250, 253] {
            let name = event_name(&"n".repeat(length), now);
            assert!(name.len() <= NAME_MAX && name.starts_with("nnn"), "{length}: {}", name.len());
            let dotted = event_name(&"a.".repeat(length / 2), now);
            assert!(dotted.len() <= NAME_MAX && !dotted.contains(".."), "{dotted}");
        }
    }
}
