//! Keys and environments: who is where. The same for every member, whatever they may read.

use tokio_postgres::types::Type;

use crate::core::{KeyState, ProjectName, RegistryTime};

use super::RegistryError;
use super::session::{Session, micros, time};

/// One key in one environment.
#[derive(Debug, Clone)]
pub struct StateOfKey {
    /// The key.
    pub key: String,
    /// The environment.
    pub environment: String,
    /// Its state there.
    pub state: KeyState,
    /// When the live secret last changed or caught up.
    pub updated_at: Option<RegistryTime>,
    /// When the key last changed anywhere.
    pub last_updated_at: Option<RegistryTime>,
}

impl Session {
    /// The states of a project's keys, by key and environment; `keys` empty: of all of them.
    pub async fn key_states(
        &mut self,
        project: &ProjectName,
        keys: &[String],
    ) -> Result<Vec<StateOfKey>, RegistryError> {
        let work = self.reading("reading the states of keys").await?;
        let project = work.project(project).await?;
        let sql = format!(
            "SELECT s.key_name, s.environment, s.state, {}, {} FROM key_states_of($1) s
             WHERE cardinality($2::text[]) = 0 OR s.key_name IN (SELECT unnest($2::text[]))
             ORDER BY s.key_name, s.environment",
            micros("s.updated_at"),
            micros("s.last_updated_at")
        );
        let rows = work.rows(&sql, &[(&project.0, Type::UUID), (&keys, Type::TEXT_ARRAY)]).await?;
        rows.iter()
            .map(|row| {
                let key: String = row.get(0);
                let state = parse(row.get(2)).ok_or_else(|| RegistryError::Inconsistent {
                    table: "key_states",
                    column: "state",
                    row: key.clone(),
                })?;
                Ok(StateOfKey {
                    key,
                    environment: row.get(1),
                    state,
                    updated_at: time(row, 3),
                    last_updated_at: time(row, 4),
                })
            })
            .collect()
    }
}

fn parse(state: &str) -> Option<KeyState> {
    [KeyState::InSync, KeyState::Stale, KeyState::Missing, KeyState::Unregistered, KeyState::Exempt]
        .into_iter()
        .find(|known| known.as_str() == state)
}
