//! The real parts that tests, the demo and the benchmark run on: a Kubernetes control plane and a PostgreSQL server, as
//! processes of this machine, on loopback.
//!
//! A test asks for what it needs and gets a corner of its own in servers that the whole run shares:
//!
//! ```ignore
//! let cluster = Cluster::for_test("repairs-a-secret").await;     // a namespace, a client, tokens, the audit log
//! let database = TestDatabase::empty("repairs-a-secret").await;  // a database, and logins as a team would have them
//! ```
//!
//! The servers start with the first test that asks and end with the process, however that ends (see [`processes`]).
//! They belong to no test's runtime: servers are processes, and every client is made in the runtime that uses it.
//!
//! Linux only: `setpriv` and `/proc` are what ties the servers to this process.

#![allow(dead_code, reason = "three programs are built with this module, and none of them uses all of it")]
#![allow(unused_imports, reason = "as above")]

mod api_request;
pub(crate) mod api_server_proxy;
pub(crate) mod audit;
pub(crate) mod cluster;
pub(crate) mod control_plane;
mod control_plane_servers;
pub(crate) mod custom_resources;
pub(crate) mod database;
mod freeze;
pub(crate) mod os;
pub(crate) mod pooler;
pub(crate) mod ports;
pub(crate) mod postgres;
mod postgres_versions;
pub(crate) mod processes;
pub(crate) mod run_dir;
pub(crate) mod silent_host;
pub(crate) mod tcp_proxy;
mod tls_server;
pub(crate) mod tools;
pub(crate) mod wait;

pub(crate) use cluster::Cluster;
pub(crate) use control_plane::ControlPlane;
pub(crate) use database::TestDatabase;
pub(crate) use postgres::Postgres;
pub(crate) use run_dir::RunDir;
pub(crate) use silent_host::SilentHost;
pub(crate) use tls_server::Certificates;
pub(crate) use wait::wait_for;

use std::sync::atomic::{AtomicU32, Ordering};

/// A short name that no other test of this run has: `t17-` and what the test calls itself.
///
/// It is valid as a namespace, and with `-` turned into `_` as a database or a role.
fn unique_name(what: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let slug: String =
        what.to_ascii_lowercase().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(30).collect();
    format!("t{number}-{}", slug.trim_matches('-'))
}
