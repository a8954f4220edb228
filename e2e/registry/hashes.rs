//! Hashes by name. The database takes only what has the form of a hash; tests say which value it would be of.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex};

use regex::{Captures, Regex};
use sha2::{Digest as _, Sha256};

static NAMED: LazyLock<Regex> = LazyLock::new(|| Regex::new("h1:hk:([^':]*)'").unwrap());
static HASHED: LazyLock<Regex> = LazyLock::new(|| Regex::new("h1:hk:([0-9a-f]{64})").unwrap());
static NAMES: Mutex<Option<HashMap<String, String>>> = Mutex::new(None);

/// SQL in which each literal that ends in `h1:hk:NAME` has a hash in place of the name.
pub(super) fn spelled_out(sql: &str) -> String {
    let hash = |found: &Captures<'_>| {
        let name = &found[1];
        if name.is_empty() || HASHED.is_match(&found[0]) {
            return found[0].to_owned();
        }
        let hash = hex::encode(Sha256::digest(name));
        NAMES.lock().unwrap().get_or_insert_default().insert(hash.clone(), name.to_owned());
        format!("h1:hk:{hash}'")
    };
    NAMED.replace_all(sql, hash).into_owned()
}

/// What the database answered, with the names in place of their hashes.
pub(super) fn by_name(answer: &str) -> String {
    let name = |found: &Captures<'_>| {
        let names = NAMES.lock().unwrap();
        let name = names.as_ref().and_then(|names| names.get(&found[1]));
        name.map_or_else(|| found[0].to_owned(), |name| format!("h1:hk:{name}"))
    };
    HASHED.replace_all(answer, name).into_owned()
}

/// SQL for the hash of what an expression makes.
pub(super) fn hash_of(expression: &str) -> String {
    format!("'h1:hk:' || encode(sha256(convert_to(({expression})::text, 'UTF8')), 'hex')")
}
