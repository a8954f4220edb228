//! The tests on real parts: a Kubernetes API server, and PostgreSQL.

mod harness;
mod stage;

mod control_plane;
mod postgres;
mod processes;
mod wire;
