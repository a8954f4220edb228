use super::*;

const VALID: &str = "\
version = 1

[[ring]]
name = \"default\"

[[ring.key]]
id = \"00000000-0000-4000-8000-000000000001\"
state = \"secondary\"
secret = \"AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\"

[[ring.key]]
id = \"00000000-0000-4000-8000-000000000002\"
state = \"primary\"
secret = \"AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=\"

[[ring]]
name = \"production\"

[[ring.key]]
id = \"00000000-0000-4000-8000-000000000003\"
state = \"primary\"
secret = \"AwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwM=\"
";

#[test]
fn a_keyring_survives_its_text_form() {
    let keyring = Keyring::parse(VALID).ok().unwrap();
    let keys: Vec<_> = keyring
        .rings()
        .flat_map(|ring| ring.keys().map(|key| format!("{} {} {}", ring.name(), key.state, key.id)))
        .collect();
    let expected = [
        "default primary 00000000-0000-4000-8000-000000000002",
        "default secondary 00000000-0000-4000-8000-000000000001",
        "production primary 00000000-0000-4000-8000-000000000003",
    ];
    assert_eq!(keys, expected);

    let text = keyring.to_text();
    assert!(text.starts_with("# A Tidelock keyring."));
    let again = Keyring::parse(&text).ok().unwrap();
    assert_eq!(*again.to_text(), *text);
    for (ours, theirs) in keyring.rings.iter().zip(&again.rings) {
        for ((ours, _), (theirs, _)) in ours.held().zip(theirs.held()) {
            assert_eq!(ours.material.as_bytes(), theirs.material.as_bytes());
        }
    }
}

#[test]
fn a_keyring_without_rings_is_one_to_add_rings_to() {
    let empty = Keyring::generate(&[]);
    assert_eq!(Keyring::parse(&empty.to_text()).ok().unwrap().rings().count(), 0);
}

/// What is replaced in [`VALID`], by what, and the line, ring and beginning of the error.
const SLIPS: [(&str, &str, &str); 22] = [
    ("version = 1\n", "", "line 1: a keyring says"),
    ("version = 1", "version = 2", "line 1: this version of Tidelock reads"),
    ("version = 1", "version = \"1\"", "line 1: this version of Tidelock reads"),
    ("version = 1", "version = 1\nowner = \"x\"", "line 2: version 1 has no such field"),
    ("name = \"default\"\n", "", "line 3: a ring has a name"),
    ("\"default\"", "\"-default\"", "line 4: a ring has a name"),
    ("\"default\"", "7", "line 4: a ring has a name"),
    ("\"production\"", "\"default\"", "line 17, ring default: there is a ring of this name"),
    ("\"default\"", "\"default\"\nnote = \"x\"", "line 5, ring default: version 1 has no such field"),
    ("id = \"00000000-0000-4000-8000-000000000001\"\n", "", "line 6, ring default: a key has an id"),
    ("0001\"", "000A\"", "line 7, ring default: a key has an id"),
    ("0002\"", "0001\"", "line 11, ring default: there is a key of this id"),
    ("0003\"", "0001\"", "line 19, ring production: there is a key of this id"),
    (
        "AwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwM",
        "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE",
        "line 19, ring production: another key has the same secret",
    ),
    ("\"secondary\"", "\"primary\"", "line 11, ring default: another key of the ring is primary"),
    ("\"secondary\"", "\"retired\"", "line 8, ring default: a key has a state"),
    ("0002\"\nstate = \"primary\"", "0002\"\nstate = \"secondary\"", "line 3, ring default: none of the ring's keys"),
    (
        "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=",
        "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=",
        "line 9, ring default: a key has a secret, 32 bytes",
    ),
    (
        "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=",
        "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE",
        "line 9, ring default: a key has a secret, 32 bytes",
    ),
    ("\"AQEBAQEB", "AQEBAQEB", "line 9: this is not TOML"),
    ("state = \"secondary\"", "id = \"00000000-0000-4000-8000-000000000001\"", "line 8: this is not TOML"),
    ("state = \"secondary\"", "AQEBAQEB = 1\nstate = \"secondary\"", "line 8, ring default: version 1 has no such"),
];

#[test]
fn rings_and_keys_that_are_no_tables_are_refused() {
    for (text, expected) in [
        ("version = 1\nring = 7\n", "line 2: rings are written `[[ring]]`"),
        ("version = 1\nring = [\n7]\n", "line 3: rings are written `[[ring]]`"),
        ("version = 1\n[[ring]]\nname = 'a'\nkey = 7\n", "line 4, ring a: keys are written `[[ring.key]]`"),
        ("version = 1\n[[ring]]\nname = 'a'\n", "line 2, ring a: none of the ring's keys is primary"),
        ("", "line 1: a keyring says `version = 1`"),
    ] {
        assert_eq!(Keyring::parse(text).err().unwrap().to_string(), expected);
    }
}

#[test]
fn every_slip_is_refused_with_its_line_and_ring_and_without_any_secret() {
    for (found, replacement, expected) in SLIPS {
        let text = VALID.replacen(found, replacement, 1);
        assert_ne!(text, VALID, "{found}");
        let error = Keyring::parse(&text).err().unwrap_or_else(|| panic!("{replacement} was taken")).to_string();
        assert!(error.starts_with(expected), "{replacement}: {error}");
        assert!(!error.contains("AQEB"), "{error}");
    }
}
