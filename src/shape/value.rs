//! What is taken out of a stored value: a property of JSON, and what base64 stands for.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::value::RawValue;

use crate::api::DecodingStrategy;
use crate::core::SecretValue;

const EITHER_PADDING: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const BASE64: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, EITHER_PADDING);
const BASE64_URL: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, EITHER_PADDING);

/// What a value is not. Says nothing of what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unsuitable {
    #[error("the value is not JSON")]
    NotJson,
    #[error("the value is not a JSON object")]
    NotAnObject,
    #[error("the value has no such property")]
    NoProperty,
    /// It would be delivered as an empty text, or as the word.
    #[error("the property is null")]
    Null,
    #[error("the value is not base64")]
    NotBase64,
    #[error("the value is not base64 with the alphabet for URLs")]
    NotBase64Url,
    #[error("the value is not text in UTF-8")]
    NotText,
}

/// Properties of a JSON object. Numbers, lists and objects are as they stand in the text, so that no digit is lost.
pub(super) type Properties<'v> = BTreeMap<String, &'v RawValue>;

/// The properties of a value that is a JSON object.
pub(super) fn properties(value: &SecretValue) -> Result<Properties<'_>, Unsuitable> {
    let text: &RawValue = serde_json::from_slice(value.expose()).map_err(|_| Unsuitable::NotJson)?;
    object(text).ok_or(Unsuitable::NotAnObject)
}

fn object(raw: &RawValue) -> Option<Properties<'_>> {
    serde_json::from_str(raw.get()).ok()
}

/// A property as a value of its own: a string without its quotes, everything else as it stands.
pub(super) fn of_property(raw: &RawValue) -> Result<SecretValue, Unsuitable> {
    let text = raw.get().trim();
    if text == "null" {
        return Err(Unsuitable::Null);
    }
    if text.starts_with('"') {
        let text: String = serde_json::from_str(text).map_err(|_| Unsuitable::NotJson)?;
        return Ok(SecretValue::from(text.into_bytes()));
    }
    Ok(SecretValue::from(text.as_bytes().to_vec()))
}

/// The property of that name, or else at that path.
pub(super) fn property(value: &SecretValue, path: &str) -> Result<SecretValue, Unsuitable> {
    let whole: &RawValue = serde_json::from_slice(value.expose()).map_err(|_| Unsuitable::NotJson)?;
    if let Some(raw) = object(whole).and_then(|properties| properties.get(path).copied()) {
        return of_property(raw);
    }
    let mut at = whole;
    for step in path.split('.') {
        let next = if let Some(properties) = object(at) {
            properties.get(step).copied()
        } else {
            let items: Vec<&RawValue> = serde_json::from_str(at.get()).unwrap_or_default();
            step.parse::<usize>().ok().and_then(|place| items.get(place).copied())
        };
        at = next.ok_or(Unsuitable::NoProperty)?;
    }
    of_property(at)
}

/// What the value stands for.
pub(super) fn decoded(value: SecretValue, strategy: DecodingStrategy) -> Result<SecretValue, Unsuitable> {
    // A line break at the end is what a file or a pipe leaves there.
    let decode = |engine: &GeneralPurpose| engine.decode(value.expose().trim_ascii()).ok().map(SecretValue::from);
    match strategy {
        DecodingStrategy::None | DecodingStrategy::Unknown => Ok(value),
        DecodingStrategy::Base64 => decode(&BASE64).ok_or(Unsuitable::NotBase64),
        DecodingStrategy::Base64Url => decode(&BASE64_URL).ok_or(Unsuitable::NotBase64Url),
        DecodingStrategy::Auto => Ok(decode(&BASE64).or_else(|| decode(&BASE64_URL)).unwrap_or(value)),
    }
}

/// The value as text.
pub(super) fn text(value: &SecretValue) -> Result<&str, Unsuitable> {
    std::str::from_utf8(value.expose()).map_err(|_| Unsuitable::NotText)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> SecretValue {
        SecretValue::from(text.as_bytes().to_vec())
    }

    fn read(result: Result<SecretValue, Unsuitable>) -> Result<String, Unsuitable> {
        result.map(|value| String::from_utf8_lossy(value.expose()).into_owned())
    }

    #[test]
    fn a_property_is_found_by_its_name_or_else_by_its_path_and_keeps_every_digit() {
        let json = r#"{"a": "one", "n": 12345678901234567890123, "o": {"b": [true, {"c": "\u00e9"}]}, "a.b": "dotted",
            "null": null, "f": 1.0}"#;
        for (path, expected) in [
            ("a", Ok("one")),
            ("n", Ok("12345678901234567890123")),
            ("f", Ok("1.0")),
            ("o.b.1.c", Ok("é")),
            ("o.b.0", Ok("true")),
            ("a.b", Ok("dotted")),
            ("null", Err(Unsuitable::Null)),
            ("o.b.2", Err(Unsuitable::NoProperty)),
            ("o.x", Err(Unsuitable::NoProperty)),
            ("a.x", Err(Unsuitable::NoProperty)),
            ("", Err(Unsuitable::NoProperty)),
        ] {
            assert_eq!(read(property(&value(json), path)), expected.map(str::to_owned), "{path}");
        }
        assert_eq!(read(property(&value("c4n4ry"), "a")), Err(Unsuitable::NotJson));
        assert_eq!(properties(&value("[1]")).err(), Some(Unsuitable::NotAnObject));
    }

    #[test]
    fn base64_is_decoded_with_its_own_alphabet_padded_or_not() {
        use DecodingStrategy::{Auto, Base64, Base64Url, None};
        for (text, strategy, expected) in [
            ("b25l", None, Ok("b25l")),
            ("b25l", Base64, Ok("one")),
            ("b25lIQ==", Base64, Ok("one!")),
            ("b25lIQ", Base64, Ok("one!")),
            ("b25lIQ\n", Base64, Ok("one!")),
            ("Pj4+", Base64, Ok(">>>")),
            ("Pj4-", Base64, Err(Unsuitable::NotBase64)),
            ("Pj4-", Base64Url, Ok(">>>")),
            ("Pj4+", Base64Url, Err(Unsuitable::NotBase64Url)),
            ("Pj4+", Auto, Ok(">>>")),
            ("Pj4-", Auto, Ok(">>>")),
            ("not base64!", Auto, Ok("not base64!")),
        ] {
            assert_eq!(read(decoded(value(text), strategy)), expected.map(str::to_owned), "{text} {strategy:?}");
        }
    }
}
