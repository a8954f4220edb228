//! The socket of one server: where it is, and how the kernel tells that the other end is gone.

use std::io;
use std::net::SocketAddr;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rand::seq::SliceRandom as _;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpStream, UnixStream, lookup_host};

use super::stream::RawSocket;
use super::target::{Host, Liveness, Place};

/// One place where a host may answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Endpoint {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl Host {
    /// As a person would look for it: `db.internal:5432`, `127.0.0.1:5432`, `/var/run/postgresql/.s.PGSQL.5432`.
    pub(super) fn told(&self) -> String {
        match (&self.place, &self.name) {
            (Place::Socket(folder), _) => socket_file(folder, self.port).display().to_string(),
            (Place::Address(address), None) => SocketAddr::new(*address, self.port).to_string(),
            (Place::Address(address), Some(name)) if name.parse() == Ok(*address) => {
                SocketAddr::new(*address, self.port).to_string()
            }
            (Place::Address(address), Some(name)) => format!("{name}:{} ({address})", self.port),
            (Place::Name(name), _) => format!("{name}:{}", self.port),
        }
    }

    /// As [`told`](Self::told), with which of its addresses.
    pub(super) fn told_at(&self, endpoint: &Endpoint) -> String {
        match (&self.place, endpoint) {
            (Place::Name(name), Endpoint::Tcp(address)) => format!("{name}:{} ({})", self.port, address.ip()),
            _ => self.told(),
        }
    }
}

fn socket_file(folder: &Path, port: u16) -> PathBuf {
    folder.join(format!(".s.PGSQL.{port}"))
}

/// Where a host may answer, in the order to try.
pub(super) async fn endpoints(host: &Host, in_random_order: bool) -> io::Result<Vec<Endpoint>> {
    match &host.place {
        Place::Socket(folder) => Ok(vec![Endpoint::Unix(socket_file(folder, host.port))]),
        Place::Address(address) => Ok(vec![Endpoint::Tcp(SocketAddr::new(*address, host.port))]),
        Place::Name(name) => {
            let mut found: Vec<Endpoint> = lookup_host((name.as_str(), host.port)).await?.map(Endpoint::Tcp).collect();
            if in_random_order {
                found.shuffle(&mut rand::rng());
            }
            if found.is_empty() { Err(io::Error::other("it has no address")) } else { Ok(found) }
        }
    }
}

pub(super) async fn connect(endpoint: &Endpoint, liveness: &Liveness) -> io::Result<RawSocket> {
    match endpoint {
        Endpoint::Tcp(address) => {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            watch(&stream, liveness)?;
            Ok(RawSocket::Tcp(stream))
        }
        Endpoint::Unix(path) => match path.as_os_str().as_bytes().strip_prefix(b"@") {
            None => Ok(RawSocket::Unix(UnixStream::connect(path).await?)),
            Some(name) => {
                let address = std::os::unix::net::SocketAddr::from_abstract_name(name)?;
                let stream = std::os::unix::net::UnixStream::connect_addr(&address)?;
                stream.set_nonblocking(true)?;
                Ok(RawSocket::Unix(UnixStream::from_std(stream)?))
            }
        },
    }
}

fn watch(stream: &TcpStream, liveness: &Liveness) -> io::Result<()> {
    let socket = SockRef::from(stream);
    socket.set_tcp_user_timeout(liveness.user_timeout)?;
    if let Some((idle, interval, count)) = liveness.keepalive {
        let mut keepalive = TcpKeepalive::new().with_time(idle);
        if let Some(interval) = interval {
            keepalive = keepalive.with_interval(interval);
        }
        if let Some(count) = count {
            keepalive = keepalive.with_retries(count);
        }
        socket.set_tcp_keepalive(&keepalive)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn the_kernel_is_told_how_to_notice_that_the_other_end_is_gone() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = Endpoint::Tcp(listener.local_addr().unwrap());
        let seconds = Duration::from_secs;
        let liveness =
            Liveness { keepalive: Some((seconds(31), Some(seconds(7)), Some(4))), user_timeout: Some(seconds(9)) };
        let RawSocket::Tcp(stream) = connect(&endpoint, &liveness).await.unwrap() else { panic!("it is TCP") };
        let socket = SockRef::from(&stream);
        assert!(socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), seconds(31));
        assert_eq!(socket.tcp_keepalive_interval().unwrap(), seconds(7));
        assert_eq!(socket.tcp_keepalive_retries().unwrap(), 4);
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(seconds(9)));
        let none = Liveness { keepalive: None, user_timeout: None };
        let RawSocket::Tcp(stream) = connect(&endpoint, &none).await.unwrap() else { panic!("it is TCP") };
        assert!(!SockRef::from(&stream).keepalive().unwrap());
    }
}
