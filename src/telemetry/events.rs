//! Kubernetes Events: what just happened to an object, for the person who runs `kubectl describe`.

use std::sync::Arc;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use tokio::sync::mpsc;

use super::metrics::{Metrics, Verb};

/// Most Events that wait to be sent; what is more is dropped, as a status says the same.
const WAITING_MAX: usize = 1_024;

/// Longest note that the API server takes, in bytes.
const NOTE_MAX: usize = 1_024;

/// Whether somebody should have a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Severity {
    /// Good news.
    Normal,
    /// Somebody should have a look.
    Warning,
}

/// Sends Events, one after the other and beside the reconciles, which never wait for one. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Events {
    queue: mpsc::Sender<(Event, ObjectReference)>,
    metrics: Arc<Metrics>,
}

impl Events {
    /// The sender, and the task that does the sending: it ends when every sender is gone and all has been sent.
    pub fn new(client: Client, metrics: Arc<Metrics>) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (queue, waiting) = mpsc::channel(WAITING_MAX);
        let recorder = Recorder::new(client, Reporter::from("tidelock"));
        (Self { queue, metrics: Arc::clone(&metrics) }, send(recorder, waiting, metrics))
    }

    /// Tells of a transition; only of one, never that all is as before. `reason` is one of the closed table's or a verb
    /// in the past such as `Repaired`, `action` what the operator did, and `note` never has a value. Equal Events
    /// about one object become a series.
    pub fn emit(
        &self,
        about: ObjectReference,
        severity: Severity,
        reason: impl Into<String>,
        action: &'static str,
        note: impl Into<String>,
    ) {
        let mut note = note.into();
        if note.len() > NOTE_MAX {
            note.truncate(note.floor_char_boundary(NOTE_MAX - '…'.len_utf8()));
            note.push('…');
        }
        let event = Event {
            type_: match severity {
                Severity::Normal => EventType::Normal,
                Severity::Warning => EventType::Warning,
            },
            reason: reason.into(),
            note: Some(note),
            action: action.to_owned(),
            secondary: None,
        };
        if self.queue.try_send((event, about)).is_err() {
            self.metrics.event_dropped();
        }
    }
}

async fn send(recorder: Recorder, mut waiting: mpsc::Receiver<(Event, ObjectReference)>, metrics: Arc<Metrics>) {
    while let Some((event, about)) = waiting.recv().await {
        metrics.wrote("events", Verb::Create);
        if let Err(error) = recorder.publish(&event, &about).await {
            metrics.event_dropped();
            let object = about.name.as_deref().unwrap_or_default();
            tracing::debug!(reason = event.reason, object, %error, "an Event was not sent");
        }
    }
}
