use kube::core::response::StatusDetails;

use super::*;
use crate::controller::secret_binding::fixtures::secret;

/// Part of a value; no answer repeats it.
const CANARY: &str = "hunter2";

/// A code, a cause, the API server's words, and what is said of them.
type Case<'a> = (u16, Option<(&'a str, &'a str)>, &'a str, &'a str);

/// What becomes of an answer with that code and reason, a cause (its reason and field), and these words.
fn answer(code: u16, reason: &str, cause: Option<(&str, &str)>, message: &str) -> Applied {
    let causes = cause.into_iter().map(|(reason, field)| StatusCause {
        reason: reason.into(),
        message: format!("Invalid value: {CANARY}"),
        field: field.into(),
    });
    let details = StatusDetails {
        name: "app".into(),
        group: String::new(),
        kind: "secrets".into(),
        uid: String::new(),
        causes: causes.collect(),
        retry_after_seconds: 0,
    };
    let sent = SecretWrite::Create(FullSecret(secret("app").with("A", CANARY).of_type("example.com/x").build()));
    let status = Status::failure(message, reason).with_code(code).with_details(details);
    Attempt::to_write("app", &sent).failed(&Error::Api(Box::new(status)))
}

#[test]
fn what_the_api_server_answers_is_told_apart_by_what_to_do_about_it() {
    use WriteFailureKind::{Immutable, Refused, TooLarge, Transient};
    let of = |code, reason, cause| answer(code, reason, cause, "why");
    assert_eq!(of(409, "AlreadyExists", None), Applied::Conflict);
    assert_eq!(of(409, "Conflict", None), Applied::Conflict);
    assert_eq!(of(404, "NotFound", None), Applied::Conflict);
    let frozen = |field| Some(("FieldValueForbidden", field));
    for (code, reason, cause, expected) in [
        (422, "Invalid", Some(("FieldValueInvalid", "type")), Immutable),
        (422, "Invalid", frozen("data"), Immutable),
        (422, "Invalid", frozen("immutable"), Immutable),
        (422, "Invalid", frozen("metadata.name"), Refused),
        (422, "Invalid", Some(("FieldValueTooLong", "data")), TooLarge),
        (422, "Invalid", Some(("FieldValueRequired", "data[tls.crt]")), Refused),
        (422, "Invalid", Some(("FieldValueInvalid", "data[.dockerconfigjson]")), Refused),
        (413, "RequestEntityTooLarge", None, TooLarge),
        (403, "Forbidden", None, Refused),
        (500, "InternalError", None, Transient),
        (429, "TooManyRequests", None, Transient),
    ] {
        let Applied::Failed(WriteFailure { kind, .. }) = of(code, reason, cause) else { panic!("{code} {cause:?}") };
        assert_eq!(kind, expected, "{code} {cause:?}");
    }
}

#[test]
fn a_namespace_that_is_going_is_no_failure() {
    let cause = Some(("NamespaceTerminating", "metadata.namespace"));
    assert_eq!(answer(403, "Forbidden", cause, "why"), Applied::NamespaceTerminating);
}

#[test]
fn the_key_or_the_policy_is_named_and_no_word_of_the_answer_repeated() {
    let broken = |field: &'static str| Some(("FieldValueInvalid", field));
    let forged = format!("data[{CANARY}]").leak();
    let table: [Case; 13] = [
        (
            422,
            broken("data[.dockerconfigjson]"),
            "hunter2",
            "type example.com/x has to meet rules that data[.dockerconfigjson]",
        ),
        (422, broken("data[A]"), "hunter2", "rules that data[A] breaks"),
        (422, broken(forged), "hunter2", "refused it (422)"),
        (422, broken("data[A] hunter2"), "hunter2", "refused it (422)"),
        (
            400,
            None,
            "admission webhook \"no.example.com\" denied the request: hunter2",
            "the admission webhook no.example.com refused it (400)",
        ),
        (
            400,
            None,
            "admission webhook \"HUNTER hunter2\" denied the request: hunter2",
            "the API server refused it (400)",
        ),
        (
            500,
            None,
            "failed calling webhook \"no.example.com\": got hunter2",
            "no.example.com did not answer as it should (500)",
        ),
        (
            403,
            None,
            "x is forbidden: ValidatingAdmissionPolicy 'no-such' with binding 'b' denied request: hunter2",
            "ValidatingAdmissionPolicy no-such refused it (403)",
        ),
        (
            422,
            None,
            "policy 'alter' with binding 'b' denied request: hunter2",
            "the admission policy alter refused it (422)",
        ),
        (
            403,
            None,
            "secrets \"app\" is forbidden: exceeded quota: few, requested: secrets=1",
            "the ResourceQuota few is used up (403)",
        ),
        (403, None, "secrets is forbidden: User hunter2 cannot create", "may not do it (403)"),
        (413, None, "limit is hunter2", "larger than the API server takes"),
        (429, None, "hunter2", "too much to do (429)"),
    ];
    for (code, cause, message, expected) in table {
        let Applied::Failed(WriteFailure { message: said, .. }) = answer(code, "Whatever", cause, message) else {
            panic!("{message}")
        };
        assert!(said.starts_with("Secret app could not be created: ") && said.contains(expected), "{said}");
        assert!(!said.contains(CANARY) && !said.to_lowercase().contains("hunter2"), "{said}");
    }
}
