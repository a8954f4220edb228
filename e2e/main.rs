//! The tests on real parts: a Kubernetes API server, and PostgreSQL.

mod harness;
mod snapshot;
mod stage;

mod chart;
mod command_line;
mod connection;
mod control_plane;
mod dotenv;
mod operator;
mod postgres;
mod processes;
mod reader;
mod registry;
mod tcp_proxy;
