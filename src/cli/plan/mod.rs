//! `tidelock plan`: what the operator would write for a manifest, values masked.

mod in_words;
mod manifest;
mod surroundings;

use std::path::{Path, PathBuf};

use clap::Args;

use crate::controller::{Preview, Previews};
use crate::crypto::Keyring;
use crate::registry::ConnectSettings;

use self::manifest::Manifest;
use super::cluster::ClusterOptions;
use super::context::Context;
use super::error::{Answer, CliError};
use super::output::Output;
use super::program::Program;
use super::value_input::{read_file, read_stdin};

pub(super) use self::manifest::ManifestError;

/// More than any cluster takes in one go.
const LARGEST_FILE: usize = 16 * 1024 * 1024;

/// Say what the operator would write for a manifest, values masked: exit code 3 where something would not be delivered
#[derive(Args)]
#[command(
    after_help = "Reads the registry with your login and opens values with your keyring, as an operator does with its own. \
                  The file has SecretBindings, and what else counts: ProjectEnvironments, Namespaces with their labels, \
                  ConfigMaps with templates. With --cluster the rest is looked up there, and Secrets are read and \
                  compared: exit code 3 where anything would change, too.\n\n\
                  Example: tidelock plan -f shop.yaml --cluster -n shop"
)]
pub(super) struct Plan {
    /// The manifest, YAML or JSON; `-`: standard input
    #[arg(long, short = 'f', value_name = "FILE")]
    filename: PathBuf,
    /// Compare with what is there
    #[arg(long)]
    cluster: bool,
    #[command(flatten)]
    options: ClusterOptions,
}

/// Say what the operator would do for a manifest as far as the cluster tells: exit code 3 where something is in its way
#[derive(Args)]
#[command(
    after_help = "Reads no value, neither in the registry nor in a Secret. Which keys there are, and whether they can be \
                  opened, only the registry knows: tidelock plan.\n\n\
                  Example: tidelock plan -f shop.yaml -n shop"
)]
pub(super) struct ClusterPlan {
    /// The manifest, YAML or JSON; `-`: standard input
    #[arg(long, short = 'f', value_name = "FILE")]
    filename: PathBuf,
    #[command(flatten)]
    options: ClusterOptions,
}

impl Plan {
    pub(super) async fn run(self, context: &Context, output: &Output) -> Result<Answer, CliError> {
        let (database, keyring) = (context.settings()?, context.keyring()?);
        let manifest = read(&self.filename)?;
        let (planned, world) = if self.cluster {
            let cluster = self.options.connect().await?;
            surroundings::in_cluster(manifest, &cluster.client, &cluster.namespace, false).await?
        } else {
            surroundings::alone(manifest, self.options.namespace.as_deref().unwrap_or("default"))
        };
        let previews = Previews::new(world, keyring).of(&planned, Some::<ConnectSettings>(database)).await?;
        in_words::say(&previews, self.cluster, output)?;
        let is_undelivered = previews.iter().any(|preview| !in_words::is_ready(preview));
        Ok(Answer::differs_if(is_undelivered || (self.cluster && previews.iter().any(Preview::changes_something))))
    }
}

impl ClusterPlan {
    pub(super) async fn run(self, program: Program, output: &Output) -> Result<Answer, CliError> {
        let manifest = read(&self.filename)?;
        let cluster = self.options.connect().await?;
        let (planned, world) = surroundings::in_cluster(manifest, &cluster.client, &cluster.namespace, true).await?;
        let sources = world.environments.clone();
        let previews = Previews::new(world, Keyring::generate(&[])).of(&planned, None).await?;
        let is_blocked = in_words::say_without_registry(&previews, &sources, program, output)?;
        Ok(Answer::differs_if(is_blocked))
    }
}

fn read(file: &Path) -> Result<Manifest, CliError> {
    let (name, bytes) = if file == Path::new("-") {
        ("standard input".to_owned(), read_stdin(LARGEST_FILE)?)
    } else {
        (file.display().to_string(), read_file(file, LARGEST_FILE)?)
    };
    let told = |source| CliError::Manifest { file: name.clone(), source };
    let text = std::str::from_utf8(&bytes).map_err(|_| told(ManifestError::Syntax { line: None }))?;
    Manifest::read(text).map_err(told)
}
