//! One environment being read in one transaction.

use tokio_postgres::{Row, Transaction};

use super::{Parameter, Reader};
use crate::registry::{RegistryError, SourceName};

pub(super) struct Reading<'a> {
    pub(super) transaction: &'a Transaction<'a>,
    pub(super) reader: &'a Reader,
    pub(super) source: &'a SourceName,
}

impl Reading<'_> {
    pub(super) async fn rows(&self, query: &str, parameters: &[Parameter<'_>]) -> Result<Vec<Row>, RegistryError> {
        self.transaction
            .query_typed(&self.reader.named(query), parameters)
            .await
            .map_err(|error| RegistryError::from_driver(format!("reading {}", self.source), error))
    }

    /// The row about the environment itself.
    pub(super) fn only<'r>(&self, rows: &'r [Row]) -> Result<&'r Row, RegistryError> {
        match rows {
            [row] => Ok(row),
            _ => Err(RegistryError::Inconsistent {
                table: "environments",
                column: "name".to_owned(),
                row: self.source.to_string(),
                cause: "more than one project or environment has that name".into(),
            }),
        }
    }
}
