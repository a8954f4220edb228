//! Whether what came by replication is a registry.

use std::collections::BTreeMap;

use tokio_postgres::Transaction;

use super::super::RegistryError;
use super::super::row::{decode, from_row, value};
use super::ReplicatedTable;

struct Finding {
    finding: String,
}

from_row!(Finding, "audit_logs", "finding", [finding]);

struct ForeignKey {
    name: String,
    /// Counts the rows that refer to none.
    orphans: String,
}

from_row!(ForeignKey, "pg_constraint", "name", [name, orphans]);

/// Nothing is the healthy answer.
pub(super) async fn findings(transaction: &Transaction<'_>) -> Result<Vec<String>, RegistryError> {
    let failed = |error| RegistryError::from_driver("verifying what was replicated", error);
    let rows = transaction.query_typed(include_str!("verify.sql"), &[]).await.map_err(failed)?;
    let mut findings: Vec<String> = decode::<Finding>(&rows)?.into_iter().map(|row| row.finding).collect();
    // In an apply worker foreign keys are not looked up, and are believed ever after.
    for ForeignKey { name, orphans } in foreign_keys(transaction).await? {
        let row = transaction.query_typed_one(&orphans, &[]).await.map_err(failed)?;
        let count: i64 = value(&row, "pg_constraint")?;
        if count > 0 {
            findings.push(format!("{count} rows break the foreign key {name}"));
        }
    }
    Ok(findings)
}

async fn foreign_keys(transaction: &Transaction<'_>) -> Result<Vec<ForeignKey>, RegistryError> {
    let sql = "SELECT format('%s of %s', k.conname, k.conrelid::regclass) AS name,
            format('SELECT count(*) AS orphans FROM %s c WHERE %s AND NOT EXISTS (SELECT FROM %s p WHERE %s)',
                k.conrelid::regclass, string_agg(format('c.%I IS NOT NULL', a.attname), ' AND '),
                k.confrelid::regclass, string_agg(format('p.%I = c.%I', f.attname, a.attname), ' AND ')) AS orphans
        FROM pg_constraint k CROSS JOIN LATERAL unnest(k.conkey, k.confkey) AS pair (ours, theirs)
        JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = pair.ours
        JOIN pg_attribute f ON f.attrelid = k.confrelid AND f.attnum = pair.theirs
        WHERE k.contype = 'f' AND k.connamespace = current_schema()::regnamespace GROUP BY k.oid, k.conname, k.conrelid, k.confrelid
        ORDER BY 1";
    let failed = |error| RegistryError::from_driver("looking for foreign keys", error);
    decode(&transaction.query_typed(sql, &[]).await.map_err(failed)?)
}

pub(super) async fn count(
    transaction: &Transaction<'_>,
    tables: &[ReplicatedTable],
) -> Result<BTreeMap<String, u64>, RegistryError> {
    let failed = |error| RegistryError::from_driver("counting the registry's rows", error);
    let mut counted = BTreeMap::new();
    for table in tables {
        let sql = format!("SELECT count(*) AS rows FROM {}", table.name);
        let rows: i64 = value(&transaction.query_typed_one(&sql, &[]).await.map_err(failed)?, "pg_class")?;
        counted.insert(table.name.clone(), rows.unsigned_abs());
    }
    Ok(counted)
}
