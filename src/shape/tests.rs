//! What specs make of values, as tables.

use serde_json::{Value, json};

use super::*;

fn shaped(spec: &Value, values: &[(&str, &str)]) -> Result<Vec<String>, String> {
    let mut whole = json!({"sourceRef": {"name": "dev"}});
    whole.as_object_mut().expect("a spec").extend(spec.as_object().expect("fields").clone());
    let spec: SecretBindingSpec = serde_json::from_value(whole).expect("a spec");
    let values: Vec<(&str, SecretValue)> =
        values.iter().map(|(key, text)| (*key, SecretValue::from(text.as_bytes().to_vec()))).collect();
    let values: BTreeMap<&str, &SecretValue> = values.iter().map(|(key, value)| (*key, value)).collect();
    let shape = Shape::new(&spec).map_err(|error| error.to_string())?;
    let outline = shape.outline(values.keys().copied()).map_err(|error| error.to_string());
    let entries = shape.entries(&values, &ConfigMapTexts::default()).map_err(|error| error.to_string());
    match (&outline, &entries) {
        (Err(early), Err(late)) => assert_eq!(early, late, "both see it"),
        (Err(early), Ok(_)) => panic!("only the names were found wrong: {early}"),
        (Ok(outline), Ok(entries)) => {
            let names: BTreeSet<String> = entries.keys().cloned().collect();
            assert!(outline.names.is_subset(&names) && (!outline.is_whole || outline.names == names), "{outline:?}");
        }
        (Ok(_), Err(_)) => {}
    }
    let text = |(name, value): (String, SecretValue)| format!("{name}={}", String::from_utf8_lossy(value.expose()));
    entries.map(|entries| entries.into_iter().map(text).collect())
}

