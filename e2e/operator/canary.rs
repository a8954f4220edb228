//! A value that was set and delivered is found nowhere but in the Secret.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::events::v1::Event;
use kube::api::{Api, ListParams};
use serde_json::json;

use crate::stage::Stage;

/// Long and random enough to be found by accident nowhere.
fn canary() -> String {
    format!("canary-{}-{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple())
}

/// The canary as it is, in hex, and in base64 at each of the three offsets that it can have in a longer text.
fn encodings(canary: &str) -> Vec<(String, String)> {
    let mut found = vec![
        ("as it is".to_owned(), canary.to_owned()),
        ("in hex".to_owned(), hex::encode(canary)),
        ("in upper-case hex".to_owned(), hex::encode_upper(canary)),
    ];
    for offset in 0..3 {
        let padded = [vec![b'x'; offset], canary.as_bytes().to_vec()].concat();
        for (name, engine) in [("base64", &STANDARD_NO_PAD), ("URL-safe base64", &URL_SAFE_NO_PAD)] {
            // The first and last characters also depend on what stands beside the canary.
            let text = engine.encode(&padded);
            found.push((format!("in {name} at offset {offset}"), text[4..text.len() - 4].to_owned()));
        }
    }
    found
}

fn assert_clean(canary: &str, place: &str, text: &str) {
    for (encoding, found) in encodings(canary) {
        assert!(!text.contains(&found), "the value stands {encoding} in {place}");
    }
}

#[test]
fn the_search_finds_a_value_in_each_of_its_encodings() {
    let canary = canary();
    for text in [
        canary.clone(),
        hex::encode(&canary),
        STANDARD.encode(&canary),
        STANDARD.encode(format!("a{canary}b")),
        STANDARD.encode(format!("ab{canary}")),
    ] {
        assert!(encodings(&canary).iter().any(|(_, found)| text.contains(found)), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivered_value_is_found_nowhere_but_in_the_secret() {
    let stage = Stage::with_shop("canary").await;
    let (first, second) = (canary(), canary());
    stage.source("dev").await;
    stage.source("staging").await;
    stage.binding("app", "dev", json!({})).await;
    let operator = stage.operator_with(&[("RUST_LOG", "trace")]).await;

    // Everything that handles a value, by the command, with its errors too.
    let mut said = String::new();
    for arguments in [
        &["secret", "set", "A", "-e", "dev", "--raw"][..],
        &["secret", "set", "A", "-e", "production", "--follow", "--raw"],
        &["secret", "set", "A", "-e", "nowhere", "--raw"],
        &["secret", "set", "", "-e", "dev", "--raw"],
    ] {
        let finished = stage.team.run_with(&stage.team.ana, arguments, first.as_bytes()).await;
        said += &(finished.stdout + &finished.stderr);
    }
    stage.secret_has("app", &[("A", &first)]).await;
    let dotenv = format!("A={second}\nB={second}\n");
    for who in [&stage.team.ana, &stage.team.vic] {
        let finished = stage.team.run_with(who, &["import", "-", "-e", "dev"], dotenv.as_bytes()).await;
        said += &(finished.stdout + &finished.stderr);
    }
    stage.secret_has("app", &[("A", &second), ("B", &second)]).await;
    let all = ListParams::default();
    let bindings = async || serde_json::to_string(&stage.bindings().list(&all).await.unwrap().items).unwrap();
    let sources = async || serde_json::to_string(&stage.sources().list(&all).await.unwrap().items).unwrap();
    // The status is read now, before the next one replaces it.
    stage.binding_is("app", &["Ready=True"]).await;
    let well = (bindings().await, sources().await);
    // A damaged row, so that the operator has to report a value that it could not deliver.
    let damage = "UPDATE secrets SET value_hash = left(value_hash, -1) || CASE right(value_hash, 1) WHEN '0' THEN '1' ELSE '0' END WHERE key = 'A'";
    stage.team.superuser_without_triggers().await.batch_execute(damage).await.unwrap();
    stage.team.enable_triggers().await;
    stage.ask_for_a_sync("app").await;
    stage.team.set("dev", "B", &first).await;
    stage.binding_is("app", &["Delivered=False(HashMismatch)"]).await;

    let arguments = std::fs::read(format!("/proc/{}/cmdline", operator.pid())).unwrap();
    let environment = std::fs::read(format!("/proc/{}/environ", operator.pid())).unwrap();
    let metrics = operator.http("/metrics").await;
    let log = operator.log();
    assert!(log.contains(r#""level":"DEBUG""#), "the log is at its most talkative");
    let statements = std::fs::read_to_string(stage.team.database.postgres().statement_log()).unwrap();
    assert!(statements.contains("begin_change"), "the statement log has the command's statements");
    let audit = std::fs::read_to_string(stage.cluster.plane().audit_log().path()).unwrap();
    // Events about cluster-scoped objects are in another namespace.
    let events: Api<Event> = Api::all(stage.cluster.admin.clone());
    let events = serde_json::to_string(&events.list(&all).await.unwrap().items).unwrap();
    let (bindings, sources) = (well.0 + &bindings().await, well.1 + &sources().await);
    let secret: Secret = stage.secrets().get("app").await.unwrap();
    let metadata = serde_json::to_string(&secret.metadata).unwrap();
    let dump = stage.team.dump().await;
    let (arguments, environment) = (String::from_utf8_lossy(&arguments), String::from_utf8_lossy(&environment));
    let places: [(&str, &str); 12] = [
        ("what the command said", &said),
        ("the operator's log", &log),
        ("its arguments", &arguments),
        ("its environment", &environment),
        ("its metrics", &metrics),
        ("the database's statement log", &statements),
        ("the tables", &dump),
        ("the API server's audit log", &audit),
        ("Events", &events),
        ("SecretBindings", &bindings),
        ("ProjectEnvironments", &sources),
        ("the Secret's metadata", &metadata),
    ];
    for (place, text) in places {
        assert!(!text.is_empty(), "{place} is empty, so finding nothing there says nothing");
        assert_clean(&first, place, text);
        assert_clean(&second, place, text);
    }
}
