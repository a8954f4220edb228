//! The two statements that write values.

use tokio_postgres::types::Type;
use uuid::Uuid;

use crate::core::{KeyName, ProjectId, RegistryTime, SecretId};

use crate::registry::environments::Environment;
use crate::registry::session::Transaction;
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
        project: ProjectId,
        environment: &Environment,
    ) -> Result<(), RegistryError> {
        if self.ids.is_empty() {
            return Ok(());
        }
        transaction.execute(
            "INSERT INTO secrets (id, project_id, environment_id, key, encrypted_value, value_hash, answers)
             SELECT n.id, $1, $2, n.key, n.sealed, n.hash, n.answers::timestamptz
             FROM unnest($3::uuid[], $4::text[], $5::text[], $6::text[], $7::text[]) AS n (id, key, sealed, hash, answers)",
            &[
                (&project.0, Type::UUID),
                (&environment.id.0, Type::UUID),
                (&self.ids, Type::UUID_ARRAY),
                (&self.keys, Type::TEXT_ARRAY),
                (&self.sealed, Type::TEXT_ARRAY),
                (&self.hashes, Type::TEXT_ARRAY),
                (&self.answers, Type::TEXT_ARRAY),
            ],
        )
        .await?;
        Ok(())
    }

    /// A row without a new ciphertext is confirmed. By id alone, so that only one plan comes to mind: the rows were read
    /// under the project's mutex, and whether they may be written is the policies' matter.
    pub(crate) async fn update(
        &self,
        transaction: &Transaction<'_>,
        environment: &Environment,
    ) -> Result<(), RegistryError> {
        if self.ids.is_empty() {
            return Ok(());
        }
        let updated = transaction
            .execute(
                "UPDATE secrets s SET encrypted_value = coalesce(n.sealed, s.encrypted_value), value_hash = n.hash,
                        version = n.version, answers = n.answers::timestamptz
                 FROM unnest($1::uuid[], $2::text[], $3::text[], $4::bigint[], $5::text[]) AS n (id, sealed, hash, version, answers)
                 WHERE s.id = n.id",
                &[
                    (&self.ids, Type::UUID_ARRAY),
                    (&self.sealed, Type::TEXT_ARRAY),
                    (&self.hashes, Type::TEXT_ARRAY),
                    (&self.versions, Type::INT8_ARRAY),
                    (&self.answers, Type::TEXT_ARRAY),
                ],
            )
            .await?;
        require_all(environment, self.ids.len(), updated)
    }
}

/// A write that a policy hides is no error to the database.
pub(crate) fn require_all(environment: &Environment, asked: usize, written: u64) -> Result<(), RegistryError> {
    if u64::try_from(asked) == Ok(written) {
        return Ok(());
    }
    let message = format!(
        "the database let {written} of {asked} secrets of {} in project {} be written, so none was",
        environment.name, environment.project_name
    );
    let hint = "your membership may just have changed; see: tidelock member list";
    Err(RegistryError::Refused(Explanation::from(message).hint(hint)))
}
