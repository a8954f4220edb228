//! `tidelock controller`.

use std::net::SocketAddr;
use std::time::Duration;

use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args};

use super::context::Context;
use super::error::{Answer, CliError};
use crate::controller::{self, Config, LeaseOptions};
use crate::telemetry::init_logs;

/// Run the operator
#[derive(Args)]
#[command(after_help = "Example: tidelock controller --listen 0.0.0.0:8080")]
#[allow(clippy::struct_excessive_bools, reason = "each is an option of its own")]
pub(super) struct Controller {
    /// Where /livez, /readyz and /metrics answer
    #[arg(long, env = "TIDELOCK_LISTEN", value_name = "ADDRESS", default_value = "0.0.0.0:8080")]
    listen: SocketAddr,

    /// Where to LISTEN for hints, where the database URL leads to a pooler
    #[arg(long, env = "TIDELOCK_LISTEN_URL", hide_env_values = true, value_name = "URL")]
    listen_url: Option<String>,

    /// The primary, where the database URL leads to standbys: asked before anybody says that what was delivered belongs to
    /// another history
    #[arg(long, env = "TIDELOCK_PRIMARY_URL", hide_env_values = true, value_name = "URL")]
    primary_url: Option<String>,

    /// Which of several operators of a cluster this is: it works on objects with this label tidelock.dev/class only
    #[arg(long, env = "TIDELOCK_CLASS", value_name = "NAME")]
    class: Option<String>,

    /// Of several replicas, let one work: the one that holds a Lease
    #[arg(long, env = "TIDELOCK_LEADER_ELECTION", value_name = "BOOLEAN", num_args = 0..=1, default_value_t = false,
        default_missing_value = "true", value_parser = BoolishValueParser::new(), action = ArgAction::Set)]
    leader_election: bool,

    /// Namespace of the Lease; absent: the pod's
    #[arg(long, env = "TIDELOCK_LEASE_NAMESPACE", value_name = "NAME")]
    lease_namespace: Option<String>,

    /// Name of the Lease; absent: tidelock, with the class behind it
    #[arg(long, env = "TIDELOCK_LEASE_NAME", value_name = "NAME")]
    lease_name: Option<String>,

    /// How long a replica that fell silent is waited for, in seconds, from 2 to 300; it renews three times as often
    #[arg(long, env = "TIDELOCK_LEASE_SECONDS", value_name = "SECONDS", default_value_t = 15,
        value_parser = clap::value_parser!(u64).range(2..=300))]
    lease_seconds: u64,

    /// Read ConfigMaps with the label tidelock.dev/template=true, for bindings that take templates from them
    #[arg(long, env = "TIDELOCK_TEMPLATE_CONFIG_MAPS", value_parser = BoolishValueParser::new(), action = ArgAction::SetTrue)]
    template_config_maps: bool,

    /// Give each object series of its own in /metrics
    #[arg(long, env = "TIDELOCK_METRICS_PER_OBJECT", value_parser = BoolishValueParser::new(), action = ArgAction::SetTrue)]
    metrics_per_object: bool,

    /// Restart the workloads that bindings name, when the content of their Secrets has changed
    #[arg(long, env = "TIDELOCK_ROLLOUT_RESTARTS", value_parser = BoolishValueParser::new(), action = ArgAction::SetTrue)]
    rollout_restarts: bool,

    /// How many objects are worked on at once because they are new or changed
    #[arg(long, env = "TIDELOCK_CONCURRENCY", value_name = "COUNT", default_value_t = controller::CONCURRENCY)]
    concurrency: usize,
}

impl Controller {
    pub(super) async fn run(self, context: &Context) -> Result<Answer, CliError> {
        init_logs().map_err(CliError::failed("cannot set up logging"))?;
        if let Some(why) = context.ignored_passfile() {
            tracing::warn!("{why}");
        }
        // An empty variable, as a chart may set it, is as good as none.
        let named = |name: Option<String>| name.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty());
        let class = named(self.class);
        let lease = self.leader_election.then(|| LeaseOptions {
            namespace: named(self.lease_namespace),
            name: named(self.lease_name).unwrap_or_else(|| lease_of(class.as_deref())),
            duration: Duration::from_secs(self.lease_seconds),
        });
        let config = Config {
            listen_url: named(self.listen_url),
            primary_url: named(self.primary_url),
            http: self.listen,
            class,
            lease,
            template_config_maps: self.template_config_maps,
            metrics_per_object: self.metrics_per_object,
            rollout_restarts: self.rollout_restarts,
            concurrency: self.concurrency,
            ..Config::new(context.settings()?, context.keyring_path()?)
        };
        controller::run(config).await?;
        Ok(Answer::Done)
    }
}

/// Operators of different classes do not wait for one another.
fn lease_of(class: Option<&str>) -> String {
    class.map_or_else(|| "tidelock".to_owned(), |class| format!("tidelock-{class}"))
}
