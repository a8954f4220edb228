//! What a login learns of rows that it may not see: each view and each function is asked about what is there and about
//! what is not, and everything that the server shows of the two questions is compared.

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::*;

/// A login's session, and the plans that the server says it makes, those inside functions included.
struct Probe {
    session: Client,
    plans: UnboundedReceiver<String>,
}

/// All that a session can observe of its own statement but the time it takes.
#[derive(Debug, PartialEq, Eq)]
struct Observation {
    /// Rows as text, or the error.
    answer: String,
    /// `table: scans and rows read`, as the session's own counters have it.
    read: Vec<String>,
    /// `relation mode`, of all locks that the session has afterwards.
    locks: Vec<String>,
    /// Costs and rows estimated, of every plan.
    estimates: Vec<String>,
}

/// What a question is about: names and ids by their placeholders, all of one place or none of it there.
type Subject = [(&'static str, String); 6];

impl Probe {
    async fn of(login: &Login) -> Self {
        let (session, mut connection) = tokio_postgres::connect(&login.url, tokio_postgres::NoTls).await.unwrap();
        let (said, plans) = unbounded_channel();
        tokio::spawn(async move {
            while let Some(message) = std::future::poll_fn(|context| connection.poll_message(context)).await {
                if let Ok(tokio_postgres::AsyncMessage::Notice(notice)) = message {
                    let _ = said.send(notice.detail().unwrap_or_default().to_owned());
                }
            }
        });
        done(&session, "SET search_path = tidelock_api").await;
        Self { session, plans }
    }

    async fn observe(&mut self, sql: &str, subject: &Subject) -> Observation {
        let mut sql = sql.to_owned();
        for (placeholder, value) in subject {
            sql = sql.replace(placeholder, value);
        }
        let session = &self.session;
        done(session, "SELECT pg_stat_force_next_flush()").await;
        done(session, "BEGIN; SAVEPOINT before").await;
        while self.plans.try_recv().is_ok() {}
        done(session, "SET LOCAL debug_print_plan = on; SET LOCAL client_min_messages = log").await;
        let answer = match session.simple_query(&hashes::spelled_out(&sql)).await {
            Ok(messages) => format!("{:?}", messages.iter().filter_map(text_of).collect::<Vec<_>>()),
            Err(why) => {
                let why = why.as_db_error().unwrap_or_else(|| panic!("{sql}: {why:?}"));
                format!("{} {} {:?} {:?}", why.code().code(), why.message(), why.detail(), why.hint())
            }
        };
        let locks = "SELECT coalesce(c.relname, l.locktype) || ' ' || mode FROM pg_locks l
                     LEFT JOIN pg_class c ON c.oid = l.relation
                     LEFT JOIN pg_namespace n ON n.oid = c.relnamespace
                     WHERE pid = pg_backend_pid() AND n.nspname IS DISTINCT FROM 'pg_catalog' ORDER BY 1";
        // After a failed statement the locks that it took are gone with it, as far as the session can ask.
        let locks = match session.simple_query(locks).await {
            Ok(messages) => messages.iter().filter_map(text_of).collect(),
            Err(_) => Vec::new(),
        };
        done(session, "ROLLBACK TO before; SET LOCAL debug_print_plan = off; SET LOCAL client_min_messages = warning")
            .await;
        let read = "SELECT relname || ': ' || seq_scan || ' ' || seq_tup_read || ' ' || coalesce(idx_scan, 0) || ' '
                        || coalesce(idx_tup_fetch, 0) || ' ' || n_tup_ins || ' ' || n_tup_upd
                    FROM pg_stat_xact_user_tables ORDER BY relname";
        let read = rows(session, read).await;
        done(session, "ROLLBACK").await;
        let mut estimates = Vec::new();
        while let Ok(plan) = self.plans.try_recv() {
            let mut words = plan.split_whitespace();
            while let Some(word) = words.next() {
                if matches!(word, ":startup_cost" | ":total_cost" | ":plan_rows") {
                    estimates.push(format!("{word} {}", words.next().unwrap_or_default()));
                }
            }
        }
        let mut answer = answer;
        for (placeholder, value) in subject {
            answer = answer.replace(value, placeholder);
        }
        Observation { answer, read, locks, estimates }
    }

    /// The same question about two subjects. The last two observations where they differ each time: the first ones make
    /// plans, and whatever else the server does may have a plan made anew at any time.
    async fn compare(&mut self, sql: &str, there: &Subject, not_there: &Subject) -> (Observation, Observation) {
        for _ in 0..12 {
            let pair = (self.observe(sql, there).await, self.observe(sql, not_there).await);
            if pair.0 == pair.1 {
                return pair;
            }
        }
        (self.observe(sql, there).await, self.observe(sql, not_there).await)
    }
}

fn text_of(message: &SimpleQueryMessage) -> Option<String> {
    match message {
        SimpleQueryMessage::Row(row) => {
            Some((0..row.len()).map(|cell| row.get(cell).unwrap_or("-")).collect::<Vec<_>>().join(" "))
        }
        _ => None,
    }
}

/// One question for each function of the interface.
const CALLS: &[(&str, &str)] = &[
    ("allow_key_names", "SELECT allow_key_names('{project}', '{environment}', ARRAY['{key}'])"),
    ("archive_project", "SELECT archive_project('{project name}', 'why')"),
    ("audit_after", "SELECT count(*) FROM audit_after('{project}', 0)"),
    ("audit_position", "SELECT audit_position('{project}')"),
    ("begin_change", "SELECT begin_change('{project name}', 'why')"),
    ("confirm_secrets", "SELECT confirm_secrets('{project}', '{environment}', ARRAY['{key}'], ARRAY[now()])"),
    ("define_key", "SELECT define_key('{project}', '{key}', 'what for', NULL)"),
    ("delete_secrets", "SELECT delete_secrets('{project}', '{environment}', ARRAY['{key}'])"),
    ("environment_named", "SELECT * FROM environment_named('{project name}', 'dev')"),
    ("environment_of", "SELECT * FROM environment_of('{project}', '{environment}')"),
    ("environment_with", "SELECT * FROM environment_with('{environment}')"),
    ("exempt_keys", "SELECT exempt_keys('{project}', '{environment}', ARRAY['{key}'], 'why')"),
    ("hash_keys_in_use", "SELECT * FROM hash_keys_in_use('{project}', ARRAY['{key}'])"),
    ("hash_keys_of", "SELECT * FROM hash_keys_of('{project}')"),
    ("hashes_behind", "SELECT * FROM hashes_behind('{project}', '', 100)"),
    (
        "insert_secrets",
        "SELECT insert_secrets('{project}', '{environment}', ARRAY['{secret}'::uuid], ARRAY['{key}'], ARRAY['t1:k:x'], ARRAY['h1:hk:x'],
                               ARRAY[NULL::timestamptz])",
    ),
    ("is_administrator", "SELECT is_administrator('{project}')"),
    ("is_rehash_unfinished", "SELECT is_rehash_unfinished('{project}')"),
    ("key_states_of", "SELECT * FROM key_states_of('{project}'), key_states_of('{project}', ARRAY['{key}'])"),
    ("key_rows_of", "SELECT * FROM key_rows_of('{project}', '{environment}'), key_rows_of('{project}', '{environment}', ARRAY['{key}'])"),
    ("keys_changed_after", "SELECT keys_changed_after('{project}', 0)"),
    ("keys_of", "SELECT * FROM keys_of('{project}'), keys_of('{project}', ARRAY['{key}'])"),
    ("mutex_holder", "SELECT * FROM mutex_holder('{project name}')"),
    ("poll", "SELECT * FROM poll(ARRAY['{project name}'], ARRAY['dev'])"),
    ("purge_key_name", "SELECT purge_key_name('{project}', '{key}', 'h1:hk:x')"),
    ("remove_member", "SELECT remove_member('{project}', '{user}')"),
    ("restore_secrets", "SELECT restore_secrets('{project}', '{environment}', ARRAY['{key}'])"),
    ("retire_keys", "SELECT retire_keys('{project}', ARRAY['{key}'])"),
    (
        "rewrite_hashes",
        "SELECT rewrite_hashes('{project}', ARRAY['{secret}'::uuid], ARRAY[1::bigint], ARRAY['h1:hk:x'])",
    ),
    ("sealed_values_of", "SELECT * FROM sealed_values_of('{project}', '{environment}', ARRAY['{secret}'::uuid])"),
    ("secrets_of", "SELECT * FROM secrets_of('{project}', '{environment}'), secrets_of('{project}', '{environment}', ARRAY['{key}'])"),
    ("set_member", "SELECT set_member('{project}', '{user}', 'ADMIN', NULL, false, NULL)"),
    ("token_of", "SELECT token_of('{project}', 1)"),
    ("tombstones_of", "SELECT * FROM tombstones_of('{project}', '{environment}', ARRAY[substring(sha256(uuid_send('{secret}')), 1, 8)])"),
    ("unexempt_keys", "SELECT unexempt_keys('{project}', '{environment}', ARRAY['{key}'])"),
    (
        "update_secrets",
        "SELECT update_secrets('{project}', '{environment}', ARRAY['{secret}'::uuid], ARRAY['t1:k:x'], ARRAY['h1:hk:x'], ARRAY[2::bigint],
                               ARRAY[NULL::timestamptz])",
    ),
    ("version_hashes_behind", "SELECT * FROM version_hashes_behind('{project}', '', '{secret}', 0, 100)"),
];

