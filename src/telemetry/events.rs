//! Kubernetes Events: what just happened to an object, for the person who runs `kubectl describe`.

use std::sync::Arc;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use tokio::sync::mpsc;

use super::api_error_text;
use super::event_recorder::EventRecorder;
use super::metrics::{Metrics, Verb};

/// How many Events may wait to be sent. More are dropped: the object's status says the same.
const WAITING_MAX: usize = 1_024;

/// The longest note that the API server accepts, in bytes.
const NOTE_MAX: usize = 1_024;

/// The two types of Event that Kubernetes has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Severity {
    Normal,
    /// Somebody should look at it.
    Warning,
}

impl Severity {
    /// The name, as an Event's `type` has it.
    #[must_use]
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

/// What an Event says.
#[derive(Debug)]
pub(super) struct Note {
    pub(super) severity: Severity,
    pub(super) reason: String,
    pub(super) action: &'static str,
    pub(super) text: String,
}

/// Sends Events one after the other, in a task of its own, so that no reconcile waits for one. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Events {
    queue: mpsc::Sender<(Note, ObjectReference)>,
    metrics: Arc<Metrics>,
}

impl Events {
    /// Gives the sender, and the task that sends. The task ends when every sender is dropped and the queue is empty.
    pub(crate) fn new(client: Client, metrics: Arc<Metrics>) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (queue, waiting) = mpsc::channel(WAITING_MAX);
        let recorder = EventRecorder::new(client);
        (Self { queue, metrics: Arc::clone(&metrics) }, send(recorder, waiting, metrics))
    }

    /// Queues an Event about a transition. Nobody calls it to say that nothing changed.
    ///
    /// `reason` is one of the conditions' reasons, or a past tense such as `Repaired`; `action` is what the operator
    /// did; `note` never has the value of a secret, and is cut to 1,024 bytes. The API server makes a series of equal
    /// Events about one object.
    pub(crate) fn emit(
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
        let event = Note { severity, reason: reason.into(), action, text: note };
        if self.queue.try_send((event, about)).is_err() {
            self.metrics.event_dropped();
        }
    }
}

async fn send(
    mut recorder: EventRecorder,
    mut waiting: mpsc::Receiver<(Note, ObjectReference)>,
    metrics: Arc<Metrics>,
) {
    while let Some((event, about)) = waiting.recv().await {
        metrics.wrote("events", Verb::Create);
        if let Err(error) = recorder.publish(&about, &event).await {
            metrics.event_dropped();
            let (object, error) = (about.name.as_deref().unwrap_or_default(), api_error_text(&error));
            tracing::debug!(reason = event.reason, object, error, "an Event was not sent");
        }
    }
}
