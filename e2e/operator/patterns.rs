//! One dialect: what a grant's pattern means to the API server's CEL, it means to the operator.

use std::collections::BTreeMap;

use k8s_openapi::api::admissionregistration::v1::{ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, PostParams};
use serde_json::json;
use tidelock::api::{Grant, Grants};

use crate::harness::wait_for;
use crate::stage::{SOON, Stage};

const PATTERNS: &[&str] = &[
    r"\w+",
    r"\w{1,64}",
    r"\W+",
    r"\d+",
    r"\D+",
    r"\s",
    r"\S+",
    r"[\w-]+",
    r"[^\d]+",
    "DB_.*",
    "(?i)db_.*",
    "(?i:DB)_URL",
    "(?s).+",
    "(?m)^DB$",
    "(?U)D.*",
    "(?-i)DB",
    "DB|APP",
    "(DB|APP)_URL",
    "(?:DB|APP)_URL",
    "(?P<a>DB)",
    "(?<a>DB)",
    "D?B",
    "D*B",
    "D+B+",
    "D{1}B",
    "D{0,2}B",
    "D{1,}B",
    "D??B",
    "[[:upper:]]+",
    "[[:word:]]+",
    "[[:^digit:]]+",
    "[A-Z_]+",
    "[]D]B",
    "[^]]+",
    "[D-]B",
    "[&]+",
    r"[\[\]]",
    r"\x44B",
    r"DB\.URL",
    r"DB\-URL",
    r"\bDB\b",
    r"D\BB",
    "^DB$",
    r"\ADB\z",
    ".",
    "..",
    "",
    "(|DB)",
    r"\tDB",
    "DB_URL$",
    "[.]",
    r"\.\.",
    "(a|b|)*",
    "((DB)+)+",
    "DB(_URL)?",
    // Of one of both alone, or read otherwise: the one that both refuse, or we.
    "(",
    "a)|(b",
    r"\pL+",
    r"\p{Greek}",
    "[A-Z&&[^D]]+",
    "[a[bc]]",
    "[D--B]",
    "(?x)D B",
    "(?u)DB",
    r"\x{44}B",
    r"\u0044B",
    r"\<DB",
    r"\101",
    r"\QDB\E",
    "D{1001}",
    "D**",
    "D+*",
    "x{,5}",
    "д+",
    r"\1",
    r"\Z",
    r"\C",
    "(?=DB)",
    "(?<!D)B",
    "[z-a]",
    r"[\d-z]",
    "*",
    "+",
    "?",
    "{",
    "D{",
    "D{1",
    "D{a}",
    "[[.a.]]",
    "[[=a=]]",
];

const KEYS: &[&str] = &[
    "DB", "DB_URL", "APP_URL", "db", "D", "B", "DDB", "DB.URL", "DB-URL", "A1", "1", "_", ".", "..", "DB2", "дв", "ДВ",
    "&", "[", "K",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_pattern_that_is_taken_grants_what_the_api_servers_own_language_matches() {
    let stage = Stage::with_shop("patterns").await;
    let namespace = stage.cluster.namespace.clone();
    // CEL judges a ConfigMap by the pattern and the keys in it, and answers with those that match.
    let policy: ValidatingAdmissionPolicy = serde_json::from_value(json!({
        "metadata": {"name": namespace},
        "spec": {
            "matchConstraints": {"resourceRules": [{
                "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"], "operations": ["CREATE"],
            }], "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}},
            "validations": [{
                "expression": "!has(object.data.pattern)",
                "messageExpression": "'matched:' + object.data.keys.split(' ').filter(k, \
                    k.matches('^(?:' + object.data.pattern + ')$') && ''.matches(object.data.pattern) in [true, false]).join(' ') + ':'",
            }],
        },
    }))
    .unwrap();
    let binding: ValidatingAdmissionPolicyBinding = serde_json::from_value(json!({
        "metadata": {"name": namespace},
        "spec": {"policyName": namespace, "validationActions": ["Deny"]},
    }))
    .unwrap();
    Api::all(stage.cluster.admin.clone()).create(&PostParams::default(), &policy).await.unwrap();
    Api::all(stage.cluster.admin.clone()).create(&PostParams::default(), &binding).await.unwrap();
    let maps: Api<ConfigMap> = Api::namespaced(stage.cluster.admin.clone(), &namespace);
    let dry_run = PostParams { dry_run: true, ..PostParams::default() };
    // `None` where CEL takes the text for no pattern.
    let in_cel = async |pattern: &str| -> Result<Option<Vec<String>>, String> {
        let data = json!({"pattern": pattern, "keys": KEYS.join(" ")});
        let map: ConfigMap = serde_json::from_value(json!({"metadata": {"name": "asked"}, "data": data})).unwrap();
        match maps.create(&dry_run, &map).await {
            Err(kube::Error::Api(refused)) => {
                let matched = refused.message.split("matched:").nth(1).and_then(|rest| rest.split(':').next());
                Ok(matched.map(|keys| keys.split_whitespace().map(str::to_owned).collect()))
            }
            other => Err(format!("{other:?}")),
        }
    };
    wait_for("the policy to be in force", SOON, async || {
        let matched = in_cel("DB").await?;
        if matched == Some(vec!["DB".to_owned()]) { Ok(()) } else { Err(format!("{matched:?}")) }
    })
    .await;

    let (mut taken, mut different) = (0, Vec::new());
    for pattern in PATTERNS {
        let theirs = in_cel(pattern).await.unwrap();
        let grant: Grant =
            serde_json::from_value(json!({"namespaces": {"names": ["a"]}, "keys": {"regexp": pattern}})).unwrap();
        let grants = Grants::new(&[grant]);
        let none = BTreeMap::new();
        let Some(granted) = grants.to_namespace("a", &none) else { continue };
        taken += 1;
        let ours = KEYS.iter().filter(|key| granted.covers(key)).map(|key| (*key).to_owned()).collect::<Vec<_>>();
        // Keys of another script are granted by name alone.
        let theirs = theirs.map(|keys| keys.into_iter().filter(|key| key.is_ascii()).collect::<Vec<_>>());
        if theirs.as_ref() != Some(&ours) {
            different.push(format!("{pattern}: {theirs:?}, and here {ours:?}"));
        }
    }
    assert!(different.is_empty(), "{different:#?}");
    assert!(taken >= 50, "only {taken} of the patterns are of the dialect");
}
