//! Writing `status`: one request, whole, and never over one that was not read.

use std::fmt::Debug;

use kube::api::{Api, Patch, PatchParams};
use kube::{Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::lenient::Lenient;
use crate::telemetry::api_error_text;

/// Why a status was not written. `object` is kind and name.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StatusError {
    /// The object is gone: there is nobody left to tell.
    #[error("the status of {object} was not written: the object is gone")]
    Gone { object: String },
    /// The object is another one than was read: its next event leads to another reconcile.
    #[error("the status of {object} was not written: the object has changed since it was read")]
    Conflict { object: String },
    /// The API server refused, or could not be reached.
    #[error("the status of {object} could not be written: {}", api_error_text(.source))]
    Request { object: String, source: Box<kube::Error> },
}

/// Replaces the status of an object, if the object is still the one that was read: one with the same
/// `resourceVersion`. Gives back the object as it is then.
pub(crate) async fn write_status<K, S>(
    api: &Api<Lenient<K>>,
    field_manager: &str,
    read: &K,
    status: &S,
) -> Result<K, StatusError>
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug,
    S: Serialize + Sync,
{
    let name = read.name_any();
    let object = format!("{} {name}", K::kind(&()));
    // A JSON patch replaces the whole of status, where a merge patch would leave what is no longer said. Writing the
    // resourceVersion that was read makes the API server answer 409 where it is another one by now.
    let patch = json!([
        {"op": "add", "path": "/metadata/resourceVersion", "value": read.resource_version()},
        {"op": "add", "path": "/status", "value": status},
    ]);
    let request = match serde_json::from_value(patch) {
        Ok(patch) => Patch::<()>::Json(patch),
        Err(error) => return Err(StatusError::Request { object, source: Box::new(kube::Error::SerdeError(error)) }),
    };
    let parameters = PatchParams { field_manager: Some(field_manager.to_owned()), ..PatchParams::default() };
    match api.patch_status(&name, &parameters, &request).await {
        // What cannot be read is not what was read before.
        Ok(after) => after.readable().map_err(|_| StatusError::Conflict { object }),
        Err(kube::Error::Api(answer)) if answer.is_not_found() => Err(StatusError::Gone { object }),
        Err(kube::Error::Api(answer)) if answer.is_conflict() => Err(StatusError::Conflict { object }),
        Err(error) => Err(StatusError::Request { object, source: Box::new(error) }),
    }
}
