//! Which names keys can have, and how one leaves that should never have been one.

use tidelock::core::{KeyName, is_secret_key};

use super::*;
use crate::snapshot::assert_reads;

/// What becomes a name when a file that is no dotenv file is taken for one.
const LINE: &str = "DATABASE_URL: postgres://u:hunter2@h/d?sslmode";

/// Whether something can be a name.
type Rule = fn(&str) -> bool;

/// The program and the database have the same rules, character by character.
#[tokio::test(flavor = "multi_thread")]
async fn a_keys_name_has_one_rule() {
    let shop = Shop::open("names").await;
    let session = shop.superuser().await;
    let in_plane = |n: u32| char::from_u32(n).filter(|_| !(70_000..=917_000).contains(&n));
    let by_program = |keeps: Rule| -> Vec<u32> {
        (1..=917_999 + 4096).filter(|n| in_plane(*n).is_some_and(|c| !keeps(&format!("a{c}b")))).collect()
    };
    let rules: [(&str, Rule); 2] =
        [("is_key_name", is_secret_key), ("is_allowable_name", |name| name.parse::<KeyName>().is_ok())];
    for (rule, keeps) in rules {
        let refused = format!(
            "SELECT n FROM generate_series(1, 917999 + 4096) n WHERE n NOT BETWEEN 55296 AND 57343
                 AND (n < 70000 OR n > 917000) AND NOT {rule}('a' || chr(n) || 'b') ORDER BY n"
        );
        let by_database: Vec<u32> = rows(&session, &refused).await.iter().map(|n| n.parse().unwrap()).collect();
        assert!(by_database == by_program(keeps), "{rule}");
        for name in
            ["", " A", "A ", &"k".repeat(254), "A", "tls.crt", ".", "..", "..a", ".a", "-", "with space", "a/b", LINE]
        {
            let kept = cell(&session, &format!("SELECT {rule}('{name}')")).await;
            assert_eq!(kept == "t", keeps(name), "{rule} {name:?}");
        }
    }
    assert!([' ', ':', '/', '=', '?', '@', '\u{7}', '\u{200b}'].iter().all(|c| !is_secret_key(&format!("a{c}b"))));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_of_a_file_becomes_no_key_in_sql_either_and_no_error_repeats_it() {
    let shop = Shop::with_api_key("names-sql").await;
    let before = shop.team.dump().await;
    let ids =
        "(SELECT project_id FROM environments WHERE name = 'dev'), (SELECT id FROM environments WHERE name = 'dev')";
    for sql in [
        insert("dev", LINE, "one", "NULL"),
        format!(
            "SELECT insert_secrets({ids}, ARRAY[gen_random_uuid()], ARRAY['{LINE}'], ARRAY['t1:k:x'], ARRAY['h1:' || 'hk:' || repeat('0', 64)], ARRAY[NULL::timestamptz])"
        ),
        format!("SELECT exempt_keys({ids}, ARRAY['{LINE}'], 'why')"),
        format!(
            "INSERT INTO key_exemptions (project_id, environment_id, key_name, reason) SELECT project_id, id, '{LINE}', 'why' FROM environments WHERE name = 'dev'"
        ),
    ] {
        let why = all_that_is_said(&shop.ana, &begun(&sql)).await;
        assert!(!why.contains("hunter2"), "{why}: {sql}");
    }
    let why = refusal(&shop.ana, &begun(&insert("dev", LINE, "one", "NULL"))).await;
    assert_reads!("name-of-no-key", why);
    let said = all_that_is_said(&shop.ana, &format!("SELECT begin_change('{LINE}', 'why')")).await;
    assert!(!said.contains("hunter2"), "{said}");
    // Past the interface, in every table that holds a key's name.
    let tables = shop.tables_as_ana().await;
    let project = "SELECT id FROM projects";
    for sql in [
        format!(
            "INSERT INTO project_secret_registry (project_id, key_name, last_updated_at) SELECT p.id, '{LINE}', now() FROM ({project}) p"
        ),
        format!("UPDATE project_secret_registry SET key_name = '{LINE}'"),
        format!("UPDATE secrets SET key = '{LINE}'"),
        format!(
            "INSERT INTO secrets (project_id, environment_id, key, encrypted_value, value_hash) SELECT project_id, id, '{LINE}', 't1:k:x', 'h1:' || 'hk:' || repeat('0', 64) FROM environments WHERE name = 'dev'"
        ),
    ] {
        all_that_is_said(&tables, &format!("SELECT begin_change('shop', 'x'); {sql}")).await;
    }
    assert_eq!(shop.team.dump().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_be_no_login_is_nobodys_and_is_not_audited() {
    let shop = Shop::open("names-of-logins").await;
    let add = |role: &str| format!("INSERT INTO users (name, db_role) VALUES ('carl', '{role}')");
    let before = shop.team.dump().await;
    for role in [LINE, "postgres://u:hunter2@h/d", "PASSWORD=hunter2", "", " carl", "ca\nrl", &"c".repeat(64)] {
        let why = refusal(&shop.owner, &add(role)).await;
        assert!(why.contains("23514") && !why.contains("hunter2"), "{why}");
    }
    assert_eq!(shop.team.dump().await, before);
    for (n, role) in
        ["carl", "Carl Jr.", r"CORP\carl", "carl@corp.example", "käthe", &"c".repeat(63)].iter().enumerate()
    {
        done(&shop.owner, &add(role).replace("'carl', ", &format!("'carl-{n}', "))).await;
    }
}

/// A refusal with all of its fields, as psql shows them.
async fn all_that_is_said(session: &Client, sql: &str) -> String {
    let why = run(session, sql).await.expect_err(sql);
    done(session, "ROLLBACK").await;
    format!("{:?}", why.as_db_error().expect("the server refused it"))
}

#[tokio::test(flavor = "multi_thread")]
async fn another_name_is_taken_for_the_key_that_it_was_allowed_for() {
    let shop = Shop::open("names-allowed").await;
    let allow = |name: &str| {
        format!("SELECT allow_key_names(project_id, id, ARRAY['{name}']) FROM environments WHERE name = 'dev'")
    };
    let set = |name: &str| insert("dev", name, "one", "NULL");
    shop.ana(&begun(&format!("{}; {}", allow("it is mine"), set("it is mine")))).await;
    assert_eq!(shop.states("it is mine").await, "dev=InSync production=Missing staging=Missing");
    assert_eq!(
        shop.cell("SELECT string_agg(action || ' ' || subject, ', ' ORDER BY position) FROM audit_logs WHERE subject = 'it is mine'").await,
        "key.allow it is mine, secret.create it is mine"
    );
    // Once is enough, for that key and no other.
    shop.ana(&begun(&insert("staging", "it is mine", "two", "NULL"))).await;
    assert!(refusal(&shop.ana, &begun(&set("it is hers"))).await.starts_with("TL422"));
    for (who, name) in [
        (&shop.vic, "a b"),
        (&shop.eve, "a b"),
        (&shop.operator, "a b"),
        (&shop.ana, "a\u{200b}b"),
        (&shop.ana, "a\tb"),
    ] {
        refusal(who, &begun(&allow(name))).await;
    }
    // A name that needs no word is registered by its first value, as ever.
    shop.ana(&begun(&allow("tls.crt"))).await;
    assert_eq!(shop.cell("SELECT count(*) FROM project_secret_registry").await, "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_got_in_leaves_every_table_and_the_chain_still_holds() {
    let shop = Shop::of(Team::with_shop("names-purged").await).await;
    let team = &shop.team;
    team.set("dev", "KEPT", "one").await;
    team.set("dev", LINE, "require").await;
    team.set("staging", LINE, "prefer").await;
    let allowed = format!("--allow-name={LINE}");
    let reason = ["--reason", "why", &allowed];
    team.run(&team.ana, &[&["key", "exempt", LINE, "-e", "production"][..], &reason].concat()).await.expect(0);
    team.run(&team.ana, &[&["secret", "rm", LINE, "-e", "staging"][..], &reason].concat()).await.expect(0);
    team.run(&team.ana, &[&["key", "define", LINE, "--description", LINE][..], &reason].concat()).await.expect(0);
    assert!(team.dump().await.contains("hunter2"));

    let purge = ["key", "purge-name", "--reason", "a line of a file became a name"];
    for (who, name, code) in
        [(&team.bob, LINE, 4), (&team.vic, LINE, 4), (&team.eve, LINE, 5), (&team.ana, "hunter2 of another", 5)]
    {
        let said = team.run_with(who, &purge, name.as_bytes()).await.expect(code);
        assert!(!said.stderr.contains("hunter2"), "{}", said.stderr);
    }
    let telling = ["key", "purge-name", "--reason", LINE];
    let said = team.run_with(&team.ana, &telling, LINE.as_bytes()).await.expect(4);
    assert_reads!("purge-with-the-name-in-its-reason", said.stderr);

    let superuser = shop.superuser().await;
    let rows_before = cell(&superuser, "SELECT count(*) FROM audit_logs").await.parse::<u64>().unwrap();
    let said = team
        .run_with(&team.ana, &[&purge[..], &["-o", "json"]].concat(), format!("{LINE}\r\n").as_bytes())
        .await
        .expect(0);
    let purged = said.json()["key"].as_str().unwrap().to_owned();
    assert_reads!("purge-name", said.stderr.replace(&purged, "purged-[id]"));
    let dump = team.dump().await;
    assert!(!dump.contains("hunter2") && !dump.contains("postgres://"), "it is somewhere still");

    // Retired with its tombstones; who holds the keyring can tell which name it was.
    assert_eq!(
        shop.cell(&format!("SELECT count(*) FILTER (WHERE deleted_at IS NULL) || ' of ' || count(*) FROM secrets WHERE key = '{purged}'")).await,
        "0 of 2"
    );
    let row = "SELECT subject, old_value_hash ~ '^h1:[^:]+:[0-9a-f]{64}$', reason FROM audit_logs WHERE action = 'key.purge-name'";
    assert_eq!(rows(&shop.ana, row).await, [format!("{purged} t a line of a file became a name")]);
    // One row for the exemption that ended, one for the key, one for its live value, and the purge.
    assert_eq!(cell(&superuser, "SELECT count(*) FROM audit_logs").await, (rows_before + 4).to_string());
    assert_eq!(audit::chains(&superuser).await, Ok(2));
    assert_eq!(team.get_as(&team.ana, "KEPT", "dev").await.expect(0).stdout, "one");
    team.run(&team.ana, &["registry", "check"]).await.expect(0);
    assert_eq!(broken_chains(&superuser).await, Vec::<String>::new());

    // It comes back under no circumstances, and the same text can be purged again where it does as another key.
    let restore = ["secret", "restore", &purged, "-e", "staging", &format!("--allow-name={purged}")];
    let said = team.run(&team.ana, &restore).await.expect(4);
    assert!(said.stderr.contains("the name of this key was purged"), "{}", said.stderr);
    team.set("dev", LINE, "again").await;
    team.run_with(&team.ana, &purge, LINE.as_bytes()).await.expect(0);
    assert!(!team.dump().await.contains("hunter2"));
    assert_eq!(audit::chains(&superuser).await, Ok(2));

    // What is left of the rows is bound by the purge's own.
    let tamper = team.superuser_without_triggers().await;
    let first = format!(
        "WHERE subject = '{purged}' AND action = 'secret.create' AND position = (SELECT min(position) FROM audit_logs WHERE subject = '{purged}' AND action = 'secret.create')"
    );
    done(&tamper, &format!("UPDATE audit_logs SET reason = 'another' {first}")).await;
    assert!(audit::chains(&superuser).await.unwrap_err().starts_with("another link"));
    assert_eq!(broken_chains(&superuser).await.len(), 1);
    done(&tamper, &format!("UPDATE audit_logs SET reason = '' {first}")).await;
    assert_eq!(audit::chains(&superuser).await, Ok(2));
    done(&tamper, &format!("UPDATE audit_logs SET subject = 'purged-' || repeat('0', 32) {first}")).await;
    assert!(audit::chains(&superuser).await.is_err());
}

/// What the cut-over of a subscriber would find wrong with the chains.
async fn broken_chains(session: &Client) -> Vec<String> {
    let found = rows(session, include_str!("../../src/registry/subscriber/verify.sql")).await;
    found.into_iter().filter(|finding| finding.contains("audit chain")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_rewrites_the_log_with_the_words_of_a_purge() {
    let shop = Shop::with_api_key("names-forged").await;
    let claim = format!("SET tidelock.purging = 'purged-{}'", "0".repeat(32));
    let superuser = shop.superuser().await;
    done(&superuser, &claim).await;
    done(&shop.ana, &claim).await;
    let to = format!("'purged-{}'", "0".repeat(32));
    for sql in [
        format!("UPDATE audit_logs SET subject = {to}, reason = 'other'"),
        format!("UPDATE audit_logs SET subject = {to} WHERE action !~ '^(secret|key)[.]'"),
        "UPDATE audit_logs SET subject = 'API_KEY2' WHERE action ~ '^(secret|key)[.]'".to_owned(),
        format!("UPDATE audit_logs SET subject = 'purged-{}' WHERE action ~ '^(secret|key)[.]'", "1".repeat(32)),
    ] {
        let why = refusal(&superuser, &sql).await;
        assert!(why.starts_with("TL403"), "{sql}: {why}");
        assert!(is_forbidden(&refusal(&shop.ana, &sql).await), "{sql}");
    }
    for sql in [format!("UPDATE secrets SET key = {to}"), format!("UPDATE project_secret_registry SET key_name = {to}")]
    {
        assert!(is_forbidden(&refusal(&shop.ana, &sql).await), "{sql}");
    }
}
