//! Hosts on loopback that do not answer, each in its own way.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

/// Never answers, for as long as it is held.
pub(crate) struct SilentHost {
    listener: Socket,
    waiting: Vec<TcpStream>,
    port: u16,
}

impl SilentHost {
    /// The kernel takes connections, and nobody ever reads from them.
    pub(crate) fn mute() -> Self {
        Self::listening(128)
    }

    /// The kernel drops what asks for a connection, as a host that is gone or behind a firewall: its queue is full.
    pub(crate) fn dropping() -> Self {
        let mut host = Self::listening(0);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, host.port));
        while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(300)) {
            host.waiting.push(stream);
            assert!(host.waiting.len() < 64, "a queue of one place takes no end of connections");
        }
        host
    }

    fn listening(queue: i32) -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket can be made");
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).expect("there is a free port");
        socket.listen(queue).expect("a bound socket can listen");
        let address = socket.local_addr().expect("a bound socket has an address").as_socket();
        Self { listener: socket, waiting: Vec::new(), port: address.expect("it is IPv4").port() }
    }

    /// A port on 127.0.0.1 where nobody listens. Another process may take it one day.
    pub(crate) fn closed_port() -> u16 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("there is a free port");
        listener.local_addr().expect("a bound socket has an address").port()
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }
}
