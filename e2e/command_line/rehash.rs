//! Another hashing key: every hash is made anew, nobody hears of a change, and what is interrupted goes on.

use std::collections::BTreeSet;

use super::*;

const REHASH: [&str; 5] = ["project", "rehash", "shop", "--reason", "the keyring was on a stolen laptop"];

/// The ids of the hashing keys that a query's hashes are under.
async fn hash_keys(team: &Team, hashes: &str) -> BTreeSet<String> {
    let admin = team.database.superuser().await;
    let sql = format!("SELECT DISTINCT split_part(value_hash, ':', 2) FROM tidelock.{hashes}");
    admin.query(&sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

/// Everything about secrets, keys and environments but the hashes.
async fn all_but_hashes(team: &Team) -> Vec<String> {
    let admin = team.database.superuser().await;
    let sql = "SELECT (to_jsonb(s) - 'value_hash')::text FROM tidelock.secrets s
               UNION ALL SELECT (to_jsonb(v) - 'value_hash')::text FROM tidelock.secret_versions v
               UNION ALL SELECT to_jsonb(r)::text FROM tidelock.project_secret_registry r
               UNION ALL SELECT to_jsonb(e)::text FROM tidelock.environments e ORDER BY 1";
    admin.query(sql, &[]).await.unwrap().iter().map(|row| row.get(0)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_hash_is_under_the_new_key_and_nothing_else_has_changed() {
    let team = Team::with_shop("rehash").await;
    for value in ["old", "new"] {
        team.set_as(&team.ana, "CHANGED", "dev", value).await.expect(0);
    }
    for environment in ["dev", "production"] {
        team.set_as(&team.ana, "EQUAL", environment, "same").await.expect(0);
    }
    team.set_as(&team.ana, "GONE", "dev", "was here").await.expect(0);
    team.remove("dev", "GONE").await;
    let before = all_but_hashes(&team).await;
    let old = hash_keys(&team, "secrets").await;

    let said = team.run(&team.ana, &[&REHASH[..], &["-o", "json"]].concat()).await.expect(0).json();
    assert_eq!(
        (&said["introduced"], &said["rewritten"], &said["left"]),
        (&true.into(), &5.into(), &[0; 0][..].into()),
        "{said}"
    );
    let new = BTreeSet::from([said["hashKey"].as_str().unwrap().to_owned()]);
    assert_ne!(new, old);
    assert_eq!(
        (hash_keys(&team, "secrets").await, hash_keys(&team, "secret_versions").await),
        (new.clone(), new.clone())
    );
    assert_eq!(all_but_hashes(&team).await, before);

    assert_eq!(team.get_as(&team.bob, "CHANGED", "dev").await.expect(0).stdout, "new");
    assert!(team.set_as(&team.bob, "EQUAL", "dev", "same").await.expect(0).stderr.contains("nothing was written"));
    team.set_as(&team.bob, "EQUAL", "staging", "same").await.expect(0);
    assert_eq!(team.states("EQUAL").await, ["InSync"; 3], "equal values are still known as such");
    team.done(&team.ana, &["secret", "restore", "GONE", "-e", "dev"]).await;
    assert_eq!(team.get_as(&team.ana, "GONE", "dev").await.expect(0).stdout, "was here");
    team.run(&team.ana, &["registry", "check"]).await.expect(0);

    let admin = team.database.superuser().await;
    let audited = "SELECT count(*) FROM tidelock.audit_logs WHERE action = 'secret.rehash' AND reason = $1
                       AND old_value_hash LIKE 'h1:%' AND new_value_hash LIKE 'h1:%' AND old_value_hash <> new_value_hash";
    let audited: i64 = admin.query_one(audited, &[&REHASH[4]]).await.unwrap().get(0);
    assert_eq!(audited, 5, "each has its row, which tells both hashes");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_interrupted_goes_on_and_a_keys_hashes_are_comparable_all_the_time() {
    let team = Team::with_shop("rehash-interrupted").await;
    let values: Vec<String> = (100..350).map(|number| format!("K{number}=of {number}\n")).collect();
    let values = values.concat();
    team.run_with(&team.ana, &["import", "-e", "dev"], values.as_bytes()).await.expect(0);
    team.set_as(&team.ana, "K300", "staging", "of 300").await.expect(0);
    let admin = team.database.superuser().await;
    let fail = "CREATE FUNCTION public.fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                    RAISE EXCEPTION 'the disk is full' USING ERRCODE = 'disk_full'; END $$;
                CREATE TRIGGER fail BEFORE INSERT ON tidelock.audit_logs FOR EACH ROW
                    WHEN (NEW.action = 'secret.rehash' AND NEW.subject = 'K250') EXECUTE FUNCTION public.fail();
                ALTER TABLE tidelock.audit_logs ENABLE ALWAYS TRIGGER fail";
    admin.batch_execute(fail).await.unwrap();
    team.run(&team.ana, &REHASH).await.expect(1);
    assert_eq!(hash_keys(&team, "secrets").await.len(), 2, "half of them are rewritten");

    // Half-way: one key on each side, written by who knows nothing of it.
    team.set_as(&team.bob, "K100", "staging", "of 100").await.expect(0);
    team.set_as(&team.bob, "K349", "staging", "of 349").await.expect(0);
    assert_eq!([team.states("K100").await, team.states("K349").await], [["InSync", "InSync", "Missing"]; 2]);
    assert!(team.set_as(&team.bob, "K349", "dev", "of 349").await.expect(0).stderr.contains("nothing was written"));
    team.set_as(&team.bob, "K300", "dev", "another").await.expect(0);
    team.set_as(&team.bob, "K300", "staging", "another").await.expect(0);
    assert_eq!(team.states("K300").await, ["InSync", "InSync", "Missing"]);
    team.set_as(&team.bob, "NEW", "dev", "new").await.expect(0);

    admin.batch_execute("DROP TRIGGER fail ON tidelock.audit_logs; DROP FUNCTION public.fail()").await.unwrap();
    let said = team.run(&team.ana, &[&REHASH[..], &["-o", "json"]].concat()).await.expect(0).json();
    assert_eq!(said["introduced"], false, "{said}");
    let new = BTreeSet::from([said["hashKey"].as_str().unwrap().to_owned()]);
    assert_eq!((hash_keys(&team, "secrets").await, hash_keys(&team, "secret_versions").await), (new.clone(), new));
    team.run(&team.ana, &["registry", "check"]).await.expect(0);

    let again = team.run(&team.ana, &[&REHASH[..], &["-o", "json"]].concat()).await.expect(0).json();
    assert_eq!(again["introduced"], true, "once all are rewritten, it is another key that is asked for: {again}");
}

#[tokio::test(flavor = "multi_thread")]
async fn hashes_of_values_that_cannot_be_checked_stay_as_they_are_and_are_named() {
    let team = Team::with_shop("rehash-left").await;
    for key in ["DAMAGED", "EXCHANGED", "WHOLE"] {
        team.set_as(&team.ana, key, "dev", key).await.expect(0);
    }
    let tamper = team.superuser_without_triggers().await;
    let sql = "UPDATE secrets SET encrypted_value = overlay(encrypted_value placing 'AAAA' from length(encrypted_value) - 8)
                   WHERE key = 'DAMAGED';
               UPDATE secrets SET value_hash = (SELECT value_hash FROM secrets WHERE key = 'WHOLE') WHERE key = 'EXCHANGED'";
    tamper.batch_execute(sql).await.unwrap();
    let old = hash_keys(&team, "secrets WHERE key IN ('DAMAGED', 'EXCHANGED')").await;

    let said = team.run(&team.ana, &REHASH).await.expect(6);
    for named in ["DAMAGED, version 1, of dev in project shop", "EXCHANGED, version 1, of dev in project shop"] {
        assert!(said.stderr.contains(named), "{}", said.stderr);
    }
    assert_eq!(hash_keys(&team, "secrets WHERE key IN ('DAMAGED', 'EXCHANGED')").await, old);
    assert_ne!(hash_keys(&team, "secrets WHERE key = 'WHOLE'").await, old);

    let said = team.run(&team.ana, &[&REHASH[..], &["-o", "json"]].concat()).await.expect(6).json();
    assert_eq!((&said["introduced"], &said["rewritten"]), (&false.into(), &0.into()), "{said}");
    let said = team.run(&team.ana, &[&REHASH[..], &["--another", "-o", "json"]].concat()).await.expect(6).json();
    assert_eq!((&said["introduced"], &said["rewritten"]), (&true.into(), &1.into()), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hashing_key_that_opens_for_nobody_is_mended_by_another() {
    let team = Team::with_shop("rehash-garbage").await;
    team.set_as(&team.ana, "KEY", "dev", "value").await.expect(0);
    let ana = team.session("ana").await;
    let garbage = "BEGIN; SELECT begin_change('shop', 'a slip');
        INSERT INTO project_hash_keys (project_id, hash_key_id, ring, sealed)
            SELECT project_id, 'garbage', ring, overlay(sealed placing 'AAAA' from length(sealed) - 8) FROM project_hash_keys;
        COMMIT";
    ana.batch_execute(garbage).await.unwrap();
    let said = team.set_as(&team.bob, "KEY", "dev", "other").await.expect(6);
    assert!(said.stderr.contains("tidelock project rehash"), "{}", said.stderr);
    team.done(&team.ana, &REHASH).await;
    team.set_as(&team.bob, "KEY", "dev", "other").await.expect(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_an_admin_who_holds_every_ring_of_the_project_rewrites_hashes() {
    let team = Team::with_shop("rehash-refused").await;
    team.set_as(&team.ana, "KEY", "dev", "value").await.expect(0);
    let before = hash_keys(&team, "project_hash_keys, LATERAL (SELECT 'h1:' || hash_key_id AS value_hash) h").await;
    for (who, code) in [(&team.bob, 4), (&team.vic, 4), (&team.eve, 5)] {
        team.run(who, &REHASH).await.expect(code);
    }
    team.run(&team.ana, &["project", "rehash", "shop"]).await.expect(2);
    team.run(&team.ana, &["project", "rehash", "shop", "--reason", " "]).await.expect(2);

    let keyring = |name: &str| team.home().join(name).display().to_string();
    for (file, rings, why) in [
        ("one-ring", &["default"][..], "ring production, which the keyring does not hold"),
        ("another-teams", &["default", "production"], "is not the one that the project's values are sealed under"),
    ] {
        let path = keyring(file);
        let mut make = vec!["keyring", "init", "--keyring", &path];
        make.extend(rings.iter().flat_map(|ring| ["--ring", ring]));
        team.run(&team.ana, &make).await.expect(0);
        let said = team.run(&team.ana, &[&REHASH[..], &["--keyring", &path]].concat()).await.expect(4);
        assert!(said.stderr.contains(why), "{}", said.stderr);
    }
    let after = hash_keys(&team, "project_hash_keys, LATERAL (SELECT 'h1:' || hash_key_id AS value_hash) h").await;
    assert_eq!(after, before);

    // And so in SQL: a DEVELOPER puts no other hash over a ciphertext, whoever made it.
    team.done(&team.ana, &REHASH).await;
    let bob = team.session("bob").await;
    let newest = after.first().unwrap();
    for sql in [
        format!("UPDATE secrets SET value_hash = 'h1:{newest}:' || repeat('0', 64)"),
        "SELECT rewrite_hashes(project_id, ARRAY[id], ARRAY[version], ARRAY[value_hash]) FROM secrets".to_owned(),
    ] {
        assert!(bob.batch_execute(&sql).await.is_err(), "{sql}");
    }
}
