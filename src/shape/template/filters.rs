//! Filters beside the engine's own.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Uri;
use minijinja::{Environment, Error, ErrorKind, Value};
use percent_encoding::percent_decode_str;
use sha2::{Digest as _, Sha256};

use super::binary::{Binary, Printed, value_of};

/// Why a filter does not take what it is given. In our own words, so it may be told.
#[derive(Debug)]
pub(super) struct Refused(pub(super) &'static str);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Refused {}

fn refused(why: &'static str) -> Error {
    Error::new(ErrorKind::InvalidOperation, why).with_source(Refused(why))
}

pub(super) fn add(engine: &mut Environment, printed: &Printed) {
    engine.add_filter("b64enc", |value: Value| Ok::<_, Error>(STANDARD.encode(bytes(&value)?)));
    let printed = printed.clone();
    engine.add_filter("b64dec", move |value: Value| {
        let decoded = STANDARD.decode(bytes(&value)?.trim_ascii()).map_err(|_| refused("b64dec is given no base64"))?;
        Ok::<_, Error>(value_of(&decoded, &printed))
    });
    engine.add_filter("sha256", |value: Value| Ok::<_, Error>(hex::encode(Sha256::digest(bytes(&value)?))));
    engine.add_filter("to_json", |value: Value| {
        serde_json::to_string(defined(&value)?).map_err(|_| refused("to_json is given what JSON does not have"))
    });
    engine.add_filter("from_json", |value: Value| {
        let read: serde_json::Value =
            serde_json::from_slice(&bytes(&value)?).map_err(|_| refused("from_json is given no JSON"))?;
        Ok::<_, Error>(value_of_json(read))
    });
    engine.add_filter("to_yaml", |value: Value| {
        let text = serde_yaml::to_string(defined(&value)?);
        let text = text.map_err(|_| refused("to_yaml is given what YAML does not have"))?;
        Ok::<_, Error>(text.trim_end_matches('\n').to_owned())
    });
    engine.add_filter("from_yaml", |value: Value| {
        let read: serde_json::Value = serde_yaml::from_slice(&bytes(&value)?)
            .map_err(|_| refused("from_yaml is given no YAML that JSON could hold"))?;
        Ok::<_, Error>(value_of_json(read))
    });
    engine.add_filter("url", |value: Value| {
        let text = bytes(&value)?;
        let text = std::str::from_utf8(&text).map_err(|_| refused("url is given no text"))?;
        url_parts(text).ok_or_else(|| refused("url is given no URL: scheme://user:password@host:port/path?query"))
    });
}

/// What is not there is no empty text.
fn defined(value: &Value) -> Result<&Value, Error> {
    if value.is_undefined() { Err(Error::from(ErrorKind::UndefinedError)) } else { Ok(value) }
}

/// Text and binary values as bytes; numbers and booleans as they are printed.
fn bytes(value: &Value) -> Result<Cow<'_, [u8]>, Error> {
    if let Some(binary) = value.downcast_object_ref::<Binary>() {
        return Ok(Cow::Borrowed(binary.bytes()));
    }
    if let Some(text) = value.as_str() {
        return Ok(Cow::Borrowed(text.as_bytes()));
    }
    match defined(value)?.kind() {
        minijinja::value::ValueKind::Number | minijinja::value::ValueKind::Bool => {
            Ok(Cow::Owned(value.to_string().into_bytes()))
        }
        _ => Err(refused("the filter takes a text; to_json or to_yaml makes one of a list or a map")),
    }
}

/// As deep as the parser lets a text be.
fn value_of_json(json: serde_json::Value) -> Value {
    use serde_json::Value as Json;
    match json {
        Json::Null => Value::from(()),
        Json::Bool(is_so) => Value::from(is_so),
        Json::Number(number) => number
            .as_i64()
            .map(Value::from)
            .or_else(|| number.as_u64().map(Value::from))
            .unwrap_or_else(|| Value::from(number.as_f64().unwrap_or_default())),
        Json::String(text) => Value::from(text),
        Json::Array(items) => items.into_iter().map(value_of_json).collect(),
        Json::Object(fields) => Value::from_pairs(fields.into_iter().map(|(name, field)| (name, value_of_json(field)))),
    }
}

/// Parts that are not in the URL are not there, so that `default` can say what they are.
fn url_parts(text: &str) -> Option<Value> {
    let uri: Uri = text.trim().parse().ok()?;
    let decoded = |part: &str| percent_decode_str(part).decode_utf8().ok().map(Cow::into_owned);
    let mut parts = BTreeMap::new();
    let authority = uri.authority()?;
    parts.insert("scheme", Value::from(uri.scheme_str()?));
    parts.insert("host", Value::from(authority.host()));
    parts.insert("path", Value::from(decoded(uri.path())?));
    if let Some(port) = authority.port_u16() {
        parts.insert("port", Value::from(port));
    }
    if let Some((user, _)) = authority.as_str().rsplit_once('@') {
        let (user, password) = user.split_once(':').map_or((user, None), |(user, password)| (user, Some(password)));
        parts.insert("username", Value::from(decoded(user)?));
        if let Some(password) = password {
            parts.insert("password", Value::from(decoded(password)?));
        }
    }
    let pairs = uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
    let query = pairs.map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        Some((decoded(name)?, decoded(value)?))
    });
    parts.insert("query", Value::from_pairs(query.collect::<Option<BTreeMap<String, String>>>()?));
    Some(Value::from_pairs(parts))
}
