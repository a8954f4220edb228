//! What a spec makes of values on their way into a Secret, and what may leave it then.

use serde_json::{Value, json};

use crate::api::ConditionType::{Delivered, InSync, ResolvedRefs};
use crate::api::names::RELEASE_REMOVAL;
use crate::controller::secret_binding::fixtures::{SnapshotFixture, binding, secret, snapshot};
use crate::controller::secret_binding::simulated_cluster::{SimulatedCluster, cluster};
use crate::shape::ConfigMapTexts;

const CANARY: &str = "c4n4ry";

fn source() -> SnapshotFixture {
    snapshot().with("DB_USER", "shop").with("DB_PASSWORD", CANARY).with("OTHER", "x")
}

fn shaped(spec: Value) -> SimulatedCluster {
    cluster(binding("app").with_spec(spec)).reading(source())
}

fn data(cluster: &SimulatedCluster) -> Vec<String> {
    cluster.data("app").expect("a Secret")
}

fn find_db() -> Value {
    json!({"dataFrom": [{"find": {"name": {"regexp": "^DB_"}}, "rewrite": [{"regexp": {"source": "^DB_", "target": ""}}]}]})
}

fn url() -> Value {
    json!({
        "data": [
            {"secretKey": "user", "remoteRef": {"key": "DB_USER"}},
            {"secretKey": "password", "remoteRef": {"key": "DB_PASSWORD"}},
        ],
        "target": {"template": {"data": {"url": "postgres://{{ user }}:{{ password }}@db"}}},
    })
}

#[test]
fn what_is_found_and_renamed_is_written_once_and_again_when_its_value_changes() {
    let mut cluster = shaped(find_db());
    assert_eq!(cluster.reconcile(), ["create app", "status"]);
    assert_eq!(data(&cluster), ["PASSWORD=c4n4ry", "USER=shop"]);
    assert_eq!(cluster.reconcile(), Vec::<String>::new());
    assert_eq!(cluster.status().target.as_ref().expect("written").keys, Some(2));
    cluster.read(source().with("OTHER", "y").at_revision(6));
    assert_eq!(cluster.reconcile(), Vec::<String>::new(), "it is not among what is found");
    cluster.read(source().with("DB_USER", "new").with("DB_HOST", "db").at_revision(7));
    assert_eq!(cluster.reconcile(), ["replace app", "status"]);
    assert_eq!(data(&cluster), ["HOST=db", "PASSWORD=c4n4ry", "USER=new"]);
    assert!(!cluster.everything_said().contains(CANARY));
}

#[test]
fn a_template_is_filled_in_anew_when_a_value_the_spec_or_a_config_map_changes() {
    let mut cluster = shaped(url());
    assert_eq!(cluster.reconcile(), ["create app", "status"]);
    assert_eq!(data(&cluster), ["url=postgres://shop:c4n4ry@db"]);
    assert_eq!(cluster.status().target.as_ref().expect("written").keys, Some(1));
    assert_eq!(cluster.reconcile(), Vec::<String>::new());
    cluster.read(source().with("DB_USER", "new").at_revision(6));
    assert_eq!(cluster.reconcile(), ["replace app", "status"]);
    assert_eq!(data(&cluster), ["url=postgres://new:c4n4ry@db"]);

    let mut spec = url();
    spec["target"]["template"] =
        json!({"mergePolicy": "Merge", "templateFrom": [{"configMap": {"name": "files", "items": [{"key": "conf"}]}}]});
    cluster.edit_binding(binding("app").with_spec(spec));
    assert_eq!(cluster.reconcile(), ["status"]);
    assert_eq!(cluster.ready(), ("False", "TemplateNotFound"));
    assert_eq!(data(&cluster), ["url=postgres://new:c4n4ry@db"], "it stays");
    let texts = |text: &str| ConfigMapTexts {
        is_enabled: true,
        maps: [("files".to_owned(), [("conf".to_owned(), text.to_owned())].into())].into(),
    };
    cluster.config_maps = texts("user = {{ user }}");
    assert_eq!(cluster.reconcile(), ["replace app", "status"]);
    assert_eq!(data(&cluster), ["conf=user = new", "password=c4n4ry", "user=new"]);
    cluster.config_maps = texts("user: {{ user }}");
    assert_eq!(cluster.reconcile(), ["replace app", "status"]);
    cluster.config_maps = texts("user: {{ user }}\n{{ nobody }}");
    assert_eq!(cluster.reconcile(), ["status"]);
    let (_, reason, message) = cluster.condition(Delivered);
    assert_eq!(
        (reason, message),
        ("TemplateFailed", "ConfigMap files, key conf, line 2: it uses what is not there: nobody")
    );
    assert!(!cluster.everything_said().contains(CANARY));
}

