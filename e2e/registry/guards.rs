//! What a login might try to get around the rules.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_temporary_table_forges_no_role() {
    let shop = Shop::with_api_key("forgery").await;
    let superuser = shop.superuser().await;
    done(&superuser, &format!("GRANT TEMPORARY ON DATABASE {} TO PUBLIC", shop.team.database.name)).await;
    done(
        &shop.bob,
        "SET search_path = pg_temp, tidelock_api;
         CREATE TEMPORARY TABLE forged AS SELECT * FROM tidelock_api.project_members;
         UPDATE forged SET role = 'ADMIN';
         ALTER TABLE forged RENAME TO project_members;
         CREATE TEMPORARY TABLE users AS SELECT * FROM tidelock_api.users;
         UPDATE users SET db_role = session_user WHERE name = 'ana';
         CREATE TEMPORARY TABLE environments AS SELECT id, project_id, name, false AS is_production FROM tidelock_api.environments;
         GRANT ALL ON ALL TABLES IN SCHEMA pg_temp TO PUBLIC",
    )
    .await;
    assert_eq!(rows(&shop.bob, "SELECT value_hash FROM tidelock_api.secrets").await, ["h1:hk:of dev"]);
    assert_eq!(
        cell(&shop.bob, "SELECT bool_or(tidelock_api.is_administrator(id)) FROM tidelock_api.projects").await,
        "f"
    );
    let grab = "UPDATE tidelock_api.project_members SET role = 'ADMIN'";
    assert_eq!(run(&shop.bob, grab).await.unwrap(), 0);
    let write = "UPDATE tidelock_api.secrets SET deleted_at = now()";
    assert_eq!(done(&shop.bob, write).await, 1, "his one row, and the trigger is not misled either");
    let by = "SELECT u.name FROM audit_logs l JOIN users u ON u.id = l.user_id ORDER BY position DESC LIMIT 1";
    assert_eq!(shop.cell(by).await, "bob");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_role_in_the_session_changes_nobody() {
    let shop = Shop::with_api_key("set-role").await;
    // Roles that the login has, and one that it was not given.
    done(&shop.bob, "SET ROLE tidelock_app").await;
    assert_eq!(rows(&shop.bob, "SELECT value_hash FROM secrets").await, ["h1:hk:of dev"]);
    done(&shop.bob, &update("dev", "API_KEY", "still bob", "NULL")).await;
    done(&shop.bob, "RESET ROLE").await;
    let by = "SELECT u.name FROM audit_logs l JOIN users u ON u.id = l.user_id ORDER BY position DESC LIMIT 1";
    assert_eq!(shop.cell(by).await, "bob");
    let ana = shop.login("ana").role.clone();
    for role in [ana.as_str(), "tidelock_definer", "tidelock_operator", "tidelock_delegate", "team_owner"] {
        for sql in [format!("SET ROLE {role}"), format!("SET SESSION AUTHORIZATION {role}")] {
            let why = refusal(&shop.bob, &sql).await;
            assert!(is_forbidden(&why), "{sql}: {why}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_wants_no_filtering_gets_an_error() {
    let shop = Shop::with_api_key("row-security").await;
    for session in [&shop.ana, &shop.bob, &shop.operator, &shop.owner] {
        done(session, "SET row_security = off").await;
        let why = refusal(session, "SELECT count(*) FROM secrets").await;
        assert!(is_forbidden(&why), "{why}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_deleted_or_emptied_and_no_login_turns_the_guards_off() {
    let shop = Shop::with_api_key("guards").await;
    let superuser = shop.superuser().await;
    let replica = "SET LOCAL session_replication_role = replica; ";
    for table in NEVER_DELETED_FROM {
        for sql in [format!("DELETE FROM {table}"), format!("TRUNCATE {table} CASCADE")] {
            for session in [&shop.ana, &shop.operator] {
                let why = refusal(session, &sql).await;
                assert!(is_out_of_reach(&why), "{sql}: {why}");
            }
            for (session, preamble) in [(&superuser, ""), (&superuser, replica), (&shop.owner, "")] {
                let why = refusal(session, &format!("{preamble}{sql}")).await;
                assert!(why.starts_with("TL403"), "{preamble}{sql}: {why}");
            }
        }
    }
    for table in ["project_members", "key_exemptions", "deliveries"] {
        assert!(refusal(&superuser, &format!("TRUNCATE {table}")).await.starts_with("TL403"), "{table}");
    }
    for session in [&shop.ana, &shop.bob, &shop.operator, &shop.owner] {
        let why = refusal(session, "SET session_replication_role = replica").await;
        assert!(is_out_of_reach(&why), "{why}");
    }
    for sql in ["ALTER TABLE secrets DISABLE TRIGGER ALL", "DROP TABLE deliveries", "CREATE TABLE tidelock.mine ()"] {
        assert!(is_out_of_reach(&refusal(&shop.ana, sql).await), "{sql}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_database_keeps_itself_no_login_writes() {
    let shop = Shop::with_api_key("kept").await;
    for sql in [
        "UPDATE project_revisions SET revision = 0",
        "INSERT INTO revision_log SELECT id, 99, gen_random_uuid(), now() FROM projects",
        "UPDATE environments SET live_secrets = 0",
        "UPDATE environments SET revision = 0",
        "UPDATE environments SET epoch = 9",
        "UPDATE project_secret_registry SET last_updated_at = now()",
        "INSERT INTO project_secret_registry (project_id, key_name, last_updated_at) SELECT id, 'X', now() FROM projects",
        "INSERT INTO audit_logs (project_id, action) SELECT id, 'nothing' FROM projects",
        "INSERT INTO projects (name) VALUES ('mine')",
        "INSERT INTO users (name) VALUES ('mine')",
        "UPDATE users SET db_role = NULL",
        "UPDATE encryption_keys SET ring = 'production'",
        "UPDATE secret_versions SET encrypted_value = 'x'",
        "SELECT step_revision(id) FROM projects",
        "SELECT settle_writes(id, '{}') FROM projects",
    ] {
        for session in [&shop.ana, &shop.operator] {
            let why = refusal(session, sql).await;
            assert!(is_out_of_reach(&why), "{sql}: {why}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_owner_adds_users_and_does_nothing_else() {
    let shop = Shop::with_api_key("owner").await;
    for table in ["projects", "secrets", "environments", "project_members", "audit_logs"] {
        let why = refusal(&shop.owner, &format!("SELECT count(*) FROM {table}")).await;
        assert!(is_forbidden(&why) && why.contains("row-level security hides rows"), "{table}: {why}");
    }
    let project = shop.cell("SELECT id FROM projects").await;
    let owner = "(SELECT id FROM users WHERE kind = 'owner')";
    for sql in [
        "SELECT create_project('mine', '')".to_owned(),
        "SELECT begin_change('shop', '')".to_owned(),
        format!("INSERT INTO project_members (project_id, user_id, role) VALUES ('{project}', {owner}, 'ADMIN')"),
        format!("INSERT INTO environments (project_id, name) VALUES ('{project}', 'mine')"),
    ] {
        let why = refusal(&shop.owner, &sql).await;
        assert!(is_forbidden(&why) || why.starts_with("TL40"), "{sql}: {why}");
    }
    assert_eq!(run(&shop.owner, "UPDATE secrets SET deleted_at = now()").await.unwrap(), 0);
    done(&shop.owner, "INSERT INTO users (name, kind) VALUES ('carl', 'person')").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_production_value_under_the_other_rings_key_is_refused() {
    let shop = Shop::with_api_key("rings").await;
    let wrong = update("production", "API_KEY", "two", "NULL").replace("key-of-production", "key-of-default");
    let why = refusal(&shop.ana, &begun(&wrong)).await;
    assert!(why.starts_with("TL403") && why.contains("ring default"), "{why}");
    let wrong = insert("dev", "OTHER", "two", "NULL").replace("key-of-default", "key-of-production");
    let why = refusal(&shop.ana, &begun(&wrong)).await;
    assert!(why.starts_with("TL403") && why.contains("ring production"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_environment_is_production_from_the_start_or_never() {
    let shop = Shop::with_api_key("production-flag").await;
    let why =
        refusal(&shop.ana, &begun("UPDATE environments SET is_production = false WHERE name = 'production'")).await;
    assert!(why.starts_with("TL403"), "{why}");
    let second =
        "INSERT INTO environments (project_id, name, is_production) SELECT id, 'production-2', true FROM projects";
    assert!(refusal(&shop.ana, &begun(second)).await.starts_with("23505"), "one production environment a project");
    assert!(is_forbidden(&refusal(&shop.bob, second).await), "production is made by an ADMIN");
    done(&shop.bob, "INSERT INTO environments (project_id, name) SELECT id, 'dev-bob' FROM projects").await;
    assert_eq!(run(&shop.bob, "UPDATE environments SET deleted_at = now()").await.unwrap(), 0);

    // The environment is empty, but a transaction that is still open writes a secret to it while the flag changes.
    let other = shop.another("ana").await;
    done(&shop.ana, &format!("BEGIN; {}", begun(&insert("staging", "API_KEY", "late", "NULL")))).await;
    let moving = tokio::spawn(async move {
        let sql = "UPDATE environments SET is_production = true WHERE name = 'staging'";
        let gone = "UPDATE environments SET deleted_at = now() WHERE name = 'production'";
        refusal(&other, &format!("{gone}; {sql}")).await
    });
    shop.somebody_waits().await;
    shop.ana("COMMIT").await;
    let why = moving.await.unwrap();
    assert!(why.starts_with("TL403") && why.contains("has held secrets"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn production_has_a_ring_of_its_own() {
    let shop = Shop::open("rings-apart").await;
    let make = |name: &str, production: bool, ring: &str| {
        begun(&format!(
            "INSERT INTO environments (project_id, name, is_production, ring)
             SELECT id, '{name}', {production}, '{ring}' FROM projects WHERE name = 'shop'"
        ))
    };
    // The two rings of a new keyring mean the same in all projects.
    shop.ana(&begun("UPDATE environments SET deleted_at = now() WHERE name = 'production'")).await;
    for (who, refused, ring) in [
        (&shop.bob, make("qa", false, "production"), "production"),
        (&shop.ana, make("live", true, "default"), "default"),
        (&shop.ana, begun("UPDATE environments SET is_production = true WHERE name = 'staging'"), "default"),
    ] {
        let why = refusal(who, &refused).await;
        assert!(why.starts_with("TL403") && why.contains(&format!("ring {ring} is for")), "{why}");
    }
    // Within a project any other ring is either for production or not, also after its environment was deleted: the rows stay.
    shop.ana(&make("live", true, "vault")).await;
    assert!(refusal(&shop.bob, &make("qa", false, "vault")).await.starts_with("TL403"));
    shop.ana(&begun("UPDATE environments SET deleted_at = now() WHERE name = 'live'")).await;
    assert!(refusal(&shop.bob, &make("qa", false, "vault")).await.starts_with("TL403"));
    shop.ana(&make("live-2", true, "vault")).await;
    // A project does not decide about another project's rings; and the two rings keep their meaning in an empty project.
    shop.ana("SELECT create_project('books', '')").await;
    let in_books = |name: &str, production: bool, ring: &str| make(name, production, ring).replace("'shop'", "'books'");
    for refused in [in_books("qa", false, "production"), in_books("live", true, "default")] {
        assert!(refusal(&shop.ana, &refused).await.starts_with("TL403"), "{refused}");
    }
    shop.ana(&in_books("qa", false, "vault")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_but_who_writes_production_is_first_to_use_the_encryption_key_of_its_ring() {
    let shop = Shop::open("first-use").await;
    let hash_key = |ring: &str, sealed: &str| {
        begun(&format!(
            "INSERT INTO project_hash_keys (project_id, hash_key_id, ring, sealed)
             SELECT id, 'hk', '{ring}', '{sealed}' FROM projects"
        ))
    };
    let squat = hash_key("production", "t1:key-of-production:x");
    for ring in ["production", "default"] {
        let why = refusal(&shop.bob, &hash_key(ring, "t1:key-of-production:x")).await;
        assert!(is_forbidden(&why), "only an ADMIN makes or seals the hashing key: {why}");
    }
    // Every member can read the id of the key in it, so the key belongs to the ring from then on.
    shop.ana(&squat).await;
    for (who, squat) in [
        (&shop.ana, hash_key("default", "t1:key-of-production:x")),
        (&shop.bob, begun(&insert("dev", "A", "one", "NULL").replace("key-of-default", "key-of-production"))),
    ] {
        let why = refusal(who, &squat).await;
        assert!(why.starts_with("TL403") && why.contains("of ring production"), "{why}");
    }
    shop.ana(&begun(&insert("production", "A", "one", "NULL"))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guess_at_productions_value_looks_like_any_other_to_who_may_not_read_it() {
    let shop = Shop::with_api_key("guesses").await;
    for guess in ["of production", "something else"] {
        shop.ana(&begun(&update("production", "API_KEY", &format!("before {guess}"), "NULL"))).await;
        shop.ana(&begun(&update("production", "API_KEY", "of production", "NULL"))).await;
        assert_eq!(shop.states("API_KEY").await, "dev=Stale production=InSync staging=Missing");
        done(&shop.bob, &begun(&update("dev", "API_KEY", guess, "NULL"))).await;
        assert_eq!(shop.states("API_KEY").await, "dev=InSync production=Stale staging=Missing", "{guess}");
    }
    // A user who may read both environments follows by writing the equal value.
    shop.ana(&begun(&update("production", "API_KEY", "newest", "NULL"))).await;
    shop.ana(&begun(&update("dev", "API_KEY", "newest", "NULL"))).await;
    assert_eq!(shop.states("API_KEY").await, "dev=InSync production=InSync staging=Missing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delegate_that_was_disabled_acts_for_nobody() {
    let shop = Shop::open("disabled-delegate").await;
    let delegate = shop.team.database.login("delegate").await;
    done(
        &shop.owner,
        &format!(
            "GRANT tidelock_app, tidelock_delegate TO {0}; INSERT INTO users (name, db_role) VALUES ('delegate', '{0}')",
            delegate.role
        ),
    )
    .await;
    let delegate = delegate.session().await;
    done(&delegate, "SET tidelock.acting_user = 'ana'").await;
    done(&delegate, &begun(&insert("dev", "API_KEY", "for ana", "NULL"))).await;
    done(&shop.owner, "UPDATE users SET disabled_at = now() WHERE name = 'delegate'").await;
    let why = refusal(&delegate, &begun(&insert("dev", "OTHER", "for ana", "NULL"))).await;
    assert!(why.starts_with("TL403") && why.contains("may not act for another user"), "{why}");
    assert!(refusal(&delegate, "SELECT count(*) FROM secrets").await.starts_with("TL403"));
}
