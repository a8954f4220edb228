//! What each statement of the program reads does not grow with what else there is: keys, environments, tombstones, versions,
//! audit rows, members.

use super::*;

/// What the program says when one key is written or looked at. `{project}`, `{dev}`, `{secret}` and `{position}` are
/// the project, the environment, the row of `API_KEY` there and the end of the audit chain.
const STATEMENTS: &[(&str, &str)] = &[
    ("find the environment", "SELECT * FROM environment_named('shop', 'dev')"),
    ("begin", "SELECT begin_change('shop', 'why')"),
    ("look at the environment", "SELECT ring, audit_position('{project}') FROM environment_of('{project}', '{dev}')"),
    (
        "look at the key",
        "SELECT * FROM secrets_of('{project}', '{dev}', ARRAY['API_KEY']), keys_of('{project}', ARRAY['API_KEY'])",
    ),
    (
        "change",
        "SELECT update_secrets('{project}', '{dev}', ARRAY['{secret}'::uuid], ARRAY['t1:key-of-default:new'], ARRAY['h1:hk:new'],
                               ARRAY[2::bigint], ARRAY[NULL::timestamptz])",
    ),
    (
        "create",
        "SELECT insert_secrets('{project}', '{dev}', ARRAY[gen_random_uuid()], ARRAY['NEW'], ARRAY['t1:key-of-default:new'],
                               ARRAY['h1:hk:new'], ARRAY[NULL::timestamptz])",
    ),
    ("allow", "SELECT allow_key_names('{project}', '{dev}', ARRAY['a b'])"),
    ("confirm", "SELECT confirm_secrets('{project}', '{dev}', ARRAY['API_KEY'], ARRAY[NULL::timestamptz])"),
    ("delete", "SELECT delete_secrets('{project}', '{dev}', ARRAY['API_KEY'])"),
    ("restore", "SELECT restore_secrets('{project}', '{dev}', ARRAY['GONE'])"),
    ("define", "SELECT define_key('{project}', 'API_KEY', 'what for', NULL)"),
    ("retire", "SELECT retire_keys('{project}', ARRAY['API_KEY'])"),
    ("exempt", "SELECT exempt_keys('{project}', '{dev}', ARRAY['GONE'], 'why')"),
    ("what was written", "SELECT count(*) FROM audit_after('{project}', {position} - 1)"),
    ("poll", "SELECT * FROM poll(ARRAY['shop'], ARRAY['dev'])"),
    ("the token of a revision", "SELECT token_of('{project}', 2)"),
    (
        "read what has changed",
        "SELECT * FROM key_rows_of('{project}', '{dev}', keys_changed_after('{project}', {position} - 1))",
    ),
    ("the hashing key of a key", "SELECT * FROM hash_keys_in_use('{project}', ARRAY['API_KEY'])"),
    ("the hashing keys", "SELECT * FROM hash_keys_of('{project}')"),
    ("a value", "SELECT * FROM sealed_values_of('{project}', '{dev}', ARRAY['{secret}'::uuid])"),
    ("a tombstone", "SELECT * FROM tombstones_of('{project}', '{dev}', ARRAY[substring(sha256(uuid_send('{deleted}')), 1, 8)])"),
];

/// Blocks that a statement reads, functions and triggers included; the fewest of several runs, each undone.
async fn blocks(session: &Client, sql: &str) -> u64 {
    let mut fewest = u64::MAX;
    for _ in 0..8 {
        done(session, "BEGIN; SET LOCAL tidelock.reason = 'a test'").await;
        let plan = rows(session, &format!("EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) {sql}")).await;
        done(session, "ROLLBACK").await;
        let plan: serde_json::Value = serde_json::from_str(&plan.join("\n")).unwrap();
        let count = |name: &str| plan[0]["Plan"][name].as_u64().unwrap();
        fewest = fewest.min(count("Shared Hit Blocks") + count("Shared Read Blocks"));
    }
    fewest
}

