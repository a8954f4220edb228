//! A schema that is not as its migrations make it: `migrate`, `migrate --check` and `registry check` name each difference
//! with what sets it right.

use tidelock::core::Hint as _;
use tidelock::registry::{Difference, Reader, RegistryError, Session, SourceName, differences, migrate, pending};

use super::migrations::settings;
use super::*;

/// What an administrator may do to a schema, and how it is told. The remedy that is named sets it right.
const MENDED: &[(&str, &str)] = &[
    (
        "ALTER TABLE secrets DISABLE ROW LEVEL SECURITY",
        "table \"tidelock\".secrets has row-level security off, and not forced",
    ),
    (
        "ALTER TABLE users NO FORCE ROW LEVEL SECURITY",
        "table \"tidelock\".users has row-level security on, but not for the owner, and not forced",
    ),
    (
        "ALTER TABLE schema_floor ENABLE ROW LEVEL SECURITY",
        "table \"tidelock\".schema_floor has row-level security on, but not for the owner, and not off",
    ),
    ("ALTER TABLE projects OWNER TO harness", "table \"tidelock\".projects has owner harness, and not team_owner"),
    (
        "ALTER VIEW tidelock_api.projects OWNER TO harness",
        "view \"tidelock_api\".projects has owner harness, and not team_owner",
    ),
    ("GRANT SELECT ON secrets TO PUBLIC", "table \"tidelock\".secrets gives PUBLIC SELECT"),
    (
        "GRANT SELECT (name), UPDATE ON users TO tidelock_app WITH GRANT OPTION",
        "table \"tidelock\".users may be granted on by tidelock_app",
    ),
    (
        "REVOKE INSERT ON secrets FROM tidelock_definer",
        "table \"tidelock\".secrets gives tidelock_definer DELETE, SELECT, UPDATE, and not DELETE, INSERT, SELECT, UPDATE",
    ),
    ("REVOKE SELECT ON projects FROM team_owner", "table \"tidelock\".projects has taken from its owner SELECT"),
    (
        "REVOKE SELECT ON tidelock_api.schema_floor FROM PUBLIC",
        "view \"tidelock_api\".schema_floor does not give PUBLIC SELECT",
    ),
    ("GRANT USAGE ON SCHEMA tidelock TO tidelock_app", "schema \"tidelock\" gives tidelock_app USAGE"),
    ("CREATE POLICY mine ON secrets USING (false)", "policy mine on \"tidelock\".secrets is none of the registry's"),
    ("ALTER POLICY definer ON secrets USING (false)", "policy definer on \"tidelock\".secrets has definition"),
    ("DROP POLICY definer ON audit_logs", "policy definer on \"tidelock\".audit_logs is missing"),
    ("ALTER TABLE secrets DISABLE TRIGGER stamp", "trigger stamp on \"tidelock\".secrets fires never, and not ALWAYS"),
    (
        "ALTER TABLE secrets ENABLE TRIGGER stamp",
        "trigger stamp on \"tidelock\".secrets fires by default, and not ALWAYS",
    ),
    ("DROP TRIGGER settle_updates ON secrets", "trigger settle_updates on \"tidelock\".secrets is missing"),
    (
        "CREATE TRIGGER mine BEFORE INSERT ON secrets FOR EACH ROW EXECUTE FUNCTION refuse_removal()",
        "trigger mine on \"tidelock\".secrets is none of the registry's",
    ),
    (
        "CREATE RULE mine AS ON INSERT TO deliveries DO INSTEAD NOTHING",
        "rule mine on \"tidelock\".deliveries is none of the registry's",
    ),
    (
        "ALTER TABLE secrets DROP CONSTRAINT secrets_version_check",
        "constraint secrets_version_check on \"tidelock\".secrets is missing",
    ),
    (
        "ALTER TABLE secrets ADD CHECK (length(key) < 9)",
        "constraint secrets_key_check1 on \"tidelock\".secrets is none of the registry's",
    ),
    ("DROP INDEX secrets_live_key_idx", "index \"tidelock\".secrets_live_key_idx is missing"),
    ("CREATE UNIQUE INDEX mine ON secrets (project_id)", "index \"tidelock\".mine is none of the registry's"),
    ("ALTER TABLE secrets ALTER key SET STATISTICS 100", "table \"tidelock\".secrets has column key text"),
    ("ALTER TABLE secrets ADD mine text", "table \"tidelock\".secrets has column mine text"),
    ("CREATE STATISTICS mine ON key, version FROM secrets", "statistics \"tidelock\".mine is none of the registry's"),
    (
        "ALTER FUNCTION actor() SECURITY INVOKER",
        "function \"tidelock\".actor() has rights SECURITY INVOKER, and not SECURITY DEFINER",
    ),
    (
        "ALTER FUNCTION actor() OWNER TO harness",
        "function \"tidelock\".actor() has owner harness, and not tidelock_definer",
    ),
    ("ALTER FUNCTION actor() RESET search_path", "function \"tidelock\".actor() lacks settings search_path="),
    ("ALTER FUNCTION stamp_secret() SET search_path = public", "function \"tidelock\".stamp_secret() has settings"),
    ("GRANT EXECUTE ON FUNCTION actor() TO PUBLIC", "function \"tidelock\".actor() gives PUBLIC EXECUTE"),
    (
        "CREATE FUNCTION actor(text) RETURNS uuid LANGUAGE sql AS 'SELECT NULL::uuid'",
        "function \"tidelock\".actor(text) is none of the registry's",
    ),
    ("ALTER TABLE deliveries SET UNLOGGED", "table \"tidelock\".deliveries has persistence lost in a crash"),
    ("GRANT tidelock_definer TO tidelock_app", "role tidelock_definer is granted to tidelock_app"),
    ("GRANT pg_read_all_data TO tidelock_app", "role tidelock_app is a member of pg_read_all_data"),
    ("ALTER ROLE tidelock_definer LOGIN", "role tidelock_definer has attributes LOGIN, and not NOLOGIN"),
    ("ALTER TABLE vault.secrets ENABLE ROW LEVEL SECURITY", "table vault.secrets has row-level security on"),
];

