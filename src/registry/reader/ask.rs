//! One question to the database: bounded, and asked again where a standby breaks it off.

use std::time::Duration;

use tokio_postgres::Row;
use tokio_postgres::types::Type;

use super::{Parameter, Reader, SchemaKind};
use crate::registry::RegistryError;
use crate::registry::settings::pinned;

/// After which the server gives up on a statement: before the operator gives up on the server, which would leave the
/// statement running, and the next one beside it.
pub(super) const STATEMENT_TIMEOUT: Duration = Duration::from_secs(4);

/// How often a question is asked.
const ATTEMPTS: u32 = 3;

impl Reader {
    /// For one transaction: a setting for the session would be left to whoever a pooler gives the connection next. The
    /// policies of someone else's tables may need the login's own search path.
    pub(super) fn configuring(&self) -> String {
        let is_ours = self.kind.get() == Some(&SchemaKind::Native);
        let path = if is_ours { ", pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true)" } else { "" };
        format!("SELECT pg_catalog.set_config('statement_timeout', $1, true), {}{path}", pinned())
    }

    /// The answer to one question, in a transaction that bounds it, sent whole without waiting in between.
    pub(super) async fn ask(
        &self,
        attempt: &str,
        query: &str,
        parameters: &[Parameter<'_>],
    ) -> Result<Vec<Row>, RegistryError> {
        let query = self.named(query);
        // A large future, and who waits for it holds it.
        despite_replay(attempt, || Box::pin(self.ask_once(attempt, &query, parameters))).await
    }

    async fn ask_once(
        &self,
        attempt: &str,
        query: &str,
        parameters: &[Parameter<'_>],
    ) -> Result<Vec<Row>, RegistryError> {
        let mut client = self.client(attempt).await?;
        let (configuring, timeout) = (self.configuring(), statement_timeout());
        let bound: [Parameter<'_>; 1] = [(&timeout, Type::TEXT)];
        let question = in_order(client.query_typed(query, parameters), client.batch_execute("COMMIT"));
        let configured = in_order(client.query_typed(&configuring, &bound), question);
        let begin = client.batch_execute("BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY");
        let answers = in_order(begin, configured).await;
        client.settle();
        let ((), (_, (rows, ()))) = answers.map_err(|error| client.explain(attempt, error))?;
        Ok(rows)
    }
}

/// Sends one statement behind the other, and answers the first error in that order. What comes after a statement that failed
/// is only told that its transaction did, and this may be seen first.
pub(super) async fn in_order<A, B, E>(
    first: impl Future<Output = Result<A, E>>,
    second: impl Future<Output = Result<B, E>>,
) -> Result<(A, B), E> {
    let (first, second) = futures::join!(first, second);
    Ok((first?, second?))
}

/// Reading conflicts with nobody's writing. Where it is broken off all the same, a standby needed a lock, or old rows away, to
/// replay what the primary did: the same question comes through a moment later, or else the standby is busy, which passes.
pub(super) async fn despite_replay<T, F>(attempt: &str, mut ask: impl FnMut() -> F) -> Result<T, RegistryError>
where
    F: Future<Output = Result<T, RegistryError>>,
{
    let mut left = ATTEMPTS;
    loop {
        left -= 1;
        match ask().await {
            Err(RegistryError::Conflict(_)) if left > 0 => {}
            Err(RegistryError::Conflict(explained)) => {
                return Err(RegistryError::Unavailable {
                    attempt: attempt.to_owned(),
                    cause: explained.message.into(),
                });
            }
            answer => return answer,
        }
    }
}

pub(super) fn statement_timeout() -> String {
    STATEMENT_TIMEOUT.as_millis().to_string()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test]
    async fn of_two_errors_the_first_is_told_though_the_other_is_seen_before_it() {
        let first = async {
            tokio::task::yield_now().await;
            Err::<(), _>("broken off")
        };
        assert_eq!(in_order(first, async { Err::<(), _>("the transaction failed") }).await, Err("broken off"));
    }

    #[tokio::test]
    async fn what_is_broken_off_is_asked_again_and_is_an_outage_in_the_end() {
        let broken_off = || RegistryError::Conflict("in conflict with what others did".into());
        let asked = Cell::new(0);
        let answer = despite_replay("reading", || {
            asked.set(asked.get() + 1);
            async { if asked.get() < 3 { Err(broken_off()) } else { Ok(()) } }
        });
        assert!(answer.await.is_ok());
        assert_eq!(asked.get(), 3);
        let never = despite_replay::<(), _>("reading", || async { Err(broken_off()) }).await;
        assert!(matches!(never, Err(RegistryError::Unavailable { .. })), "{never:?}");
        let refused = despite_replay::<(), _>("reading", || async { Err(RegistryError::Refused("no".into())) }).await;
        assert!(matches!(refused, Err(RegistryError::Refused(_))), "{refused:?}");
    }
}
