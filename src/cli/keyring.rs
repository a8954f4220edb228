//! `tidelock keyring`.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;

use clap::Subcommand;
use serde_json::json;

use crate::core::RingName;
use crate::crypto::Keyring;

use super::context::Context;
use super::error::{Answer, CliError};
use super::output::{Line, Output, plain};

/// The file with the encryption keys that you hold
#[derive(Subcommand)]
pub(super) enum KeyringVerb {
    /// Make a new keyring; an existing file is never overwritten
    #[command(after_help = "Example: tidelock keyring init --keyring shop.keyring --ring default --ring production")]
    Init {
        /// A ring to make [default: default and production]
        #[arg(long = "ring", value_name = "NAME")]
        rings: Vec<RingName>,
    },
    /// List the rings and the ids of their keys
    #[command(after_help = "Example: tidelock keyring list")]
    List {},
}

impl KeyringVerb {
    pub(super) fn run(self, context: &Context, output: &Output) -> Result<Answer, CliError> {
        match self {
            Self::Init { rings } => init(rings, context, output),
            Self::List {} => list(&context.keyring()?, output),
        }
    }
}

fn init(mut rings: Vec<RingName>, context: &Context, output: &Output) -> Result<Answer, CliError> {
    if rings.is_empty() {
        for name in ["default", "production"] {
            rings.push(name.parse()?);
        }
    }
    let path = context.keyring_path()?;
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(CliError::failed(format!("making the folder {}", folder.display())))?;
    }
    let keyring = Keyring::generate(&rings);
    keyring.create(&path)?;
    output.note(&format!(
        "made {}. Without it every value sealed with it is lost: keep a copy where the database's backups are not.",
        path.display()
    ));
    list(&keyring, output)
}

fn list(keyring: &Keyring, output: &Output) -> Result<Answer, CliError> {
    let lines = keyring.rings().flat_map(|ring| {
        ring.keys().map(|key| Line {
            cells: vec![plain(ring.name()), plain(key.id), plain(key.state)],
            json: json!({"ring": ring.name(), "key": key.id.to_string(), "state": key.state.as_str()}),
        })
    });
    output.list(&["RING", "KEY", "STATE"], lines)?;
    Ok(Answer::Done)
}
