//! The API server's part of the simulation: every write has a precondition, and what Kubernetes forbids fails the test.

use kube::ResourceExt;

use super::SimulatedCluster;
use crate::controller::secret_binding::driver::Applied;
use crate::controller::secret_binding::plan::differences::Differences;
use crate::controller::secret_binding::plan::target::FullSecret;
use crate::controller::secret_binding::plan::{DeletePreconditions, ObjectVersion, Plan, SecretWrite, stored};

impl SimulatedCluster {
    /// As the operator does it, and the API server takes it.
    pub(super) fn write_all(&mut self, plan: &Plan) -> Applied {
        let written = match self.write(&plan.write) {
            Ok(None) => None,
            Ok(Some(Ok(written))) => Some(written),
            Ok(Some(Err(altered))) => return Applied::Altered(altered),
            Err(()) => return Applied::Conflict,
        };
        for orphan in &plan.orphans {
            if self.remove(orphan).is_err() {
                return Applied::Conflict;
            }
        }
        Applied::Done(written)
    }

    /// An error where a precondition does not hold.
    fn write(&mut self, write: &SecretWrite) -> Result<Option<Result<ObjectVersion, Differences>>, ()> {
        Ok(match write {
            SecretWrite::Keep => None,
            SecretWrite::Create(secret) if self.secrets.contains_key(&secret.0.name_any()) => {
                self.vain_creations += 1;
                return Err(());
            }
            SecretWrite::Create(secret) => Some(self.store("create", secret, format!("uid-{}", self.version))),
            SecretWrite::Replace(secret) => {
                let current = self.secrets.get(&secret.0.name_any()).ok_or(())?;
                if current.metadata.resource_version != secret.0.metadata.resource_version {
                    return Err(());
                }
                assert!(secret.0.metadata.uid.is_some() && secret.0.metadata.resource_version.is_some());
                assert_eq!(current.type_, secret.0.type_, "a type cannot change");
                let frozen = current.immutable == Some(true);
                assert!(!frozen || (current.data == secret.0.data && secret.0.immutable == Some(true)));
                let uid = current.uid().expect("a uid");
                Some(self.store("replace", secret, uid))
            }
            SecretWrite::Delete(preconditions) => self.remove(preconditions).map(|()| None)?,
        })
    }

    fn store(&mut self, verb: &str, sent: &FullSecret, uid: String) -> Result<ObjectVersion, Differences> {
        self.version += 1;
        let mut secret = sent.0.clone();
        if let Some(alter) = self.admission {
            alter(&mut secret);
        }
        secret.metadata.uid = Some(uid);
        secret.metadata.resource_version = Some(self.version.to_string());
        self.writes.push(format!("{verb} {}", secret.name_any()));
        let verdict = stored::compare(sent, &FullSecret(secret.clone()));
        self.secrets.insert(secret.name_any(), secret);
        verdict
    }

    fn remove(&mut self, DeletePreconditions { name, version }: &DeletePreconditions) -> Result<(), ()> {
        let current = self.secrets.get(name).ok_or(())?;
        if ObjectVersion::from(&current.metadata) != *version {
            return Err(());
        }
        self.secrets.remove(name);
        self.writes.push(format!("delete {name}"));
        Ok(())
    }
}
