//! Tokens of past revisions, cached for as long as a project's revision_tokens only grows.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use uuid::Uuid;

use super::registry::{Registry, in_time};
use crate::core::ProjectId;
use crate::registry::{LoggedToken, RegistryError, Revision, Snapshot, SnapshotVersion};

/// Most tokens that are remembered of one project, which is some 500 KiB. Each binding may rest on a revision of its own, and all
/// of a source's ask after each change.
const TOKENS_MAX: usize = 16_384;

/// What is known of the projects' logs.
///
/// A token is random, so a log that still has the newest step that was seen has every step before it, unchanged. That
/// is why one question about the newest step is enough to go on trusting all that was remembered.
#[derive(Debug, Default)]
pub(super) struct RevisionTokens {
    projects: Mutex<HashMap<ProjectId, Known>>,
    /// One question at a time. All bindings of a source ask at once after a change, mostly the same, and must not take the
    /// connections that the polls need; who waits meanwhile finds the answer remembered.
    asking: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Known {
    /// The newest step that was seen.
    head: Option<Revision>,
    /// Another step that was seen since: the log has grown, or is another one.
    seen: Option<Revision>,
    tokens: HashMap<i64, Uuid>,
}

impl RevisionTokens {
    /// Takes note of where a project stands.
    pub(super) fn saw(&self, snapshot: &Snapshot) {
        let SnapshotVersion::Revisions { project: seen, .. } = snapshot.version else { return };
        let mut projects = self.lock();
        let known = projects.entry(snapshot.project).or_default();
        if known.head.is_none() {
            known.head = Some(seen);
            known.tokens.insert(seen.number, seen.token);
        } else if known.head != Some(seen) {
            known.seen = Some(seen);
        }
    }

    pub(super) async fn token_of(
        &self,
        registry: &dyn Registry,
        project: ProjectId,
        revision: i64,
    ) -> Result<LoggedToken, RegistryError> {
        if let Some(token) = self.remembered(project, revision) {
            return Ok(LoggedToken::Token(token));
        }
        let _turn = in_time(registry, "waiting to poll a revision up", async { Ok(self.asking.lock().await) }).await?;
        let ask = |revision| in_time(registry, "polling a revision up", registry.token_of(project, revision));
        let (head, seen) = self.lock().get(&project).map_or((None, None), |known| (known.head, known.seen));
        if let (Some(head), Some(seen)) = (head, seen) {
            match ask(head.number).await? {
                LoggedToken::NotYet => {}
                logged => self.settle(project, head, seen, logged == LoggedToken::Token(head.token)),
            }
        }
        if let Some(token) = self.remembered(project, revision) {
            return Ok(LoggedToken::Token(token));
        }
        let asked_under = self.lock().get(&project).and_then(|known| known.head);
        let logged = ask(revision).await?;
        let mut projects = self.lock();
        let known = projects.entry(project).or_default();
        // Another head by now means that the answer may be of another revision_tokens than what is remembered.
        if let (LoggedToken::Token(token), true) = (logged, known.head == asked_under && known.seen.is_none()) {
            known.remember(revision, token);
        }
        Ok(logged)
    }

    /// The token, where it is known and the log has not moved since it was.
    fn remembered(&self, project: ProjectId, revision: i64) -> Option<Uuid> {
        let projects = self.lock();
        projects.get(&project).filter(|known| known.seen.is_none())?.tokens.get(&revision).copied()
    }

    /// Goes on from the step that was seen, with what was remembered if the log has only grown.
    fn settle(&self, project: ProjectId, head: Revision, seen: Revision, grown: bool) {
        let mut projects = self.lock();
        let known = projects.entry(project).or_default();
        if known.head != Some(head) || known.seen != Some(seen) {
            return;
        }
        if grown {
            // An environment that was read a moment earlier may have been seen a moment later.
            known.head = Some(if seen.number > head.number { seen } else { head });
        } else {
            known.head = Some(seen);
            known.tokens.clear();
        }
        known.seen = None;
        known.remember(seen.number, seen.token);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ProjectId, Known>> {
        self.projects.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn remember(&mut self, revision: i64, token: Uuid) {
        // Any one has to go: were it all of them, or the one that is asked for next, they would be asked for again and again.
        if self.tokens.len() >= TOKENS_MAX
            && let Some(any) = self.tokens.keys().next().copied()
        {
            self.tokens.remove(&any);
        }
        self.tokens.insert(revision, token);
    }
}
