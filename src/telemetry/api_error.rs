//! An error of the API server's clients in words, with its causes, and without what a body could repeat.

use kube::runtime::watcher;

use crate::core::causes;

/// A request that got no answer: of whom it was asked, and through what.
#[derive(Debug, thiserror::Error)]
#[error("the API server at {server} gave no answer")]
pub(crate) struct RequestFailed {
    /// Scheme, host and port, and the proxy's where there is one; never what a URL has of a login.
    pub(crate) server: String,
    #[source]
    pub(crate) cause: tower::BoxError,
}

/// An error in words that cannot repeat a body, as a parser's might. The API server's own words redact values.
pub(crate) fn api_error_text(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(answer) => answer.message.clone(),
        kube::Error::SerdeError(_) | kube::Error::FromUtf8(_) => "the API server's answer could not be read".to_owned(),
        // Its own words are "ServiceError" and the next cause.
        kube::Error::Service(error) => causes(&**error),
        other => causes(other),
    }
}

/// As [`api_error_text`], of a watch.
pub(crate) fn watch_error_text(error: &watcher::Error) -> String {
    match error {
        watcher::Error::InitialListFailed(error) => format!("listing: {}", api_error_text(error)),
        watcher::Error::WatchStartFailed(error) => format!("starting to watch: {}", api_error_text(error)),
        watcher::Error::WatchFailed(error) => format!("watching: {}", api_error_text(error)),
        watcher::Error::WatchError(answer) => format!("watching: {}", answer.message),
        watcher::Error::NoResourceVersion => "listing: the answer has no resourceVersion".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use kube::core::Status;

    use super::*;

    fn status() -> Box<Status> {
        Box::new(Status::failure("secrets is forbidden", "Forbidden"))
    }

    fn unreadable() -> kube::Error {
        kube::Error::SerdeError(serde_json::from_str::<u8>("\"c4n4ry-value\"").expect_err("not a number"))
    }

    fn unreachable() -> kube::Error {
        let cause = io::Error::new(io::ErrorKind::ConnectionRefused, io::Error::other("Connection refused"));
        let cause = tower::BoxError::from(cause);
        kube::Error::Service(RequestFailed { server: "https://127.0.0.1:6443".to_owned(), cause }.into())
    }

    #[test]
    fn each_kind_of_error_tells_its_causes_once_and_repeats_no_body() {
        let gave_none = "the API server at https://127.0.0.1:6443 gave no answer: Connection refused";
        let broke_off = || kube::Error::ReadEvents(io::Error::other("unexpected end of file"));
        for (error, expected) in [
            (unreachable(), gave_none),
            (kube::Error::Api(status()), "secrets is forbidden"),
            (unreadable(), "the API server's answer could not be read"),
            (broke_off(), "Error reading events stream: unexpected end of file"),
        ] {
            assert_eq!(api_error_text(&error), expected);
        }
        for (error, expected) in [
            (watcher::Error::InitialListFailed(unreachable()), format!("listing: {gave_none}")),
            (watcher::Error::WatchStartFailed(unreachable()), format!("starting to watch: {gave_none}")),
            (
                watcher::Error::WatchFailed(broke_off()),
                "watching: Error reading events stream: unexpected end of file".to_owned(),
            ),
            (
                watcher::Error::WatchFailed(unreadable()),
                "watching: the API server's answer could not be read".to_owned(),
            ),
            (watcher::Error::WatchError(status()), "watching: secrets is forbidden".to_owned()),
        ] {
            assert_eq!(watch_error_text(&error), expected);
        }
    }
}
