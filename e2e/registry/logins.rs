//! A login is known by its number: who gets the name of one that was dropped inherits nothing.

use tidelock::registry::{RegistryError, Session};

use super::migrations::settings;
use super::*;

/// The login dropped and made again, with its password and the group role that everybody has.
async fn make_again(shop: &Shop, who: &str) {
    let Login { role, url } = shop.login(who);
    let (password, _) = url.split_once('@').and_then(|(login, rest)| Some((login.rsplit_once(':')?.1, rest))).unwrap();
    let sql = format!(
        "DROP OWNED BY {role}; DROP ROLE {role}; CREATE ROLE {role} LOGIN PASSWORD '{password}'; GRANT tidelock_app TO {role}"
    );
    done(&shop.superuser().await, &sql).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_is_dropped_and_made_again_under_the_same_name_inherits_nothing() {
    let shop = Shop::with_api_key("made-again").await;
    assert_eq!(cell(&shop.bob, "SELECT count(*) FROM secrets").await, "1");
    make_again(&shop, "bob").await;
    let another = shop.another("bob").await;
    for look in ["secrets", "projects", "memberships", "users", "key_states", "audit_logs"] {
        assert_eq!(cell(&another, &format!("SELECT count(*) FROM {look}")).await, "0", "{look}");
    }
    let write = begun(&update("dev", "API_KEY", "by another", "NULL"));
    let why = refusal(&another, &write).await;
    assert!(why.starts_with("TL403") && why.contains("was made after the one"), "{why}");
    done(&another, "SET tidelock.acting_user = 'bob'").await;
    assert!(refusal(&another, &write).await.starts_with("TL403"), "to say whose name it has is a claim");
    assert!(Session::open(&settings(&shop.login("bob").url), None).await.is_ok(), "it may ask for it");

    // Nobody but the owner says that it is bob all the same, and which number that is, is the database's word.
    let confirm = "UPDATE users SET db_role_oid = 1 WHERE name = 'bob'";
    for session in [&another, &shop.ana] {
        done(session, "RESET tidelock.acting_user").await;
        assert!(is_forbidden(&refusal(session, confirm).await));
    }
    done(&shop.owner, "UPDATE users SET db_role = db_role, disabled_at = NULL WHERE name = 'bob'").await;
    assert_eq!(cell(&another, "SELECT count(*) FROM secrets").await, "0", "to name the login again confirms nothing");
    done(&shop.owner, confirm).await;
    assert_eq!(done(&another, &write).await, 1);
    let logged = "SELECT action FROM audit_logs WHERE project_id IS NULL ORDER BY position DESC LIMIT 1";
    assert_eq!(cell(&shop.superuser().await, logged).await, "user.confirm");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delegate_that_is_made_again_acts_for_nobody() {
    let shop = Shop::with_api_key("delegate-made-again").await;
    done(&shop.superuser().await, &format!("GRANT tidelock_delegate TO {}", shop.login("bob").role)).await;
    make_again(&shop, "bob").await;
    let another = shop.another("bob").await;
    done(&another, "SET tidelock.acting_user = 'ana'").await;
    assert!(refusal(&another, "SELECT count(*) FROM secrets").await.starts_with("TL403"));
}

/// Loading a dump writes rows before it makes triggers, so that they carry the numbers of the other server.
#[tokio::test(flavor = "multi_thread")]
async fn what_comes_with_a_dump_from_another_server_counts_once_the_owner_has_confirmed_it() {
    let shop = Shop::with_api_key("dumped").await;
    let sql = "ALTER TABLE users DISABLE TRIGGER ALL; UPDATE users SET db_role_oid = 3 + db_role_oid::int8 % 1000";
    done(&shop.superuser().await, sql).await;
    shop.team.enable_triggers().await;
    for who in ["ana", "bob", "vic", "tidelock"] {
        assert_eq!(cell(&shop.another(who).await, "SELECT count(*) FROM projects").await, "0", "{who}");
    }
    // Whoever owns the tables is the owner, whatever the numbers say: somebody has to be first.
    let owner = &shop.team.database.owner;
    let listed = shop.team.run(owner, &["user", "list"]).await.expect(0).stdout;
    assert_eq!(listed.matches("unconfirmed").count(), 6, "{listed}");
    shop.team.run(&shop.team.ana, &["user", "confirm", "ana", "--reason", "it is me"]).await.expect(5);
    shop.team.run(owner, &["user", "confirm", "ana", "nobody", "--reason", "restored"]).await.expect(5);
    shop.team.run(owner, &["user", "confirm", "ana", "--reason", "restored"]).await.expect(0);
    assert_eq!(shop.cell("SELECT count(*) FROM projects").await, "1");
    shop.team.run(&shop.team.ana, &["user", "confirm", "bob", "--reason", "it is him"]).await.expect(4);
    assert_eq!(cell(&shop.bob, "SELECT count(*) FROM projects").await, "0");
    shop.team.run(owner, &["user", "confirm", "ana", "--reason", "restored"]).await.expect(5);
    shop.team.run(owner, &["user", "confirm", "--all", "--reason", "restored"]).await.expect(0);
    assert_eq!(done(&shop.bob, &begun(&update("dev", "API_KEY", "by bob", "NULL"))).await, 1);
    assert_eq!(rows(&shop.ana, "SELECT * FROM registry_findings()").await, [""; 0]);
    let listed = shop.team.run(owner, &["user", "list"]).await.expect(0).stdout;
    assert!(!listed.contains("unconfirmed"), "{listed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_rows_are_applied_from_another_server_a_login_keeps_what_was_confirmed_here() {
    let shop = Shop::with_api_key("applied").await;
    let superuser = shop.tables_as_ana().await;
    let applied = async |sql: &str| {
        done(&superuser, &format!("SET session_replication_role = replica; {sql}; RESET session_replication_role"))
            .await
    };
    applied("UPDATE users SET db_role_oid = 3, kind = 'person' WHERE name = 'bob'").await;
    assert_eq!(cell(&shop.bob, "SELECT count(*) FROM secrets").await, "1");
    let role = shop.team.database.login("newcomer").await;
    applied(&format!(
        "INSERT INTO users (name, db_role, db_role_oid) VALUES ('newcomer', '{0}', '{0}'::regrole)",
        role.role
    ))
    .await;
    assert_eq!(cell(&superuser, "SELECT db_role_oid IS NULL FROM users WHERE name = 'newcomer'").await, "t");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_is_made_after_it_was_mapped_is_nobody() {
    let shop = Shop::open("mapped-in-advance").await;
    done(&shop.owner, "INSERT INTO users (name, db_role) VALUES ('later', 'somebody_later')").await;
    let superuser = shop.superuser().await;
    assert_eq!(cell(&superuser, "SELECT db_role_oid IS NULL FROM users WHERE name = 'later'").await, "t");
    let why = refusal(&shop.owner, "UPDATE users SET db_role_oid = 1 WHERE name = 'later'").await;
    assert!(why.starts_with("TL404") && why.contains("no login somebody_later"), "{why}");
    let said = shop.team.run(&shop.team.database.owner, &["user", "confirm", "later", "--reason", "x"]).await.expect(5);
    assert!(said.stderr.contains("there is no login somebody_later"), "{}", said.stderr);
    let told = Session::open(&settings(&shop.login("owner").url), None).await.err();
    assert!(!matches!(told, Some(RegistryError::Schema(_))));
}
