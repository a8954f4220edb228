use std::fmt::Write as _;

use super::register::Described;
use super::*;

#[test]
fn what_was_counted_is_printed() {
    let metrics = Metrics::default();
    metrics.reconciled("SecretBinding", ReconcileResult::Ok, Duration::from_millis(2));
    metrics.wrote("secrets", Verb::Create);
    metrics.delivered(Duration::from_millis(30));
    metrics.sync_failed("SecretBinding", "KeyMissing");
    metrics.reconciled("SecretBinding", ReconcileResult::Timeout, Duration::from_secs(30));
    metrics.requested("PUT", Some(409), Duration::from_millis(2));
    metrics.requested("GET", None, Duration::from_secs(15));
    metrics.asked("poll", ReconcileResult::Ok, Duration::from_millis(2));
    metrics.set_notify_connected(true);
    metrics.set_objects([(("SecretBinding", "Ready".to_owned()), 3)]);
    metrics.set_leading(true);
    metrics.set_watch("secrets", Duration::from_millis(1500), 2, 3);
    metrics.set_out_of_sync([("stale", 4), ("missing", 0), ("unregistered", 0)], 5);
    metrics.queued("SecretBinding", 6, 7);
    let text = metrics.to_text();
    for line in [
        "tidelock_sync_total{kind=\"secret_binding\",result=\"ok\"} 1",
        "tidelock_sync_errors_total{kind=\"secret_binding\",reason=\"key_missing\"} 1",
        "tidelock_sync_errors_total{kind=\"secret_binding\",reason=\"deadline_exceeded\"} 1",
        "tidelock_sync_duration_seconds_bucket{le=\"0.005\",kind=\"secret_binding\"} 1",
        "tidelock_api_writes_total{resource=\"secrets\",verb=\"create\"} 1",
        "tidelock_api_request_duration_seconds_bucket{le=\"0.005\",method=\"PUT\",code=\"409\"} 1",
        "tidelock_api_request_duration_seconds_count{method=\"GET\",code=\"none\"} 1",
        "tidelock_registry_request_duration_seconds_count{question=\"poll\",result=\"ok\"} 1",
        "tidelock_notify_connected 1",
        "tidelock_delivery_lag_seconds_bucket{le=\"0.05\"} 1",
        "tidelock_watch_silence_seconds{resource=\"secrets\"} 1.5",
        "tidelock_unreadable_objects{resource=\"secrets\"} 2",
        "tidelock_leading 1",
        "tidelock_crowded_namespaces{resource=\"secrets\"} 3",
        "tidelock_out_of_sync_keys{state=\"stale\"} 4",
        "tidelock_out_of_sync_bindings 5",
        "tidelock_queue_depth{kind=\"secret_binding\",state=\"running\"} 7",
        "tidelock_objects{kind=\"secret_binding\",reason=\"ready\"} 3",
        concat!("tidelock_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
}

#[test]
fn counters_are_there_before_anything_is_counted() {
    let text = Metrics::default().to_text();
    for line in [
        "tidelock_sync_total{kind=\"secret_binding\",result=\"error\"} 0",
        "tidelock_api_writes_total{resource=\"secrets\",verb=\"delete\"} 0",
        "tidelock_polls_total{result=\"timeout\"} 0",
        "tidelock_snapshots_total{result=\"error\"} 0",
        "tidelock_events_dropped_total 0",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
}

#[test]
fn the_process_is_told_under_the_names_that_dashboards_know() {
    let text = Metrics::default().to_text();
    for name in ["resident_memory_bytes", "open_fds", "max_fds", "start_time_seconds", "cpu_seconds_total", "threads"] {
        let line = text.lines().find(|line| line.starts_with(&format!("process_{name} ")));
        let value = line.and_then(|line| line.split(' ').nth(1)?.parse::<f64>().ok());
        assert!(value.is_some_and(|value| value >= 0.0), "{name} is not in\n{text}");
    }
}

#[test]
fn a_series_for_each_object_is_there_as_long_as_the_object() {
    let metrics = Metrics::default();
    let binding = |name: &str| BindingFacts {
        namespace: "shop".to_owned(),
        name: name.to_owned(),
        is_ready: true,
        is_in_sync: false,
    };
    let environment =
        EnvironmentFacts { name: "dev".to_owned(), keys: [("stale", 2), ("missing", 0), ("unregistered", 0)] };
    metrics.set_of_objects(&[binding("a"), binding("b")], &[environment]);
    let text = metrics.to_text();
    for line in [
        "tidelock_binding_ready{namespace=\"shop\",name=\"a\"} 1",
        "tidelock_binding_in_sync{namespace=\"shop\",name=\"b\"} 0",
        "tidelock_environment_out_of_sync_keys{name=\"dev\",state=\"stale\"} 2",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    metrics.set_of_objects(&[binding("b")], &[]);
    let text = metrics.to_text();
    assert!(!text.contains("name=\"a\"") && text.contains("name=\"b\"") && !text.contains("name=\"dev\""), "{text}");
}

#[test]
fn the_checked_in_documentation_is_what_is_registered() {
    let mut page = String::from(
        "# Metrics\n\nThe operator answers `/metrics` in the OpenMetrics text format, beside `/livez` and `/readyz`. Label values \
         are in snake case and come from closed lists, so that a large cluster has as many series as a small one; the series for \
         each object are there only with `TIDELOCK_METRICS_PER_OBJECT=true` (`metrics.perObject` of the chart), and go with the \
         object. No label is a key or a value. What each `reason` means and what to do is in [conditions](conditions.md).\n\n\
         This page is generated from the code.\n\n| metric | type | labels | meaning |\n|---|---|---|---|\n",
    );
    for Described { name, kind, labels, meaning } in Metrics::described().1 {
        let labels = labels.split(", ").filter(|label| !label.is_empty()).map(|label| format!("`{label}`"));
        let labels = labels.collect::<Vec<_>>().join(", ");
        let _ = writeln!(page, "| `{name}` | {kind} | {labels} | {meaning} |");
    }
    page += "\nThe process is told under the names that every dashboard knows: `process_cpu_seconds_total`, \
             `process_resident_memory_bytes`, `process_open_fds`, `process_max_fds`, `process_threads`, \
             `process_start_time_seconds`.\n";
    crate::api::generated::check("docs/metrics.md", &page);
}
