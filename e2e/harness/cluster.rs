//! A test's corner of the cluster: a namespace of its own, and clients for whoever it wants to be.

use std::collections::BTreeMap;
use std::path::PathBuf;

use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::api::{Api, ObjectMeta, PostParams};
use kube::{Client, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::audit::AuditLog;
use super::{ControlPlane, unique_name};

/// How long a token from [`Cluster::service_account`] is good for, in seconds.
const TOKEN_LIFETIME: i64 = 3600;

/// A namespace of a test's own in the control plane that the run shares.
///
/// Its methods panic where the arranging of a test fails, with what was tried.
pub(crate) struct Cluster {
    plane: &'static ControlPlane,
    /// The client of the user with every right: for arranging and looking.
    pub(crate) admin: Client,
    /// The namespace; no other test uses it, nor a name that begins with it.
    pub(crate) namespace: String,
}

impl Cluster {
    /// Starts the control plane if this is the first test, and makes a namespace for the test that calls itself `what`.
    pub(crate) async fn for_test(what: &str) -> Self {
        let plane = ControlPlane::shared().await;
        let admin = plane.admin().expect("the administrator's kubeconfig is valid");
        let cluster = Self { plane, admin, namespace: unique_name(what) };
        cluster.make_namespace(&cluster.namespace, &[]).await;
        cluster
    }

    pub(crate) fn plane(&self) -> &'static ControlPlane {
        self.plane
    }

    /// The admin's view of one kind in the test's namespace.
    pub(crate) fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>,
    {
        Api::namespaced(self.admin.clone(), &self.namespace)
    }

    /// Creates an object in the test's namespace, as admin.
    pub(crate) async fn create<K>(&self, object: &K) -> K
    where
        K: Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>,
        K: Clone + std::fmt::Debug + Serialize + DeserializeOwned,
    {
        self.api::<K>()
            .create(&PostParams::default(), object)
            .await
            .unwrap_or_else(|why| panic!("creating {object:?}: {why}"))
    }

    /// Makes one more namespace, named after the test's own, with labels.
    pub(crate) async fn another_namespace(&self, suffix: &str, labels: &[(&str, &str)]) -> String {
        let name = format!("{}-{suffix}", self.namespace);
        self.make_namespace(&name, labels).await;
        name
    }

    /// A client for whoever holds this token.
    pub(crate) fn client(&self, token: &str) -> Client {
        self.plane.client(token).expect("a token goes into a kubeconfig")
    }

    /// A kubeconfig for whoever holds this token, for a program to be started with.
    pub(crate) fn kubeconfig(&self, name: &str, token: &str) -> PathBuf {
        self.plane.kubeconfig(&format!("{}-{name}", self.namespace), token).unwrap_or_else(|why| panic!("{why:#}"))
    }

    /// Makes a ServiceAccount in the test's namespace and gives a token for it. It may do nothing until RBAC says so.
    pub(crate) async fn service_account(&self, name: &str) -> String {
        let account = ServiceAccount {
            metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
            ..ServiceAccount::default()
        };
        self.create(&account).await;
        self.token(&self.namespace, name).await
    }

    /// A token for a ServiceAccount that exists, as a pod of it would get.
    pub(crate) async fn token(&self, namespace: &str, account: &str) -> String {
        let api: Api<ServiceAccount> = Api::namespaced(self.admin.clone(), namespace);
        let request = TokenRequest {
            spec: Some(TokenRequestSpec { expiration_seconds: Some(TOKEN_LIFETIME), ..TokenRequestSpec::default() }),
            ..TokenRequest::default()
        };
        api.create_token_request(account, &PostParams::default(), &request)
            .await
            .unwrap_or_else(|why| panic!("asking for a token of {namespace}/{account}: {why}"))
            .status
            .and_then(|status| status.token)
            .expect("a token request that succeeded has a token")
    }

    /// What is asked of the API server from now on.
    pub(crate) async fn audit_from_now(&self) -> AuditLog {
        let log = self.plane.audit_log();
        log.starting_now(&self.admin).await.unwrap_or_else(|why| panic!("{why:#}"))
    }

    async fn make_namespace(&self, name: &str, labels: &[(&str, &str)]) {
        let labels: BTreeMap<String, String> =
            labels.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect();
        let namespace = Namespace {
            metadata: ObjectMeta { name: Some(name.to_owned()), labels: Some(labels), ..ObjectMeta::default() },
            ..Namespace::default()
        };
        Api::all(self.admin.clone())
            .create(&PostParams::default(), &namespace)
            .await
            .unwrap_or_else(|why| panic!("making the namespace {name}: {why}"));
    }
}