/// Functions that are told of nothing that could be there or not; and one that has to say what is taken.
const NOT_ASKED: [&str; 3] = ["registry_findings", "repair_registry", "create_project"];

/// Questions to views: by equality and by order, on what is indexed and what is not, and writes.
const LOOKS: &[&str] = &[
    "SELECT count(*) FROM projects WHERE name = '{project name}'",
    "SELECT count(*) FROM projects WHERE name >= '{project name}' AND name < '{project name}~'",
    "SELECT count(*) FROM projects WHERE id = '{project}'",
    "SELECT count(*) FROM project_revisions WHERE project_id = '{project}'",
    "SELECT count(*) FROM revision_log WHERE project_id = '{project}' AND revision = 1",
    "SELECT count(*) FROM environments WHERE id = '{environment}'",
    "SELECT count(*) FROM environments WHERE project_id = '{project}' AND name = 'dev'",
    "SELECT count(*) FROM project_members WHERE project_id = '{project}' AND user_id = '{user}'",
    "SELECT count(*) FROM project_secret_registry WHERE project_id = '{project}' AND key_name = '{key}'",
    "SELECT count(*) FROM project_secret_registry WHERE key_name >= '{key}'",
    "SELECT count(*) FROM secrets WHERE id = '{secret}'",
    "SELECT count(*) FROM secrets WHERE environment_id = '{environment}' AND key = '{key}' AND deleted_at IS NULL",
    "SELECT count(*) FROM secret_versions WHERE secret_id = '{secret}'",
    "SELECT count(*) FROM key_exemptions WHERE environment_id = '{environment}' AND key_name = '{key}'",
    "SELECT count(*) FROM project_hash_keys WHERE project_id = '{project}'",
    "SELECT count(*) FROM audit_logs WHERE chain = '{project}' AND position = 1",
    "SELECT count(*) FROM key_states WHERE key_name = '{key}'",
    "SELECT count(*) FROM encryption_keys WHERE id = 'key-of-default'",
    "SELECT count(*) FROM memberships WHERE project_id = '{project}'",
    "INSERT INTO environments (project_id, name) VALUES ('{project}', 'dev')",
    "INSERT INTO project_members (project_id, user_id, role) VALUES ('{project}', '{user}', 'ADMIN')",
    "INSERT INTO secrets (id, project_id, environment_id, key, encrypted_value, value_hash)
         VALUES ('{secret}', '{project}', '{environment}', '{key}', 't1:k:x', 'h1:hk:x')",
    "INSERT INTO key_exemptions (project_id, environment_id, key_name, reason)
         VALUES ('{project}', '{environment}', '{key}', 'why')",
    "INSERT INTO project_hash_keys (project_id, hash_key_id, ring, sealed) VALUES ('{project}', 'hk', 'default', 'x')",
    "UPDATE environments SET deleted_at = now() WHERE id = '{environment}'",
    "UPDATE secrets SET deleted_at = now() WHERE id = '{secret}'",
    "UPDATE project_secret_registry SET description = 'x' WHERE project_id = '{project}' AND key_name = '{key}'",
];

