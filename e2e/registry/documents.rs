//! Both schema documents, sentence by sentence, against the catalog of a migrated database.

use super::*;

/// `name type nullability default` of each column, in order.
async fn columns(session: &Client, table: &str) -> Vec<String> {
    rows(
        session,
        &format!(
            "SELECT a.attname, format_type(a.atttypid, a.atttypmod), CASE WHEN a.attnotnull THEN 'NO' ELSE 'YES' END,
                    coalesce(pg_get_expr(d.adbin, d.adrelid), '')
             FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
             WHERE a.attrelid = '{table}'::regclass AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum"
        ),
    )
    .await
}

async fn has(session: &Client, table: &str, expected: &[&str]) {
    let columns = columns(session, table).await;
    for column in expected {
        assert!(
            columns.iter().any(|found| format!("{found} ").starts_with(&format!("{column} "))),
            "{table} lacks {column}: {columns:#?}"
        );
    }
}

/// `one table.column -> other table.column` for each foreign key of a table.
async fn refers(session: &Client, table: &str) -> Vec<String> {
    rows(
        session,
        &format!(
            "SELECT a.attname || '>' || c.confrelid::regclass FROM pg_constraint c, unnest(c.conkey) k, pg_attribute a
             WHERE c.contype = 'f' AND c.conrelid = '{table}'::regclass AND a.attrelid = c.conrelid AND a.attnum = k"
        ),
    )
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_registrys_tables_have_the_documented_columns_and_relations() {
    let shop = Shop::open("documented").await;
    let db = &shop.superuser().await;
    has(db, "projects", &["id uuid NO", "name text NO"]).await;
    has(db, "environments", &["id uuid NO", "project_id uuid NO", "name text NO", "is_production boolean NO false"])
        .await;
    has(db, "users", &["id uuid NO", "name text NO"]).await;
    has(db, "project_members", &["project_id uuid NO", "user_id uuid NO", "role project_role NO"]).await;
    has(
        db,
        "secrets",
        &[
            "id uuid NO",
            "project_id uuid NO",
            "environment_id uuid NO",
            "key text NO",
            "encrypted_value text NO",
            "value_hash text NO",
            "updated_at timestamp with time zone NO",
            "deleted_at timestamp with time zone YES",
        ],
    )
    .await;
    has(
        db,
        "project_secret_registry",
        &["project_id uuid NO", "key_name text NO", "last_updated_at timestamp with time zone NO"],
    )
    .await;
    has(
        db,
        "audit_logs",
        &[
            "project_id uuid YES",
            "user_id uuid NO",
            "action text NO",
            "timestamp timestamp with time zone NO",
            "reason text NO",
            "old_value_hash text YES",
            "new_value_hash text YES",
        ],
    )
    .await;
    // The relations that the document's diagram shows.
    for (table, references) in [
        ("environments", &["project_id>projects"][..]),
        ("project_members", &["project_id>projects", "user_id>users"]),
        ("secrets", &["project_id>environments", "environment_id>environments"]),
        ("project_secret_registry", &["project_id>projects"]),
        ("audit_logs", &["project_id>projects", "user_id>users"]),
    ] {
        let found = refers(db, table).await;
        for reference in references {
            assert!(found.iter().any(|line| line == reference), "{table}: {reference} not in {found:?}");
        }
    }
    let roles = "SELECT string_agg(enumlabel, ',' ORDER BY enumsortorder) FROM pg_enum WHERE enumtypid = 'project_role'::regtype";
    assert_eq!(cell(db, roles).await, "ADMIN,DEVELOPER,VIEWER");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_project_has_only_one_production_environment_by_a_partial_unique_index() {
    let shop = Shop::open("one-production").await;
    let definition = "SELECT indexdef FROM pg_indexes WHERE indexname = 'idx_one_prod_env_per_project'";
    assert_eq!(
        shop.cell(definition).await,
        "CREATE UNIQUE INDEX idx_one_prod_env_per_project ON tidelock.environments USING btree (project_id) \
         WHERE (is_production AND (deleted_at IS NULL))"
    );
    let second = "INSERT INTO environments (project_id, name, is_production) SELECT id, 'another', true FROM projects";
    let why = refusal(&shop.ana, &begun(second)).await;
    assert!(why.contains("idx_one_prod_env_per_project"), "{why}");
    shop.ana("SELECT create_project('other', '')").await;
    shop.ana(&format!("SELECT begin_change('other', ''); {second} WHERE name = 'other'")).await;
    assert_eq!(shop.cell("SELECT count(*) FROM environments WHERE is_production").await, "2", "one for each project");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_unique_key_leaves_soft_deleted_rows_out() {
    let shop = Shop::open("soft-delete").await;
    let (first, gone) = (
        insert("dev", "API_KEY", "one", "NULL"),
        format!("UPDATE secrets SET deleted_at = now() WHERE {}", live("dev", "API_KEY")),
    );
    for _ in 0..3 {
        shop.ana(&begun(&first)).await;
        let why = refusal(&shop.ana, &begun(&first)).await;
        assert!(why.starts_with("23505"), "{why}");
        shop.ana(&begun(&gone)).await;
    }
    let kept = "SELECT count(*), count(encrypted_value) FROM secrets WHERE deleted_at IS NOT NULL";
    assert_eq!(rows(&shop.ana, kept).await, ["3 3"], "what was deleted can be recovered and audited");
}

#[tokio::test(flavor = "multi_thread")]
async fn out_of_sync_is_an_older_time_than_the_registrys() {
    let shop = Shop::open("out-of-sync").await;
    shop.ana(&begun(&insert("dev", "API_KEY", "one", "NULL"))).await;
    shop.ana(&begun(&insert("staging", "API_KEY", "other", "NULL"))).await;
    // The document's own comparison, on the tables alone.
    let compared = "SELECT e.name || '=' || CASE WHEN s.updated_at < r.last_updated_at THEN 'Stale' ELSE 'InSync' END
        FROM secrets s JOIN environments e ON e.id = s.environment_id
        JOIN project_secret_registry r ON r.project_id = s.project_id AND r.key_name = s.key ORDER BY 1";
    assert_eq!(rows(&shop.ana, compared).await, ["dev=Stale", "staging=InSync"]);
    assert_eq!(shop.states("API_KEY").await, "dev=Stale production=Missing staging=InSync");
    // Duplicates and differences without decrypting.
    shop.ana(&begun(&insert("dev", "COPY", "one", "NULL"))).await;
    assert_eq!(
        shop.cell("SELECT count(*) FROM secrets a JOIN secrets b USING (value_hash) WHERE a.id < b.id").await,
        "1"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_vault_is_the_documented_table() {
    let shop = Shop::open("vault").await;
    let db = &shop.superuser().await;
    assert_eq!(
        columns(db, "vault.secrets").await,
        [
            "id uuid NO gen_random_uuid()",
            "name text YES ",
            "description text NO ''::text",
            "secret text NO ",
            "key_id uuid YES ",
            "nonce bytea YES ",
            "created_at timestamp with time zone NO CURRENT_TIMESTAMP",
            "updated_at timestamp with time zone NO CURRENT_TIMESTAMP",
        ]
    );
    let indexes = "SELECT indexdef FROM pg_indexes WHERE schemaname = 'vault' ORDER BY indexname";
    assert_eq!(
        rows(db, indexes).await,
        [
            "CREATE UNIQUE INDEX secrets_name_idx ON vault.secrets USING btree (name) WHERE (name IS NOT NULL)",
            "CREATE UNIQUE INDEX secrets_pkey ON vault.secrets USING btree (id)",
        ]
    );
    assert_eq!(refers(db, "vault.secrets").await, [""; 0], "it stands alone");
    let comment = cell(db, "SELECT obj_description('vault.secrets'::regclass)").await;
    assert!(comment.contains("encrypted") && comment.contains("on disk"), "{comment}");
    let key = "SELECT string_agg(a.attname, ',') FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
               WHERE i.indisprimary AND i.indrelid = 'vault.secrets'::regclass";
    assert_eq!(cell(db, key).await, "id");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vault_row_is_stamped_when_it_changes_and_leaves_a_tombstone_when_it_goes() {
    let shop = Shop::open("vault-rows").await;
    let db = &shop.owner;
    done(db, "INSERT INTO vault.secrets (name, secret) VALUES ('a', 'sealed'), (NULL, 'sealed'), (NULL, 'sealed')")
        .await;
    assert!(refusal(db, "INSERT INTO vault.secrets (name, secret) VALUES ('a', 'sealed')").await.starts_with("23505"));
    let fresh = "SELECT bool_and(created_at = updated_at AND description = '' AND id IS NOT NULL) FROM vault.secrets";
    assert_eq!(cell(db, fresh).await, "t");

    done(db, "UPDATE vault.secrets SET secret = 'other', updated_at = '1990-01-01' WHERE name = 'a'").await;
    let stamped =
        "SELECT updated_at > created_at AND updated_at > now() - interval '1 hour' FROM vault.secrets WHERE name = 'a'";
    assert_eq!(cell(db, stamped).await, "t", "whatever the writer says");
    // A row that came with a time to come is newer with each change, of whatever column.
    done(db, "INSERT INTO vault.secrets (name, secret, updated_at) VALUES ('ahead', 'sealed', '2099-01-01')").await;
    let ahead =
        "UPDATE vault.secrets SET description = 'what for' WHERE name = 'ahead' RETURNING updated_at > '2099-01-01'";
    assert_eq!(cell(db, ahead).await, "t");
    let id = cell(db, "DELETE FROM vault.secrets WHERE name = 'a' RETURNING id").await;
    let tombstone =
        format!("SELECT name, deleted_at > now() - interval '1 hour' FROM vault_tombstones WHERE id = '{id}'");
    let superuser = shop.superuser().await;
    assert_eq!(rows(&superuser, &tombstone).await, ["a t"]);
    // Deleted and put back under its id, then deleted again: the newest time counts.
    let time = format!("SELECT deleted_at FROM vault_tombstones WHERE id = '{id}'");
    let first = cell(&superuser, &time).await;
    done(db, &format!("INSERT INTO vault.secrets (id, name, secret) VALUES ('{id}', 'b', 'sealed'); DELETE FROM vault.secrets WHERE name = 'b'")).await;
    assert_eq!(rows(&superuser, &tombstone).await, ["b t"]);
    assert_eq!(
        cell(&superuser, &format!("SELECT deleted_at > '{first}' FROM vault_tombstones WHERE id = '{id}'")).await,
        "t"
    );
    let replicated = "SET session_replication_role = replica; UPDATE vault.secrets SET updated_at = '1990-01-01'";
    done(&superuser, replicated).await;
    assert_eq!(cell(db, "SELECT min(updated_at) > '2000-01-01' FROM vault.secrets").await, "t");
    done(&superuser, "DELETE FROM vault.secrets").await;
    assert_eq!(cell(&superuser, "SELECT count(*) FROM vault_tombstones").await, "4");
}

/// What is copied into the audit log has a form that the database checks.
#[tokio::test(flavor = "multi_thread")]
async fn a_value_in_the_place_of_a_hash_or_a_name_is_refused() {
    let shop = Shop::open("forms").await;
    let value = "p@ss w\u{f6}rd";
    for sql in [
        insert("dev", "A", "x", "NULL").replace("'h1:hk:x'", &format!("'{value}'")),
        insert("dev", "A", "x", "NULL").replace("'h1:hk:x'", "'h1:' || 'hk:0123'"),
        format!("INSERT INTO environments (project_id, name) SELECT id, '{value}' FROM projects"),
        format!("INSERT INTO environments (project_id, name, ring) SELECT id, 'fine', '{value}' FROM projects"),
        format!("SELECT create_project('{value}', '')"),
        format!(
            "INSERT INTO project_hash_keys (project_id, hash_key_id, ring, sealed) SELECT id, '{value}', 'default', 'x' FROM projects"
        ),
    ] {
        let why = refusal(&shop.ana, &sql).await;
        assert!(why.starts_with("23514") && !why.contains(value), "{why}: {sql}");
    }
    let why = refusal(&shop.owner, &format!("INSERT INTO users (name) VALUES ('{value}')")).await;
    assert!(why.starts_with("23514"), "{why}");
}
