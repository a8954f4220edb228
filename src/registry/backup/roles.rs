//! The roles that a dump names and does not make: they belong to the server.

use std::fmt::Write as _;

use tokio_postgres::Transaction;
use tokio_postgres::types::Type;

use super::super::migrate::ROLES;
use super::super::row::{decode, from_row};
use super::super::{ConnectSettings, RegistryError};

struct Statement {
    sql: String,
}

from_row!(Statement, "pg_roles", "sql", [sql]);

/// SQL that makes the group roles, the owner and the logins, as far as they are missing, and gives them their memberships.
/// Passwords are not for a backup to read.
pub(super) async fn sql(transaction: &Transaction<'_>, settings: &ConnectSettings) -> Result<String, RegistryError> {
    // Members of the group roles, the users' logins and the owner. From PostgreSQL 16 on, whoever made a role is a member
    // who may grant it and neither has nor takes its rights: the owner's, who gets that back at the end.
    let statements = format!(
        "WITH held AS (
            SELECT DISTINCT m.roleid, m.member FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid
            WHERE g.rolname = ANY ($1) AND coalesce((to_jsonb(m) ->> 'inherit_option')::boolean, true)
         ), owner AS (
            SELECT c.relowner AS id FROM pg_class c WHERE c.oid = to_regclass($2)
         ), logins AS (
            SELECT r.* FROM pg_roles r WHERE r.rolname <> ALL ($1) AND NOT r.rolsuper AND (
                r.oid IN (SELECT member FROM held) OR r.oid IN (SELECT id FROM owner)
                OR r.rolname IN (SELECT db_role FROM {schema}.users))
         ), made AS (
            SELECT 1 AS step, rolname, 'NOLOGIN' AS rights FROM pg_roles WHERE rolname = ANY ($1)
            UNION ALL
            SELECT 2, rolname, concat_ws(' ', CASE WHEN rolcanlogin THEN 'LOGIN' ELSE 'NOLOGIN' END,
                CASE WHEN rolcreaterole THEN 'CREATEROLE' END, CASE WHEN NOT rolinherit THEN 'NOINHERIT' END) FROM logins
         ), statements AS (
            SELECT step, rolname, format('DO %L;', format('BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = %L) '
                || 'THEN CREATE ROLE %I %s; END IF; END', rolname, rolname, rights)) AS sql FROM made
            UNION ALL
            SELECT 3, l.rolname, format('GRANT %I TO %I;', g.rolname, l.rolname)
            FROM held h JOIN pg_roles g ON g.oid = h.roleid JOIN logins l ON l.oid = h.member
            UNION ALL
            SELECT 4, l.rolname, format('DO %L;', format('BEGIN IF current_setting(''server_version_num'')::int >= 160000 '
                || 'THEN EXECUTE %L; END IF; END', format('GRANT %s TO %I WITH ADMIN TRUE, INHERIT FALSE, SET FALSE',
                (SELECT string_agg(quote_ident(rolname), ', ' ORDER BY rolname) FROM pg_roles WHERE rolname = ANY ($1)), l.rolname)))
            FROM logins l WHERE l.oid IN (SELECT id FROM owner) AND l.rolcreaterole
         )
         SELECT sql FROM statements ORDER BY step, rolname, sql",
        schema = settings.quoted_schema()
    );
    let secrets = format!("{}.secrets", settings.quoted_schema());
    let groups = ROLES.as_slice();
    let failed = |error| RegistryError::from_driver("reading the registry's roles", error);
    let rows = transaction
        .query_typed(&statements, &[(&groups, Type::TEXT_ARRAY), (&secrets, Type::TEXT)])
        .await
        .map_err(failed)?;
    let mut text = String::from(
        "-- Roles of the registry, without passwords. An administrator runs this before the dump is restored; where they are\n\
         -- there already, it changes nothing but memberships.\n",
    );
    for Statement { sql } in decode(&rows)? {
        let _ = writeln!(text, "{sql}");
    }
    Ok(text)
}
