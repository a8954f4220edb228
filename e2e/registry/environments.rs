//! Environments and their members over time, and what finds damage.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn an_environment_that_has_held_secrets_stays_what_it_is_and_its_name_is_free_once_it_is_deleted() {
    let shop = Shop::open("environment-life").await;
    shop.ana(&begun("UPDATE environments SET ring = 'eu' WHERE name = 'staging'")).await;
    shop.ana(&begun(&insert("dev", "A", "one", "NULL"))).await;
    shop.ana(&begun(&format!("UPDATE secrets SET deleted_at = now() WHERE {}", live("dev", "A")))).await;
    for change in ["ring = 'eu'", "is_production = true"] {
        let why = refusal(
            &shop.ana,
            &begun(&format!(
                "UPDATE environments SET deleted_at = now() WHERE name = 'production';
                 UPDATE environments SET {change} WHERE name = 'dev'"
            )),
        )
        .await;
        assert!(why.starts_with("TL403") && why.contains("has held secrets"), "{change}: {why}");
    }
    let deleted = "SELECT deleted_at FROM environments WHERE name = 'dev' AND deleted_at IS NOT NULL";
    shop.ana(&begun("UPDATE environments SET deleted_at = now() WHERE name = 'dev'")).await;
    let at = shop.cell(deleted).await;
    let step = "SELECT changed_at FROM project_revisions";
    assert_eq!(shop.cell(step).await, at, "it went with a step of the project");
    let why = refusal(&shop.ana, &begun(&insert("dev", "B", "one", "NULL"))).await;
    assert!(why.starts_with("TL403") && why.contains("environment is deleted"), "{why}");
    shop.ana(&begun("UPDATE environments SET deleted_at = now() WHERE name = 'dev'")).await;
    assert_eq!(shop.cell(deleted).await, at, "a tombstone keeps its time");
    let again = "INSERT INTO environments (project_id, name) SELECT id, 'dev' FROM projects";
    shop.ana(&begun(again)).await;
    assert!(refusal(&shop.ana, &begun(again)).await.starts_with("23505"));
    assert_eq!(shop.cell("SELECT count(*) FROM environments WHERE name = 'dev'").await, "2");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_is_not_sealed_by_us_names_no_encryption_key() {
    let shop = Shop::open("unsealed").await;
    let bare = insert("dev", "A", "one", "NULL").replace("'t1:key-of-default:' || gen_random_uuid()", "'theirs'");
    shop.ana(&begun(&bare)).await;
    let key = "INSERT INTO project_hash_keys (project_id, hash_key_id, ring, sealed)
               SELECT id, 'hk', 'default', 'theirs' FROM projects";
    shop.ana(&begun(key)).await;
    assert_eq!(shop.cell("SELECT count(*) FROM encryption_keys").await, "0");
    shop.ana(&begun(&update("dev", "A", "two", "NULL"))).await;
    assert_eq!(rows(&shop.ana, "SELECT id, ring, state FROM encryption_keys").await, ["key-of-default default active"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_admin_of_some_environments_administers_nothing_else() {
    let shop = Shop::open("narrow-admin").await;
    shop.ana(&begun(&insert("dev", "A", "one", "NULL"))).await;
    let bob = "user_id = (SELECT id FROM users WHERE name = 'bob')";
    shop.ana(&begun(&format!(
        "UPDATE project_members SET role = 'ADMIN', only_environments = ARRAY[{}], expires_at = '2099-01-01 00:00:00Z' WHERE {bob}",
        environment("dev")
    )))
    .await;
    let told = "SELECT subject FROM audit_logs ORDER BY position DESC LIMIT 1";
    let dev = shop.cell(&format!("SELECT {}", environment("dev"))).await;
    assert_eq!(shop.cell(told).await, format!("bob ADMIN only {dev} until 2099-01-01T00:00:00Z"));
    for sql in [
        "UPDATE project_members SET read_only = true",
        "UPDATE project_secret_registry SET description = 'x'",
        "UPDATE environments SET deleted_at = now()",
    ] {
        assert_eq!(run(&shop.bob, &begun(sql)).await.unwrap(), 0, "{sql}");
    }
    let make = "INSERT INTO environments (project_id, name) SELECT id, 'bobs' FROM projects";
    for sql in [make, "SELECT remove_member(project_id, user_id) FROM project_members"] {
        assert!(is_forbidden(&refusal(&shop.bob, &begun(sql)).await), "{sql}");
    }
    assert!(refusal(&shop.bob, "SELECT archive_project('shop', '')").await.starts_with("TL403"));
    assert_eq!(done(&shop.bob, &begun(&update("dev", "A", "two", "NULL"))).await, 1);

    // Nor does an ADMIN of another project keep this one from being left without one.
    done(&shop.eve, "SELECT create_project('annex', '')").await;
    let leave = "SELECT remove_member(project_id, user_id) FROM project_members WHERE user_id = (SELECT id FROM users WHERE name = 'ana')";
    assert!(refusal(&shop.ana, &begun(leave)).await.starts_with("TL403"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_project_is_made_by_a_person_and_its_name_is_taken_then() {
    let shop = Shop::open("makers").await;
    let annex = "SELECT create_project('annex', '')";
    // Also where the service's login has the right to write.
    done(&shop.owner, "UPDATE users SET kind = 'service' WHERE name = 'eve'").await;
    let why = refusal(&shop.eve, annex).await;
    assert!(why.starts_with("TL403") && why.contains("only a person creates a project"), "{why}");
    done(&shop.owner, "UPDATE users SET kind = 'person' WHERE name = 'eve'").await;
    done(&shop.eve, annex).await;
    assert!(refusal(&shop.ana, annex).await.starts_with("TL409"), "the name is taken");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_done_to_users_is_in_the_systems_chain() {
    let shop = Shop::open("audit-users").await;
    for sql in [
        "INSERT INTO users (name, db_role) VALUES ('carl', 'carl_login')",
        "UPDATE users SET disabled_at = now() WHERE name = 'carl'",
        "UPDATE users SET disabled_at = NULL WHERE name = 'carl'",
        "UPDATE users SET db_role = NULL, kind = 'service' WHERE name = 'carl'",
    ] {
        done(&shop.owner, sql).await;
    }
    let log =
        "SELECT action, subject, project_id, revision FROM audit_logs WHERE subject LIKE 'carl%' ORDER BY position";
    assert_eq!(
        rows(&shop.superuser().await, log).await,
        [
            "user.add carl as carl_login (person) - -",
            "user.disable carl as carl_login (person) - -",
            "user.enable carl as carl_login (person) - -",
            "user.update carl (service) - -",
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn each_kind_of_damage_is_found() {
    let shop = Shop::open("findings").await;
    for key in ["LOST", "NEWER", "ENDED"] {
        shop.ana(&begun(&insert("dev", key, "one", "NULL"))).await;
    }
    // No damage: the registry time of an independent key stands still.
    shop.ana(&begun(&insert("dev", "FREE", "one", "NULL"))).await;
    shop.ana(&begun("UPDATE project_secret_registry SET tracking = 'independent' WHERE key_name = 'FREE'")).await;
    shop.ana(&begun(&update("dev", "FREE", "two", "NULL"))).await;
    let superuser = shop.superuser().await;
    // No login may do any of this.
    done(
        &superuser,
        "ALTER TABLE project_secret_registry DISABLE TRIGGER USER; ALTER TABLE secrets DISABLE TRIGGER USER;
         DELETE FROM project_secret_registry WHERE key_name = 'LOST';
         UPDATE project_secret_registry SET retired_at = now() WHERE key_name = 'ENDED';
         UPDATE secrets SET updated_at = '2099-01-01 00:00:00Z' WHERE key = 'NEWER';
         UPDATE project_revisions SET token = '00000000-0000-4000-8000-000000000000'",
    )
    .await;
    for key in ["LOST", "ENDED"] {
        assert_eq!(shop.states(key).await, "dev=Unregistered");
    }
    let found = rows(&shop.ana, "SELECT finding FROM registry_findings() ORDER BY 1").await;
    assert_eq!(
        found,
        [
            "key ENDED is live but not registered",
            "key LOST is live but not registered",
            "key NEWER is newer in an environment than in the registry",
            "revision and its log"
        ]
    );
    assert_eq!(rows(&shop.eve, "SELECT finding FROM registry_findings()").await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archived_project_is_left_as_it_is_by_a_repair_of_the_others() {
    let shop = Shop::open("repair-archived").await;
    for (project, place) in [("annex", "abroad"), ("kiosk", "street")] {
        shop.ana(&format!("SELECT create_project('{project}', '')")).await;
        shop.ana(&format!(
            "INSERT INTO environments (project_id, name) SELECT id, '{place}' FROM projects WHERE name = '{project}'"
        ))
        .await;
    }
    done(&shop.superuser().await, "UPDATE environments SET live_secrets = 7").await;
    shop.ana("SELECT archive_project('annex', '')").await;
    let why = refusal(&shop.ana, "SELECT begin_change('annex', '')").await;
    assert!(why.starts_with("TL403") && why.contains("annex is archived"), "{why}");
    let unannounced = "INSERT INTO environments (project_id, name) SELECT id, 'x' FROM projects WHERE name = 'annex'";
    let why = refusal(&shop.ana, unannounced).await;
    assert!(why.starts_with("TL403") && why.contains("the project is archived"), "{why}");
    assert_eq!(shop.cell("SELECT repair_registry()").await, "4", "three of the shop's, one of the kiosk's");
    let left = "SELECT name FROM environments WHERE live_secrets <> 0";
    assert_eq!(rows(&shop.ana, left).await, ["abroad"]);
}
