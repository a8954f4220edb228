//! What an operator reads of an environment that it knows already: what has changed, and the same as if it read everything.

use tidelock::core::digest_of_row;
use tidelock::registry::{RegistryError, SealedValue, Snapshot, ValueId};

use super::*;

async fn read(reader: &Reader, environment: &str, known: Option<&Snapshot>) -> Snapshot {
    reader.snapshot(&source("shop", environment), known).await.unwrap().answer.unwrap()
}

/// A team with keys in three environments, one of them exempt from one.
async fn team_with_keys(what: &str) -> Team {
    let team = Team::with_shop(what).await;
    for (environment, key) in [("dev", "A"), ("dev", "B"), ("staging", "A"), ("staging", "C"), ("production", "A")] {
        team.set(environment, key, &format!("{key} of {environment}")).await;
    }
    team
}

/// Everything that changes a key somewhere, as commands (what follows `<` is read) and in SQL.
const STEPS: &[&str] = &[
    "secret set A -e dev < changed",
    "secret set A -e staging --follow < changed",
    "secret confirm A -e production",
    "secret set NEW -e dev < new",
    "secret rm B -e dev",
    "secret restore B -e dev",
    "key define C --description what-for --reason why",
    "key exempt C -e dev --reason why",
    "SELECT begin_change('shop', 'why'); SELECT unexempt_keys(e.project_id, e.id, ARRAY['C']) FROM environments e WHERE name = 'dev'",
    "import -e staging < A=imported\nD=new\nE=new as well\n",
    "key retire NEW --reason why",
    "secret set NEW -e staging < back",
    "key define A --tracking independent --reason why",
    "environment create more",
    "secret set odd:name --allow-name=odd:name -e dev < x",
    "key purge-name --reason why < odd:name",
];

async fn take(step: &str, team: &Team) {
    if step.starts_with("SELECT") {
        return team.session("ana").await.batch_execute(&format!("BEGIN; {step}; COMMIT")).await.unwrap();
    }
    let (words, input) = step.split_once(" < ").unwrap_or((step, ""));
    let words: Vec<&str> = words.split(' ').collect();
    let done = team.run_with(&team.ana, &words, input.as_bytes()).await;
    // 3: others are behind by now.
    assert!([0, 3].contains(&done.code), "{step}: {}", done.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_changed_comes_to_the_same_as_everything_read_anew() {
    let team = team_with_keys("changes").await;
    let (reader, mut known) = (reader(&team), Vec::new());
    for environment in ["dev", "staging", "production"] {
        known.push((environment, read(&reader, environment, None).await));
    }
    let first = known[0].1.clone();
    for step in STEPS {
        take(step, &team).await;
        for (environment, known) in &mut known {
            let by_changes = read(&reader, environment, Some(known)).await;
            assert_eq!(by_changes, read(&reader, environment, None).await, "{environment} after {step}");
            *known = by_changes;
        }
    }
    assert_eq!(read(&reader, "dev", Some(&first)).await, known[0].1, "all of it at once");
}

/// Whether only changes were read shows in what was altered past the triggers, which no change names.
#[tokio::test(flavor = "multi_thread")]
async fn only_what_changed_is_read_unless_it_is_much_or_of_another_history() {
    let team = team_with_keys("changes-only").await;
    let reader = reader(&team);
    let before = read(&reader, "dev", None).await;
    let superuser = team.superuser_without_triggers().await;
    superuser.batch_execute("UPDATE secrets SET updated_at = '2001-01-01' WHERE key = 'B'").await.unwrap();
    team.enable_triggers().await;
    team.set("dev", "A", "changed").await;
    let by_changes = read(&reader, "dev", Some(&before)).await;
    assert_eq!(by_changes.keys["B"], before.keys["B"]);
    assert_ne!(by_changes.keys["A"], before.keys["A"]);
    assert_eq!(by_changes.keys_changed_since(&before), Some(["A".into()].as_slice()));
    let whole = read(&reader, "dev", None).await;
    assert_ne!(whole.keys["B"], before.keys["B"]);

    // The same number with another token: the database was set back.
    let mut other = before.clone();
    let tidelock::registry::SnapshotVersion::Revisions { project, .. } = &mut other.version else { panic!() };
    project.token = uuid::Uuid::new_v4();
    assert_eq!(read(&reader, "dev", Some(&other)).await, whole);
    // Of another environment, which took its name.
    let other = read(&reader, "staging", None).await;
    assert_eq!(read(&reader, "dev", Some(&other)).await, whole);
    // More changes than it is worth going through.
    let many: String = (0..1_200).fold(String::new(), |text, n| format!("{text}MANY_{n}=x\n"));
    team.run_with(&team.ana, &["import", "-e", "staging", "-"], many.as_bytes()).await.expect(0);
    assert_eq!(read(&reader, "dev", Some(&before)).await, read(&reader, "dev", None).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn values_are_read_by_name_and_only_while_they_are_there() {
    let team = team_with_keys("values-by-name").await;
    let reader = reader(&team);
    let snapshot = read(&reader, "dev", None).await;
    let [a, b] = ["A", "B"].map(|key| snapshot.keys[key].value_id());
    let foreign = read(&reader, "staging", None).await.keys["C"].value_id();
    let of_dev = async |values: &[ValueId]| {
        let mut found = reader.sealed_values(snapshot.project, snapshot.environment, values).await.unwrap();
        found.sort_by_key(|value| value.id != a);
        found
    };
    let found = of_dev(&[b.clone(), a.clone(), foreign]).await;
    assert_eq!(found.iter().map(|value| &value.id).collect::<Vec<_>>(), [&a, &b]);
    assert!(found.iter().all(|SealedValue { text, .. }| text.starts_with("t1:")));
    team.set("dev", "A", "changed").await;
    assert_eq!(of_dev(std::slice::from_ref(&a)).await, [], "the value that was asked for is gone");
    let now = read(&reader, "dev", Some(&snapshot)).await.keys["A"].value_id();
    assert_eq!(of_dev(&[now]).await.len(), 1);

    let gone = snapshot.keys["B"].id;
    let deleted = async || {
        let rows = [digest_of_row(gone), digest_of_row(snapshot.keys["A"].id), [7; 8]];
        reader.tombstones(snapshot.project, snapshot.environment, &rows).await.unwrap().answer
    };
    assert_eq!(deleted().await, []);
    team.done(&team.ana, &["secret", "rm", "B", "-e", "dev"]).await;
    let found = deleted().await;
    assert_eq!(
        found.iter().map(|tombstone| (tombstone.row, tombstone.key.as_str())).collect::<Vec<_>>(),
        [(digest_of_row(gone), "B")]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn two_live_rows_of_one_key_are_no_snapshot() {
    let team = team_with_keys("twice").await;
    let superuser = team.superuser_without_triggers().await;
    let twice = "DROP INDEX secrets_live_key_idx; INSERT INTO secrets (project_id, environment_id, key, encrypted_value, value_hash)
         SELECT project_id, environment_id, key, encrypted_value, value_hash FROM secrets WHERE key = 'B'";
    superuser.batch_execute(twice).await.unwrap();
    let error = reader(&team).snapshot(&source("shop", "dev"), None).await.unwrap_err();
    assert!(
        matches!(&error, RegistryError::Inconsistent { table: "secrets", column, .. } if column == "key"),
        "{error}"
    );
}