/// Where no statement that fits on a line does.
const MADE_ANEW: &[(&str, &str)] = &[
    (
        "ALTER TABLE secrets ALTER version DROP NOT NULL",
        "table \"tidelock\".secrets has column version bigint DEFAULT 1",
    ),
    (
        "CREATE OR REPLACE FUNCTION is_label(name text) RETURNS boolean LANGUAGE sql IMMUTABLE AS 'SELECT true'",
        "function \"tidelock\".is_label(text) has another body: have it made anew as migrations/V1__tables.sql has it",
    ),
    (
        "CREATE OR REPLACE VIEW tidelock_api.schema_floor AS SELECT version, 0 AS oldest_reader, oldest_writer, subscriber_since FROM schema_floor",
        "view \"tidelock_api\".schema_floor has another query",
    ),
    (
        "DROP FUNCTION tidelock_api.token_of(uuid, bigint)",
        "function \"tidelock_api\".token_of(uuid,bigint) is missing: have it made anew as migrations/V7__reading.sql has it",
    ),
    ("DROP TABLE deliveries", "table \"tidelock\".deliveries is missing"),
    ("ALTER TYPE key_tracking ADD VALUE 'mine'", "type \"tidelock\".key_tracking has definition"),
];

/// What an administrator may have beside the registry.
const HARMLESS: &[&str] = &[
    "CREATE INDEX mine ON secrets (updated_at)",
    "CREATE TABLE notes (id int PRIMARY KEY, of uuid REFERENCES projects); CREATE UNIQUE INDEX ON notes (of); GRANT SELECT ON notes TO PUBLIC",
    "ALTER TABLE secrets SET (autovacuum_enabled = false, fillfactor = 80)",
    "ANALYZE",
    "COMMENT ON TABLE secrets IS 'mine'",
    "CREATE PUBLICATION everything FOR ALL TABLES",
];

/// A server of its own, since roles belong to all of it, with a registry.
async fn shop_of_its_own(name: &'static str) -> Shop {
    let team = Team::builder("drift").without_keyring().on(fresh_server(name).await).build().await;
    Shop::of(team).await
}

