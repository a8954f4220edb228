//! The tests on real parts: a Kubernetes API server, and PostgreSQL.

mod harness;
mod stage;

mod chart;
mod control_plane;
mod operator;
mod postgres;
mod processes;
mod reader;
mod registry;
mod wire;
