use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use serde_json::json;
use tokio::sync::mpsc::{self, UnboundedReceiver};

use super::*;

struct Fixture {
    event_handlers: EventHandlers,
    bindings: UnboundedReceiver<Request<SecretBinding>>,
    environments: UnboundedReceiver<Request<ProjectEnvironment>>,
    store: Cache<SecretBinding>,
}

impl Fixture {
    fn new() -> Self {
        let (to_bindings, bindings) = mpsc::unbounded_channel();
        let (to_environments, environments) = mpsc::unbounded_channel();
        let store = Cache::with([]);
        let event_handlers = EventHandlers {
            index: BindingIndex::default(),
            mutations: Mutations::default(),
            controlled: ControlledSecrets::default(),
            stored_bindings: store.clone(),
            bindings: to_bindings,
            environments: to_environments,
        };
        Self { event_handlers, bindings, environments, store }
    }

    /// As the watch does it: the store first.
    fn binding(&mut self, before: Option<&Arc<SecretBinding>>, after: Option<&Arc<SecretBinding>>) {
        match (before, after) {
            (_, Some(after)) => self.store.put((**after).clone()),
            (Some(before), None) => self.store.take_out(&ObjectRef::from_obj(&**before)),
            (None, None) => {}
        }
        self.event_handlers.binding(&Change::cached(before.cloned(), after.cloned()));
    }

    /// With what priority bindings were requested since the last call.
    fn priorities(&mut self) -> Vec<Priority> {
        std::iter::from_fn(|| self.bindings.try_recv().ok()).map(|request| request.priority).collect()
    }

    fn source_changes(&self, kind: ChangeKind, keys: Option<&[&str]>) {
        let spec = json!({"project": "shop", "environment": "dev", "grants": []});
        let object = ProjectEnvironment::new("dev", serde_json::from_value(spec).expect("a spec"));
        let keys = keys.map(|keys| keys.iter().map(|key| Arc::from(*key)).collect());
        let change = SourceChange { source: registry_name(&object), kind, keys };
        self.event_handlers.source(&change, &[Arc::new(object)]);
    }

    /// Names of what was triggered since the last call: bindings, environments.
    fn triggered(&mut self) -> (Vec<String>, Vec<String>) {
        let bindings = std::iter::from_fn(|| self.bindings.try_recv().ok()).map(|request| request.name.name);
        let environments = std::iter::from_fn(|| self.environments.try_recv().ok()).map(|request| request.name.name);
        (bindings.collect(), environments.collect())
    }
}

fn binding(name: &str, target: &str, generation: i64, ready: bool) -> Arc<SecretBinding> {
    let object = json!({
        "apiVersion": "tidelock.dev/v1alpha1", "kind": "SecretBinding",
        "metadata": {"namespace": "shop", "name": name, "generation": generation},
        "spec": {"sourceRef": {"name": "dev"}, "target": {"name": target}},
        "status": {"revision": i64::from(ready)},
    });
    Arc::new(serde_json::from_value(object).expect("a binding"))
}

