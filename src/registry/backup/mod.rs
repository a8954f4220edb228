//! `tidelock registry backup`: a dump that is whole, or none.
//!
//! `pg_dump --enable-row-security` ends well with whatever the policies show its login, perhaps with nothing. So the login
//! has to be one that every row is shown to, and the rows of each table in the file are counted against those of the
//! snapshot that the dump was made of.

mod copied_rows;
mod programs;
mod roles;
mod unfinished;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use tokio_postgres::types::Type;
use tokio_postgres::{Client, IsolationLevel, Transaction};

use crate::core::{Hint, causes};

use super::error::Cause;
use super::row::{decode, from_row, value};
use super::{ConnectSettings, Explanation, RegistryError};
use programs::Programs;
use unfinished::Unfinished;

/// Where a dump goes, and what makes it.
#[derive(Debug)]
pub(crate) struct BackupPlan {
    pub(crate) file: PathBuf,
    /// The folder with `pg_dump` and `pg_restore`; `None` for those of `PATH`, or of the PostgreSQL that `pg_config` names.
    pub(crate) programs: Option<PathBuf>,
}

/// What a backup holds.
#[derive(Debug)]
pub(crate) struct Backup {
    /// SQL that makes the group roles and the logins, without passwords.
    pub(crate) roles: PathBuf,
    /// Rows of each table, in the snapshot as in the file.
    pub(crate) tables: BTreeMap<String, u64>,
}

/// Why there is no backup. No file is left.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BackupError {
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The file is there already.
    #[error("{} exists, and a backup overwrites nothing", .0.display())]
    Exists(PathBuf),
    /// The dump is not the registry.
    #[error("the dump has {found} of the {expected} rows of {table}, so it was thrown away")]
    Incomplete { table: String, expected: u64, found: u64 },
    #[error("{program} {problem}")]
    Program { program: String, problem: String, hint: String },
    #[error("{attempt}: {}", causes(&**.source))]
    File { attempt: String, source: Cause },
}

impl BackupError {
    fn file(attempt: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        |error| Self::File { attempt: attempt.into(), source: error.into() }
    }
}

impl Hint for BackupError {
    fn hint(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Registry(error) => error.hint(),
            Self::Exists(_) => Some("name another file, or move that one away".into()),
            Self::Incomplete { .. } => Some("rows were hidden from pg_dump: see docs/operations.md".into()),
            Self::Program { hint, .. } => Some(hint.into()),
            Self::File { .. } => None,
        }
    }
}

struct Table {
    name: String,
    readable: bool,
    /// Whether no row can be hidden from the login: row-level security is not active for it, or one policy shows it all
    /// rows and none takes any away.
    whole: bool,
}

from_row!(Table, "pg_class", "name", [name, readable, whole]);

/// Dumps the registry's schemas as a login that has the role `tidelock_backup`.
///
/// # Errors
/// [`BackupError`]; the file is there only where none is answered.
pub(crate) async fn back_up(settings: &ConnectSettings, plan: &BackupPlan) -> Result<Backup, BackupError> {
    let programs = Programs::find(plan.programs.as_deref()).await?;
    let dump_file = Unfinished::create(&plan.file)?;
    let roles = Unfinished::create(&beside(&plan.file))?;

    let mut link = settings.connect(None).await?;
    let (host, ended) = (link.host(), link.ended());
    let counted = dump(&mut link, settings, host, &programs, &dump_file, &roles).await;
    let counted = counted.map_err(|error| match error {
        BackupError::Registry(error) => BackupError::Registry(ended.add_to(error)),
        other => other,
    })?;
    link.close().await;

    compare(&counted, &programs.rows_in(dump_file.path()).await?)?;
    let roles = roles.finish()?;
    dump_file.finish()?;
    Ok(Backup { roles, tables: counted })
}

/// Writes both files from one snapshot; answers how many rows of each table it has.
async fn dump(
    client: &mut Client,
    settings: &ConnectSettings,
    host: usize,
    programs: &Programs,
    dump: &Unfinished,
    roles: &Unfinished,
) -> Result<BTreeMap<String, u64>, BackupError> {
    let failed = |error| RegistryError::from_driver("backing up the registry", error);
    let transaction = client
        .build_transaction()
        .isolation_level(IsolationLevel::RepeatableRead)
        .read_only(true)
        .start()
        .await
        .map_err(failed)?;
    // It waits for pg_dump while the snapshot has to stay.
    let settle = "SET LOCAL idle_in_transaction_session_timeout = 0; SET LOCAL statement_timeout = 0; SET LOCAL row_security = on;
                  SET LOCAL search_path = pg_catalog";
    transaction.batch_execute(settle).await.map_err(failed)?;
    let schemas = schemas(&transaction, settings).await?;
    let counted = count(&transaction, &whole_tables(&transaction, &schemas).await?).await?;
    let snapshot = "SELECT pg_export_snapshot() AS snapshot";
    let snapshot: String =
        value(&transaction.query_typed_one(snapshot, &[]).await.map_err(failed)?, "pg_export_snapshot")?;
    roles.write(&roles::sql(&transaction, settings).await?)?;
    programs.dump(settings.for_libpq(host)?, &schemas, &snapshot, dump.path()).await?;
    transaction.rollback().await.map_err(failed)?;
    Ok(counted)
}

