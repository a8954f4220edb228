//! Where a reason is required, it says something.

use super::*;

/// Nothing that anybody could see.
const BLANK: [&str; 6] = ["", " ", "\t\n", "\u{a0}", "\u{200b}\u{feff}\u{2800}\u{3164}", " \u{a0}\u{ad} "];

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_or_blank_reason_where_one_is_required_is_refused_in_sql() {
    let shop = Shop::with_api_key("blank").await;
    let staging = environment("staging");
    let exempt = |reason: &str| {
        format!(
            "INSERT INTO key_exemptions (project_id, environment_id, key_name, reason) SELECT id, {staging}, 'API_KEY', '{reason}' FROM projects"
        )
    };
    let called =
        |reason: &str| format!("SELECT exempt_keys(id, {staging}, ARRAY['API_KEY'], '{reason}') FROM projects");
    for blank in BLANK {
        let begun = |sql: &str| format!("SELECT begin_change('shop', '{blank}'); {sql}");
        for sql in [
            exempt(blank),
            called(blank),
            begun("UPDATE project_secret_registry SET description = 'x'"),
            begun("UPDATE project_secret_registry SET retired_at = now()"),
            begun("SELECT define_key(id, 'API_KEY', 'x', NULL) FROM projects"),
            begun("SELECT retire_keys(id, ARRAY['API_KEY']) FROM projects"),
            "UPDATE project_secret_registry SET tracking = 'independent'".to_owned(),
        ] {
            let why = refusal(&shop.ana, &sql).await;
            assert!(why.starts_with("TL422") && why.contains("needs a reason"), "{blank:?}: {sql}: {why}");
        }
        shop.ana(&format!("BEGIN; {}", exempt("it has none"))).await;
        let why =
            refusal(&shop.ana, &begun(&format!("SELECT unexempt_keys(id, {staging}, ARRAY['API_KEY']) FROM projects")))
                .await;
        assert!(why.starts_with("TL422") && why.contains("taken back needs a reason"), "{blank:?}: {why}");
        // A value's own change may go without.
        shop.ana(&format!("BEGIN; {}", begun(&update("dev", "API_KEY", "two", "NULL")))).await;
        shop.ana("ROLLBACK").await;
    }
    for said in ["x", "\u{a0}because", "é"] {
        shop.ana(&format!("BEGIN; {}", exempt(said))).await;
        shop.ana("ROLLBACK").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_or_blank_reason_where_one_is_required_is_refused_by_command() {
    let shop = Shop::open("blank-by-command").await;
    let team = &shop.team;
    for verb in [
        &["key", "define", "API_KEY", "--tracking", "independent"][..],
        &["key", "retire", "API_KEY"],
        &["key", "exempt", "API_KEY", "-e", "dev"],
        &["key", "exempt", "API_KEY", "-e", "dev", "--undo"],
        &["registry", "check", "--repair"],
        &["user", "confirm", "--all"],
    ] {
        for blank in BLANK {
            let said = team.run(&team.ana, &[verb, &["--reason", blank]].concat()).await.expect(2);
            assert!(said.stderr.contains("a reason is needed, and nothing in this one can be seen"), "{}", said.stderr);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_database_and_the_command_call_the_same_characters_invisible() {
    let shop = Shop::open("blank-characters").await;
    let superuser = shop.superuser().await;
    let blank = "SELECT string_agg(n::text, ' ' ORDER BY n) FROM generate_series(1, 1114111) n
        WHERE n NOT BETWEEN 55296 AND 57343 AND is_blank(chr(n))";
    let invisible = "SELECT string_agg(n::text, ' ' ORDER BY n) FROM generate_series(1, 1114111) n
        WHERE n NOT BETWEEN 55296 AND 57343 AND (n = 32 OR NOT is_allowable_name(chr(n)))";
    let known: Vec<String> = (1..=0x10_ffff_u32)
        .filter(|n| char::from_u32(*n).is_some_and(|c| tidelock::core::is_blank(&c.to_string())))
        .map(|n| n.to_string())
        .collect();
    for sql in [blank, invisible] {
        assert!(cell(&superuser, sql).await == known.join(" "), "{sql}");
    }
}
