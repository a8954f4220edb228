//! The keyring as text: TOML, version 1.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};
use zeroize::Zeroizing;

use crate::core::RingName;

use super::keyring::{EncryptionKey, EncryptionKeyState, Keyring, Ring};
use super::material::Material;

const HEADING: &str = "\
# A Tidelock keyring. Who can read this file can open every value that was sealed under its keys, and nobody can
# without it: keep it out of repositories and images, and keep a copy in a safe place.
version = 1
";

/// Text that is no valid keyring. Says where and what is wrong, and repeats nothing of the text but a ring's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}{}: {problem}", .ring.as_ref().map(|ring| format!(", ring {ring}")).unwrap_or_default())]
pub struct KeyringError {
    /// The line, counted from 1.
    pub line: usize,
    /// The ring that it concerns, as far as known there.
    pub ring: Option<RingName>,
    /// What is wrong, and what is right.
    pub problem: &'static str,
}

impl Keyring {
    /// Reads the text of a keyring.
    ///
    /// Strict: unknown fields, a key's id, secret or ring's name that comes twice, and a ring without exactly one
    /// primary key are refused, so that a slip of the hand does not come to light when a value cannot be opened.
    pub fn parse(text: &str) -> Result<Self, KeyringError> {
        let reader = Reader { text };
        // The parser's own message quotes the line that it stumbled over, which may hold a key.
        let document = DeTable::parse(text)
            .map_err(|error| reader.error(&error.span().unwrap_or_default(), None, "this is not TOML"))?;
        reader.keyring(&document)
    }

    /// The keyring as text. Reading it gives the same keyring.
    #[must_use]
    pub fn to_text(&self) -> Zeroizing<String> {
        // More than it gets, so that it never moves and leaves keys behind: a key's lines take less than 160 bytes
        // beside the secret, a ring's less than 32 beside the name.
        let length = |ring: &Ring| 32 + ring.name.as_str().len() + ring.held().count() * (160 + Material::BASE64_LEN);
        let capacity = HEADING.len() + self.rings.iter().map(length).sum::<usize>();
        let mut text = Zeroizing::new(String::with_capacity(capacity));
        text.push_str(HEADING);
        for ring in &self.rings {
            // No character of a ring's name means anything in a TOML string.
            text.push_str("\n[[ring]]\nname = \"");
            text.push_str(ring.name.as_str());
            text.push_str("\"\n");
            for (key, state) in ring.held() {
                text.push_str("\n[[ring.key]]\nid = \"");
                key.id.push_to(&mut text);
                text.push_str("\"\nstate = \"");
                text.push_str(state.as_str());
                text.push_str("\"\nsecret = \"");
                key.material.push_base64(&mut text);
                text.push_str("\"\n");
            }
        }
        debug_assert!(text.len() <= capacity, "the text of a keyring outgrew its estimate");
        text
    }
}

type Table<'a> = Spanned<DeTable<'a>>;
type Value<'a> = Spanned<DeValue<'a>>;

/// Walks the parsed document; knows the text only to count lines.
struct Reader<'t> {
    text: &'t str,
}