/// `FILE.roles.sql`.
fn beside(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".roles.sql");
    name.into()
}

/// The registry's schema, its interface and, if it is the registry's own, `vault`.
async fn schemas(transaction: &Transaction<'_>, settings: &ConnectSettings) -> Result<Vec<String>, RegistryError> {
    let sql = "SELECT EXISTS (SELECT FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
                   JOIN pg_namespace n ON n.oid = p.pronamespace
                   JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace v ON v.oid = c.relnamespace
                   WHERE v.nspname = 'vault' AND c.relname = 'secrets' AND n.nspname = $1) AS ours";
    let failed = |error| RegistryError::from_driver("looking for the registry's schemas", error);
    let row = transaction.query_typed_one(sql, &[(&settings.schema, Type::TEXT)]).await.map_err(failed)?;
    let mut schemas = vec![settings.schema.clone(), format!("{}_api", settings.schema)];
    if value(&row, "pg_trigger")? {
        schemas.push("vault".to_owned());
    }
    Ok(schemas)
}

/// The tables of the schemas, as SQL spells them. Refuses a login to which any row of them may be hidden.
async fn whole_tables(transaction: &Transaction<'_>, schemas: &[String]) -> Result<Vec<String>, RegistryError> {
    let sql = "SELECT format('%I.%I', n.nspname, c.relname) AS name,
            has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT') AS readable,
            NOT row_security_active(c.oid) OR (
                EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = c.oid AND p.polpermissive AND p.polcmd IN ('r', '*')
                        AND pg_get_expr(p.polqual, p.polrelid) = 'true'
                        AND EXISTS (SELECT FROM unnest(p.polroles) AS r (id) WHERE r.id <> 0 AND pg_has_role(r.id, 'USAGE')))
                AND NOT EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = c.oid AND NOT p.polpermissive
                                AND p.polcmd IN ('r', '*'))) AS whole
        FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = ANY ($1) AND c.relkind IN ('r', 'p') ORDER BY 1";
    let failed = |error| RegistryError::from_driver("looking for the registry's tables", error);
    let rows = transaction.query_typed(sql, &[(&schemas, Type::TEXT_ARRAY)]).await.map_err(failed)?;
    let tables: Vec<Table> = decode(&rows)?;
    if tables.is_empty() {
        let explained = Explanation::from(format!("there is no registry in the schema {}", schemas[0]));
        return Err(RegistryError::Schema(
            explained.hint("name it with --schema, or its database with --database-url"),
        ));
    }
    if let Some(table) = tables.iter().find(|table| !table.readable || !table.whole) {
        let message = format!("rows of {} may be hidden from this login, so its dump would not be whole", table.name);
        let hint = "use a login that has the role: GRANT tidelock_backup TO LOGIN";
        return Err(RegistryError::Refused(Explanation::from(message).hint(hint)));
    }
    Ok(tables.into_iter().map(|table| table.name).collect())
}

async fn count(transaction: &Transaction<'_>, tables: &[String]) -> Result<BTreeMap<String, u64>, RegistryError> {
    let failed = |error| RegistryError::from_driver("counting the registry's rows", error);
    let mut counted = BTreeMap::new();
    for table in tables {
        let sql = format!("SELECT count(*) AS rows FROM {table}");
        let rows: i64 = value(&transaction.query_typed_one(&sql, &[]).await.map_err(failed)?, "pg_class")?;
        counted.insert(table.clone(), rows.unsigned_abs());
    }
    Ok(counted)
}

fn compare(counted: &BTreeMap<String, u64>, dumped: &BTreeMap<String, u64>) -> Result<(), BackupError> {
    for (table, &expected) in counted {
        let found = dumped.get(table).copied().unwrap_or_default();
        if found != expected {
            return Err(BackupError::Incomplete { table: table.clone(), expected, found });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(of: &[(&str, u64)]) -> BTreeMap<String, u64> {
        of.iter().map(|(table, rows)| ((*table).to_owned(), *rows)).collect()
    }

    #[test]
    fn a_dump_with_fewer_rows_or_without_a_table_is_refused_by_the_tables_name() {
        let counted = rows(&[("tidelock.secrets", 2), ("tidelock.users", 1)]);
        assert!(compare(&counted, &counted).is_ok());
        for dumped in [rows(&[("tidelock.secrets", 0), ("tidelock.users", 1)]), rows(&[("tidelock.users", 1)])] {
            let error = compare(&counted, &dumped).unwrap_err().to_string();
            assert_eq!(error, "the dump has 0 of the 2 rows of tidelock.secrets, so it was thrown away");
        }
        // A table that has no row has no row in the dump either.
        assert!(compare(&rows(&[("tidelock.deliveries", 0)]), &rows(&[])).is_ok());
    }

    #[test]
    fn the_roles_go_into_a_file_beside() {
        assert_eq!(beside(Path::new("/b/registry.dump")), Path::new("/b/registry.dump.roles.sql"));
    }
}
