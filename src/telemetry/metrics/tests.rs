use super::*;

#[test]
fn what_was_counted_is_printed() {
    let metrics = Metrics::default();
    metrics.reconciled("SecretBinding", ReconcileResult::Ok, Duration::from_millis(2));
    metrics.wrote("secrets", Verb::Create);
    metrics.synced(Duration::from_millis(30));
    metrics.set_objects([(("SecretBinding", "Ready".to_owned()), 3)]);
    metrics.set_leading(true);
    metrics.set_watch("secrets", Duration::from_millis(1500), 2, 3);
    metrics.set_out_of_sync([("stale", 4), ("missing", 0), ("unregistered", 0)], 5);
    metrics.queued("SecretBinding", 6, 7);
    let text = metrics.to_text();
    for line in [
        "tidelock_reconciles_total{kind=\"SecretBinding\",result=\"Ok\"} 1",
        "tidelock_api_writes_total{resource=\"secrets\",verb=\"Create\"} 1",
        "tidelock_sync_latency_seconds_bucket{le=\"0.05\"} 1",
        "tidelock_watch_silence_seconds{resource=\"secrets\"} 1.5",
        "tidelock_unreadable_objects{resource=\"secrets\"} 2",
        "tidelock_leading 1",
        "tidelock_crowded_namespaces{resource=\"secrets\"} 3",
        "tidelock_out_of_sync_keys{state=\"stale\"} 4",
        "tidelock_out_of_sync_bindings 5",
        "tidelock_queue_depth{kind=\"SecretBinding\",state=\"running\"} 7",
        "tidelock_objects{kind=\"SecretBinding\",reason=\"Ready\"} 3",
        concat!("tidelock_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
}

#[test]
fn counters_are_there_before_anything_is_counted() {
    let text = Metrics::default().to_text();
    for line in [
        "tidelock_reconciles_total{kind=\"SecretBinding\",result=\"Error\"} 0",
        "tidelock_api_writes_total{resource=\"secrets\",verb=\"Delete\"} 0",
        "tidelock_polls_total{result=\"Timeout\"} 0",
        "tidelock_snapshots_total{result=\"Error\"} 0",
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
