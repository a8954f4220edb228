//! What every reconcile is given.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::Client;
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::Store;

use super::index::{BindingIndex, ControlledSecrets};
use super::sources::Sources;
use crate::api::{ProjectEnvironment, SecretBinding};
use crate::crypto::Keyring;
use crate::telemetry::{Events, Metrics};

/// What every reconcile is given; one for the whole operator.
pub(crate) struct Context {
    /// For requests: each has a time-out. Watches have a client of their own.
    pub(crate) client: Client,
    /// Where every watched environment stands.
    pub(crate) sources: Sources,
    /// The rings that the operator holds.
    pub(crate) keyring: Arc<Keyring>,
    /// What was watched.
    pub(crate) stores: Stores,
    /// Which bindings write a target or read a source, without walking through all of them.
    pub(crate) index: BindingIndex,
    /// Which Secrets a binding controls, likewise.
    pub(crate) controlled: ControlledSecrets,
    /// For people: what just happened to an object.
    pub(crate) events: Events,
    /// For machines: how often, how long, how many.
    pub(crate) metrics: Arc<Metrics>,
}

/// Caches of what was watched. They may be behind the API server, and never hold a value: a Secret is here as metadata.
#[derive(Clone)]
pub(crate) struct Stores {
    /// Every SecretBinding, without managed fields.
    pub(crate) bindings: Store<SecretBinding>,
    /// Every ProjectEnvironment, without managed fields.
    pub(crate) environments: Store<ProjectEnvironment>,
    /// Every Secret with the label `app.kubernetes.io/managed-by=tidelock`, as metadata without managed fields.
    /// One without the label may exist all the same.
    pub(crate) secrets: Store<PartialObjectMeta<Secret>>,
    /// Every Namespace, as metadata without managed fields; one that is terminating has a deletion time.
    pub(crate) namespaces: Store<PartialObjectMeta<Namespace>>,
}
