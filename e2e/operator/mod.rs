//! The operator on a real API server and a real database, with the rights that the chart gives it.

mod access;
mod canary;
mod damage;
mod delivery;
mod documented;
mod lifecycle;
mod moments;
mod outage;
mod ownership;
mod removal;
mod repair;
mod schema;
mod several;
mod sources;
mod sync;
mod vitals;
mod writes;
