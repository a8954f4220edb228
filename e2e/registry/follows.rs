//! What is a follow and what is not, where the two are easily mistaken.

use super::*;

async fn newest_of(shop: &Shop) -> String {
    shop.cell(&format!("SELECT {}", newest("API_KEY"))).await
}

fn delete(place: &str) -> String {
    format!("UPDATE secrets SET deleted_at = now() WHERE {}", live(place, "API_KEY"))
}

fn restore(place: &str) -> String {
    format!("UPDATE secrets SET deleted_at = NULL WHERE environment_id = {}", environment(place))
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_in_sync_makes_others_look_also_by_a_value_that_they_have() {
    let shop = Shop::in_sync("in-sync-equal").await;
    shop.ana(&begun(&update("production", "API_KEY", "one", "NULL"))).await;
    assert_eq!(shop.states("API_KEY").await, "dev=Stale production=InSync staging=Stale");
    let why = refusal(&shop.ana, &begun(&update("production", "API_KEY", "two", &newest("API_KEY")))).await;
    assert!(why.starts_with("TL422") && why.contains("in sync here"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_only_somebody_stale_or_deleted_has_is_a_change() {
    let shop = Shop::in_sync("stale-twin").await;
    shop.ana(&begun(&update("dev", "API_KEY", "two", "NULL"))).await;
    shop.ana(&begun(&update("staging", "API_KEY", "own", "NULL"))).await;
    assert_eq!(shop.states("API_KEY").await, "dev=Stale production=Stale staging=InSync", "as production has it");

    shop.ana(&begun(&delete("staging"))).await;
    let deleted = newest_of(&shop).await;
    shop.ana(&begun(&update("dev", "API_KEY", "own", "NULL"))).await;
    assert_ne!(newest_of(&shop).await, deleted, "as it was in staging when that was deleted");
    assert_eq!(shop.states("API_KEY").await, "dev=InSync production=Stale staging=Missing");
}

#[tokio::test(flavor = "multi_thread")]
async fn to_restore_what_others_have_by_now_only_catches_up() {
    let shop = Shop::in_sync("restore-follow").await;
    shop.ana(&begun(&delete("dev"))).await;
    shop.ana(&begun(&update("production", "API_KEY", "one", "NULL"))).await;
    let before = newest_of(&shop).await;
    shop.ana(&begun(&restore("dev"))).await;
    assert_eq!(newest_of(&shop).await, before);
    assert_eq!(shop.states("API_KEY").await, "dev=InSync production=InSync staging=Stale");

    // Or the time that the writer sets in `answers`.
    shop.ana(&begun(&delete("dev"))).await;
    let answered = newest_of(&shop).await;
    shop.ana(&begun(&restore("dev").replace("NULL", &format!("NULL, answers = '{answered}'")))).await;
    assert_eq!(newest_of(&shop).await, answered);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_confirm_of_an_old_look_takes_nothing_back() {
    let shop = Shop::in_sync("confirm-old").await;
    let look = newest_of(&shop).await;
    shop.ana(&begun(&update("dev", "API_KEY", "two", "NULL"))).await;
    let confirm = |place: &str| format!("UPDATE secrets SET answers = '{look}' WHERE {}", live(place, "API_KEY"));
    for place in ["dev", "staging"] {
        shop.ana(&begun(&confirm(place))).await;
    }
    assert_eq!(shop.states("API_KEY").await, "dev=InSync production=Stale staging=Stale");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_deleted_or_restored_keeps_its_value_and_version() {
    let shop = Shop::in_sync("kept-value").await;
    let stored = format!(
        "SELECT encrypted_value, value_hash, version FROM secrets WHERE environment_id = {}",
        environment("dev")
    );
    let before = rows(&shop.ana, &stored).await;
    let with_another = delete("dev").replace("SET ", "SET encrypted_value = 't1:key-of-default:x', value_hash = 'x', ");
    shop.ana(&begun(&with_another)).await;
    assert_eq!(rows(&shop.ana, &stored).await, before);
    let why = refusal(&shop.ana, &begun(&restore("dev").replace("NULL", "NULL, version = 2"))).await;
    assert!(why.starts_with("TL422"), "{why}");
    let again = refusal(&shop.ana, &begun(&restore("dev").replace("NULL", "now()"))).await;
    assert!(again.starts_with("TL422"), "{again}");

    let born_dead = insert("dev", "OTHER", "one", "NULL")
        .replace(", answers)", ", answers, deleted_at)")
        .replace(", NULL FROM", ", NULL, now() FROM");
    let why = refusal(&shop.ana, &begun(&born_dead)).await;
    assert!(why.starts_with("TL422"), "a tombstone of what never was: {why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_key_is_torn_too_and_an_independent_one_never() {
    let shop = Shop::open("torn").await;
    let both = |key: &str, values: &str| {
        format!(
            "INSERT INTO secrets (project_id, environment_id, key, encrypted_value, value_hash)
             SELECT project_id, id, '{key}', 't1:key-of-default:' || name, {values} FROM environments WHERE NOT is_production"
        )
    };
    let tables = shop.tables_as_ana().await;
    let why = refusal(&tables, &begun(&both("NEW", &hashes::hash_of("name")))).await;
    assert!(why.starts_with("TL422"), "{why}");
    done(&tables, &begun(&both("NEW", "'h1:hk:one'"))).await;
    assert_eq!(shop.states("NEW").await, "dev=InSync production=Missing staging=InSync");

    shop.ana(&begun("UPDATE project_secret_registry SET tracking = 'independent'")).await;
    let changed = format!(
        "UPDATE secrets SET encrypted_value = encrypted_value || 'x', value_hash = {}",
        hashes::hash_of("environment_id")
    );
    assert_eq!(done(&shop.ana, &begun(&changed)).await, 2, "values of their own are what it is for");

    // Retired and set again, it is a key again.
    shop.ana(&begun("UPDATE project_secret_registry SET retired_at = now()")).await;
    assert_eq!(shop.states("NEW").await, "");
    shop.ana(&begun(&insert("dev", "NEW", "again", "NULL"))).await;
    assert_eq!(shop.states("NEW").await, "dev=InSync production=Missing staging=Missing");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_independent_key_may_be_followed_though_nobody_is_behind() {
    let shop = Shop::in_sync("independent-follow").await;
    shop.ana(&begun("UPDATE project_secret_registry SET tracking = 'independent'")).await;
    shop.ana(&begun(&format!("UPDATE secrets SET answers = {}", newest("API_KEY")))).await;
    shop.ana(&begun(&update("dev", "API_KEY", "a value of dev", &newest("API_KEY")))).await;
    assert_eq!(shop.states("API_KEY").await, "dev=InSync production=InSync staging=InSync");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_the_same_name_in_another_project_is_another_key() {
    let shop = Shop::in_sync("two-projects").await;
    shop.ana("SELECT create_project('annex', '')").await;
    shop.ana(
        "SELECT begin_change('annex', '');
         INSERT INTO environments (project_id, name) SELECT id, 'abroad' FROM projects WHERE name = 'annex';
         INSERT INTO secrets (project_id, environment_id, key, encrypted_value, value_hash)
             SELECT project_id, id, 'API_KEY', 't1:key-of-default:x', 'h1:hk:abroad' FROM environments WHERE name = 'abroad'",
    )
    .await;
    let look =
        "SELECT p.name, r.revision, k.last_updated_at FROM projects p JOIN project_revisions r ON r.project_id = p.id
                JOIN project_secret_registry k ON k.project_id = p.id ORDER BY 1";
    let [annex, _] = rows(&shop.ana, look).await.try_into().unwrap();
    shop.ana(&begun(&update("dev", "API_KEY", "two", "NULL"))).await;
    assert_eq!(rows(&shop.ana, look).await[0], annex, "a change in one is none in the other");
    assert_eq!(shop.states("API_KEY").await, "abroad=InSync dev=InSync production=Stale staging=Stale");

    // One statement over both is one change in each.
    let of = "SELECT revision FROM project_revisions ORDER BY project_id";
    let before: Vec<i64> = rows(&shop.ana, of).await.iter().map(|row| row.parse().unwrap()).collect();
    let all = "UPDATE secrets SET encrypted_value = 't1:key-of-default:' || id, value_hash = 'h1:hk:three'
               WHERE environment_id NOT IN (SELECT id FROM environments WHERE is_production)";
    assert_eq!(done(&shop.ana, all).await, 3);
    let after: Vec<i64> = rows(&shop.ana, of).await.iter().map(|row| row.parse().unwrap()).collect();
    assert_eq!(after, before.iter().map(|revision| revision + 1).collect::<Vec<_>>());
    let audited = "SELECT p.name, count(*) FROM audit_logs a JOIN projects p ON p.id = a.project_id
                   WHERE new_value_hash = 'h1:hk:three' GROUP BY 1 ORDER BY 1";
    assert_eq!(rows(&shop.ana, audited).await, ["annex 1", "shop 2"]);
    assert_eq!(rows(&shop.ana, "SELECT * FROM registry_findings()").await, [""; 0]);
}