impl Reader<'_> {
    fn error(&self, span: &Range<usize>, ring: Option<&RingName>, problem: &'static str) -> KeyringError {
        let before = self.text.as_bytes().iter().take(span.start);
        KeyringError { line: 1 + before.filter(|byte| **byte == b'\n').count(), ring: ring.cloned(), problem }
    }

    fn keyring(&self, document: &Table) -> Result<Keyring, KeyringError> {
        let version = self.field(document.get_ref(), &(0..0), None, "version", "a keyring says `version = 1`")?;
        if version.get_ref().as_integer().is_none_or(|number| number.as_str() != "1") {
            let problem = "this version of Tidelock reads keyrings of version 1 only";
            return Err(self.error(&version.span(), None, problem));
        }
        self.refuse_unknown(document.get_ref(), None, &["version", "ring"])?;
        let mut keyring = Keyring { rings: Vec::new() };
        for (table, span) in self.tables(document.get_ref(), None, "ring", "rings are written `[[ring]]`")? {
            self.ring(table, &span, &mut keyring)?;
        }
        Ok(keyring)
    }

    fn ring(&self, table: &DeTable, span: &Range<usize>, keyring: &mut Keyring) -> Result<(), KeyringError> {
        let rule = "a ring has a name of letters, digits, '.', '_' or '-'";
        let value = self.field(table, span, None, "name", rule)?;
        let name: RingName = value
            .get_ref()
            .as_str()
            .and_then(|name| name.parse().ok())
            .ok_or_else(|| self.error(&value.span(), None, rule))?;
        if keyring.ring(&name).is_some() {
            return Err(self.error(&value.span(), Some(&name), "there is a ring of this name already"));
        }
        self.refuse_unknown(table, Some(&name), &["name", "key"])?;

        let (mut primary, mut secondary): (Option<EncryptionKey>, Vec<EncryptionKey>) = (None, Vec::new());
        for (table, span) in self.tables(table, Some(&name), "key", "keys are written `[[ring.key]]`")? {
            let (key, state) = self.key(table, &span, &name)?;
            let earlier = keyring.rings.iter().flat_map(Ring::held).map(|(key, _)| key);
            for earlier in earlier.chain(&primary).chain(&secondary) {
                let problem = if earlier.id == key.id {
                    "there is a key of this id already"
                } else if earlier.material.as_bytes() == key.material.as_bytes() {
                    "another key has the same secret: each key belongs to one ring, under one id"
                } else {
                    continue;
                };
                return Err(self.error(&span, Some(&name), problem));
            }
            match state {
                EncryptionKeyState::Secondary => secondary.push(key),
                EncryptionKeyState::Primary if primary.is_none() => primary = Some(key),
                EncryptionKeyState::Primary => {
                    return Err(self.error(&span, Some(&name), "another key of the ring is primary already"));
                }
            }
        }
        let primary = primary.ok_or_else(|| self.error(span, Some(&name), "none of the ring's keys is primary"))?;
        keyring.rings.push(Ring { name, primary, secondary });
        Ok(())
    }

    fn key(
        &self,
        table: &DeTable,
        span: &Range<usize>,
        ring: &RingName,
    ) -> Result<(EncryptionKey, EncryptionKeyState), KeyringError> {
        let ring = Some(ring);
        self.refuse_unknown(table, ring, &["id", "state", "secret"])?;
        let text = |field, rule| -> Result<(&str, KeyringError), KeyringError> {
            let value = self.field(table, span, ring, field, rule)?;
            let error = self.error(&value.span(), ring, rule);
            value.get_ref().as_str().map(|text| (text, error.clone())).ok_or(error)
        };
        let (id, no_id) = text("id", "a key has an id, a uuid in lower case with hyphens")?;
        let (state, no_state) = text("state", "a key has a state, \"primary\" or \"secondary\"")?;
        let (secret, no_secret) = text("secret", "a key has a secret, 32 bytes in base64")?;
        let id = id.parse().map_err(|_| no_id)?;
        let states = [EncryptionKeyState::Primary, EncryptionKeyState::Secondary];
        let state = states.into_iter().find(|known| known.as_str() == state).ok_or(no_state)?;
        let material = Material::from_base64(secret).ok_or(no_secret)?;
        Ok((EncryptionKey { id, material }, state))
    }

    fn field<'v, 'a>(
        &self,
        table: &'v DeTable<'a>,
        span: &Range<usize>,
        ring: Option<&RingName>,
        field: &str,
        rule: &'static str,
    ) -> Result<&'v Value<'a>, KeyringError> {
        table.get(field).ok_or_else(|| self.error(span, ring, rule))
    }

    fn refuse_unknown(&self, table: &DeTable, ring: Option<&RingName>, known: &[&str]) -> Result<(), KeyringError> {
        match table.keys().find(|field| !known.contains(&field.get_ref().as_ref())) {
            None => Ok(()),
            Some(field) => Err(self.error(&field.span(), ring, "version 1 has no such field here")),
        }
    }

    /// The tables of an array of tables, each with its place; none where it is absent.
    fn tables<'v, 'a>(
        &self,
        table: &'v DeTable<'a>,
        ring: Option<&RingName>,
        field: &str,
        rule: &'static str,
    ) -> Result<Vec<(&'v DeTable<'a>, Range<usize>)>, KeyringError> {
        let Some(array) = table.get(field) else { return Ok(Vec::new()) };
        let misplaced = |value: &Value| self.error(&value.span(), ring, rule);
        let array = array.get_ref().as_array().ok_or_else(|| misplaced(array))?;
        let table = |value: &'v Value<'a>| match value.get_ref().as_table() {
            Some(table) => Ok((table, value.span())),
            None => Err(misplaced(value)),
        };
        array.iter().map(table).collect()
    }
}

#[cfg(test)]
mod tests;