fn told(differences: &[Difference]) -> Vec<String> {
    differences.iter().map(ToString::to_string).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_difference_from_what_the_migrations_make_is_named_with_what_sets_it_right() {
    let shop = shop_of_its_own("postgres-drift").await;
    let (owner, ana) = (settings(&shop.login("owner").url), settings(&shop.login("ana").url));
    let superuser = shop.superuser().await;
    let differences = async |after: &str| differences(&ana).await.unwrap_or_else(|why| panic!("{after}: {why}"));
    assert_eq!(told(&differences("nothing").await), [""; 0]);
    for (damage, named) in MENDED.iter().chain(MADE_ANEW) {
        done(&superuser, damage).await;
        let found = differences(damage).await;
        let lines = told(&found);
        assert!(lines.iter().any(|line| line.starts_with(named)), "{damage}: {lines:?}");
        let why = pending(&owner).await.expect_err(damage);
        assert!(matches!(why, RegistryError::SchemaAltered(_)) && why.to_string().contains(named), "{damage}: {why}");
        if MENDED.iter().any(|(mended, _)| mended == damage) {
            for difference in &found {
                done(&superuser, &difference.remedy).await;
            }
            assert_eq!(told(&differences(damage).await), [""; 0], "{damage}");
        }
    }
    let why = migrate(&owner).await.expect_err("what is left");
    for (damage, named) in MADE_ANEW {
        assert!(why.to_string().contains(named), "{damage}: {why}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_administrator_adds_that_weakens_nothing_is_left_alone() {
    let shop = Shop::open("drift-harmless").await;
    let (owner, ana) = (settings(&shop.login("owner").url), settings(&shop.login("ana").url));
    for addition in HARMLESS {
        done(&shop.superuser().await, addition).await;
        assert_eq!(told(&differences(&ana).await.unwrap()), [""; 0], "{addition}");
    }
    assert!(migrate(&owner).await.unwrap().migrations.is_empty());
}

/// As databases have it that want row-level security on whatever anybody makes.
const EVENT_TRIGGER: &str = "CREATE FUNCTION public.secure() RETURNS event_trigger LANGUAGE plpgsql AS $$
    DECLARE made record; BEGIN
        FOR made IN SELECT * FROM pg_event_trigger_ddl_commands() WHERE command_tag = 'CREATE TABLE' LOOP
            EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', made.object_identity);
        END LOOP;
    END $$;
    CREATE EVENT TRIGGER secure ON ddl_command_end WHEN TAG IN ('CREATE TABLE') EXECUTE FUNCTION public.secure()";

#[tokio::test(flavor = "multi_thread")]
async fn where_an_event_trigger_spoils_the_result_migrate_says_so_and_applies_nothing() {
    let database = TestDatabase::empty("event-trigger").await;
    let superuser = database.superuser().await;
    let owner = settings(&database.owner.url);
    done(&superuser, EVENT_TRIGGER).await;
    let why = migrate(&owner).await.expect_err("row-level security is on for the schema's version").with_hint();
    for part in [
        "table \"tidelock\".schema_floor has row-level security on, but not for the owner, and not off: \
         ALTER TABLE \"tidelock\".schema_floor DISABLE ROW LEVEL SECURITY, NO FORCE ROW LEVEL SECURITY",
        "table \"tidelock\".schema_migrations has row-level security on",
        "table vault.secrets has row-level security on",
        "event triggers, which may have done it: secure",
    ] {
        assert!(why.contains(part), "{part}: {why}");
    }
    let schemas = "SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'tidelock%' OR nspname = 'vault'";
    assert_eq!(cell(&superuser, schemas).await, "0");
    // Where it goes so far that a migration itself finds no row.
    done(
        &superuser,
        &EVENT_TRIGGER.replace("ENABLE ROW", "FORCE ROW LEVEL SECURITY, ENABLE ROW").replace("secure", "force"),
    )
    .await;
    let why = migrate(&owner).await.expect_err("the schema's version cannot be written");
    assert!(
        matches!(why, RegistryError::SchemaAltered(_)) && why.with_hint().contains("done it: force, secure"),
        "{why:?}"
    );
    assert_eq!(cell(&superuser, schemas).await, "0");
    done(&superuser, "ALTER EVENT TRIGGER secure DISABLE; ALTER EVENT TRIGGER force DISABLE").await;
    migrate(&owner).await.unwrap();
    done(&superuser, "ALTER EVENT TRIGGER secure ENABLE").await;
    assert!(migrate(&owner).await.unwrap().migrations.is_empty(), "what came of it is what counts");
}

/// What keeps the interface from answering as it has to.
const IMPOSSIBLE: &[&str] = &[
    "ALTER TABLE schema_floor ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
    "DELETE FROM schema_floor",
    "ALTER TABLE schema_floor RENAME oldest_reader TO other",
    "ALTER TABLE users RENAME db_role TO other",
    "REVOKE SELECT ON users FROM tidelock_definer",
    "ALTER FUNCTION actor() RENAME TO other",
    "ALTER FUNCTION tidelock_api.poll(text[], text[]) RENAME TO other",
    "ALTER POLICY definer ON users USING (id IN (SELECT id FROM users))",
];

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_cannot_be_is_an_inconsistency_and_no_outage() {
    for damage in IMPOSSIBLE {
        let shop = Shop::open("drift-impossible").await;
        let (ana, operator) = (settings(&shop.login("ana").url), settings(&shop.login("tidelock").url));
        done(&shop.superuser().await, damage).await;
        let reader = Reader::new(operator, None).unwrap();
        let source = SourceName { project: "shop".to_owned(), environment: "dev".to_owned() };
        let answer = match reader.check_login().await {
            Ok(()) => reader.poll(&[source]).await.map(drop),
            refused => refused,
        };
        let why = answer.expect_err(damage);
        let is_inconsistent = matches!(
            why,
            RegistryError::Schema(_) | RegistryError::SchemaAltered(_) | RegistryError::Inconsistent { .. }
        );
        assert!(is_inconsistent && !why.is_transient(), "{damage}: {why:?}");
        if damage.contains("schema_floor") && !damage.contains("RENAME") {
            let why = Session::open(&ana, None).await.err().expect(damage);
            assert!(matches!(why, RegistryError::SchemaAltered(_)), "{damage}: {why:?}");
        }
        assert!(!differences(&ana).await.unwrap().is_empty() || damage.starts_with("DELETE"), "{damage}");
        let why = migrate(&settings(&shop.login("owner").url)).await.expect_err(damage);
        assert!(matches!(why, RegistryError::SchemaAltered(_)), "{damage}: {why:?}");
    }
}
