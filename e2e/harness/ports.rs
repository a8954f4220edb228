//! Free ports on loopback.

use std::collections::HashSet;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::{LazyLock, Mutex, PoisonError};

/// A port of 127.0.0.1 that nothing listens on, and that nobody else in this process was given: between the look here
/// and the server's own start another test may look, too.
///
/// It comes from below the range that the kernel gives to outgoing connections, so that no client of a neighbouring test
/// takes it before the server is up, and from a random place, so that two runs at once do not ask for the same ones.
///
/// # Panics
///
/// Once half of that range was given away.
pub(crate) fn free_port() -> u16 {
    static GIVEN: LazyLock<Mutex<HashSet<u16>>> = LazyLock::new(Mutex::default);
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    assert!(given.len() < 7_000, "no test run needs so many ports");
    loop {
        let port = rand::random_range(18_000..32_000);
        if !given.contains(&port) && TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            given.insert(port);
            return port;
        }
    }
}