fn words(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn a_new_binding_is_looked_at_and_counted_and_its_status_is_no_news() {
    let mut fixture = Fixture::new();
    let first = binding("a", "app", 1, false);
    fixture.binding(None, Some(&first));
    assert_eq!(fixture.triggered(), (words(&["a"]), words(&["dev"])));
    let said = binding("a", "app", 1, true);
    fixture.event_handlers.mutations.bindings.record((*said).clone());
    fixture.binding(Some(&first), Some(&said));
    assert_eq!(fixture.triggered(), (words(&[]), words(&[])));
}

#[test]
fn a_status_that_somebody_took_away_is_news_of_a_binding_and_of_a_source() {
    let mut fixture = Fixture::new();
    let ready = json!({"conditions": [{
        "type": "Ready", "status": "True", "reason": "Ready", "message": "", "lastTransitionTime": "2026-11-23T10:00:00Z",
    }]});
    let mut said = (*binding("a", "app", 1, true)).clone();
    said.status = Some(serde_json::from_value(ready.clone()).expect("a status"));
    let (said, taken) = (Arc::new(said), binding("a", "app", 1, true));
    fixture.binding(None, Some(&said));
    fixture.triggered();
    fixture.binding(Some(&said), Some(&taken));
    assert_eq!(fixture.triggered(), (words(&["a"]), words(&[])));
    fixture.event_handlers.mutations.bindings.record((*said).clone());
    fixture.binding(Some(&taken), Some(&said));
    assert_eq!(fixture.triggered(), (words(&[]), words(&[])), "what it says again is its own doing");

    let spec = json!({"project": "shop", "environment": "dev", "grants": []});
    let taken = ProjectEnvironment::new("dev", serde_json::from_value(spec).expect("a spec"));
    let mut said = taken.clone();
    said.status = Some(serde_json::from_value(ready).expect("a status"));
    assert!(is_news(&Change::cached(Some(Arc::new(said)), Some(Arc::new(taken))), of_environment));
}

#[test]
fn a_status_that_somebody_altered_is_news_of_its_object_alone() {
    let mut fixture = Fixture::new();
    let at = |version: u32, ready| {
        let mut binding = (*binding("a", "app", 1, ready)).clone();
        binding.metadata.resource_version = Some(version.to_string());
        Arc::new(binding)
    };
    let written = fixture.event_handlers.mutations.bindings.clone();
    let mut said = at(10, true);
    fixture.binding(None, Some(&said));
    written.record((*said).clone());
    fixture.triggered();
    // Two that answer each other would go on for ever: after three times, one look at the end of the minute is for all others.
    let (at_once, later) = (Some(false), Some(true));
    for (round, expected) in [at_once, at_once, at_once, later, None, None].into_iter().enumerate() {
        let version = 11 + 2 * u32::try_from(round).expect("a few");
        let altered = at(version, false);
        fixture.binding(Some(&said), Some(&altered));
        let requests: Vec<_> = std::iter::from_fn(|| fixture.bindings.try_recv().ok()).collect();
        assert!(requests.iter().all(|request| request.name.name == "a") && requests.len() <= 1, "{requests:?}");
        assert_eq!(requests.first().map(|request| request.after.is_some()), expected, "round {round}");
        said = at(version + 1, true);
        written.record((*said).clone());
        fixture.binding(Some(&altered), Some(&said));
        assert_eq!(fixture.triggered(), (words(&[]), words(&[])), "it was put right");
    }
}

#[test]
fn when_another_keyring_is_held_those_go_first_that_wait_for_a_key() {
    for (reason, expected) in
        [("RingNotHeld", Priority::High), ("OpenFailed", Priority::High), ("Delivered", Priority::Low)]
    {
        let condition = json!({
            "type": "Delivered", "status": "False", "reason": reason, "message": "",
            "lastTransitionTime": "2026-11-23T10:00:00Z",
        });
        let mut binding = (*settled("Report", None)).clone();
        binding.status.as_mut().expect("a status").conditions =
            serde_json::from_value(json!([condition])).expect("conditions");
        let mut fixture = Fixture::new();
        fixture.binding(None, Some(&Arc::new(binding)));
        fixture.priorities();
        fixture.event_handlers.keyring();
        assert_eq!(fixture.priorities(), [expected], "{reason}");
    }
}

#[test]
fn a_source_that_changes_while_a_status_comes_in_passes_no_binding_by() {
    let mut fixture = Fixture::new();
    let [before, after] = [false, true].map(|ready| binding("a", "app", 1, ready));
    fixture.binding(None, Some(&before));
    fixture.triggered();
    let index = fixture.event_handlers.index.clone();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..20_000 {
                let change = Change::cached(Some(before.clone()), Some(after.clone()));
                fixture.event_handlers.binding(&change);
            }
            done.store(true, Ordering::Relaxed);
        });
        while !done.load(Ordering::Relaxed) {
            assert_eq!(index.of_source(&SourceReference::from(&*before), None).len(), 1);
        }
    });
}

#[test]
fn who_waits_for_a_target_is_looked_at_when_another_binding_lets_it_go() {
    let mut fixture = Fixture::new();
    let owner = binding("a", "app", 1, false);
    fixture.binding(None, Some(&owner));
    fixture.binding(None, Some(&binding("b", "app", 1, false)));
    fixture.triggered();
    fixture.binding(Some(&owner), None);
    assert_eq!(fixture.triggered(), (words(&["b"]), words(&["dev"])));
}

#[test]
fn a_secret_leads_to_who_wants_its_name_also_when_it_is_gone() {
    let mut fixture = Fixture::new();
    fixture.binding(None, Some(&binding("a", "app", 1, false)));
    fixture.triggered();
    let object = json!({"metadata": {"namespace": "shop", "name": "app"}});
    let secret: PartialObjectMeta<Secret> = serde_json::from_value(object).expect("a secret");
    fixture.event_handlers.secret(&Change::cached(Some(Arc::new(secret)), None));
    assert_eq!(fixture.triggered(), (words(&["a"]), words(&[])));
}

#[test]
fn a_namespace_matters_when_its_labels_change() {
    let mut fixture = Fixture::new();
    fixture.binding(None, Some(&binding("a", "app", 1, false)));
    fixture.triggered();
    let namespace = |version: &str, team: &str| {
        let object = json!({"metadata": {"name": "shop", "resourceVersion": version, "labels": {"team": team}}});
        Some(Arc::new(serde_json::from_value::<PartialObjectMeta<Namespace>>(object).expect("a namespace")))
    };
    fixture.event_handlers.namespace(&Change::cached(namespace("1", "x"), namespace("2", "x")));
    assert_eq!(fixture.triggered().0, words(&[]));
    fixture.event_handlers.namespace(&Change::cached(namespace("2", "x"), namespace("3", "y")));
    assert_eq!(fixture.triggered().0, words(&["a"]));
}

