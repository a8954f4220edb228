//! What a write does to the states of its key: change, follow, confirm, delete, exempt, retire.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_new_key_is_in_sync_where_it_was_set_and_missing_elsewhere() {
    let shop = Shop::open("new-key").await;
    shop.ana(&begun(&insert("dev", "API_KEY", "one", "NULL"))).await;

    assert_eq!(shop.states("API_KEY").await, "dev=InSync production=Missing staging=Missing");
    let times = "SELECT s.updated_at = r.last_updated_at AND s.created_at = s.updated_at AND s.version = 1
                 FROM secrets s JOIN project_secret_registry r ON r.key_name = s.key";
    assert_eq!(shop.cell(times).await, "t");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_leaves_every_other_environment_stale() {
    let shop = Shop::in_sync("change").await;
    shop.ana(&begun(&update("staging", "API_KEY", "two", "NULL"))).await;

    assert_eq!(shop.states("API_KEY").await, "dev=Stale production=Stale staging=InSync");
    assert_eq!(shop.cell(&format!("SELECT version FROM secrets WHERE {}", live("staging", "API_KEY"))).await, "2");
    let kept = "SELECT version || ' ' || value_hash FROM secret_versions";
    assert_eq!(rows(&shop.ana, kept).await, ["1 h1:hk:one"], "the earlier ciphertext is kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn equal_values_end_a_chain_with_all_in_sync() {
    let shop = Shop::in_sync("chain-equal").await;
    let moved = shop.cell(&format!("SELECT {}", newest("API_KEY"))).await;
    for (place, states) in [
        ("dev", "dev=InSync production=Stale staging=Stale"),
        ("staging", "dev=InSync production=Stale staging=InSync"),
        ("production", ALL_IN_SYNC),
    ] {
        shop.ana(&begun(&update(place, "API_KEY", "two", "NULL"))).await;
        assert_eq!(shop.states("API_KEY").await, states, "after {place}");
    }
    let steps = format!("SELECT {} > '{moved}', count(DISTINCT updated_at) FROM secrets", newest("API_KEY"));
    assert_eq!(rows(&shop.ana, &steps).await, ["t 1"], "the registry's time moved with the first write alone");
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_end_a_chain_of_different_values_with_all_in_sync() {
    let shop = Shop::in_sync("chain-follow").await;
    shop.ana(&begun(&update("dev", "API_KEY", "two", "NULL"))).await;
    let answered = shop.cell(&format!("SELECT {}", newest("API_KEY"))).await;
    shop.ana(&begun(&update("staging", "API_KEY", "two-s", &format!("'{answered}'")))).await;
    shop.ana(&begun(&update("production", "API_KEY", "two-p", &format!("'{answered}'")))).await;

    assert_eq!(shop.states("API_KEY").await, ALL_IN_SYNC);
    assert_eq!(shop.cell(&format!("SELECT {}", newest("API_KEY"))).await, answered, "nobody moved the registry");
    assert_eq!(shop.cell("SELECT count(*) FROM secrets WHERE answers IS NOT NULL").await, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn confirms_end_a_chain_with_all_in_sync_and_keep_ciphertext_and_version() {
    let shop = Shop::in_sync("chain-confirm").await;
    shop.ana(&begun(&update("dev", "API_KEY", "two", "NULL"))).await;
    let stored = "SELECT encrypted_value, version, value_hash FROM secrets WHERE value_hash <> 'h1:hk:two' ORDER BY 1";
    let before = rows(&shop.ana, stored).await;
    // Once by writing the stored value again, once by setting `answers` alone.
    shop.ana(&begun(&update("staging", "API_KEY", "one", "NULL"))).await;
    shop.ana(&begun(&format!(
        "UPDATE secrets SET answers = {} WHERE {}",
        newest("API_KEY"),
        live("production", "API_KEY")
    )))
    .await;

    assert_eq!(shop.states("API_KEY").await, ALL_IN_SYNC);
    assert_eq!(rows(&shop.ana, stored).await, before);
    assert_eq!(shop.cell("SELECT count(*) FROM secret_versions WHERE value_hash <> 'h1:hk:one'").await, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_between_a_look_and_its_follow_leaves_the_follower_stale() {
    let shop = Shop::in_sync("follow-late").await;
    shop.ana(&begun(&update("dev", "API_KEY", "two", "NULL"))).await;
    let look = shop.cell(&format!("SELECT {}", newest("API_KEY"))).await;
    shop.ana(&begun(&update("dev", "API_KEY", "three", "NULL"))).await;

    shop.ana(&begun(&update("staging", "API_KEY", "two", &format!("'{look}'")))).await;
    shop.ana(&begun(&format!("UPDATE secrets SET answers = '{look}' WHERE {}", live("production", "API_KEY")))).await;
    assert_eq!(shop.states("API_KEY").await, "dev=InSync production=Stale staging=Stale");
    assert_eq!(
        shop.cell(&format!("SELECT updated_at FROM secrets WHERE {}", live("staging", "API_KEY"))).await,
        look,
        "it has the time that it answered"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follow_on_an_old_look_does_not_pass_over_a_newer_write_in_its_own_environment() {
    let shop = Shop::in_sync("follow-old").await;
    let look = shop.cell(&format!("SELECT {}", newest("API_KEY"))).await;
    shop.ana(&begun(&update("staging", "API_KEY", "two", "NULL"))).await;

    let why = refusal(&shop.ana, &begun(&update("staging", "API_KEY", "three", &format!("'{look}'")))).await;
    assert!(why.starts_with("TL409"), "{why}");
    assert_eq!(shop.states("API_KEY").await, "dev=Stale production=Stale staging=InSync");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_can_follow_a_time_that_the_key_has_not_had() {
    let shop = Shop::in_sync("follow-future").await;
    shop.ana(&begun(&update("dev", "API_KEY", "two", "NULL"))).await;
    let is_refused = async |sql: &str| {
        let why = refusal(&shop.ana, &begun(sql)).await;
        assert!(why.starts_with("TL422") && why.contains("nothing can follow that"), "{sql}: {why}");
    };
    for answers in ["clock_timestamp() + interval '1 day'", "'infinity'", "'-infinity'"] {
        is_refused(&update("staging", "API_KEY", "three", answers)).await;
    }
    is_refused(&insert("staging", "NEW_KEY", "three", "clock_timestamp()")).await;
    shop.ana(&begun("UPDATE project_secret_registry SET retired_at = now()")).await;
    is_refused(&insert("staging", "API_KEY", "three", &newest("API_KEY"))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_key_is_missing_until_it_is_restored_and_its_deletion_is_a_change() {
    let shop = Shop::in_sync("delete").await;
    let deleted = format!("UPDATE secrets SET deleted_at = now() WHERE {}", live("dev", "API_KEY"));
    shop.ana(&begun(&deleted)).await;
    assert_eq!(shop.states("API_KEY").await, "dev=Missing production=Stale staging=Stale");
    let stamp = format!(
        "SELECT deleted_at = updated_at AND deleted_at = {} FROM secrets WHERE deleted_at IS NOT NULL",
        newest("API_KEY")
    );
    assert_eq!(shop.cell(&stamp).await, "t", "the tombstone has the time of the change");

    let tombstone = format!("environment_id = {} AND key = 'API_KEY' AND deleted_at IS NOT NULL", environment("dev"));
    for other in ["value_hash = 'h1:hk:else'", "encrypted_value = 't1:key-of-default:else'"] {
        let restore_other = format!("UPDATE secrets SET deleted_at = NULL, {other} WHERE {tombstone}");
        let why = refusal(&shop.ana, &begun(&restore_other)).await;
        assert!(why.starts_with("TL422"), "a restore that silently kept the old value would surprise: {why}");
    }
    shop.ana(&begun(&format!("UPDATE secrets SET deleted_at = NULL WHERE {tombstone}"))).await;
    assert_eq!(shop.states("API_KEY").await, "dev=InSync production=Stale staging=Stale");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retired_key_ends_everywhere_and_begins_again_when_it_is_set() {
    let shop = Shop::in_sync("retire").await;
    // The secrets of a deleted environment are retired, too.
    let clone = "INSERT INTO environments (project_id, name) SELECT id, 'old' FROM projects";
    shop.ana(&begun(clone)).await;
    shop.ana(&begun(&insert("old", "API_KEY", "one", "NULL"))).await;
    shop.ana(&begun("UPDATE environments SET deleted_at = now() WHERE name = 'old'")).await;

    shop.ana(&begun("UPDATE project_secret_registry SET retired_at = now() WHERE key_name = 'API_KEY'")).await;
    assert_eq!(shop.cell("SELECT count(*) FROM key_states").await, "0");
    // Key and secrets at one time, which is the key's newest.
    let together = "SELECT bool_and(s.deleted_at = r.retired_at AND s.updated_at = r.last_updated_at) FROM secrets s
        JOIN project_secret_registry r ON r.key_name = s.key WHERE s.key = 'API_KEY'";
    assert_eq!(shop.cell(together).await, "t");
    assert_eq!(shop.cell("SELECT count(*) FROM secrets WHERE deleted_at IS NULL").await, "0");
    assert_eq!(shop.cell("SELECT sum(live_secrets) FROM environments").await, "0");
    for again in ["retired_at = NULL", "retired_at = now()", "description = 'x'", "tracking = 'independent'"] {
        let why = refusal(&shop.ana, &begun(&format!("UPDATE project_secret_registry SET {again}"))).await;
        assert!(why.starts_with("TL422"), "{again}: {why}");
    }

    shop.ana(&begun(&insert("staging", "API_KEY", "new", "NULL"))).await;
    assert_eq!(shop.states("API_KEY").await, "dev=Missing production=Missing staging=InSync");
    assert_eq!(rows(&shop.ana, "SELECT * FROM registry_findings()").await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_independent_key_makes_nobody_stale_but_by_its_definition() {
    let shop = Shop::in_sync("independent").await;
    shop.ana(&begun("UPDATE project_secret_registry SET tracking = 'independent'")).await;
    assert_eq!(shop.states("API_KEY").await, "dev=Stale production=Stale staging=Stale", "its definition changed");
    shop.ana(&begun(&format!("UPDATE secrets SET answers = {}", newest("API_KEY")))).await;
    assert_eq!(shop.states("API_KEY").await, ALL_IN_SYNC);

    let moved = shop.cell(&format!("SELECT {}", newest("API_KEY"))).await;
    shop.ana(&begun(&update("dev", "API_KEY", "a value of dev", "NULL"))).await;
    shop.ana(&begun(&format!("UPDATE secrets SET deleted_at = now() WHERE {}", live("staging", "API_KEY")))).await;
    assert_eq!(shop.states("API_KEY").await, "dev=InSync production=InSync staging=Missing");
    assert_eq!(shop.cell(&format!("SELECT {}", newest("API_KEY"))).await, moved);

    // Back to tracked: the environments have not been compared for a while, so each has to look.
    shop.ana(&begun("UPDATE project_secret_registry SET tracking = 'tracked'")).await;
    assert_eq!(shop.states("API_KEY").await, "dev=Stale production=Stale staging=Missing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_description_makes_every_environment_look_and_the_same_one_none() {
    let shop = Shop::in_sync("description").await;
    shop.ana(&begun("UPDATE project_secret_registry SET description = 'where the API is'")).await;
    assert_eq!(shop.states("API_KEY").await, "dev=Stale production=Stale staging=Stale");

    shop.ana(&begun(&format!("UPDATE secrets SET answers = {}", newest("API_KEY")))).await;
    shop.ana(&begun("UPDATE project_secret_registry SET description = description, tracking = tracking")).await;
    assert_eq!(shop.states("API_KEY").await, ALL_IN_SYNC);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exempt_environment_misses_nothing() {
    let shop = Shop::open("exempt").await;
    shop.ana(&begun(&insert("dev", "API_KEY", "one", "NULL"))).await;
    let exempt = format!(
        "INSERT INTO key_exemptions (project_id, environment_id, key_name, reason)
         SELECT id, {}, 'API_KEY', 'no API there' FROM projects",
        environment("staging")
    );
    shop.ana(&begun(&exempt)).await;
    assert_eq!(shop.states("API_KEY").await, "dev=InSync production=Missing staging=Exempt");

    shop.ana(&begun(&insert("staging", "API_KEY", "two", "NULL"))).await;
    shop.ana(&begun(&update("dev", "API_KEY", "three", "NULL"))).await;
    assert_eq!(
        shop.states("API_KEY").await,
        "dev=InSync production=Missing staging=Stale",
        "it has the key all the same"
    );
    shop.ana(&begun(&format!("UPDATE secrets SET deleted_at = now() WHERE {}", live("staging", "API_KEY")))).await;

    shop.ana(&begun("SELECT unexempt_keys(project_id, environment_id, ARRAY[key_name]) FROM key_exemptions")).await;
    assert_eq!(shop.states("API_KEY").await, "dev=Stale production=Missing staging=Missing");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_statement_writes_equal_values_to_several_environments_or_none() {
    let shop = Shop::in_sync("one-statement").await;
    let both = |dev: &str, staging: &str| {
        format!(
            "UPDATE secrets SET encrypted_value = 't1:key-of-default:' || gen_random_uuid(), value_hash = CASE environment_id
                 WHEN {} THEN '{dev}' ELSE '{staging}' END WHERE environment_id <> {}",
            environment("dev"),
            environment("production")
        )
    };
    let tables = shop.tables_as_ana().await;
    let why = refusal(&tables, &begun(&both("h1:hk:two", "h1:hk:three"))).await;
    assert!(why.starts_with("TL422"), "{why}");
    assert_eq!(shop.states("API_KEY").await, ALL_IN_SYNC, "nothing of it happened");

    done(&tables, &begun(&both("h1:hk:two", "h1:hk:two"))).await;
    assert_eq!(shop.states("API_KEY").await, "dev=InSync production=Stale staging=InSync");

    // A view is written row by row: each row is newer than the one before it.
    shop.ana(&begun(&both("h1:hk:three", "h1:hk:four"))).await;
    assert_one_newest(&shop).await;
}

async fn assert_one_newest(shop: &Shop) {
    let states = shop.states("API_KEY").await;
    assert_eq!(states.matches("InSync").count(), 1, "{states}");
}

/// Where a row is there already it is updated, else inserted, and the trigger sees these as two sets of rows.
#[tokio::test(flavor = "multi_thread")]
async fn inserts_and_updates_of_one_statement_are_compared_with_each_other() {
    let shop = Shop::open("upsert").await;
    shop.ana(&begun(&insert("dev", "API_KEY", "one", "NULL"))).await;
    let tables = shop.tables_as_ana().await;
    let values = |dev: &str, staging: &str| {
        format!(
            "SELECT project_id, id, 'API_KEY' AS key, 't1:key-of-default:' || gen_random_uuid() AS sealed,
                    CASE name WHEN 'dev' THEN '{dev}' ELSE '{staging}' END AS hash FROM environments WHERE NOT is_production"
        )
    };
    let upsert = |dev: &str, staging: &str| {
        format!(
            "INSERT INTO secrets (project_id, environment_id, key, encrypted_value, value_hash) {}
             ON CONFLICT (environment_id, key) WHERE deleted_at IS NULL
             DO UPDATE SET encrypted_value = EXCLUDED.encrypted_value, value_hash = EXCLUDED.value_hash",
            values(dev, staging)
        )
    };
    let merge = |dev: &str, staging: &str| {
        format!(
            "MERGE INTO secrets s USING ({}) n ON s.environment_id = n.id AND s.key = n.key AND s.deleted_at IS NULL
             WHEN MATCHED THEN UPDATE SET encrypted_value = n.sealed, value_hash = n.hash
             WHEN NOT MATCHED THEN INSERT (project_id, environment_id, key, encrypted_value, value_hash)
                 VALUES (n.project_id, n.id, n.key, n.sealed, n.hash)",
            values(dev, staging)
        )
    };
    for write in [upsert("h1:hk:two", "h1:hk:three"), merge("h1:hk:two", "h1:hk:three")] {
        let why = refusal(&tables, &begun(&write)).await;
        assert!(why.starts_with("TL422") && why.contains("at one instant"), "{why}");
        assert_eq!(shop.states("API_KEY").await, "dev=InSync production=Missing staging=Missing");
        // Whoever may only use the views cannot say it at all, or says it row by row.
        match run(&shop.ana, &begun(&write)).await {
            Ok(_) => assert_one_newest(&shop).await,
            Err(_) => {
                done(&shop.ana, "ROLLBACK").await;
            }
        }
    }
    done(&tables, &begun(&upsert("h1:hk:two", "h1:hk:two"))).await;
    assert_eq!(shop.states("API_KEY").await, "dev=InSync production=Missing staging=InSync");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_equal_value_in_a_deleted_environment_is_not_followed() {
    let shop = Shop::open("deleted-twin").await;
    shop.ana(&begun(&insert("staging", "API_KEY", "one", "NULL"))).await;
    shop.ana(&begun(&insert("dev", "API_KEY", "two", "NULL"))).await;
    shop.ana(&begun("UPDATE environments SET deleted_at = now() WHERE name = 'dev'")).await;
    assert_eq!(shop.states("API_KEY").await, "production=Missing staging=Stale");

    let before = shop.cell(&format!("SELECT {}", newest("API_KEY"))).await;
    shop.ana(&begun(&update("staging", "API_KEY", "two", "NULL"))).await;
    assert_eq!(shop.states("API_KEY").await, "production=Missing staging=InSync");
    assert_ne!(shop.cell(&format!("SELECT {}", newest("API_KEY"))).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_keeps_what_its_ciphertext_is_bound_to() {
    let shop = Shop::in_sync("bound").await;
    for (column, value) in [("encrypted_value", "'t1:key-of-default:other'"), ("value_hash", "'h1:hk:other'")] {
        // The other half is missing: a value and its hash change together, or it is a confirm of the stored one.
        let half = format!("UPDATE secrets SET {column} = {value} WHERE {}", live("dev", "API_KEY"));
        if column == "value_hash" {
            let why = refusal(&shop.ana, &begun(&half)).await;
            assert!(why.starts_with("TL422"), "{why}");
        } else {
            shop.ana(&begun(&half)).await;
            let stored = format!("SELECT encrypted_value FROM secrets WHERE {}", live("dev", "API_KEY"));
            assert_ne!(shop.cell(&stored).await, "t1:key-of-default:other");
        }
    }
    let skipping = update("dev", "API_KEY", "two", "NULL").replace("SET ", "SET version = 7, ");
    let why = refusal(&shop.ana, &begun(&skipping)).await;
    assert!(why.starts_with("TL409"), "{why}");
    for column in ["id", "project_id", "environment_id", "key", "created_at"] {
        let why = refusal(&shop.ana, &begun(&format!("UPDATE secrets SET {column} = {column}"))).await;
        assert!(is_forbidden(&why), "{column}: {why}");
    }
    // Neither may a superuser, to whom grants do not apply.
    let superuser = shop.superuser().await;
    done(&superuser, "SET tidelock.acting_user = 'ana'").await;
    for other in ["id = gen_random_uuid()", "environment_id = gen_random_uuid()", "key = 'ELSE'", "created_at = now()"]
    {
        let why = refusal(&superuser, &format!("UPDATE secrets SET {other} WHERE {}", live("dev", "API_KEY"))).await;
        assert!(why.starts_with("TL422"), "{other}: {why}");
    }
    let seventh = insert("dev", "OTHER", "one", "NULL")
        .replace(", answers)", ", answers, version)")
        .replace(", NULL FROM", ", NULL, 7 FROM");
    let why = refusal(&shop.ana, &begun(&seventh)).await;
    assert!(why.starts_with("TL422"), "versions count from 1: {why}");
}
