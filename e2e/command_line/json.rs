//! What programs are told: with `-o json`, every verb that did something says in JSON what that was.

use serde_json::{Value, json};

use super::Typed;
use crate::stage::Team;

#[tokio::test(flavor = "multi_thread")]
async fn every_verb_says_in_json_what_it_did() {
    let team = Team::with_shop("json").await;
    let write = |key: &str, place: &str, write: &str, state: &str, behind: &[&str]| json!({"key": key, "environment": place, "write": write, "state": state, "behind": behind});
    let both = ["staging", "production"];
    let key = |description: &str, retired: Value| {
        json!({
            "key": "URL", "tracking": "tracked", "description": description, "exempt": [], "lastUpdatedAt": "a time",
            "retiredAt": retired,
        })
    };
    let exempt = |exempt: bool| json!([{"key": "URL", "environment": "production", "exempt": exempt}]);
    let eve = |role: &str, only: Value, expires: Value, added: bool| {
        json!({
            "name": "eve", "role": role, "only": only, "readOnly": false, "expiresAt": expires, "added": added,
        })
    };
    for (typed, code, expected) in [
        ("secret set URL -e dev < one", 0, write("URL", "dev", "created", "InSync", &both)),
        ("secret set URL -e staging --follow < own", 0, write("URL", "staging", "followed", "InSync", &["production"])),
        ("secret set URL -e dev < two", 0, write("URL", "dev", "changed", "InSync", &both)),
        ("secret set URL -e dev < two", 0, write("URL", "dev", "unchanged", "InSync", &both)),
        ("secret set URL -e staging < own", 0, write("URL", "staging", "confirmed", "InSync", &["production"])),
        ("secret set MORE -e dev < one", 0, write("MORE", "dev", "created", "InSync", &both)),
        ("secret set URL -e dev < three", 0, write("URL", "dev", "changed", "InSync", &both)),
        (
            // It confirms what was read long ago.
            "secret confirm URL -e staging --at 2020-01-01T00:00:00Z",
            3,
            json!([write("URL", "staging", "confirmed", "Stale", &["production"])]),
        ),
        ("secret confirm URL -e staging", 0, json!([write("URL", "staging", "confirmed", "InSync", &["production"])])),
        (
            "secret rm URL MORE -e dev",
            0,
            json!([
                write("URL", "dev", "deleted", "Missing", &both),
                write("MORE", "dev", "deleted", "Missing", &both),
            ]),
        ),
        ("secret restore URL -e dev", 0, json!([write("URL", "dev", "restored", "InSync", &both)])),
        ("key exempt URL -e production --reason x", 0, exempt(true)),
        ("key exempt URL -e production --reason x --undo", 0, exempt(false)),
        ("key define URL --description where --reason x", 0, key("where", Value::Null)),
        ("key retire URL --reason x", 0, key("where", "a time".into())),
        (
            "member add eve --role developer --only dev,staging --expires 2099-01-01",
            0,
            eve("DEVELOPER", json!(["dev", "staging"]), "a time".into(), true),
        ),
        ("member add eve --role viewer", 0, eve("VIEWER", Value::Null, Value::Null, false)),
        ("member remove eve", 0, json!({"name": "eve", "removed": true})),
        ("environment create qa", 0, json!({"name": "qa", "id": "an id", "production": false, "ring": "default"})),
        ("project create annex", 0, json!({"name": "annex", "id": "an id"})),
        ("project archive annex", 0, json!({"name": "annex", "archived": true})),
    ] {
        let said = Typed::new(&format!("-o json {typed}")).run(&team, &team.ana).await.expect(code);
        let answer = if said.stdout.is_empty() { Value::Null } else { without_what_varies(said.json()) };
        assert_eq!(answer, expected, "{typed}");
    }
    for (typed, expected) in [
        ("user add carl", json!({"name": "carl", "dbRole": null, "service": false, "leftToRun": null})),
        ("user disable carl", json!({"name": "carl", "disabled": true})),
        ("user enable carl", json!({"name": "carl", "disabled": false})),
    ] {
        let said = Typed::new(&format!("-o json {typed}")).run(&team, &team.database.owner).await.expect(0);
        assert_eq!(said.json(), expected, "{typed}");
    }
}

/// With the name of its kind for each time and id.
fn without_what_varies(mut value: Value) -> Value {
    match &mut value {
        Value::String(text) if text.parse::<uuid::Uuid>().is_ok() => "an id".into(),
        Value::String(text) if text.parse::<jiff::Timestamp>().is_ok() => "a time".into(),
        Value::Array(all) => all.drain(..).map(without_what_varies).collect(),
        Value::Object(fields) => {
            std::mem::take(fields).into_iter().map(|(name, value)| (name, without_what_varies(value))).collect()
        }
        _ => value,
    }
}
