//! `tidelock crd`.

use clap::Args;

use crate::api::crds;

use super::error::{Answer, CliError};
use super::output::Output;

/// Print the custom resource definitions
#[derive(Args)]
#[command(after_help = "Example: tidelock crd | kubectl apply --server-side -f -")]
pub(super) struct Crd {}

pub(super) fn run(output: &Output) -> Result<Answer, CliError> {
    output.text(&crds::yaml())?;
    Ok(Answer::Done)
}