/// A binding that was reconciled at its generation.
fn settled(policy: &str, sync: Option<&str>) -> Arc<SecretBinding> {
    let object = json!({
        "apiVersion": "tidelock.dev/v1alpha1", "kind": "SecretBinding",
        "metadata": {
            "namespace": "shop", "name": "a", "generation": 1, "annotations": {"tidelock.dev/sync": sync},
        },
        "spec": {"sourceRef": {"name": "dev"}, "outOfSyncPolicy": policy},
        "status": {"observedGeneration": 1, "lastHandledSync": "monday"},
    });
    let mut object = object;
    if sync.is_none() {
        object["metadata"].as_object_mut().expect("metadata").remove("annotations");
    }
    Arc::new(serde_json::from_value(object).expect("a binding"))
}

#[test]
fn what_is_new_or_changes_goes_ahead_of_what_only_falls_behind_or_is_listed_again() {
    use ChangeKind::{Availability, Comparison, Content};
    use Priority::{High, Low};
    let new = binding("a", "a", 1, false);
    let [report, degrade] = ["Report", "Degrade"].map(|policy| settled(policy, None));
    let [asked, answered] = ["tuesday", "monday"].map(|nonce| settled("Report", Some(nonce)));
    for (binding, change, priority) in [
        (&new, Availability, High),
        (&new, Comparison, High),
        (&report, Availability, Low),
        (&report, Comparison, Low),
        (&report, Content, High),
        (&degrade, Comparison, High),
        (&degrade, Availability, Low),
        (&asked, Availability, High),
        (&answered, Availability, Low),
    ] {
        let mut fixture = Fixture::new();
        fixture.binding(None, Some(binding));
        fixture.priorities();
        fixture.source_changes(change, None);
        assert_eq!(fixture.priorities(), [priority], "{change:?}: {binding:?}");
    }
}

#[test]
fn a_change_of_some_keys_is_looked_at_by_the_source_and_by_who_reads_them() {
    let mut fixture = Fixture::new();
    let mut named = (*settled("Report", None)).clone();
    named.spec.data = serde_json::from_value(json!([{"secretKey": "X", "remoteRef": {"key": "B"}}])).expect("data");
    fixture.binding(None, Some(&Arc::new(named)));
    fixture.triggered();
    for (keys, bindings) in
        [(Some(["A"].as_slice()), vec![]), (Some(&["A", "B"]), words(&["a"])), (None, words(&["a"]))]
    {
        fixture.source_changes(ChangeKind::Content, keys);
        assert_eq!(fixture.triggered(), (bindings, words(&["dev"])), "{keys:?}");
    }
}

#[test]
fn a_binding_that_is_listed_at_the_start_is_a_resync_and_an_edit_or_a_question_is_none() {
    let mut fixture = Fixture::new();
    let first = settled("Report", None);
    fixture.binding(None, Some(&first));
    assert_eq!(fixture.priorities(), [Priority::Low]);
    fixture.binding(Some(&first), Some(&settled("Report", Some("tuesday"))));
    assert_eq!(fixture.priorities(), [Priority::High]);
}

#[test]
fn a_secret_that_changes_or_goes_is_urgent_and_one_that_is_listed_is_not() {
    let mut fixture = Fixture::new();
    fixture.binding(None, Some(&settled("Report", None)));
    fixture.priorities();
    let secret = |version: &str| {
        let object = json!({"metadata": {"namespace": "shop", "name": "a", "resourceVersion": version}});
        Some(Arc::new(serde_json::from_value::<PartialObjectMeta<Secret>>(object).expect("a secret")))
    };
    fixture.event_handlers.secret(&Change::cached(None, secret("1")));
    fixture.event_handlers.secret(&Change::cached(secret("1"), secret("2")));
    fixture.event_handlers.secret(&Change::cached(secret("2"), None));
    assert_eq!(fixture.priorities(), [Priority::Low, Priority::High, Priority::High]);
}

#[test]
fn a_config_map_wakes_the_bindings_of_its_namespace_that_take_templates_from_it() {
    let mut fixture = Fixture::new();
    let with_templates = |name: &str, config_map: &str| {
        let mut binding = (*binding(name, name, 1, true)).clone();
        let from = json!([{"configMap": {"name": config_map, "items": [{"key": "conf"}]}}]);
        let target = json!({"name": name, "template": {"templateFrom": from}});
        binding.spec.target = Some(serde_json::from_value(target).expect("a target"));
        Arc::new(binding)
    };
    for binding in [with_templates("a", "files"), with_templates("b", "others"), binding("c", "c", 1, true)] {
        fixture.binding(None, Some(&binding));
    }
    fixture.triggered();
    let config_map = |namespace: &str, text: &str| -> Option<Arc<ConfigMap>> {
        let metadata = json!({"namespace": namespace, "name": "files", "resourceVersion": text});
        let object = json!({"metadata": metadata, "data": {"conf": text}});
        Some(Arc::new(serde_json::from_value(object).expect("a ConfigMap")))
    };
    for (before, after, woken) in [
        (None, config_map("shop", "1"), words(&["a"])),
        (config_map("shop", "1"), config_map("shop", "2"), words(&["a"])),
        (config_map("shop", "2"), config_map("shop", "2"), words(&[])),
        (config_map("shop", "2"), None, words(&["a"])),
        (None, config_map("pay", "1"), words(&[])),
    ] {
        fixture.event_handlers.config_map(&Change::cached(before, after));
        assert_eq!(fixture.triggered().0, woken);
    }
}
