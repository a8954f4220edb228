use serde_json::json;

use super::*;

const CANARY: &str = "c4n4ry";

fn rendered(text: &str) -> Result<String, String> {
    rendered_with(text, &[])
}

fn rendered_with(text: &str, more: &[(&str, &[u8])]) -> Result<String, String> {
    let template: Template = serde_json::from_value(json!({"data": {"out": text}})).expect("a template");
    let values: [(&str, &[u8]); 5] = [
        ("USER", b"shop"),
        ("PASSWORD", CANARY.as_bytes()),
        ("CONFIG", br#"{"host": "db", "ports": [1, 2]}"#),
        ("URL", b"postgres://u:p%40ss@db.example:5432/shop?sslmode=require"),
        ("KEYSTORE", &[0xff, 0xfe, 0x00]),
    ];
    let entries = values
        .iter()
        .chain(more)
        .map(|(name, value)| ((*name).to_owned(), SecretValue::from(value.to_vec())))
        .collect();
    let made = render(&template, entries, &ConfigMapTexts::default()).map_err(|error| error.to_string())?;
    Ok(String::from_utf8_lossy(made["out"].expose()).into_owned())
}

#[test]
fn values_are_variables_and_filters_turn_them_into_what_programs_read() {
    for (text, expected) in [
        ("{{ USER }}:{{ PASSWORD }}\n", "shop:c4n4ry\n"),
        ("{{ data['USER'] }}", "shop"),
        ("{% for name, value in data|items if name == 'USER' %}{{ name }}={{ value }}{% endfor %}", "USER=shop"),
        ("{% if NOBODY is defined %}{{ NOBODY }}{% else %}none{% endif %}", "none"),
        ("{{ NOBODY | default('none') }}", "none"),
        ("{{ (USER ~ ':' ~ PASSWORD) | b64enc }}", "c2hvcDpjNG40cnk="),
        ("{{ 'c2hvcA==' | b64dec }}", "shop"),
        ("{{ KEYSTORE | b64enc }}", "//4A"),
        ("{{ KEYSTORE | b64enc | b64dec | b64enc }}", "//4A"),
        ("{{ USER | sha256 }}", "31b07c9b92b65e9efa62b8e8ecd0d4ac5df7c6ba1ad88bc2ba7c66f50ca6b58c"),
        ("{{ CONFIG | from_json | to_yaml }}", "host: db\nports:\n- 1\n- 2"),
        ("{{ (CONFIG | from_json).host }}", "db"),
        ("{{ {'user': USER} | to_json }}", r#"{"user":"shop"}"#),
        ("{{ ('a: [1, x]' | from_yaml).a | to_json }}", r#"[1,"x"]"#),
        ("a:\n{{ 'b\nc' | indent(2, true) }}", "a:\n  b\n  c"),
        (
            "{% set u = URL | url %}{{ u.username }} {{ u.password }} {{ u.host }} {{ u.port }} {{ u.path }}",
            "u p@ss db.example 5432 /shop",
        ),
        ("{{ (URL | url).query.sslmode }} {{ ('redis://cache' | url).port | default(6379) }}", "require 6379"),
    ] {
        if text.contains("sha256") {
            assert_eq!(rendered(text).expect("hex").len(), expected.len());
            continue;
        }
        assert_eq!(rendered(text).as_deref(), Ok(expected), "{text}");
    }
}

#[test]
fn what_goes_wrong_is_told_by_template_line_and_kind_and_never_by_a_value() {
    for (text, expected) in [
        ("\n\n{{ NOBODY }}", "spec.target.template.data.out, line 3: it uses what is not there: NOBODY"),
        ("{{ data.NOBODY }}", "line 1: it uses what is not there: data.NOBODY"),
        ("{{ data['no-body'] }}", "line 1: something that it uses is not there"),
        ("{{ NOBODY | b64enc }}", "it uses what is not there: NOBODY"),
        ("{{ (CONFIG | from_json).nothing }}", "something that it uses is not there"),
        ("{{ USER", "unexpected end of input"),
        ("{{ USER | nothing }}", "nothing is unknown"),
        ("{{ nothing(USER) }}", "nothing is unknown"),
        ("{{ PASSWORD | from_json }}", "from_json is given no JSON"),
        ("{{ PASSWORD | b64dec }}", "b64dec is given no base64"),
        ("{{ PASSWORD | url }}", "url is given no URL"),
        ("{{ PASSWORD - 1 }}", "an operation is not possible"),
        ("{{ PASSWORD.foo() }}", "it calls a method"),
        ("{{ data | b64enc }}", "to_json or to_yaml makes one"),
        ("{% for a, b in [PASSWORD] %}{% endfor %}", "a loop has more or fewer variables"),
        ("{% include 'other' %}", "unknown statement"),
        ("{{ debug() }}", "debug is unknown"),
    ] {
        let said = rendered(text).expect_err(text);
        assert!(said.contains(expected) && said.starts_with("spec.target.template.data.out"), "{text}: {said}");
        assert!(!said.contains(CANARY), "{text}: {said}");
    }
}

#[test]
fn what_loops_doubles_or_nests_without_end_is_stopped() {
    let steps = "more steps, or makes more text";
    let big = vec![b'a'; 600_000];
    for (text, expected) in [
        (
            "{% for a in range(1000) %}{% for b in range(1000) %}{% for c in range(1000) %}x{% endfor %}{% endfor %}{% endfor %}",
            steps,
        ),
        ("{% set n = namespace(x='aaaaaaaa') %}{% for i in range(60) %}{% set n.x = n.x ~ n.x %}{% endfor %}", steps),
        ("{{ 'aaaaaaaa' * 1000000000 }}", steps),
        ("{% for a in range(30000) %}{{ BIG }}{% endfor %}", steps),
        ("{% for a in range(100000) %}{% if BIG|replace('a', 'bb')|length %}{% endif %}{% endfor %}", steps),
        ("{% for a in [[1]] recursive %}{{ loop([[a]]) }}{% endfor %}", "deeper than a template may"),
        ("{{ BIG }}{{ BIG }}", "more than the 1048576 bytes"),
    ] {
        let said = rendered_with(text, &[("BIG", &big)]).expect_err(text);
        assert!(said.contains(expected), "{text}: {said}");
    }
    let nested = format!("{}1{}", "(".repeat(5_000), ")".repeat(5_000));
    let said = rendered(&format!("{{{{ {nested} }}}}")).expect_err("nested");
    assert!(said.starts_with("spec.target.template.data.out"), "{said}");
    assert!(rendered(&"x".repeat(TEMPLATE_MAX + 1)).expect_err("large").contains("more than 65536 bytes"));
}

#[test]
fn a_value_that_is_no_text_is_not_printed_in_whatever_way() {
    for text in [
        "{{ KEYSTORE }}",
        "{{ KEYSTORE ~ 'x' }}",
        "{{ KEYSTORE | string | b64enc }}",
        "{{ data | to_json }}",
        "{{ [KEYSTORE] | join(',') }}",
        "{{ '//4A' | b64dec }}",
    ] {
        let said = rendered(text).expect_err(text);
        assert!(said.contains("prints a value that is not text in UTF-8"), "{text}: {said}");
    }
}

#[test]
fn templates_of_config_maps_are_found_by_name_and_key_or_said_to_be_missing() {
    let template: Template = serde_json::from_value(json!({
        "data": {"a": "1"},
        "templateFrom": [{"configMap": {"name": "files", "items": [{"key": "app.conf"}]}}],
    }))
    .expect("a template");
    let texts = |is_enabled, maps: &[(&str, &str, &str)]| ConfigMapTexts {
        is_enabled,
        maps: maps
            .iter()
            .map(|(map, key, text)| ((*map).to_owned(), [((*key).to_owned(), (*text).to_owned())].into()))
            .collect(),
    };
    let render = |texts: &ConfigMapTexts| {
        let entries = [("USER".to_owned(), SecretValue::from(b"shop".to_vec()))].into();
        let made = render(&template, entries, texts).map_err(|error| error.to_string())?;
        Ok::<_, String>(made.keys().cloned().collect::<Vec<_>>().join(","))
    };
    let found = texts(true, &[("files", "app.conf", "user={{ USER }}")]);
    assert_eq!(render(&found).as_deref(), Ok("a,app.conf"));
    for (texts, expected) in [
        (texts(false, &[]), "ConfigMap files: templates in ConfigMaps are off"),
        (texts(true, &[]), "ConfigMap files: there is none in this namespace that has the label"),
        (texts(true, &[("files", "other", "")]), "ConfigMap files: it has no key app.conf"),
        (
            texts(true, &[("files", "app.conf", "\n{{ NOBODY }}")]),
            "ConfigMap files, key app.conf, line 2: it uses what is not there: NOBODY",
        ),
    ] {
        let said = render(&texts).expect_err(expected);
        assert!(said.starts_with(expected), "{said}");
    }
    let twice: Template = serde_json::from_value(json!({
        "data": {"app.conf": "1"},
        "templateFrom": [{"configMap": {"name": "files", "items": [{"key": "app.conf"}]}}],
    }))
    .expect("a template");
    let said = check(&twice).expect_err("twice").to_string();
    assert_eq!(
        said,
        "two templates are for the entry app.conf: spec.target.template.data.app.conf and ConfigMap files"
    );
}
