//! The operator on a real API server and a real database, with the rights that the chart gives it.

mod access;
mod admission;
mod canary;
mod conditions;
mod crowded;
mod delivery;
mod external_schema;
mod health;
mod leader;
mod lifecycle;
mod multiple_operators;
mod outage;
mod ownership;
mod patterns;
mod removal;
mod repair;
mod restored;
mod rollouts;
mod rotation;
mod schema;
mod shaping;
mod sources;
mod standby;
mod sync;
mod tampering;
mod watches;
mod write_races;
mod writes;

pub(crate) use rollouts::ROLLOUTS;
