//! Reaching the database: hosts that do not answer, connection strings as libpq reads them, and what an error says.

mod errors;
mod failover;
mod psql;
mod silent;
