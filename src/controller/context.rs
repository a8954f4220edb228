//! What every reconcile is given.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::Client;
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::Store;

use super::controlled::ControlledSecrets;
use super::index::BindingIndex;
use super::runtime::Lanes;
use super::sources::Sources;
use crate::api::{ProjectEnvironment, SecretBinding};
use crate::crypto::Keyring;
use crate::telemetry::{Events, Metrics};

/// What every reconcile is given; one for the whole operator.
pub struct Context {
    /// For requests: each has a time-out. Watches have a client of their own.
    pub client: Client,
    /// Where every watched environment stands.
    pub sources: Sources,
    /// The rings that the operator holds.
    pub keyring: Arc<Keyring>,
    /// What was watched.
    pub stores: Stores,
    /// Which bindings write a target or read a source, without walking through all of them.
    pub index: BindingIndex,
    /// Which Secrets a binding controls, likewise.
    pub controlled: ControlledSecrets,
    /// Who may go first.
    pub lanes: Lanes,
    /// For people: what just happened to an object.
    pub events: Events,
    /// For machines: how often, how long, how many.
    pub metrics: Arc<Metrics>,
    /// Name of this cluster; empty where nobody gave one.
    pub cluster: String,
}

/// Caches of what was watched. They may be behind the API server, and never hold a value: a Secret is here as metadata.
#[derive(Clone)]
pub struct Stores {
    /// Every SecretBinding, without managed fields.
    pub bindings: Store<SecretBinding>,
    /// Every ProjectEnvironment, without managed fields.
    pub environments: Store<ProjectEnvironment>,
    /// Every Secret with the label `app.kubernetes.io/managed-by=tidelock`, as metadata without managed fields.
    /// One without the label may exist all the same.
    pub secrets: Store<PartialObjectMeta<Secret>>,
    /// Every Namespace, as metadata without managed fields; one that is terminating has a deletion time.
    pub namespaces: Store<PartialObjectMeta<Namespace>>,
}