#[test]
fn a_spec_that_goes_from_a_to_b_and_back_gives_the_first_secret_again() {
    let mut cluster = shaped(url());
    cluster.reconcile();
    let first = data(&cluster);
    for (spec, expected) in [
        (
            json!({"data": null, "dataFrom": find_db()["dataFrom"], "target": null}),
            vec!["PASSWORD=c4n4ry", "USER=shop"],
        ),
        (url(), vec!["url=postgres://shop:c4n4ry@db"]),
        (
            json!({"target": {"format": {"as": "dotenv", "secretKey": ".env"}}}),
            vec![".env=DB_PASSWORD=c4n4ry\nDB_USER=shop\nOTHER=x\n"],
        ),
        (url(), vec!["url=postgres://shop:c4n4ry@db"]),
    ] {
        cluster.edit_binding(binding("app").with_spec(spec));
        assert_eq!(cluster.reconcile(), ["replace app", "status"]);
        assert_eq!(data(&cluster), expected);
        assert_eq!(cluster.reconcile(), Vec::<String>::new());
    }
    assert_eq!(data(&cluster), first);
}

#[test]
fn what_gives_no_entries_holds_the_secret_and_names_the_reason() {
    let good =
        || json!({"data": [{"secretKey": "user", "remoteRef": {"key": "DB_USER"}}], "dataFrom": null, "target": null});
    let with = |fields: Value| {
        let mut spec = good();
        spec.as_object_mut().expect("a spec").extend(fields.as_object().expect("fields").clone());
        spec
    };
    let rename =
        json!([{"find": {"name": {"regexp": "^DB_"}}, "rewrite": [{"regexp": {"source": ".*", "target": "one"}}]}]);
    for (fields, condition, reason, words) in [
        (
            json!({"dataFrom": rename}),
            Delivered,
            "KeyNameInvalid",
            "(key DB_PASSWORD) and spec.dataFrom[0] (key DB_USER)",
        ),
        (
            json!({"dataFrom": [{"find": {"keys": ["OTHER"]}, "rewrite": [{"transform": {"template": "user"}}]}]}),
            Delivered,
            "KeyNameInvalid",
            "two entries would have the name user: spec.data[0] (key DB_USER) and spec.dataFrom[0] (key OTHER)",
        ),
        (json!({"dataFrom": [{"find": {"name": {"regexp": "("}}}]}), ResolvedRefs, "InvalidSpec", "regexp is not"),
        (
            json!({"dataFrom": [{"find": {"name": {"regexp": "NOBODY"}}}]}),
            ResolvedRefs,
            "KeyMissing",
            "spec.dataFrom[0].find finds no key of shop/dev",
        ),
        (
            json!({"data": [{"secretKey": "user", "remoteRef": {"key": "DB_USER", "property": "x"}}]}),
            Delivered,
            "ValueUnsuitable",
            "spec.data[0] (key DB_USER): the value is not JSON",
        ),
        (
            json!({"target": {"template": {"data": {"a": "{{ nobody }}"}}}}),
            Delivered,
            "TemplateFailed",
            "what is not there: nobody",
        ),
        (json!({"target": {"template": {"data": {"a": "{{ user"}}}}), ResolvedRefs, "InvalidSpec", "is not a template"),
        (
            json!({"target": {"template": {"data": {"a": "{% for a in range(99999) %}{% for b in range(99999) %}{{ user }}{% endfor %}{% endfor %}"}}}}),
            Delivered,
            "TemplateFailed",
            "more steps",
        ),
        (
            json!({"target": {"format": {"as": "json", "secretKey": "a"}, "template": {"data": {"a": "b"}}}}),
            ResolvedRefs,
            "InvalidSpec",
            "give one of both",
        ),
    ] {
        let mut cluster = shaped(good());
        cluster.reconcile();
        cluster.edit_binding(binding("app").with_spec(with(fields.clone())));
        assert_eq!(cluster.reconcile(), ["status"], "{fields}");
        let (_, said, message) = cluster.condition(condition);
        assert!(said == reason && message.contains(words), "{fields}: {said} {message}");
        assert_eq!(data(&cluster), ["user=shop"], "{fields}");
        cluster.edit_binding(binding("app").with_spec(good()));
        cluster.reconcile();
        assert_eq!(cluster.ready().1, "Ready", "{fields}");
    }
}

