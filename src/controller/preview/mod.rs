//! What the operator would do in a cluster that is as somebody says, without an operator and without a write.

mod no_registry;

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Secret};
use kube::core::PartialObjectMeta;
use kube::{Client, ResourceExt};
use tokio::sync::mpsc;

use self::no_registry::NoRegistry;
use super::context::{Context, Mutations, Stores};
use super::held_keyring::HeldKeyring;
use super::index::{BindingIndex, ControlledSecrets};
use super::runtime::Cache;
use super::secret_binding::{BindingError, Comparison, Preview, RestartTurns, preview};
use super::sources::{PollerDependencies, Reach, Registry, SourceState, Sources, registry_name};
use super::template_config_maps::TemplateConfigMaps;
use crate::api::names::CLASS;
use crate::api::{ProjectEnvironment, SecretBinding};
use crate::core::Hint;
use crate::crypto::Keyring;
use crate::registry::{ConnectSettings, Reader, RegistryError, SourceName};
use crate::telemetry::{Events, Heartbeat, Metrics, Tally};

/// A cluster as it is, or as it would be.
pub(crate) struct World {
    /// Those to plan, and the others of their namespaces: of two that want one target, one may not have it.
    pub(crate) bindings: Vec<SecretBinding>,
    pub(crate) environments: Vec<ProjectEnvironment>,
    pub(crate) namespaces: Vec<PartialObjectMeta<Namespace>>,
    /// Those with our label, as a target that was renamed leaves one behind; without a registry, the targets, too.
    pub(crate) secrets: Vec<PartialObjectMeta<Secret>>,
    pub(crate) config_maps: Vec<ConfigMap>,
    /// To read targets by; `None`: nothing is there.
    pub(crate) client: Option<Client>,
}

/// Why there is no preview. Names no value.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PreviewError {
    /// The database's address cannot be used, or its login is not one to read with.
    #[error("{0}")]
    Registry(#[source] RegistryError),
    /// What a source has is not known.
    #[error("{source_name} cannot be read: {cause}")]
    Unread {
        /// Project and environment.
        source_name: String,
        /// What the database answered.
        cause: String,
    },
    /// The target, or what was asked of the registry besides.
    #[error("{binding}: {cause}")]
    Binding {
        binding: String,
        #[source]
        cause: BindingError,
    },
}

/// Makes previews in one world.
pub(crate) struct Previews {
    world: World,
    keyring: Arc<Keyring>,
    /// By class: an operator sees the objects of its own.
    contexts: HashMap<Option<String>, Context>,
}

impl Previews {
    #[must_use]
    pub(crate) fn new(world: World, keyring: Keyring) -> Self {
        Self { world, keyring: Arc::new(keyring), contexts: HashMap::new() }
    }

    /// What would become of these bindings. Without a registry nothing is known of keys: then what the cluster alone says.
    pub(crate) async fn of(
        mut self,
        planned: &[SecretBinding],
        database: Option<ConnectSettings>,
    ) -> Result<Vec<Preview>, PreviewError> {
        let is_asked = database.is_some();
        let registry: Arc<dyn Registry> = match database {
            Some(settings) => Arc::new(Reader::new(settings, None).map_err(PreviewError::Registry)?),
            None => Arc::new(NoRegistry),
        };
        let comparison = if self.world.client.is_some() { Comparison::Whole } else { Comparison::Nothing };
        let watched = self.watched(planned);
        let names = watched.clone();
        // Nobody is woken by a change: it is a look at one moment.
        let (changes, _) = mpsc::unbounded_channel();
        let (sources, poller) = Sources::new(
            registry,
            PollerDependencies {
                watched: Box::new(move || names.clone()),
                changes,
                heartbeat: Heartbeat::default(),
                metrics: Arc::default(),
                reach: Reach::default(),
            },
        );
        if !is_asked {
            return self.look(planned, &sources, Comparison::Metadata).await;
        }
        tokio::select! {
            refusal = poller.run() => Err(PreviewError::Registry(refusal)),
            previews = async {
                for source in &watched {
                    if let SourceState::Unavailable { cause, .. } = sources.poll_again(source).await {
                        return Err(PreviewError::Unread { source_name: source.to_string(), cause });
                    }
                }
                self.look(planned, &sources, comparison).await
            } => previews,
        }
    }

    /// The environments that the bindings read; those that nobody looks at are left out.
    fn watched(&self, planned: &[SecretBinding]) -> BTreeSet<SourceName> {
        let is_read = |object: &&ProjectEnvironment| {
            let name = object.name_any();
            !object.spec.is_suspended() && planned.iter().any(|binding| binding.spec.source_ref.name == name)
        };
        self.world.environments.iter().filter(is_read).map(registry_name).collect()
    }

    async fn look(
        &mut self,
        planned: &[SecretBinding],
        sources: &Sources,
        comparison: Comparison,
    ) -> Result<Vec<Preview>, PreviewError> {
        let mut previews = Vec::new();
        for binding in planned {
            let class = class_of(binding);
            let (world, keyring) = (&self.world, &self.keyring);
            let context =
                self.contexts.entry(class.clone()).or_insert_with(|| world.context(class.as_deref(), keyring, sources));
            let previewed = preview(Arc::new(binding.clone()), context, keyring, comparison).await;
            previews.push(previewed.map_err(|cause| PreviewError::Binding { binding: binding.name_any(), cause })?);
        }
        Ok(previews)
    }
}

fn class_of(object: &impl ResourceExt) -> Option<String> {
    object.labels().get(CLASS).cloned()
}

impl World {
    /// What an operator of that class would have.
    fn context(&self, class: Option<&str>, keyring: &Arc<Keyring>, sources: &Sources) -> Context {
        let index = BindingIndex::default();
        let bindings: Vec<SecretBinding> =
            self.bindings.iter().filter(|object| class_of(*object).as_deref() == class).cloned().collect();
        for binding in &bindings {
            index.apply(binding);
        }
        let environments = self.environments.iter().filter(|object| class_of(*object).as_deref() == class).cloned();
        let controlled = ControlledSecrets::default();
        for secret in &self.secrets {
            controlled.update(None, Some(&secret.metadata));
        }
        let stores = Stores {
            bindings: Cache::with(bindings),
            environments: Cache::with(environments),
            secrets: Cache::with(self.secrets.iter().cloned()),
            namespaces: Cache::with(self.namespaces.iter().cloned()),
            template_config_maps: TemplateConfigMaps::with(self.config_maps.iter().cloned()),
        };
        let (client, metrics) = (self.client.clone().unwrap_or_else(no_cluster), Arc::<Metrics>::default());
        // Nobody is told of what was not done.
        let (events, _) = Events::new(client.clone(), Arc::clone(&metrics));
        Context {
            client,
            sources: sources.clone(),
            keyring: HeldKeyring::of(Arc::clone(keyring)),
            stores,
            index,
            controlled,
            mutations: Mutations::default(),
            events,
            metrics,
            tally: Tally::default(),
            restarts_workloads: false,
            restart_turns: RestartTurns::default(),
        }
    }
}

/// Answers nothing: what is asked without a cluster is a mistake of this program.
fn no_cluster() -> Client {
    let refuse = tower::service_fn(async |_: http::Request<kube::client::Body>| {
        Err::<http::Response<kube::client::Body>, _>(std::io::Error::other("no cluster is asked"))
    });
    Client::new(refuse, "default")
}

impl Hint for PreviewError {
    fn hint(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Registry(error) => error.hint(),
            Self::Unread { .. } | Self::Binding { .. } => None,
        }
    }
}
