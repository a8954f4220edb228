use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use super::*;

fn keyring(ring: &str) -> Keyring {
    Keyring::generate(&[ring.parse().expect("a name")])
}

fn write(path: &Path, text: &str) {
    fs::write(path, text).expect("a file");
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("a mode");
}

fn rings(file: &KeyringFile) -> Vec<String> {
    file.held.current().rings().map(|ring| ring.name().to_string()).collect()
}

/// The first look finds a change, the second reads it.
fn look_twice(file: &mut KeyringFile) -> Look {
    let first = file.look();
    assert!(matches!(first, Look::Nothing), "{first:?}");
    file.look()
}

#[test]
fn another_keyring_is_held_once_its_file_has_settled_and_who_works_keeps_the_earlier_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("keyring");
    write(&path, &keyring("first").to_text());
    let mut file = KeyringFile::open(path.clone()).unwrap_or_else(|why| panic!("{why}"));
    assert!(matches!(look_twice(&mut file), Look::Nothing));
    let working = file.held.current();
    write(&path, &keyring("second").to_text());
    assert!(matches!(look_twice(&mut file), Look::Replaced));
    assert_eq!(rings(&file), ["second"]);
    assert_eq!(working.rings().next().map(|ring| ring.name().as_str()), Some("first"));
    // Touched, and the same.
    write(&path, &file.held.current().to_text());
    assert!(matches!(look_twice(&mut file), Look::Nothing));
}

#[test]
fn a_file_that_cannot_be_used_leaves_what_is_held_and_is_told_of_once_without_its_content() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("keyring");
    let first = keyring("first").to_text();
    write(&path, &first);
    let mut file = KeyringFile::open(path.clone()).unwrap_or_else(|why| panic!("{why}"));
    let half = &first[..first.len() - 20];
    let spoil: [(&str, &dyn Fn()); 4] = [
        ("not valid", &|| write(&path, half)),
        ("not valid", &|| write(&path, "secret = \"h4nter2\"")),
        ("open to everyone", &|| fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("a mode")),
        ("No such file", &|| fs::remove_file(&path).expect("a file")),
    ];
    for (expected, spoil) in spoil {
        spoil();
        let Look::Unusable(error) = look_twice(&mut file) else { panic!("{expected}: it is used") };
        let told = error.with_hint();
        assert!(
            told.contains(expected) && !told.contains("h4nter2") && !told.contains(&half[half.len() - 20..]),
            "{told}"
        );
        assert!(matches!(file.look(), Look::Nothing), "said again");
        assert_eq!(rings(&file), ["first"]);
    }
    write(&path, &first);
    assert!(matches!(look_twice(&mut file), Look::AsBefore));
    write(&path, &keyring("second").to_text());
    assert!(matches!(look_twice(&mut file), Look::Replaced));
}

#[test]
fn a_file_that_is_still_being_written_is_not_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("keyring");
    write(&path, &keyring("first").to_text());
    let mut file = KeyringFile::open(path.clone()).unwrap_or_else(|why| panic!("{why}"));
    let text = keyring("second").to_text();
    for length in [10, 60, 100] {
        write(&path, &text[..length]);
        assert!(matches!(file.look(), Look::Nothing), "{length}");
    }
    write(&path, &text);
    assert!(matches!(look_twice(&mut file), Look::Replaced));
}

/// As the kubelet does it: a link to a folder is put in the place of the one before.
#[test]
fn another_folder_behind_a_link_is_another_file_though_it_is_as_long_and_as_old() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let time = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    for data in ["first", "other"] {
        fs::create_dir(at(data)).expect("a folder");
        let path = at(data).join("keyring");
        write(&path, &keyring(data).to_text());
        fs::File::options().write(true).open(&path).expect("a file").set_modified(time).expect("a time");
    }
    symlink("first", at("..data")).expect("a link");
    symlink("..data/keyring", at("keyring")).expect("a link");
    let mut file = KeyringFile::open(at("keyring")).unwrap_or_else(|why| panic!("{why}"));
    symlink("other", at("..next")).expect("a link");
    fs::rename(at("..next"), at("..data")).expect("a link in the other's place");
    assert!(matches!(look_twice(&mut file), Look::Replaced));
    assert_eq!(rings(&file), ["other"]);
}