const VALUES: &[(&str, &str)] = &[
    ("APP_DB", "app"),
    ("DB", "plain"),
    ("JSON_A", r#"{"x": 1, "y": "a"}"#),
    ("JSON_B", r#"{"y": "b", "z": null}"#),
    ("JSON_C", r#"{"y": "c", "w": [1]}"#),
    ("TOKEN", "dG9rZW4="),
];

#[test]
fn entries_are_found_renamed_taken_apart_and_decoded() {
    let find = |find: Value, rewrite: Value| json!({"dataFrom": [{"find": find, "rewrite": rewrite}]});
    for (spec, expected) in [
        (
            json!({"data": [{"secretKey": "t", "remoteRef": {"key": "TOKEN", "decodingStrategy": "Base64"}}]}),
            vec!["t=token"],
        ),
        (json!({"data": [{"secretKey": "x", "remoteRef": {"key": "JSON_A", "property": "x"}}]}), vec!["x=1"]),
        (json!({"dataFrom": [{"find": {"name": {"regexp": "DB$"}}}]}), vec!["APP_DB=app", "DB=plain"]),
        (json!({"dataFrom": [{"find": {"name": {"regexp": "NOTHING"}}}]}), vec![]),
        (json!({"dataFrom": [{"find": {"keys": ["TOKEN"], "decodingStrategy": "Auto"}}]}), vec!["TOKEN=token"]),
        (json!({"dataFrom": [{"find": {"keys": ["APP_DB"]}}], "nameTransformer": "camel"}), vec!["appDb=app"]),
        (
            find(json!({"keys": ["APP_DB"]}), json!([{"regexp": {"source": "^APP_(.*)", "target": "my-$1"}}])),
            vec!["my-DB=app"],
        ),
        (find(json!({"keys": ["DB"]}), json!([{"regexp": {"source": "NOTHING", "target": "x"}}])), vec!["DB=plain"]),
        (
            find(
                json!({"keys": ["APP_DB"]}),
                json!([{"transform": {"template": "{{ value | lower | replace('_', '-') }}"}}, {"regexp": {"source": "-", "target": "."}}]),
            ),
            vec!["app.db=app"],
        ),
        (
            find(json!({"keys": ["JSON_A", "JSON_C"]}), json!([{"merge": {"conflictPolicy": "Ignore"}}])),
            vec!["w=[1]", "x=1", "y=c"],
        ),
        (
            find(
                json!({"keys": ["JSON_A", "JSON_C"]}),
                json!([{"merge": {"conflictPolicy": "Ignore", "priority": ["JSON_A"]}}, {"regexp": {"source": "^", "target": "v"}}]),
            ),
            vec!["vw=[1]", "vx=1", "vy=a"],
        ),
        (
            find(json!({"keys": ["JSON_A"]}), json!([{"merge": {"strategy": "JSON", "into": "all"}}])),
            vec![r#"all={"x":1,"y":"a"}"#],
        ),
        (
            find(
                json!({"keys": ["APP_DB", "DB"]}),
                json!([{"regexp": {"source": "^APP_", "target": ""}}, {"merge": {"strategy": "Name", "conflictPolicy": "Ignore", "priority": ["APP_DB"]}}]),
            ),
            vec!["DB=app"],
        ),
        (
            find(
                json!({"keys": ["APP_DB", "DB"]}),
                json!([{"regexp": {"source": "^APP_", "target": ""}}, {"merge": {"strategy": "Name", "conflictPolicy": "Ignore"}}]),
            ),
            vec!["DB=plain"],
        ),
        (
            json!({"dataFrom": [{"find": {"keys": ["DB"]}}], "target": {"format": {"as": "dotenv", "secretKey": ".env"}}}),
            vec![".env=DB=plain\n"],
        ),
        (
            json!({"data": [{"secretKey": "a.b", "remoteRef": {"key": "DB"}}], "target": {"template": {"data": {"url": "db://{{ data['a.b'] }}"}}}}),
            vec!["url=db://plain"],
        ),
        (
            json!({"data": [{"secretKey": "a", "remoteRef": {"key": "DB"}}], "target": {"template": {"mergePolicy": "Merge", "data": {"b": "{{ a }}!"}}}}),
            vec!["a=plain", "b=plain!"],
        ),
        (
            json!({"data": [{"secretKey": "a", "remoteRef": {"key": "DB"}}], "target": {"template": {"mergePolicy": "Merge", "data": {"a": "{{ a }}!"}}}}),
            vec!["a=plain!"],
        ),
    ] {
        assert_eq!(shaped(&spec, VALUES), Ok(expected.into_iter().map(str::to_owned).collect()), "{spec}");
    }
}

#[test]
fn what_gives_no_entries_names_both_sides_and_no_value() {
    let find = |find: Value, rewrite: Value| json!({"dataFrom": [{"find": find, "rewrite": rewrite}]});
    let same = json!([{"regexp": {"source": "^APP_", "target": ""}}]);
    for (spec, expected) in [
        (
            find(json!({"keys": ["APP_DB", "DB"]}), same),
            "two entries would have the name DB: spec.dataFrom[0] (key APP_DB) and spec.dataFrom[0] (key DB); rename one of them, or let a merge",
        ),
        (
            json!({"data": [{"secretKey": "DB", "remoteRef": {"key": "APP_DB"}}], "dataFrom": [{"find": {"keys": ["DB"]}}]}),
            "two entries would have the name DB: spec.data[0] (key APP_DB) and spec.dataFrom[0] (key DB)",
        ),
        (
            json!({"dataFrom": [{"find": {"keys": ["DB"]}}, {"find": {"name": {"regexp": ".*"}}}]}),
            "two entries would have the name DB: spec.dataFrom[0] (key DB) and spec.dataFrom[1] (key DB)",
        ),
        (
            find(
                json!({"keys": ["APP_DB", "DB"]}),
                json!([{"regexp": {"source": "^APP_", "target": ""}}, {"merge": {"strategy": "Name"}}]),
            ),
            "two entries would have the name DB",
        ),
        (
            json!({"dataFrom": [{"find": {"keys": ["APP_DB", "DB"]}, "rewrite": [{"transform": {"template": "one"}}]}]}),
            "two entries would have the name one",
        ),
        (
            find(json!({"keys": ["JSON_A", "JSON_C"]}), json!([{"merge": {}}])),
            "two entries would have the name y: spec.dataFrom[0] (key JSON_A) and spec.dataFrom[0] (key JSON_C)",
        ),
        (
            find(json!({"keys": ["JSON_A", "JSON_B"]}), json!([{"merge": {"conflictPolicy": "Ignore"}}])),
            "spec.dataFrom[0] (key JSON_B): the property is null",
        ),
        (
            find(json!({"keys": ["TOKEN"]}), json!([{"merge": {}}])),
            "spec.dataFrom[0] (key TOKEN): the value is not JSON",
        ),
        (
            find(json!({"keys": ["JSON_A"]}), json!([{"merge": {"priority": ["JSON_B"]}}])),
            "spec.dataFrom[0].rewrite[0].merge.priority names JSON_B, which is not there",
        ),
        (
            find(json!({"keys": ["DB"]}), json!([{"transform": {"template": "a b"}}])),
            "not valid as names of keys in a Secret: the names that come of spec.dataFrom[0] (key DB)",
        ),
        (
            find(json!({"keys": ["DB"]}), json!([{"transform": {"template": "{{ other }}"}}])),
            "spec.dataFrom[0].rewrite[0].transform.template, line 1: something that it uses is not there",
        ),
        (
            find(json!({"keys": ["DB"]}), json!([{"transform": {"template": "{{ value"}}])),
            "spec.dataFrom[0].rewrite[0].transform.template is not a template",
        ),
        (
            json!({"dataFrom": [{"find": {"name": {"regexp": "("}}}]}),
            "spec.dataFrom[0].find.name.regexp is not a regular",
        ),
        (
            find(json!({}), json!([{"regexp": {"source": r"\pL", "target": ""}}])),
            "spec.dataFrom[0].rewrite[0].regexp.source is not",
        ),
        (find(json!({}), json!([{}])), "spec.dataFrom[0].rewrite[0] must be one of"),
        (json!({"nameTransformer": "shouting"}), "spec.nameTransformer is none that this operator knows"),
        (json!({"target": {"creationPolicy": "Later"}}), "spec.target.creationPolicy is none"),
        (
            json!({"target": {"template": {"data": {"a": "\n{% if"}}}}),
            "spec.target.template.data.a is not a template: line 2",
        ),
        (
            json!({"data": [{"secretKey": "t", "remoteRef": {"key": "JSON_A", "property": "q"}}]}),
            "spec.data[0] (key JSON_A): the value has no such property",
        ),
        (
            json!({"data": [{"secretKey": "t", "remoteRef": {"key": "DB", "decodingStrategy": "Base64URL"}}]}),
            "spec.data[0] (key DB): the value is not base64 with the alphabet for URLs",
        ),
    ] {
        let said = shaped(&spec, VALUES).expect_err(&spec.to_string());
        assert!(said.starts_with(expected), "{spec}: {said}");
        assert!(!said.contains("plain") && !said.contains("dG9r"), "{said}");
    }
}

#[test]
fn names_that_only_a_template_reads_need_not_be_those_of_a_secret() {
    let spec = json!({"target": {"template": {"data": {"out": "{{ data['with space'] }}"}}}});
    assert_eq!(shaped(&spec, &[("with space", "x")]), Ok(vec!["out=x".to_owned()]));
    assert!(shaped(&json!({"nameTransformer": "camel"}), &[("---", "x")]).is_err());
}
