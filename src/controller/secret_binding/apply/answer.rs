//! What the API server's answer to a write of a Secret means, in our own words.
//!
//! Its words are never repeated: a rule of a type quotes a character of a value, and a policy or webhook may quote all of
//! it. What is taken from them is a name, of the policy that refused or the quota that is used up, and only where it is
//! one; nothing is decided by it.

use kube::Error;
use kube::core::Status;
use kube::core::response::StatusCause;

use super::super::driver::Applied;
use super::super::plan::target::FullSecret;
use super::super::plan::{SecretWrite, WriteFailure, WriteFailureKind};
use crate::telemetry::api_error_text;

/// Cause of a refusal of everything that is created in a namespace that is being deleted.
const NAMESPACE_TERMINATING: &str = "NamespaceTerminating";

/// Fields of a Secret that Kubernetes does not let change: the type never, the data once it is immutable.
const FROZEN_FIELDS: [&str; 3] = ["type", "data", "immutable"];

/// What was asked of the API server.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attempt<'a> {
    /// As in "could not be created".
    verb: &'static str,
    /// Name of the Secret.
    name: &'a str,
    /// What was sent, if anything was.
    sent: Option<&'a FullSecret>,
}

impl<'a> Attempt<'a> {
    pub(super) fn to_write(name: &'a str, write: &'a SecretWrite) -> Self {
        match write {
            SecretWrite::Keep => Self { verb: "kept", name, sent: None },
            SecretWrite::Create(secret) => Self { verb: "created", name, sent: Some(secret) },
            SecretWrite::Replace(secret) => Self { verb: "replaced", name, sent: Some(secret) },
            SecretWrite::Delete(_) => Self::to_delete(name),
        }
    }

    pub(super) const fn to_delete(name: &'a str) -> Self {
        Self { verb: "deleted", name, sent: None }
    }

    /// What an error means to us, by the API server's code, reasons and causes.
    pub(super) fn failed(self, error: &Error) -> Applied {
        let failed = |kind, why: &str| {
            let message = format!("Secret {} could not be {}: {why}", self.name, self.verb);
            Applied::Failed(WriteFailure { kind, message })
        };
        let Error::Api(answer) = error else { return failed(WriteFailureKind::Transient, &api_error_text(error)) };
        if causes(answer).any(|cause| cause.reason == NAMESPACE_TERMINATING) {
            return Applied::NamespaceTerminating;
        }
        if answer.is_already_exists() || answer.is_conflict() || answer.is_not_found() {
            return Applied::Conflict;
        }
        let is_too_long = || causes(answer).any(|cause| cause.reason == "FieldValueTooLong");
        match answer.code {
            413 => failed(WriteFailureKind::TooLarge, "it is larger than the API server takes"),
            422 if causes(answer).any(is_frozen) => {
                let why = "Kubernetes lets neither a type change, nor the data of an immutable Secret";
                failed(WriteFailureKind::Immutable, why)
            }
            422 if is_too_long() => failed(WriteFailureKind::TooLarge, "its values are larger than a Secret may be"),
            422 => failed(WriteFailureKind::Refused, &self.invalid(answer)),
            429 | 500.. => failed(WriteFailureKind::Transient, &refused(answer)),
            _ => failed(WriteFailureKind::Refused, &refused(answer)),
        }
    }

    /// Which keys or fields break a rule, as far as the API server names what was sent.
    fn invalid(self, answer: &Status) -> String {
        let mut fields: Vec<&str> = causes(answer).filter_map(|cause| self.known_field(&cause.field)).collect();
        fields.dedup();
        if fields.is_empty() {
            return refused(answer);
        }
        let type_ = self.sent.map_or("Opaque", FullSecret::type_);
        format!("a Secret of type {type_} has to meet rules that {} breaks or lacks", fields.join(", "))
    }

    /// A field that is ours to name: one that the type asks for, or that was sent. A webhook could write anything there.
    fn known_field(self, field: &str) -> Option<&str> {
        let is_ours = |key: &str| {
            REQUIRED_KEYS.contains(&key) || self.sent.is_some_and(|secret| secret.names().any(|name| name == key))
        };
        match field.strip_prefix("data[").and_then(|rest| rest.strip_suffix(']')) {
            Some(key) => is_ours(key).then_some(field),
            None => ["data", "type", "immutable", "metadata.annotations", "metadata.labels"]
                .contains(&field)
                .then_some(field),
        }
    }
}

/// Keys that a built-in type of Secret asks for.
const REQUIRED_KEYS: [&str; 7] =
    [".dockerconfigjson", ".dockercfg", "tls.crt", "tls.key", "username", "password", "ssh-privatekey"];

fn causes(answer: &Status) -> impl Iterator<Item = &StatusCause> {
    answer.details.iter().flat_map(|details| &details.causes)
}

fn is_frozen(cause: &StatusCause) -> bool {
    match cause.reason.as_str() {
        // An immutable Secret's data, and its mark.
        "FieldValueForbidden" => FROZEN_FIELDS.contains(&cause.field.as_str()),
        "FieldValueInvalid" => cause.field == "type",
        _ => false,
    }
}

/// Who refused, where that shows, and with which code.
fn refused(answer: &Status) -> String {
    let (code, message) = (answer.code, answer.message.as_str());
    let named = |before: &str, after: &str| name_between(message, before, after);
    if let Some(name) = named("admission webhook \"", "\" denied the request") {
        return format!("the admission webhook {name} refused it ({code}){NOT_REPEATED}");
    }
    if let Some(name) = named("failed calling webhook \"", "\"") {
        return format!("the admission webhook {name} did not answer as it should ({code}){NOT_REPEATED}");
    }
    if let Some(name) = named("ValidatingAdmissionPolicy '", "'") {
        return format!("the ValidatingAdmissionPolicy {name} refused it ({code}){NOT_REPEATED}");
    }
    if let Some(name) = named("policy '", "'") {
        return format!("the admission policy {name} refused it ({code}){NOT_REPEATED}");
    }
    if let Some(name) = named("exceeded quota: ", ",") {
        return format!("the ResourceQuota {name} is used up ({code})");
    }
    match code {
        401 => "the operator's login was not accepted (401)".to_owned(),
        403 => format!("the operator's account may not do it (403): a right or an admission plugin{NOT_REPEATED}"),
        429 => "the API server has too much to do (429)".to_owned(),
        500.. => format!("the API server failed ({code}){NOT_REPEATED}"),
        _ => format!("the API server refused it ({code}){NOT_REPEATED}"),
    }
}

const NOT_REPEATED: &str = "; what it said may quote the Secret and is not repeated: `kubectl apply --dry-run=server` with other values shows it";

/// The first name of an object between two texts.
fn name_between<'m>(message: &'m str, before: &str, after: &str) -> Option<&'m str> {
    let (_, rest) = message.split_once(before)?;
    let (name, _) = rest.split_once(after)?;
    let is_name = !name.is_empty()
        && name.len() <= 253
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-".contains(&byte));
    is_name.then_some(name)
}

#[cfg(test)]
mod tests;
