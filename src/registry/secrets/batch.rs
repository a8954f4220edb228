//! The two statements that write values.

use tokio_postgres::types::Type;
use uuid::Uuid;

use crate::core::{KeyName, RegistryTime, SecretId, is_secret_key};

use crate::registry::environments::Environment;
use crate::registry::session::{Parameter, Transaction};
use crate::registry::{Explanation, RegistryError};

/// The columns of the two statements.
#[derive(Default)]
pub(crate) struct Batch {
    ids: Vec<Uuid>,
    keys: Vec<String>,
    sealed: Vec<Option<String>>,
    hashes: Vec<String>,
    versions: Vec<i64>,
    answers: Vec<Option<String>>,
}

impl Batch {
    pub(crate) fn push(
        &mut self,
        id: SecretId,
        key: &KeyName,
        sealed: Option<String>,
        hash: String,
        version: i64,
        answers: Option<RegistryTime>,
    ) {
        self.ids.push(id.0);
        self.keys.push(key.to_string());
        self.sealed.push(sealed);
        self.hashes.push(hash);
        self.versions.push(version);
        self.answers.push(answers.map(|time| time.to_string()));
    }

    pub(crate) async fn insert(
        &self,
        transaction: &Transaction<'_>,
        environment: &Environment,
    ) -> Result<(), RegistryError> {
        if self.ids.is_empty() {
            return Ok(());
        }
        self.allow_names(transaction, environment).await?;
        let sql = "SELECT insert_secrets($1, $2, $3, $4, $5, $6, ($7::text[])::timestamptz[]) AS written";
        let parameters: [Parameter<'_>; 7] = [
            (&environment.project.0, Type::UUID),
            (&environment.id.0, Type::UUID),
            (&self.ids, Type::UUID_ARRAY),
            (&self.keys, Type::TEXT_ARRAY),
            (&self.sealed, Type::TEXT_ARRAY),
            (&self.hashes, Type::TEXT_ARRAY),
            (&self.answers, Type::TEXT_ARRAY),
        ];
        self.require_all(environment, transaction.value("secrets", sql, &parameters).await?)
    }

    /// Who got here with a name that no Secret takes was told to say so.
    async fn allow_names(&self, transaction: &Transaction<'_>, environment: &Environment) -> Result<(), RegistryError> {
        let odd: Vec<&str> = self.keys.iter().map(String::as_str).filter(|key| !is_secret_key(key)).collect();
        if odd.is_empty() {
            return Ok(());
        }
        let parameters: [Parameter<'_>; 3] =
            [(&environment.project.0, Type::UUID), (&environment.id.0, Type::UUID), (&odd, Type::TEXT_ARRAY)];
        transaction.perform("SELECT allow_key_names($1, $2, $3)::text", &parameters).await
    }

    /// A row without a new ciphertext is confirmed.
    pub(crate) async fn update(
        &self,
        transaction: &Transaction<'_>,
        environment: &Environment,
    ) -> Result<(), RegistryError> {
        if self.ids.is_empty() {
            return Ok(());
        }
        let sql = "SELECT update_secrets($1, $2, $3, $4, $5, $6, ($7::text[])::timestamptz[]) AS written";
        let parameters: [Parameter<'_>; 7] = [
            (&environment.project.0, Type::UUID),
            (&environment.id.0, Type::UUID),
            (&self.ids, Type::UUID_ARRAY),
            (&self.sealed, Type::TEXT_ARRAY),
            (&self.hashes, Type::TEXT_ARRAY),
            (&self.versions, Type::INT8_ARRAY),
            (&self.answers, Type::TEXT_ARRAY),
        ];
        self.require_all(environment, transaction.value("secrets", sql, &parameters).await?)
    }

    /// Under the project's mutex every row that was looked up is still there; that one is not is nobody's mistake.
    fn require_all(&self, environment: &Environment, written: i64) -> Result<(), RegistryError> {
        if i64::try_from(self.ids.len()) == Ok(written) {
            return Ok(());
        }
        Err(RegistryError::Conflict(
            Explanation::from(format!(
                "only {written} of {} secrets of {} in project {} were there to be written, so none was",
                self.ids.len(),
                environment.name,
                environment.project_name
            ))
            .hint("look again, then repeat"),
        ))
    }
}
