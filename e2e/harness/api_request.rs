//! Requests to the API server that are about no object.

/// A GET request of a path, for [`kube::Client::request_text`].
pub(crate) fn http_get(path: &str) -> http::Request<Vec<u8>> {
    http::Request::get(path).body(Vec::new()).expect("the path is a valid one")
}
