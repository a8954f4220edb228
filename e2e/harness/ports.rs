//! Free ports on loopback.

use std::net::{Ipv4Addr, TcpListener};

/// A port of 127.0.0.1 that nothing listens on.
///
/// It comes from below the range that the kernel gives to outgoing connections, so that no client of a neighbouring test
/// takes it before the server is up, and from a random place, so that two runs at once do not ask for the same ones.
pub(crate) fn free_port() -> u16 {
    loop {
        let port = rand::random_range(18_000..32_000);
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}
