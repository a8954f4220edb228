//! The audit log: a row for each mutation, chained, without a value.

use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::*;

const LOG: &str = "SELECT action, coalesce(subject, ''), coalesce(old_value_hash, ''), coalesce(new_value_hash, '')
                   FROM audit_logs ORDER BY position";

/// A row as the documentation of the chain has it, with its fields in order.
struct Entry {
    chain: Uuid,
    position: i64,
    fields: Vec<Option<Vec<u8>>>,
    link: Vec<u8>,
}

/// SHA-256 over the byte 1, the previous link, and each field behind its length: docs/registry.md, written down again.
fn link(previous: &[u8], entry: &Entry) -> Vec<u8> {
    let mut hash = Sha256::new();
    hash.update([1]);
    hash.update(previous);
    for field in &entry.fields {
        match field {
            None => hash.update((-1_i32).to_be_bytes()),
            Some(bytes) => {
                hash.update(i32::try_from(bytes.len()).unwrap().to_be_bytes());
                hash.update(bytes);
            }
        }
    }
    hash.finalize().to_vec()
}

async fn entries(session: &Client) -> Vec<Entry> {
    let sql = "SELECT chain, position, project_id, environment_id, user_id, login, action, subject, old_value_hash,
                   new_value_hash, reason, revision, (extract(epoch FROM \"timestamp\") * 1000000)::bigint, link
               FROM audit_logs ORDER BY chain, position";
    let uuid = |id: Uuid| Some(id.as_bytes().to_vec());
    let number = |number: i64| Some(number.to_be_bytes().to_vec());
    session
        .query(sql, &[])
        .await
        .unwrap()
        .into_iter()
        .map(|row| Entry {
            chain: row.get(0),
            position: row.get(1),
            fields: vec![
                uuid(row.get(0)),
                number(row.get(1)),
                row.get::<_, Option<Uuid>>(2).and_then(uuid),
                row.get::<_, Option<Uuid>>(3).and_then(uuid),
                uuid(row.get(4)),
                row.get::<_, Option<String>>(5).map(String::into_bytes),
                row.get::<_, Option<String>>(6).map(String::into_bytes),
                row.get::<_, Option<String>>(7).map(String::into_bytes),
                row.get::<_, Option<String>>(8).map(String::into_bytes),
                row.get::<_, Option<String>>(9).map(String::into_bytes),
                row.get::<_, Option<String>>(10).map(String::into_bytes),
                row.get::<_, Option<i64>>(11).and_then(number),
                number(row.get(12)),
            ],
            link: row.get(13),
        })
        .collect()
}

/// Every chain whole: positions from 1 without a gap, each link over the one before. Answers how many chains there are.
pub(crate) async fn verify(session: &Client) -> usize {
    chains(session).await.unwrap_or_else(|why| panic!("{why}"))
}

/// As [`verify`]; or what is wrong, and where.
pub(super) async fn chains(session: &Client) -> Result<usize, String> {
    let entries = entries(session).await;
    let mut chains = 0;
    let (mut previous, mut place) = (vec![0; 32], (Uuid::max(), 0));
    for entry in &entries {
        if entry.chain != place.0 {
            (previous, place) = (vec![0; 32], (entry.chain, 0));
            chains += 1;
        }
        let at = format!("position {} of {}", entry.position, entry.chain);
        if entry.position != place.1 + 1 {
            return Err(format!("a gap or a fork at {at}"));
        }
        if link(&previous, entry) != entry.link && !is_purged(entry, &entries) {
            return Err(format!("another link at {at}"));
        }
        (previous, place.1) = (entry.link.clone(), entry.position);
    }
    Ok(chains)
}

/// Whether the row has lost its key's name to a purge that the chain tells of, and nothing else: docs/registry.md, written down again.
fn is_purged(entry: &Entry, entries: &[Entry]) -> bool {
    let of_name = |other: &&Entry| other.chain == entry.chain && other.fields[SUBJECT] == entry.fields[SUBJECT];
    let is_purge = |other: &&Entry| other.fields[ACTION].as_deref() == Some(&b"key.purge-name"[..]);
    let mut left = Sha256::new();
    for row in entries.iter().filter(of_name).filter(|other| !is_purge(other)) {
        left.update(link(&row.link, row));
    }
    let left = hex::encode(left.finalize()).into_bytes();
    entries
        .iter()
        .filter(of_name)
        .filter(is_purge)
        .any(|purge| purge.position > entry.position && purge.fields[NEW_VALUE_HASH].as_ref() == Some(&left))
}

/// Places of fields in an [`Entry`].
const ACTION: usize = 6;
const SUBJECT: usize = 7;
const NEW_VALUE_HASH: usize = 9;

#[tokio::test(flavor = "multi_thread")]
async fn each_mutation_has_one_row_that_says_what_it_was() {
    let shop = Shop::open("audit-rows").await;
    let before: usize = shop.cell("SELECT count(*) FROM audit_logs").await.parse().unwrap();
    let tombstone = "WHERE deleted_at IS NOT NULL AND environment_id <> all(ARRAY(SELECT id FROM environments WHERE deleted_at IS NOT NULL))";
    let bob = "(SELECT id FROM users WHERE name = 'bob')";
    let exempt = format!(
        "INSERT INTO key_exemptions (project_id, environment_id, key_name, reason) SELECT id, {}, 'API_KEY', 'none' FROM projects",
        environment("production")
    );
    let steps: &[(&str, String, &str)] = &[
        ("create", insert("dev", "API_KEY", "one", "NULL"), "secret.create API_KEY  h1:hk:one"),
        ("follow", insert("staging", "API_KEY", "one", "NULL"), "secret.follow API_KEY  h1:hk:one"),
        ("update", update("dev", "API_KEY", "two", "NULL"), "secret.update API_KEY h1:hk:one h1:hk:two"),
        ("answer", update("staging", "API_KEY", "own", &newest("API_KEY")), "secret.follow API_KEY h1:hk:one h1:hk:own"),
        ("confirm", update("staging", "API_KEY", "own", "NULL"), "secret.confirm API_KEY h1:hk:own h1:hk:own"),
        ("delete", format!("UPDATE secrets SET deleted_at = now() WHERE {}", live("dev", "API_KEY")), "secret.delete API_KEY h1:hk:two "),
        ("restore", format!("UPDATE secrets SET deleted_at = NULL {tombstone}"), "secret.restore API_KEY  h1:hk:two"),
        ("exempt", exempt, "key.exempt API_KEY  "),
        ("unexempt", "SELECT unexempt_keys(project_id, environment_id, ARRAY[key_name]) FROM key_exemptions".to_owned(), "key.unexempt API_KEY  "),
        ("define", "UPDATE project_secret_registry SET description = 'x'".to_owned(), "key.define API_KEY  "),
        (
            "environment",
            "INSERT INTO environments (project_id, name) SELECT id, 'qa' FROM projects".to_owned(),
            "environment.create qa on ring default  ",
        ),
        ("gone", "UPDATE environments SET deleted_at = now() WHERE name = 'qa'".to_owned(), "environment.delete qa on ring default  "),
        ("back", "UPDATE environments SET deleted_at = NULL WHERE name = 'qa'".to_owned(), "environment.restore qa on ring default  "),
        ("member", format!("UPDATE project_members SET read_only = true WHERE user_id = {bob}"), "member.update bob DEVELOPER read-only  "),
        ("removal", format!("SELECT remove_member(project_id, user_id) FROM project_members WHERE user_id = {bob}"), "member.remove bob DEVELOPER read-only  "),
        (
            "hashing key",
            "INSERT INTO project_hash_keys (project_id, hash_key_id, ring, sealed) SELECT id, 'hk', 'default', 'sealed' FROM projects".to_owned(),
            "hashkey.add hk on ring default  ",
        ),
    ];
    for (n, (what, sql, row)) in steps.iter().enumerate() {
        assert_eq!(done(&shop.ana, &format!("SELECT begin_change('shop', 'step {what}'); {sql}")).await, 1, "{what}");
        let log = rows(&shop.ana, LOG).await;
        assert_eq!(log.len(), before + n + 1, "{what}: exactly one row");
        assert_eq!(log.last().map(String::as_str), Some(*row), "{what}");
        let who = "SELECT l.reason, u.name, l.login, l.revision = r.revision FROM audit_logs l JOIN users u ON u.id = l.user_id
                   JOIN project_revisions r USING (project_id) ORDER BY position DESC LIMIT 1";
        assert_eq!(rows(&shop.ana, who).await, [format!("step {what} ana {} t", shop.login("ana").role)]);
    }
    shop.ana(&begun("UPDATE project_secret_registry SET retired_at = now()")).await;
    let mut log = rows(&shop.ana, LOG).await.split_off(before + steps.len());
    log.sort();
    assert_eq!(log, ["key.retire API_KEY  ", "secret.delete API_KEY h1:hk:own ", "secret.delete API_KEY h1:hk:two "]);
    assert_eq!(verify(&shop.superuser().await).await, 2, "the project's chain, and the system's for its users");

    shop.ana("SELECT archive_project('shop', 'done')").await;
    assert_eq!(rows(&shop.ana, LOG).await.last().map(String::as_str), Some("project.archive shop  "));
    assert!(refusal(&shop.ana, &insert("dev", "LATE", "one", "NULL")).await.starts_with("TL403"));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_ciphertext_is_anywhere_in_the_log() {
    let shop = Shop::open("audit-values").await;
    let canary = "t1:key-of-default:canary-canary-canary";
    shop.ana(&begun(
        &insert("dev", "API_KEY", "one", "NULL")
            .replace("'t1:key-of-default:' || gen_random_uuid()", &format!("'{canary}'")),
    ))
    .await;
    shop.ana(&begun(&update("dev", "API_KEY", "two", "NULL"))).await;
    shop.ana(&begun(&format!("UPDATE secrets SET deleted_at = now() WHERE {}", live("dev", "API_KEY")))).await;
    let superuser = shop.superuser().await;
    assert_eq!(
        cell(&superuser, &format!("SELECT count(*) FROM secret_versions WHERE encrypted_value = '{canary}'")).await,
        "1"
    );
    for row in rows(&superuser, "SELECT audit_logs::text FROM audit_logs").await {
        assert!(!row.contains("canary") && !row.contains("t1:"), "{row}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_the_log_are_not_changed_and_the_database_says_who_and_when() {
    let shop = Shop::open("audit-append").await;
    let superuser = shop.superuser().await;
    for sql in [
        "UPDATE audit_logs SET reason = 'other'",
        "DELETE FROM audit_logs",
        "TRUNCATE audit_logs",
        "UPDATE revision_log SET at = now()",
    ] {
        assert!(is_forbidden(&refusal(&shop.ana, sql).await), "{sql}");
        for preamble in ["", "SET LOCAL session_replication_role = replica; "] {
            let why = refusal(&superuser, &format!("{preamble}{sql}")).await;
            assert!(why.starts_with("TL403"), "{sql}: {why}");
        }
    }
    // Even a superuser's insert does not choose the user, the time or the place in the chain.
    let forged = "INSERT INTO audit_logs (chain, position, project_id, user_id, login, action, reason, revision, \"timestamp\", link)
                  SELECT gen_random_uuid(), 900, p.id, u.id, 'somebody', 'secret.read', 'forged', 7, '1990-01-01', sha256('')
                  FROM projects p, users u WHERE u.name = 'bob'";
    done(&superuser, &format!("SET tidelock.acting_user = 'ana'; {forged}")).await;
    let last = "SELECT u.name, l.login, l.reason, l.timestamp > now() - interval '1 hour' FROM audit_logs l JOIN users u ON u.id = l.user_id
                WHERE action = 'secret.read'";
    assert_eq!(rows(&shop.ana, last).await, ["ana harness  t"]);
    verify(&superuser).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hashes_of_production_are_for_those_who_may_read_production() {
    let shop = Shop::open("audit-production").await;
    shop.ana(&begun(&insert("production", "API_KEY", "secret-of-production", "NULL"))).await;
    shop.ana(&begun(&insert("dev", "API_KEY", "of-dev", "NULL"))).await;
    let hashes = "SELECT new_value_hash FROM audit_logs WHERE new_value_hash IS NOT NULL ORDER BY position";
    assert_eq!(rows(&shop.ana, hashes).await, ["h1:hk:secret-of-production", "h1:hk:of-dev"]);
    for session in [&shop.bob, &shop.vic] {
        assert_eq!(rows(session, hashes).await, ["h1:hk:of-dev"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_at_once_never_fork_a_chain() {
    let shop = Shop::open("audit-fork").await;
    for n in 0..8 {
        shop.ana(&begun(&insert("dev", &format!("KEY_{n}"), "0", "NULL"))).await;
    }
    let mut writers = tokio::task::JoinSet::new();
    for n in 0..8 {
        let (session, owner) = (shop.another("ana").await, shop.team.database.owner.session().await);
        writers.spawn(async move {
            // Half of them in transactions that look at one snapshot: these fail rather than write beside somebody else.
            let level = if n % 2 == 0 { "READ COMMITTED" } else { "REPEATABLE READ" };
            let mut written = 0;
            for round in 1..=25 {
                let sql = format!(
                    "BEGIN ISOLATION LEVEL {level}; {}; COMMIT",
                    update("dev", &format!("KEY_{n}"), &format!("{round}"), "NULL")
                );
                match run(&session, &sql).await {
                    Ok(_) => written += 1,
                    Err(why) => {
                        assert_eq!(why.code(), Some(&SqlState::T_R_SERIALIZATION_FAILURE), "{why:?}");
                        assert_eq!(level, "REPEATABLE READ");
                        done(&session, "ROLLBACK").await;
                    }
                }
                done(&owner, &format!("INSERT INTO users (name) VALUES ('user-{n}-{round}')")).await;
            }
            written
        });
    }
    let mut written = 0;
    while let Some(count) = writers.join_next().await {
        written += count.unwrap();
    }
    let superuser = shop.superuser().await;
    assert_eq!(verify(&superuser).await, 2);
    assert_eq!(shop.cell("SELECT count(*) FROM audit_logs WHERE action = 'secret.update'").await, written.to_string());
    assert_eq!(cell(&superuser, "SELECT count(*) FROM audit_logs WHERE subject LIKE 'user-%'").await, "200");
}

/// The form must not change: seals are made over it. Computed once, by hand, with Python's hashlib.
#[tokio::test(flavor = "multi_thread")]
async fn the_form_of_a_link_is_what_it_was() {
    let shop = Shop::open("audit-vector").await;
    let row = "ROW('11111111-1111-4111-8111-111111111111', 7, '11111111-1111-4111-8111-111111111111', {environment},
                   '22222222-2222-4222-8222-222222222222', 'ana', 'secret.update', {subject}, {old}, 'h1:' || 'hk:zwei', 'weil schön', {revision},
                   '2026-11-23 12:34:56.789012+01', '\\x00')::audit_logs";
    let link = |previous: &str, [environment, subject, old, revision]: [&str; 4]| {
        let row = row
            .replace("{environment}", environment)
            .replace("{subject}", subject)
            .replace("{old}", old)
            .replace("{revision}", revision);
        format!("SELECT encode(audit_link(decode(repeat('{previous}', 32), 'hex'), {row}), 'hex')")
    };
    let full = ["'33333333-3333-4333-8333-333333333333'", "'API_KEY'", "'h1:' || 'hk:eins'", "42"];
    let session = shop.superuser().await;
    for zone in ["UTC", "Asia/Kathmandu"] {
        done(&session, &format!("SET timezone = '{zone}'")).await;
        assert_eq!(cell(&session, &link("00", full)).await, FULL, "{zone}");
        assert_eq!(cell(&session, &link("ab", ["NULL", "NULL", "NULL", "NULL"])).await, SPARSE, "{zone}");
        assert_ne!(cell(&session, &link("ab", ["NULL", "''", "NULL", "NULL"])).await, SPARSE, "empty is not NULL");
    }
}

const FULL: &str = "a0c22b19acbc2232fe98ef890484db6ede5a05e02cc9b389f5d5f3949cdcb312";
const SPARSE: &str = "8debfdf9b29629f6cb130f7ee82c1c82198530a0183cd5ce3a612301444ef2af";
