//! Rows, decoded by the names of their columns into one struct for each query.
//!
//! A query names every expression that it selects, and its struct has a field of each name: `from_row!` reads one from
//! the other. What does not fit is an error that names table, column and row.

use std::error::Error;

use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, FromSqlOwned, Type, accepts};
use uuid::Uuid;

use crate::core::{EnvironmentId, KeyName, KeyState, ProjectId, RegistryTime, RingName, SecretId, shown_key};

use super::sqlstate::NOT_AS_MADE;
use super::{Explanation, RegistryError};

/// What a query answers, one row of it.
pub(super) trait FromRow: Sized {
    fn from_row(row: &Row) -> Result<Self, RegistryError>;
}

/// Reads each field from the column of its name. The table, and the column whose content names a row in an error: an id
/// or a name, never a value.
macro_rules! from_row {
    ($type:ty, $table:literal, $key:literal, [$($field:ident),+ $(,)?]) => {
        impl $crate::registry::row::FromRow for $type {
            fn from_row(row: &tokio_postgres::Row) -> Result<Self, $crate::registry::RegistryError> {
                let columns = $crate::registry::row::Columns::new(row, $table, $key);
                Ok(Self { $($field: columns.get(stringify!($field))?),+ })
            }
        }
    };
}
pub(super) use from_row;

/// The columns of one row. For `FromRow` alone.
pub(super) struct Columns<'r> {
    row: &'r Row,
    table: &'static str,
    key: &'static str,
}

impl<'r> Columns<'r> {
    pub(super) const fn new(row: &'r Row, table: &'static str, key: &'static str) -> Self {
        Self { row, table, key }
    }

    /// NULL where there may be none, and another type than the field's, are the row's inconsistency, not a panic.
    pub(super) fn get<T: FromSql<'r>>(&self, column: &str) -> Result<T, RegistryError> {
        self.row.try_get(column).map_err(|error| RegistryError::Inconsistent {
            table: self.table,
            column: column.to_owned(),
            row: self.name_of_row(),
            cause: error.into(),
        })
    }

    fn name_of_row(&self) -> String {
        // In someone else's tables a key's name may be anything, a secret too.
        let text = self.row.try_get::<_, String>(self.key).map(|name| shown_key(&name).to_owned());
        text.or_else(|_| self.row.try_get::<_, Uuid>(self.key).map(|id| id.to_string()))
            .or_else(|_| self.row.try_get::<_, i64>(self.key).map(|number| number.to_string()))
            .unwrap_or_else(|_| "unknown".to_owned())
    }
}

/// All rows of an answer.
pub(super) fn decode<R: FromRow>(rows: &[Row]) -> Result<Vec<R>, RegistryError> {
    rows.iter().map(R::from_row).collect()
}

/// The one row of an answer that cannot have another number of them. Were it not there, no later attempt would find it:
/// something keeps the registry's functions from reading its tables.
pub(super) fn only(rows: Vec<Row>, attempt: &str) -> Result<Row, RegistryError> {
    let count = rows.len();
    let mut rows = rows.into_iter();
    match (rows.next(), count) {
        (Some(row), 1) => Ok(row),
        _ => Err(RegistryError::SchemaAltered(
            Explanation::from(format!("{attempt}: the registry answered {count} rows, where there has to be one"))
                .hint(NOT_AS_MADE),
        )),
    }
}

/// The one column of a query that selects no other.
pub(super) fn value<T: FromSqlOwned>(row: &Row, table: &'static str) -> Result<T, RegistryError> {
    let column = row.columns().first().map_or("", |column| column.name());
    Columns::new(row, table, "").get(column)
}

// The names and states of the field as the database has them. Times come as they are: in binary no setting of a session
// changes them.

macro_rules! from_sql {
    ($accepted:ident, $($type:ty: |$raw:ident: $inner:ty| $value:expr),+ $(,)?) => {$(
        impl<'r> FromSql<'r> for $type {
            fn from_sql(of: &Type, raw: &'r [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
                let $raw = <$inner>::from_sql(of, raw)?;
                $value
            }

            accepts!($accepted);
        }
    )+};
}

/// From the Unix epoch to PostgreSQL's, in microseconds.
const POSTGRES_EPOCH: i64 = 946_684_800_000_000;

impl<'r> FromSql<'r> for RegistryTime {
    fn from_sql(_: &Type, raw: &'r [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        let micros = i64::from_be_bytes(raw.try_into()?);
        // Infinity is at both ends.
        let since_epoch = micros.checked_add(POSTGRES_EPOCH).filter(|_| micros != i64::MIN);
        since_epoch.map(Self::from_micros).ok_or_else(|| "a time without end".into())
    }

    accepts!(TIMESTAMPTZ);
}

from_sql!(
    UUID,
    ProjectId: |id: Uuid| Ok(Self(id)),
    EnvironmentId: |id: Uuid| Ok(Self(id)),
    SecretId: |id: Uuid| Ok(Self(id)),
);
from_sql!(
    TEXT,
    KeyName: |name: String| Ok(Self::try_from(name)?),
    RingName: |name: String| Ok(Self::try_from(name)?),
    KeyState: |name: String| Ok(name.parse()?),
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_read_to_the_microsecond_and_one_without_end_is_refused() {
        let read = |micros: i64| RegistryTime::from_sql(&Type::TIMESTAMPTZ, &micros.to_be_bytes()).ok();
        assert_eq!(read(1).map(|time| time.to_string()).as_deref(), Some("2000-01-01T00:00:00.000001Z"));
        assert_eq!(read(-POSTGRES_EPOCH).map(|time| time.to_string()).as_deref(), Some("1970-01-01T00:00:00.000000Z"));
        assert_eq!([read(i64::MAX), read(i64::MIN)], [None, None]);
    }
}
