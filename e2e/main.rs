//! The tests on real parts: a Kubernetes API server, and PostgreSQL.

mod harness;

mod control_plane;
mod postgres;
mod processes;
mod wire;
