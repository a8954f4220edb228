//! `kubectl tidelock`: what can be asked with the rights in a cluster alone, from the same file under a plugin's name.

use clap::{Parser, Subcommand};

use super::error::{Answer, CliError};
use super::options::Format;
use super::output::Output;
use super::program::Program;
use super::{objects, plan, sync, why};

/// Asks a cluster about its ProjectEnvironments and SecretBindings, with your rights there and no others.
#[derive(Parser)]
#[command(
    name = "kubectl-tidelock",
    bin_name = "kubectl tidelock",
    version,
    disable_help_subcommand = true,
    after_help = "Exit codes: 0 done; 1 failed; 2 wrong usage; 3 done, and the answer is \"differs\" or \"behind\"; \
                  4 refused; 5 not found.\n\n\
                  Example: tidelock why sb/app -n shop"
)]
pub(super) struct KubectlCli {
    #[command(subcommand)]
    verb: KubectlVerb,
    /// How results are printed
    #[arg(long, short, value_enum, default_value = "table", global = true)]
    output: Format,
}

#[derive(Subcommand)]
enum KubectlVerb {
    Status(objects::Status),
    Plan(plan::ClusterPlan),
    Sync(sync::Sync),
    Why(why::Why),
}

impl KubectlCli {
    pub(super) fn output(&self) -> Output {
        Output::new(self.output)
    }

    pub(super) async fn run(self, output: &Output) -> Result<Answer, CliError> {
        match self.verb {
            KubectlVerb::Status(verb) => verb.run(output).await,
            KubectlVerb::Plan(verb) => verb.run(Program::Kubectl, output).await,
            KubectlVerb::Sync(verb) => verb.run(Program::Kubectl, output).await,
            KubectlVerb::Why(verb) => verb.run(Program::Kubectl, output).await,
        }
    }
}
