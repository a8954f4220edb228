//! The operator.

pub mod secret_binding;
