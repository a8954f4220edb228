//! The one place that asks for randomness.

use rand::TryRng;
use rand::rngs::SysRng;
use uuid::Uuid;

/// Fills `bytes` from the operating system's generator.
///
/// Not from a generator in this process: a forked or restored process would hand out the same numbers twice, and one
/// system call is small beside the sealing that it serves.
///
/// # Panics
/// When the operating system has no randomness to give: no key or salt made then would be worth having.
pub(super) fn fill(bytes: &mut [u8]) {
    SysRng.try_fill_bytes(bytes).expect("the operating system gives randomness");
}

/// A fresh salt.
pub(super) fn salt() -> [u8; 32] {
    let mut salt = [0; 32];
    fill(&mut salt);
    salt
}

/// A fresh identifier: a random uuid (version 4).
pub(super) fn id() -> Uuid {
    let mut bytes = [0; 16];
    fill(&mut bytes);
    uuid::Builder::from_random_bytes(bytes).into_uuid()
}
