//! Taking a name out of the registry that should never have been one.

use tokio_postgres::types::Type;

use crate::core::{KeyName, ProjectName, SecretValue};
use crate::crypto::Keyring;

use super::session::{Parameter, Session};
use super::{Explanation, RegistryError, ValueError, hash_keys};

impl Session {
    /// Ends a key in the whole project and puts what it answers in the place of its name, in every row that has it. The audit log keeps
    /// a hash of the name, under the project's hashing key: who holds a keyring can tell which name it was, and nobody else can try
    /// guesses.
    ///
    /// # Errors
    /// Besides the database's refusals: the keyring does not open the hashing key, or the reason has the name in it. No error has it.
    pub(crate) async fn purge_key_name(
        &mut self,
        keyring: &Keyring,
        project: &ProjectName,
        key: &KeyName,
        reason: &str,
    ) -> Result<String, ValueError> {
        if reason.contains(key.as_str()) {
            let why = Explanation::from("the reason has the name in it that is to be purged".to_owned())
                .hint("give a reason without it: reasons stay in the audit log, in clear");
            return Err(RegistryError::Refused(why).into());
        }
        let (transaction, project_id) = self.changing("purging the name of a key", project.as_str(), reason).await?;
        transaction.require_admin(project_id, "purges names of its keys").await?;
        let opened = hash_keys::for_reading(&transaction, keyring, project_id).await?;
        let hash_key = opened.first().ok_or_else(|| {
            RegistryError::Refused(
                Explanation::from(
                    "the keyring does not open the project's hashing key, which the name is hashed with".to_owned(),
                )
                .hint("use the team's keyring"),
            )
        })?;
        let hash = hash_key.hash(&SecretValue::from(key.as_str().as_bytes().to_vec())).to_string();
        let parameters: [Parameter<'_>; 3] =
            [(&project_id.0, Type::UUID), (&key.as_str(), Type::TEXT), (&hash, Type::TEXT)];
        let sql = "SELECT purge_key_name($1, $2, $3) AS purged";
        let purged: Option<String> = transaction.value("project_secret_registry", sql, &parameters).await?;
        let purged = purged.ok_or_else(|| no_such_key(project.as_str()))?;
        transaction.commit().await?;
        Ok(purged)
    }
}

fn no_such_key(project: &str) -> RegistryError {
    let message = format!("project {project} has no key of that name");
    let hint = format!("see: tidelock key list --retired -p {project}");
    RegistryError::NotFound(Explanation::from(message).hint(hint))
}