#[test]
fn a_pattern_that_finds_everything_takes_what_is_granted_and_no_more() {
    let all = json!({"dataFrom": [{"find": {"name": {"regexp": ".*"}}}]});
    let mut cluster =
        shaped(all).granting(&json!([{"namespaces": {"names": ["shop"]}, "keys": {"regexp": "DB_.*"}}]), "Retain");
    cluster.reconcile();
    assert_eq!(data(&cluster), ["DB_PASSWORD=c4n4ry", "DB_USER=shop"]);
}

#[test]
fn in_sync_is_told_of_what_is_found_and_of_what_could_be() {
    let mut cluster = shaped(find_db());
    cluster.read(source().stale("OTHER"));
    cluster.reconcile();
    assert_eq!(cluster.condition(InSync).0, "True");
    cluster.read(source().stale("DB_USER"));
    cluster.reconcile();
    assert_eq!(cluster.condition(InSync).1, "KeysStale");
    cluster.read(source().registered("DB_NEW").registered("APP_NEW"));
    cluster.reconcile();
    let (_, reason, message) = cluster.condition(InSync);
    assert!(reason == "KeysMissing" && message.contains("DB_NEW") && !message.contains("APP_NEW"), "{message}");
}

#[test]
fn what_a_pattern_found_leaves_on_a_tombstone_or_by_the_spec_and_else_holds() {
    for (spec, with, without) in [
        (find_db(), vec!["PASSWORD=c4n4ry", "USER=shop"], vec!["USER=shop"]),
        (
            json!({"dataFrom": find_db()["dataFrom"], "target": {"format": {"as": "dotenv", "secretKey": ".env"}}}),
            vec![".env=PASSWORD=c4n4ry\nUSER=shop\n"],
            vec![".env=USER=shop\n"],
        ),
        (
            json!({"dataFrom": find_db()["dataFrom"], "target": {"template": {"data":
                {"all": "{% for name, value in data|items %}{{ name }} {{ value }};{% endfor %}"}}}}),
            vec!["all=PASSWORD c4n4ry;USER shop;"],
            vec!["all=USER shop;"],
        ),
    ] {
        let mut gone = shaped(spec.clone());
        gone.reconcile();
        assert_eq!(data(&gone), with);
        gone.read(source().vanished("DB_PASSWORD").at_revision(6));
        assert_eq!(gone.reconcile(), ["status"]);
        assert!(
            gone.condition(ResolvedRefs).1 == "RemovalUnproven"
                && gone.condition(ResolvedRefs).2.contains("DB_PASSWORD")
        );
        assert_eq!(data(&gone), with);
        gone.annotate_binding(RELEASE_REMOVAL, "6");
        assert_eq!(gone.reconcile(), ["replace app", "status"]);
        assert_eq!(data(&gone), without);

        let mut deleted = shaped(spec.clone());
        deleted.reconcile();
        deleted.read(source().deleted("DB_PASSWORD").at_revision(6));
        assert_eq!(deleted.reconcile(), ["replace app", "status"]);
        assert_eq!(data(&deleted), without);

        let mut excluded = shaped(spec.clone());
        excluded.reconcile();
        excluded.read(source().vanished("DB_PASSWORD").at_revision(6));
        let mut narrower = spec.clone();
        narrower["dataFrom"][0]["find"]["excludeKeys"] = json!(["DB_PASSWORD"]);
        excluded.edit_binding(binding("app").with_spec(narrower));
        assert_eq!(excluded.reconcile(), ["replace app", "status"]);
        assert_eq!(data(&excluded), without);
    }
}

