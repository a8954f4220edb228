//! `tidelock controller`.

use std::net::SocketAddr;

use clap::Args;

use super::context::Context;
use super::error::{Answer, CliError};
use crate::controller::{self, Config};
use crate::telemetry::init_logs;

/// Run the operator
#[derive(Args)]
#[command(after_help = "Example: tidelock controller --listen 0.0.0.0:8080")]
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
        let config = Config {
            listen_url: named(self.listen_url),
            primary_url: named(self.primary_url),
            http: self.listen,
            class: named(self.class),
            concurrency: self.concurrency,
            ..Config::new(context.settings()?, context.keyring_path()?)
        };
        controller::run(config).await?;
        Ok(Answer::Done)
    }
}
