//! Who may do what, by SQL as the person's own login.

use super::*;

/// A shop's people and what each may do in dev and in production: see, insert, update, delete.
#[tokio::test(flavor = "multi_thread")]
async fn each_role_sees_and_writes_what_is_its_own() {
    let shop = Shop::with_api_key("matrix").await;
    // It is refused before it takes the mutex, so it makes nobody wait.
    let why = refusal(&shop.vic, "SELECT begin_change('shop', '')").await;
    assert!(why.starts_with("TL403") && why.contains("read-only"), "{why}");
    for (who, place, sees, writes) in [
        ("ana", "dev", true, true),
        ("ana", "production", true, true),
        ("bob", "dev", true, true),
        ("bob", "production", false, false),
        ("vic", "dev", true, false),
        ("vic", "production", false, false),
        ("tidelock", "dev", true, false),
        ("tidelock", "production", true, false),
        ("eve", "dev", false, false),
        ("eve", "production", false, false),
    ] {
        let session = shop.another(who).await;
        // As one of the team who knows the ids: what is hidden is hidden from those who can name it, too.
        let id = shop.cell(&format!("SELECT {}", environment(place))).await;
        let project = shop.cell("SELECT id FROM projects").await;
        let here = format!("environment_id = '{id}' AND key = 'API_KEY' AND deleted_at IS NULL");
        let count = cell(&session, &format!("SELECT count(*) FROM secrets WHERE {here}")).await;
        assert_eq!(count, u8::from(sees).to_string(), "{who} sees {place}");
        for table in ["secret_versions", "audit_logs"] {
            let shown =
                cell(&session, &format!("SELECT count(*) > 0 FROM {table} WHERE environment_id = '{id}'")).await;
            assert_eq!(shown == "t", sees && table == "audit_logs", "{who} sees {table} of {place}");
        }
        let value = sealed(place);
        let attempts = [
            format!(
                "INSERT INTO secrets (project_id, environment_id, key, encrypted_value, value_hash)
                 VALUES ('{project}', '{id}', 'OTHER', {value}, 'h1:hk:other')"
            ),
            format!("UPDATE secrets SET encrypted_value = {value}, value_hash = 'h1:hk:other' WHERE {here}"),
            format!("UPDATE secrets SET deleted_at = now() WHERE {here}"),
            format!(
                "INSERT INTO key_exemptions (project_id, environment_id, key_name, reason) VALUES ('{project}', '{id}', 'API_KEY', 'mine')"
            ),
        ];
        for sql in attempts {
            let undone = format!("BEGIN; {sql}");
            if writes {
                assert_eq!(done(&session, &undone).await, 1, "{who} in {place}: {sql}");
            } else {
                match run(&session, &undone).await {
                    Ok(count) => assert!(count == 0 && sql.starts_with("UPDATE"), "{who} in {place}: {count}: {sql}"),
                    Err(why) => {
                        assert_eq!(why.code(), Some(&SqlState::INSUFFICIENT_PRIVILEGE), "{who} in {place}: {sql}");
                    }
                }
            }
            done(&session, "ROLLBACK").await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn states_are_the_same_for_everyone_in_the_project() {
    let shop = Shop::with_api_key("states-for-all").await;
    shop.ana(&begun(&insert("dev", "SECOND", "one", "NULL"))).await;
    let all = "SELECT * FROM key_states ORDER BY environment, key_name";
    let seen = rows(&shop.ana, all).await;
    assert_eq!(seen.len(), 6);
    assert!(!seen.iter().any(|row| row.contains("h1:") || row.contains("t1:")), "{seen:?}");
    for (who, session) in [("bob", &shop.bob), ("vic", &shop.vic), ("tidelock", &shop.operator)] {
        assert_eq!(rows(session, all).await, seen, "{who}");
    }
    assert_eq!(rows(&shop.eve, all).await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn to_a_stranger_a_project_is_not_there() {
    let shop = Shop::with_api_key("stranger").await;
    for table in [
        "projects",
        "environments",
        "project_members",
        "project_secret_registry",
        "secrets",
        "secret_versions",
        "project_revisions",
        "revision_log",
        "key_exemptions",
        "project_hash_keys",
        "audit_logs",
        "key_states",
    ] {
        assert_eq!(cell(&shop.eve, &format!("SELECT count(*) FROM {table}")).await, "0", "{table}");
    }
    // The same words for a project that is there and for one that is not, by name and by id.
    let real = refusal(&shop.eve, "SELECT begin_change('shop', '')").await;
    let missing = refusal(&shop.eve, "SELECT begin_change('nope', '')").await;
    assert!(real.starts_with("TL404") && real.replace("shop", "nope") == missing, "{real} / {missing}");

    let project = shop.cell("SELECT id FROM projects").await;
    assert_eq!(cell(&shop.eve, &format!("SELECT count(*) FROM key_states_of('{project}')")).await, "0");
    let dev = shop.cell(&format!("SELECT {}", environment("dev"))).await;
    for (columns, values) in [("", ""), (", answers", ", now()"), (", deleted_at", ", now()"), (", version", ", 2")] {
        let insert = |project: &str, environment: &str| {
            format!(
                "INSERT INTO secrets (project_id, environment_id, key, encrypted_value, value_hash{columns})
                 VALUES ('{project}', '{environment}', 'API_KEY', 't1:key-of-default:x', 'h1:hk:of dev'{values})"
            )
        };
        let nowhere = "00000000-0000-4000-8000-000000000000";
        let real = refusal(&shop.eve, &insert(&project, &dev)).await;
        let missing = refusal(&shop.eve, &insert(nowhere, nowhere)).await;
        assert!(is_forbidden(&real), "{real}");
        assert_eq!(real, missing, "{columns}");
    }
    for (table, columns, values) in [
        ("environments", "project_id, name", "'{}', 'dev'"),
        ("project_members", "project_id, user_id, role", "'{}', (SELECT id FROM users WHERE name = 'eve'), 'ADMIN'"),
        ("project_hash_keys", "project_id, hash_key_id, ring, sealed", "'{}', 'hk', 'default', 'sealed'"),
    ] {
        let insert =
            |project: &str| format!("INSERT INTO {table} ({columns}) VALUES ({})", values.replace("{}", project));
        let real = refusal(&shop.eve, &insert(&project)).await;
        assert_eq!(real, refusal(&shop.eve, &insert("00000000-0000-4000-8000-000000000000")).await, "{table}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_narrowed_membership_reaches_no_further() {
    let shop = Shop::with_api_key("narrowed").await;
    let narrow = async |what: &str| {
        shop.ana(&begun(&format!(
            "UPDATE project_members SET {what} WHERE user_id = (SELECT id FROM users WHERE name = 'bob')"
        )))
        .await;
    };
    let seen = "SELECT e.name FROM secrets s JOIN environments e ON e.id = s.environment_id ORDER BY 1";
    let write = begun(&update("dev", "API_KEY", "by bob", "NULL"));
    let make = "INSERT INTO environments (project_id, name) SELECT id, 'bobs' FROM projects";

    narrow(&format!("only_environments = ARRAY[{}]", environment("staging"))).await;
    assert_eq!(rows(&shop.bob, seen).await, [""; 0]);
    assert_eq!(run(&shop.bob, &write).await.unwrap(), 0);
    // An INSERT is checked although no existing row could be seen.
    let exempt = "INSERT INTO key_exemptions (project_id, environment_id, key_name, reason)
         SELECT project_id, id, 'API_KEY', 'mine' FROM environments WHERE name = 'dev'";
    for new in [&insert("dev", "NEW", "by bob", "NULL"), exempt] {
        assert!(is_forbidden(&refusal(&shop.bob, &begun(new)).await), "{new}");
    }
    assert_eq!(done(&shop.bob, &begun(&insert("staging", "NEW", "by bob", "NULL"))).await, 1);
    assert!(is_forbidden(&refusal(&shop.bob, make).await));
    assert_eq!(states(&shop.bob, "API_KEY").await, shop.states("API_KEY").await, "states are for everyone");

    narrow("only_environments = NULL, read_only = true").await;
    assert_eq!(rows(&shop.bob, seen).await, ["dev", "staging"]);
    assert!(refusal(&shop.bob, &write).await.starts_with("TL403"));
    assert_eq!(run(&shop.bob, &update("dev", "API_KEY", "by bob", "NULL")).await.unwrap(), 0);

    narrow("read_only = false, role = 'ADMIN', expires_at = clock_timestamp() + interval '1 hour'").await;
    assert_eq!(rows(&shop.bob, seen).await, ["dev", "production", "staging"]);
    narrow("expires_at = clock_timestamp()").await;
    assert_eq!(rows(&shop.bob, seen).await, [""; 0]);
    assert!(refusal(&shop.bob, &write).await.starts_with("TL404"), "expired is as if never a member");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_is_nobody_else_but_a_delegate_acts_for_others_and_both_are_recorded() {
    let shop = Shop::with_api_key("claims").await;
    for claim in [
        "SET tidelock.acting_user = 'ana'",
        "SELECT set_config('tidelock.acting_user', 'ana', false)",
        "SET tidelock.acting_user = 'nobody at all'",
    ] {
        done(&shop.bob, claim).await;
        for sql in ["SELECT count(*) FROM secrets", &begun("SELECT 1")] {
            let why = refusal(&shop.bob, sql).await;
            assert!(why.starts_with("TL403"), "{claim}: {why}");
        }
    }
    done(&shop.bob, "SET tidelock.acting_user = 'bob'").await;
    assert_eq!(cell(&shop.bob, "SELECT count(*) FROM secrets").await, "1", "to say who one is, is no claim");
    done(&shop.bob, "RESET tidelock.acting_user").await;
    // Whoever made the roles is in some versions of PostgreSQL a member of them, and for all that no delegate.
    done(&shop.owner, "SET tidelock.acting_user = 'ana'").await;
    let why = refusal(&shop.owner, "INSERT INTO users (name) VALUES ('mallory')").await;
    assert!(why.starts_with("TL403"), "{why}");

    let delegate = shop.team.database.login("delegate").await;
    done(
        &shop.owner,
        &format!("RESET tidelock.acting_user; GRANT tidelock_app, tidelock_delegate TO {}", delegate.role),
    )
    .await;
    let delegate_session = delegate.session().await;
    let write = begun(&update("dev", "API_KEY", "by the delegate", "NULL"));
    assert!(refusal(&delegate_session, &write).await.starts_with("TL403"), "on its own it is nobody");
    done(&delegate_session, "SET tidelock.acting_user = 'bob'").await;
    assert_eq!(done(&delegate_session, &write).await, 1);
    assert_eq!(cell(&delegate_session, "SELECT count(*) FROM secrets").await, "1", "it sees what bob sees");
    let recorded =
        "SELECT l.login, u.name FROM audit_logs l JOIN users u ON u.id = l.user_id ORDER BY position DESC LIMIT 1";
    assert_eq!(rows(&shop.ana, recorded).await, [format!("{} bob", delegate.role)]);

    done(&shop.owner, "UPDATE users SET disabled_at = now() WHERE name = 'bob'").await;
    assert!(refusal(&delegate_session, &write).await.starts_with("TL403"), "nobody acts for a user who is disabled");
    assert!(refusal(&shop.bob, &write).await.starts_with("TL403"));
    assert_eq!(cell(&shop.bob, "SELECT count(*) FROM secrets").await, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_needs_a_user_the_superusers_too() {
    let shop = Shop::with_api_key("superuser").await;
    let superuser = shop.superuser().await;
    for sql in [
        update("dev", "API_KEY", "by the superuser", "NULL"),
        insert("dev", "OTHER", "by the superuser", "NULL"),
        "UPDATE secrets SET deleted_at = now()".to_owned(),
        "UPDATE project_secret_registry SET description = 'x'".to_owned(),
        "UPDATE project_members SET role = 'VIEWER' WHERE role <> 'ADMIN'".to_owned(),
        "DELETE FROM project_members WHERE role <> 'ADMIN'".to_owned(),
        "UPDATE environments SET deleted_at = now()".to_owned(),
        "INSERT INTO users (name) VALUES ('mallory')".to_owned(),
        "INSERT INTO audit_logs (project_id, action) SELECT id, 'secret.read' FROM projects".to_owned(),
    ] {
        for preamble in ["", "SET LOCAL session_replication_role = replica; "] {
            let why = refusal(&superuser, &format!("{preamble}{sql}")).await;
            assert!(why.starts_with("TL403") && why.contains("is no user"), "{why}: {sql}");
        }
    }
    done(&superuser, "SET tidelock.acting_user = 'eve'").await;
    let why = refusal(&superuser, &update("dev", "API_KEY", "as eve", "NULL")).await;
    assert!(why.starts_with("TL404"), "acting for a stranger is to be one: {why}");
    done(&superuser, "SET tidelock.acting_user = 'ana'").await;
    assert_eq!(done(&superuser, &update("dev", "API_KEY", "as ana", "NULL")).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_project_keeps_an_admin_who_is_a_person() {
    let shop = Shop::with_api_key("last-admin").await;
    let me = "user_id = (SELECT id FROM users WHERE name = 'ana')";
    for sql in [
        format!("SELECT remove_member(project_id, user_id) FROM project_members WHERE {me}"),
        format!("UPDATE project_members SET role = 'DEVELOPER' WHERE {me}"),
        format!("UPDATE project_members SET read_only = true WHERE {me}"),
        format!("UPDATE project_members SET expires_at = now() + interval '1 year' WHERE {me}"),
        format!("UPDATE project_members SET only_environments = '{{}}' WHERE {me}"),
    ] {
        let why = refusal(&shop.ana, &begun(&sql)).await;
        assert!(why.starts_with("TL403") && why.contains("ADMIN"), "{sql}: {why}");
    }
    shop.ana(&begun(
        "UPDATE project_members SET role = 'ADMIN' WHERE user_id = (SELECT id FROM users WHERE name = 'bob')",
    ))
    .await;
    let leave = begun(&format!("SELECT remove_member(project_id, user_id) FROM project_members WHERE {me}"));
    for (unfit, fit) in [("disabled_at = now()", "disabled_at = NULL"), ("kind = 'service'", "kind = 'person'")] {
        done(&shop.owner, &format!("UPDATE users SET {unfit} WHERE name = 'bob'")).await;
        assert!(refusal(&shop.ana, &leave).await.starts_with("TL403"), "the other ADMIN has {unfit}");
        done(&shop.owner, &format!("UPDATE users SET {fit} WHERE name = 'bob'")).await;
    }
    assert_eq!(done(&shop.ana, &leave).await, 1, "who is not the last one may go");
    assert_eq!(shop.cell("SELECT count(*) FROM projects").await, "0");
}