#[test]
fn most_of_what_a_pattern_found_does_not_leave_at_once() {
    let keys = (0..12).fold(snapshot(), |all, n| all.with(&format!("K{n}"), "v"));
    let spec = json!({"dataFrom": [{"find": {"name": {"regexp": "^K"}}}], "target": {"deletionPolicy": "Delete"}});
    let mut cluster = cluster(binding("app").with_spec(spec)).reading(keys.clone());
    cluster.reconcile();
    let none = (0..12).fold(keys, |all, n| all.deleted(&format!("K{n}")));
    cluster.read(none.at_revision(6));
    assert_eq!(cluster.reconcile(), ["status"]);
    assert_eq!(cluster.condition(ResolvedRefs).1, "MassRemoval");
    cluster.annotate_binding(RELEASE_REMOVAL, "6");
    assert_eq!(cluster.reconcile(), ["delete app", "status"]);
}

#[test]
fn a_built_in_type_is_checked_before_anything_is_written() {
    let tls = |key: &str| {
        json!({
            "data": [{"secretKey": "tls.crt", "remoteRef": {"key": "CRT"}}, {"secretKey": "tls.key", "remoteRef": {"key": key}}],
            "target": {"template": {"type": "kubernetes.io/tls"}},
        })
    };
    let pair = |name: &str| {
        let key = rcgen::KeyPair::generate().expect("a key");
        let parameters = rcgen::CertificateParams::new(vec![name.to_owned()]).expect("parameters");
        (parameters.self_signed(&key).expect("a certificate").pem(), key.serialize_pem())
    };
    let ((crt, key), (_, other)) = (pair("shop.example"), pair("pay.example"));
    let snapshot = || snapshot().with("CRT", &crt).with("KEY", &key).with("OTHER", &other);
    let mut cluster = cluster(binding("app").with_spec(tls("OTHER"))).reading(snapshot());
    assert_eq!(cluster.reconcile(), ["status"]);
    assert_eq!(cluster.ready(), ("False", "SecretTypeInvalid"));
    assert!(!cluster.everything_said().contains("PRIVATE KEY-----"), "{}", cluster.everything_said());
    cluster.edit_binding(binding("app").with_spec(tls("KEY")));
    assert_eq!(cluster.reconcile(), ["create app", "status"]);
    cluster.read(snapshot().with("KEY", &other).at_revision(6));
    assert_eq!(cluster.reconcile(), ["status"]);
    let (_, reason, message) = cluster.condition(Delivered);
    assert!(reason == "SecretTypeInvalid" && message.contains("not the key of the certificate"), "{message}");
    assert!(data(&cluster).contains(&format!("tls.key={key}")), "the last that fitted stays");
}

#[test]
fn another_type_is_told_with_its_remedy_and_immutable_can_be_put_on_and_not_taken_off() {
    let with_target = |target: Value| {
        let mut spec = url();
        for (name, field) in target.as_object().expect("fields") {
            spec["target"][name] = field.clone();
        }
        binding("app").with_spec(spec)
    };
    let mut cluster = shaped(url());
    cluster.reconcile();
    let mut typed = url();
    typed["target"]["template"]["type"] = json!("example.com/db");
    cluster.edit_binding(binding("app").with_spec(typed));
    assert_eq!(cluster.reconcile(), ["status"]);
    assert_eq!(cluster.ready().1, "TargetImmutable");
    cluster.edit_binding(with_target(json!({"immutable": true})));
    assert_eq!(cluster.reconcile(), ["replace app", "status"]);
    assert_eq!(cluster.secret("app").immutable, Some(true));
    cluster.edit_binding(binding("app").with_spec(url()));
    cluster.reconcile();
    assert_eq!((cluster.ready().1, cluster.secret("app").immutable), ("Ready", Some(true)));
    cluster.read(source().with("DB_USER", "new").at_revision(6));
    assert_eq!(cluster.reconcile(), ["status"]);
    assert_eq!(cluster.ready().1, "TargetImmutable");
    cluster.delete_secret("app");
    assert_eq!(cluster.reconcile(), ["create app", "status"]);
    assert_eq!(cluster.secret("app").immutable, None);
}

#[test]
fn a_secret_that_is_handed_over_to_a_shape_loses_no_key_that_nobody_named() {
    let theirs = secret("app").with("url", "x").with("theirs", "y").annotated("tidelock.dev/adopt", "app").build();
    let mut cluster = shaped(url()).with_secret(theirs);
    cluster.reconcile();
    let (_, reason, message) = cluster.condition(ResolvedRefs);
    assert!(reason == "RemovalUnproven" && message.contains("would lose: theirs;"), "{message}");
}