/// Makes the project a large one, past all triggers.
async fn grow(shop: &Shop) {
    let session = shop.team.superuser_without_triggers().await;
    let hash = hashes::hash_of("n");
    let key = "'t1:key-of-default:' || n";
    for sql in [
        "INSERT INTO users (name) SELECT 'user-' || n FROM generate_series(1, 100) n".to_owned(),
        "INSERT INTO project_members (project_id, user_id, role)
             SELECT p.id, u.id, 'VIEWER' FROM projects p, users u WHERE u.name LIKE 'user-%'"
            .to_owned(),
        "INSERT INTO environments (project_id, name, ring)
             SELECT id, 'more-' || n, 'default' FROM projects, generate_series(1, 30) n"
            .to_owned(),
        "INSERT INTO project_secret_registry (project_id, key_name, last_updated_at)
             SELECT id, 'BULK_' || n, now() FROM projects, generate_series(1, 20000) n"
            .to_owned(),
        format!(
            "INSERT INTO secrets (project_id, environment_id, key, encrypted_value, value_hash)
             SELECT e.project_id, e.id, 'BULK_' || n, {key}, {hash} FROM environments e, generate_series(1, 20000) n
             WHERE e.name IN ('dev', 'staging', 'more-1')"
        ),
        format!(
            "INSERT INTO secrets (project_id, environment_id, key, encrypted_value, value_hash, deleted_at)
             SELECT e.project_id, e.id, 'BULK_' || n, {key}, {hash}, now() FROM environments e, generate_series(1, 20000) n
             WHERE e.name = 'dev'"
        ),
        "INSERT INTO secret_versions (secret_id, version, environment_id, encrypted_value, value_hash, replaced_at)
             SELECT s.id, 1, s.environment_id, s.encrypted_value, s.value_hash, now() FROM secrets s WHERE s.key LIKE 'BULK_%' LIMIT 20000"
            .to_owned(),
        "INSERT INTO revision_log (project_id, revision, token, at)
             SELECT id, -n, gen_random_uuid(), now() FROM projects, generate_series(1, 20000) n"
            .to_owned(),
        "INSERT INTO audit_logs (chain, position, project_id, user_id, login, action, subject, reason, \"timestamp\", link)
             SELECT l.chain, l.position + n, l.project_id, l.user_id, l.login, 'secret.confirm', 'BULK_' || n, '', now(), l.link
             FROM (SELECT * FROM audit_logs WHERE project_id IS NOT NULL ORDER BY position DESC LIMIT 1) l, generate_series(1, 50000) n"
            .to_owned(),
        "UPDATE environments e SET live_secrets = (SELECT count(*) FROM secrets s WHERE s.environment_id = e.id AND s.deleted_at IS NULL)"
            .to_owned(),
    ] {
        done(&session, &sql).await;
    }
    shop.team.enable_triggers().await;
    done(&session, "VACUUM ANALYZE").await;
}

async fn cost_of_each(shop: &Shop) -> Vec<u64> {
    let project = shop.cell("SELECT id FROM projects").await;
    let ids = [
        ("{project}", project.clone()),
        ("{dev}", shop.cell(&format!("SELECT {}", environment("dev"))).await),
        ("{secret}", shop.cell(&format!("SELECT id FROM secrets WHERE {}", live("dev", "API_KEY"))).await),
        (
            "{deleted}",
            shop.cell(&format!(
                "SELECT id FROM secrets WHERE key = 'GONE' AND deleted_at IS NOT NULL AND environment_id = {}",
                environment("dev")
            ))
            .await,
        ),
        ("{position}", shop.cell(&format!("SELECT audit_position('{project}')")).await),
    ];
    let session = shop.another("ana").await;
    let mut costs = Vec::new();
    for (_, sql) in STATEMENTS {
        let sql = ids.iter().fold((*sql).to_owned(), |sql, (name, id)| sql.replace(name, id));
        costs.push(blocks(&session, &sql).await);
    }
    costs
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_key_costs_does_not_depend_on_what_else_there_is() {
    let shop = Shop::with_api_key("cost").await;
    shop.ana(&begun(&insert("dev", "GONE", "one", "NULL"))).await;
    shop.ana(&begun(&format!("UPDATE secrets SET deleted_at = now() WHERE {}", live("dev", "GONE")))).await;
    done(&shop.superuser().await, "VACUUM ANALYZE").await;
    let few = cost_of_each(&shop).await;
    grow(&shop).await;
    let many = cost_of_each(&shop).await;
    let mut too_much = Vec::new();
    for (((what, _), few), many) in STATEMENTS.iter().zip(few).zip(many) {
        println!("{what}: {few} blocks, then {many}");
        // An index that has grown is a level deeper; that is what may be added to a statement that read almost nothing.
        if many > 2 * few + 8 {
            too_much.push(format!("{what}: {few} blocks, then {many}"));
        }
    }
    assert_eq!(too_much, [""; 0]);
}