async fn subjects(shop: &Shop) -> (Subject, Subject) {
    let superuser = shop.superuser().await;
    let there = [
        ("{project name}", "shop".to_owned()),
        ("{project}", cell(&superuser, "SELECT id FROM projects").await),
        ("{environment}", cell(&superuser, "SELECT id FROM environments WHERE name = 'production'").await),
        (
            "{secret}",
            cell(&superuser, &format!("SELECT id FROM secrets WHERE {}", live("production", "API_KEY"))).await,
        ),
        ("{key}", "API_KEY".to_owned()),
        ("{user}", cell(&superuser, "SELECT id FROM users WHERE name = 'vic'").await),
    ];
    // Of the same length, as far as anyone could tell by that.
    let id = |n: u8| format!("00000000-0000-4000-8000-{n:012}");
    let not_there = [
        ("{project name}", "sohp".to_owned()),
        ("{project}", id(1)),
        ("{environment}", id(2)),
        ("{secret}", id(3)),
        ("{key}", "KEY_API".to_owned()),
        ("{user}", id(4)),
    ];
    (there, not_there)
}

/// With enough rows that an index is worth a look, and statistics of them.
async fn filled(what: &str) -> Shop {
    let shop = Shop::with_api_key(what).await;
    let many = "INSERT INTO secrets (project_id, environment_id, key, encrypted_value, value_hash)
        SELECT e.project_id, e.id, 'FILLER_' || n, 't1:key-of-default:' || n, {hash}
        FROM environments e, generate_series(1, 2000) n WHERE e.name = 'dev'";
    done(&shop.tables_as_ana().await, &begun(&many.replace("{hash}", &hashes::hash_of("n")))).await;
    done(&shop.superuser().await, "ANALYZE").await;
    shop
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_no_member_learns_from_nothing_whether_something_is_there() {
    let shop = filled("disclosure").await;
    let (there, not_there) = subjects(&shop).await;
    let mut eve = Probe::of(shop.login("eve")).await;
    // One who is a member of something, so that there are rows to count.
    done(&eve.session, "SELECT create_project('eves', '')").await;
    let questions = CALLS.iter().map(|(_, call)| *call).chain(LOOKS.iter().copied());
    for question in questions {
        let (of_it, of_nothing) = eve.compare(question, &there, &not_there).await;
        assert_eq!(of_it, of_nothing, "{question}");
    }
    // The probe sees plans, or comparing them shows nothing.
    let seen = eve.observe("SELECT * FROM environment_with('{environment}')", &there).await;
    assert!(!seen.read.is_empty() && !seen.estimates.is_empty(), "{seen:?}");
    let superuser = shop.superuser().await;
    let functions = "SELECT proname FROM pg_proc WHERE pronamespace = 'tidelock_api'::regnamespace";
    for function in rows(&superuser, functions).await {
        let known = CALLS.iter().any(|(name, _)| *name == function) || NOT_ASKED.contains(&function.as_str());
        assert!(known, "what does {function} tell of what its caller may not see?");
    }
    let views = "SELECT relname FROM pg_class WHERE relnamespace = 'tidelock_api'::regnamespace";
    for view in rows(&superuser, views).await {
        let known = ["users", "schema_floor"].contains(&view.as_str());
        assert!(known || LOOKS.iter().any(|look| look.contains(&format!("FROM {view} "))), "who asks {view}?");
    }
}

/// bob writes to dev, and may not read production: what a write does must not depend on what production has.
#[tokio::test(flavor = "multi_thread")]
async fn a_guess_at_productions_value_costs_what_any_other_does() {
    let shop = filled("guesses-cost").await;
    let (there, _) = subjects(&shop).await;
    let mut bob = Probe::of(shop.login("bob")).await;
    let guess = |value: &'static str| {
        let mut subject = there.clone();
        subject[4] = ("{guess}", value.to_owned());
        subject
    };
    let write = format!(
        "SELECT begin_change('shop', 'a guess'); {}",
        update("dev", "API_KEY", "{guess}", "NULL").replace("gen_random_uuid()", "'x'")
    );
    let (right, wrong) = bob.compare(&write, &guess("of production"), &guess("xx production")).await;
    assert!(right.answer.starts_with('['), "{right:?}");
    assert_eq!(right, wrong);
    let hashed = "SELECT count(*) FROM secrets WHERE value_hash = 'h1:hk:{guess}'";
    let (right, wrong) = bob.compare(hashed, &guess("of production"), &guess("xx production")).await;
    assert_eq!(right, wrong);
}
