//! The stream to a server: a socket, perhaps with TLS, that knows what goes by.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::activity::{Activity, Step};
use super::frames::{Frame, Frames};
use super::require_auth::{AuthMethod, RequiredAuth};

/// A socket of either kind.
#[derive(Debug)]
pub(super) enum RawSocket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// The stream that rustls makes of a socket.
type Encrypted = <MakeRustlsConnect as MakeTlsConnect<RawSocket>>::Stream;

/// Without TLS or with it.
pub(super) enum Transport {
    Plain(RawSocket),
    Tls(Box<Encrypted>),
}

macro_rules! delegate {
    ($self:expr, $stream:ident => $call:expr; $($variant:path),+) => {
        match $self {
            $($variant(stream) => { let $stream = Pin::new(stream); $call })+
        }
    };
}

/// Both directions of a type, by those of its variants.
macro_rules! through {
    ($type:ty: $($variant:path),+) => {
        impl AsyncRead for $type {
            fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
                delegate!(self.get_mut(), stream => stream.poll_read(cx, buffer); $($variant),+)
            }
        }

        impl AsyncWrite for $type {
            fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
                delegate!(self.get_mut(), stream => stream.poll_write(cx, buffer); $($variant),+)
            }

            fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                delegate!(self.get_mut(), stream => stream.poll_flush(cx); $($variant),+)
            }

            fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                delegate!(self.get_mut(), stream => stream.poll_shutdown(cx); $($variant),+)
            }
        }
    };
}

through!(RawSocket: RawSocket::Tcp, RawSocket::Unix);
through!(Transport: Transport::Plain, Transport::Tls);

/// What has to hold before a password leaves.
pub(super) struct AuthRules {
    pub(super) required: Option<RequiredAuth>,
    pub(super) has_password: bool,
    /// Why a passfile was not used, for whoever wonders.
    pub(super) ignored_passfile: Option<String>,
    pub(super) asked: Option<AuthMethod>,
}

/// What the server asks of a login cannot be answered, or may not.
#[derive(Debug, thiserror::Error)]
pub(super) enum AuthRefusal {
    #[error("the server asks for {0} authentication, which require_auth does not allow")]
    NotAllowed(&'static str),
    #[error("the server asks for no password, and require_auth does not allow that")]
    NotAsked,
    #[error(
        "the server asks for a password ({method}) and there is none: put it into the URL, PGPASSWORD or a passfile{}",
        .ignored.as_ref().map(|why| format!("; {why}")).unwrap_or_default()
    )]
    NoPassword { method: &'static str, ignored: Option<String> },
}

impl AuthRules {
    /// Looks at what a server says about authentication; `code` is that of its message.
    fn look(&mut self, code: i32) -> Result<Step, AuthRefusal> {
        if code == 0 {
            let anonymous = self.asked.is_none();
            let forbids = self.required.as_ref().is_some_and(|required| !required.allows(AuthMethod::None));
            return if anonymous && forbids { Err(AuthRefusal::NotAsked) } else { Ok(Step::SessionStart) };
        }
        if let Some(method) = AuthMethod::of_request(code) {
            self.asked = Some(method);
            if self.required.as_ref().is_some_and(|required| !required.allows(method)) {
                return Err(AuthRefusal::NotAllowed(method.name()));
            }
            if method.takes_password() && !self.has_password {
                let ignored = self.ignored_passfile.clone();
                return Err(AuthRefusal::NoPassword { method: method.name(), ignored });
            }
        }
        Ok(Step::Authentication)
    }
}

/// What tokio-postgres talks through.
pub(super) struct DatabaseStream {
    transport: Transport,
    incoming: Frames,
    outgoing: Frames,
    activity: Activity,
    rules: AuthRules,
    is_ready: bool,
}

impl DatabaseStream {
    pub(super) fn new(transport: Transport, activity: Activity, rules: AuthRules) -> Self {
        let (incoming, outgoing) = (Frames::from_server(), Frames::from_client());
        Self { transport, incoming, outgoing, activity, rules, is_ready: false }
    }

    fn look_at(&mut self, frame: Frame) -> Result<(), AuthRefusal> {
        match frame.kind {
            b'R' if !self.is_ready => {
                self.activity.begin(Step::Authentication);
                self.activity.begin(self.rules.look(frame.code)?);
            }
            b'K' if !self.is_ready => self.activity.is_served_by(frame.code),
            b'Z' if self.is_ready => self.activity.answered(),
            b'Z' => self.is_ready = true,
            _ => {}
        }
        Ok(())
    }
}

impl AsyncRead for DatabaseStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        std::task::ready!(Pin::new(&mut self.transport).poll_read(cx, buffer))?;
        let this = self.get_mut();
        if buffer.filled().len() > before {
            this.activity.heard();
        }
        for frame in this.incoming.take(&buffer.filled()[before..]) {
            this.look_at(frame).map_err(io::Error::other)?;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for DatabaseStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        let written = std::task::ready!(Pin::new(&mut self.transport).poll_write(cx, buffer))?;
        let this = self.get_mut();
        for frame in this.outgoing.take(&buffer[..written]) {
            // The two that a server answers with "ready for the next".
            if matches!(frame.kind, b'Q' | b'S') {
                this.activity.asked();
            }
        }
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.transport).poll_shutdown(cx)
    }
}

impl TlsStream for DatabaseStream {
    fn channel_binding(&self) -> ChannelBinding {
        match &self.transport {
            Transport::Plain(_) => ChannelBinding::none(),
            Transport::Tls(stream) => stream.channel_binding(),
        }
    }
}

/// Tells tokio-postgres that TLS, where there shall be any, is there already.
pub(super) struct Negotiated;

impl TlsConnect<DatabaseStream> for Negotiated {
    type Stream = DatabaseStream;
    type Error = io::Error;
    type Future = std::future::Ready<io::Result<DatabaseStream>>;

    fn connect(self, stream: DatabaseStream) -> Self::Future {
        std::future::ready(Ok(stream))
    }
}
