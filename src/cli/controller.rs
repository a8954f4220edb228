//! `tidelock controller`.

use std::net::SocketAddr;

use clap::Args;

use super::context::Context;
use super::error::{Answer, CliError};

/// Run the operator
#[derive(Args)]
#[command(after_help = "Example: tidelock controller --cluster eu-1 --listen 0.0.0.0:8080")]
pub(super) struct Controller {
    /// Where /livez, /readyz and /metrics answer
    #[arg(long, env = "TIDELOCK_LISTEN", value_name = "ADDRESS", default_value = "0.0.0.0:8080")]
    listen: SocketAddr,

    /// What this cluster is called in the registry
    #[arg(long, env = "TIDELOCK_CLUSTER", value_name = "NAME", default_value = "", hide_default_value = true)]
    cluster: String,

    /// Only objects whose label tidelock.dev/class is this one, where several operators share a cluster
    #[arg(long, env = "TIDELOCK_CLASS", value_name = "NAME")]
    class: Option<String>,

    /// Where to LISTEN for hints, where the database URL leads to a pooler
    #[arg(long, env = "TIDELOCK_LISTEN_URL", hide_env_values = true, value_name = "URL")]
    listen_url: Option<String>,

    /// How many objects are worked on at once
    #[arg(long, env = "TIDELOCK_CONCURRENCY", value_name = "COUNT", default_value_t = 32)]
    concurrency: usize,
}

impl Controller {
    pub(super) fn run(self, context: &Context) -> Result<Answer, CliError> {
        let _ = (self.listen, self.cluster, self.class, self.listen_url, self.concurrency, context.settings()?);
        Err(CliError::Failed("this build has no controller".to_owned()))
    }
}
