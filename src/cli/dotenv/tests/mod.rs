//! What is read, and what is refused.

mod forms;

use super::*;

fn found(text: &str) -> Result<Vec<Assignment>, DotenvError> {
    parse(text.as_bytes(), &BTreeSet::new())
}

fn read(text: &str) -> Vec<(String, String)> {
    let text_of = |value: &SecretValue| String::from_utf8(value.expose().to_vec()).unwrap();
    found(text).unwrap().iter().map(|found| (found.key.to_string(), text_of(&found.value))).collect()
}

fn one(text: &str) -> String {
    let [(_, value)] = read(text).try_into().unwrap();
    value
}

fn fails(text: &str) -> String {
    found(text).err().unwrap_or_else(|| panic!("it should not be read: {text:?}")).to_string()
}

#[test]
fn a_file_as_people_write_it_is_read() {
    let text = "\u{feff}# shop\n\nA=1\nexport B = two words  # why\nC='single # $x'\r\nD=\"a\\nb\"\nE=\n  F=x#y\n";
    let expected = [("A", "1"), ("B", "two words"), ("C", "single # $x"), ("D", "a\nb"), ("E", ""), ("F", "x#y")];
    assert_eq!(read(text), expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
}

#[test]
fn a_value_is_what_is_written_and_nothing_is_expanded() {
    for (text, value) in [
        ("A=pa$HOME", "pa$HOME"),
        ("A=\"${HOME}\"", "${HOME}"),
        ("A=a\\nb", "a\\nb"),
        ("A='a\\\\b'", "a\\\\b"),
        ("A=b==", "b=="),
        ("exporting=1", "1"),
        ("A='1\n2'", "1\n2"),
        ("A=\"1\n2\"", "1\n2"),
    ] {
        assert_eq!(one(text), value, "{text}");
    }
}

#[test]
fn a_quoted_value_of_several_lines_has_no_carriage_returns_of_a_file_with_crlf() {
    assert_eq!(one("A=\"1\r\n2\r\n\"\r\n"), "1\n2\n");
    assert_eq!(one("A='1\r\n2'\r\n"), "1\n2");
    assert_eq!(one("A=\"1\\r\\n2\"\r\n"), "1\r\n2", "where it is spelled out it is meant");
}

#[test]
fn a_number_sign_right_after_the_equals_sign_begins_the_value() {
    assert_eq!(one("PASSWORD=#Rainy"), "#Rainy");
    assert_eq!(one("PASSWORD=a#b"), "a#b");
    assert_eq!(one("PASSWORD= # nothing yet"), "");
    for text in ["A=#", "A=# x", "A=#a #b", "A=a#b #c", "A=a#b ", "A= a#b", "export A=#Rainy", "A =#Rainy"] {
        assert!(fails(text).contains("whether a comment begins at the #: put the value in single quotes"), "{text}");
    }
}

#[test]
fn a_value_that_a_comment_emptied_or_cut_is_known() {
    for (text, cut) in [
        ("A=a # b", true),
        ("A= # b", true),
        ("A=a", false),
        ("A=", false),
        ("A='a' # b", false),
        ("A=\"a # b\"", false),
        ("A=a#b", false),
    ] {
        assert_eq!(found(text).unwrap()[0].cut_by_comment, cut, "{text}");
    }
}

#[test]
fn what_others_would_expand_is_noticed() {
    for (text, expandable) in
        [("A=$HOME", true), ("A=\"x${Y}\"", true), ("A='$HOME'", false), ("A=cost$5", false), ("A=\"5$\"", false)]
    {
        assert_eq!(found(text).unwrap()[0].expandable, expandable, "{text}");
    }
}

#[test]
fn what_is_no_name_is_refused_by_its_line_with_what_to_write_instead() {
    for (line, instead) in [
        ("DATABASE_URL: postgres://u:hunter2@h/d?sslmode=require", "write NAME=value, and in quotes"),
        ("DATABASE_URL: hunter2", "write NAME=value"),
        ("\u{feff}B=hunter2", "take it away"),
        ("; B=hunter2", "comments begin with #"),
        ("// hunter2", "comments begin with #"),
        ("-- hunter2", "comments begin with #"),
        ("REM B=hunter2", "comments begin with #"),
        ("\"B\"=hunter2", "a quote stands before the name"),
        ("{\"B\": \"hunter2=\"}", "another format"),
        ("[hunter2]", "another format"),
        ("set B=hunter2", "just `export`"),
        ("declare -x B=\"hunter2\"", "just `export`"),
        ("hunter2/+abc==", "with a name of letters"),
        ("https://u@hunter2?x=1", "write NAME=value"),
        ("hunter2\u{200b}=1", "no name of a key"),
        ("hunter2\u{7}=1", "no name of a key"),
        ("1hunter2=x", "--allow-name"),
        ("my-hunter2=x", "--allow-name"),
        ("=hunter2", "no name stands before"),
        ("export =hunter2", "no name stands before"),
        ("hunter2", "put all of that value in quotes"),
        ("  -Dhunter2=x", "--allow-name"),
    ] {
        let message = fails(&format!("A=1\n{line}\n"));
        assert!(message.starts_with("line 2: ") && message.contains(instead), "{line:?}: {message}");
        assert!(!message.contains("hunter2"), "{message}");
    }
}

#[test]
fn a_name_that_was_allowed_is_taken_and_no_other() {
    let allowed = BTreeSet::from(["tls.crt".to_owned(), "a b".to_owned()]);
    let names = |text: &str| {
        parse(text.as_bytes(), &allowed)
            .map(|found| found.iter().map(|found| found.key.to_string()).collect::<Vec<_>>())
    };
    assert_eq!(names("tls.crt=1\na b = 2\nexport C=3").unwrap(), ["tls.crt", "a b", "C"]);
    assert!(names("tls.key=1").is_err());
}

#[test]
fn forms_that_programs_read_differently_are_refused_by_their_line() {
    for (text, line) in [
        ("A=1\nB=`hunter2`", 2),
        ("A=1\nB=`hunter2\n`", 2),
        ("A=“hunter2”", 1),
        ("A=$'hunter2\\n'", 1),
        ("A=hunter2\u{a0}#x", 1),
        ("A=hunter2\u{200b}", 1),
        ("A=hunter2\u{2028}B=1", 1),
        ("A=hunter2 \\\nB=1", 1),
        ("A=hunter2#${X}", 1),
        ("A=\thunter2${X}", 1),
        ("A=hunter2${X}\t", 1),
        ("A='hunter2\\'", 1),
        ("A='it\\'hunter2'", 1),
        ("A=\"x\n\\\"hunter2\"", 2),
        ("A=\"hunter2\\t\"", 1),
        ("A=\"hunter2\\\\\"", 1),
        ("A=\"hunter2\\$\"", 1),
        ("A=1\rB=hunter2\r", 1),
        ("A=1\n\nB='hunter2\r\r\n'", 3),
        ("A=1\nB='2' hunter2", 2),
        ("A='1\n2'\nB='hunter2", 3),
        ("A=\"hunter2", 1),
    ] {
        let message = fails(text);
        assert!(message.starts_with(&format!("line {line}: ")), "{text:?}: {message}");
        assert!(!message.contains("hunter2"), "{message}");
    }
    for (bytes, line) in [(&b"A=1\nB=\xff"[..], "line 2: "), (b"\xff\xfeA\0=\x001\0", "line 1: the file is UTF-16")] {
        let message = parse(bytes, &BTreeSet::new()).err().unwrap().to_string();
        assert!(message.starts_with(line), "{message}");
    }
    assert_eq!(fails("A=1\nB=2\nA=3"), "line 3: A is given in line 1 already");
}
