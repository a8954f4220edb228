//! Which environments are behind, and a gate that does not pass on an old answer.

use jiff::Timestamp;
use serde_json::json;

use crate::harness::wait_for;
use crate::stage::{SOON, Stage};

/// Nothing listens there, so no notification ever arrives.
pub(super) const NOWHERE: &str = "postgresql://nobody@127.0.0.1:1/nowhere";

#[tokio::test(flavor = "multi_thread")]
async fn a_change_in_one_environment_is_seen_in_all_of_them_within_a_second_without_any_notification() {
    let stage = Stage::with_shop("stale").await;
    for environment in ["dev", "staging", "production"] {
        stage.source(environment).await;
    }
    let _operator = stage.operator_with(&[("TIDELOCK_LISTEN_URL", NOWHERE)]).await;
    stage.team.set("dev", "A", "1").await;
    stage.source_is("dev", &["Ready=True", "InSync=True(AllKeysInSync)"]).await;
    stage.source_is("production", &["Ready=True", "InSync=False(KeysMissing)"]).await;
    stage.team.set("staging", "A", "1").await;
    stage.source_is("staging", &["InSync=True"]).await;

    // From the change's own time to the API server's note of the status that tells of it. The machine may be busy with other
    // tests for any one of them, so it has twenty changes to show it five times; a poll or a pace slower than that shows none.
    let mut took: Vec<f64> = Vec::new();
    let in_time = |took: &[f64]| took.iter().filter(|seconds| **seconds < 1.0).count();
    for value in 2..22 {
        if in_time(&took) == 5 {
            break;
        }
        let log = stage.cluster.audit_from_now().await;
        stage.team.set("staging", "A", &value.to_string()).await;
        let behind = stage.source_is("dev", &["Ready=True", "InSync=False(KeysStale)"]).await;
        let status = behind.status.unwrap_or_default();
        assert_eq!(status.out_of_sync.iter().map(|key| key.key.as_str()).collect::<Vec<_>>(), ["A"]);
        assert_eq!(status.keys.map(|keys| (keys.total, keys.stale)), Some((1, 1)));
        let changed = status.out_of_sync[0].last_updated_at.clone().expect("a time").0;
        // A status can be seen a moment before its write is answered, and so logged: this one, and the one before.
        let told = wait_for("the write in the API server's log", SOON, async || {
            let writes = log.writes_by(&stage.cluster.admin, stage.account()).await.map_err(|why| why.to_string())?;
            let of_source = writes.iter().filter(|write| write.object().name == stage.source_name("dev"));
            let times = of_source.map(|write| write.stage_timestamp.parse::<Timestamp>().expect("a time"));
            times.filter(|time| *time >= changed).min().ok_or_else(|| format!("{} other writes", writes.len()))
        })
        .await;
        took.push(told.duration_since(changed).as_secs_f64());
        stage.team.done(&stage.team.ana, &["secret", "confirm", "A", "-e", "dev"]).await;
        stage.source_is("dev", &["InSync=True"]).await;
    }
    assert_eq!(in_time(&took), 5, "{took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_by_equal_value_follow_and_confirm_ends_with_all_three_in_sync() {
    let stage = Stage::with_shop("chain").await;
    for environment in ["dev", "staging", "production"] {
        stage.source(environment).await;
        stage.team.set(environment, "A", "old").await;
    }
    let _operator = stage.operator().await;
    stage.team.set("dev", "A", "new").await;
    stage.source_is("staging", &["InSync=False(KeysStale)"]).await;
    stage.source_is("production", &["InSync=False(KeysStale)"]).await;

    stage.team.set("staging", "A", "new").await;
    stage.source_is("staging", &["InSync=True"]).await;
    let follow = ["secret", "set", "A", "-e", "production", "--follow", "--raw"];
    stage.team.run_with(&stage.team.ana, &follow, b"its own").await.expect(0);
    stage.source_is("production", &["InSync=True"]).await;
    stage.source_is("dev", &["InSync=True"]).await;

    stage.team.set("dev", "A", "newer").await;
    stage.source_is("production", &["InSync=False(KeysStale)"]).await;
    for environment in ["staging", "production"] {
        stage.team.done(&stage.team.ana, &["secret", "confirm", "A", "-e", environment]).await;
        stage.source_is(environment, &["InSync=True"]).await;
    }
    stage.source_is("dev", &["InSync=True"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_binding_speaks_of_the_keys_it_selects_and_stays_ready_unless_told_to_degrade() {
    let stage = Stage::with_shop("binding-sync").await;
    stage.source("staging").await;
    for key in ["A", "B"] {
        stage.team.set("staging", key, "1").await;
    }
    let only = |key: &str| json!({"data": [{"secretKey": key, "remoteRef": {"key": key}}]});
    stage.binding("a", "staging", only("A")).await;
    stage.binding("b", "staging", only("B")).await;
    let mut strict = only("A");
    strict["outOfSyncPolicy"] = json!("Degrade");
    stage.binding("strict", "staging", strict).await;
    let _operator = stage.operator().await;
    stage.binding_is("strict", &["Ready=True"]).await;

    stage.team.set("dev", "A", "2").await;
    stage.binding_is("a", &["Ready=True", "InSync=False(KeysStale)"]).await;
    stage.binding_is("strict", &["Ready=False(KeysStale)", "Delivered=True"]).await;
    stage.binding_is("b", &["Ready=True", "InSync=True"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gate_passes_only_on_an_answer_that_is_newer_than_the_question() {
    let stage = Stage::with_shop("gate").await;
    stage.team.set("dev", "A", "1").await;
    stage.source("dev").await;
    stage.binding("app", "dev", json!({})).await;
    let operator = stage.operator_with(&[("TIDELOCK_LISTEN_URL", NOWHERE)]).await;
    stage.binding_is("app", &["Ready=True"]).await;

    // Twenty changes, each followed at once by a question: the answer must know of the change.
    for round in 0..20 {
        let value = format!("value-{round}");
        stage.team.set("dev", "A", &value).await;
        let nonce = format!("nonce-{round}");
        stage.patch_binding("app", json!({"metadata": {"annotations": {"tidelock.dev/sync": nonce}}})).await;
        handled(&stage, &nonce).await;
        let secret = stage.secrets().get("app").await.unwrap();
        assert_eq!(crate::stage::text(&secret)["A"], value, "round {round}");
    }

    operator.stop();
    stage.patch_binding("app", json!({"metadata": {"annotations": {"tidelock.dev/sync": "unanswered"}}})).await;
    let binding = stage.bindings().get("app").await.unwrap();
    assert_eq!(binding.status.and_then(|status| status.last_handled_sync).as_deref(), Some("nonce-19"));
    let _operator = stage.operator().await;
    handled(&stage, "unanswered").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gate_of_a_source_knows_of_every_change_before_the_question() {
    let stage = Stage::with_shop("source-gate").await;
    stage.team.set("staging", "A", "1").await;
    stage.source("staging").await;
    let _operator = stage.operator_with(&[("TIDELOCK_LISTEN_URL", NOWHERE)]).await;
    stage.source_is("staging", &["InSync=True"]).await;

    for (round, environment, expected) in [(0, "dev", "False"), (1, "staging", "True"), (2, "dev", "False")] {
        stage.team.set(environment, "A", &format!("value-{round}")).await;
        let nonce = format!("nonce-{round}");
        stage.patch_source("staging", json!({"metadata": {"annotations": {"tidelock.dev/sync": nonce}}})).await;
        let name = stage.source_name("staging");
        let status = wait_for("the source's answer", SOON, async || {
            let source = stage.sources().get(&name).await.map_err(|why| why.to_string())?;
            let status = source.status.unwrap_or_default();
            if status.last_handled_sync.as_deref() == Some(&nonce) { Ok(status) } else { Err(format!("{status:?}")) }
        })
        .await;
        let in_sync = status.conditions.iter().find(|condition| condition.type_ == "InSync");
        assert_eq!(in_sync.map(|condition| condition.status.as_str()), Some(expected), "round {round}");
    }
}

async fn handled(stage: &Stage, nonce: &str) {
    wait_for(&format!("an answer to {nonce}"), SOON, async || {
        let binding = stage.bindings().get("app").await.map_err(|why| why.to_string())?;
        let last = binding.status.and_then(|status| status.last_handled_sync);
        if last.as_deref() == Some(nonce) { Ok(()) } else { Err(format!("{last:?}")) }
    })
    .await;
}
