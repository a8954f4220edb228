//! The tests on real parts: a Kubernetes API server, and PostgreSQL.

mod harness;
mod stage;

mod command_line;
mod control_plane;
mod postgres;
mod processes;
mod wire;
