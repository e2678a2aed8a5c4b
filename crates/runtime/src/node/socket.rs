//! The socket of a node.
use crate::error::StartError;
use std::{
    io,
    net::{SocketAddr, TcpListener, UdpSocket},
    sync::Arc,
};

/// A node's socket: bound already, or to be bound.
#[derive(Debug)]
pub enum Socket {
    /// To be bound for UDP.
    Udp(SocketAddr),
    /// To be bound for TCP.
    Tcp(SocketAddr),
    /// Bound for UDP.
    UdpSocket(UdpSocket),
    /// Bound for TCP.
    TcpListener(TcpListener),
}

impl From<UdpSocket> for Socket {
    fn from(socket: UdpSocket) -> Self {
        Socket::UdpSocket(socket)
    }
}

impl From<TcpListener> for Socket {
    fn from(listener: TcpListener) -> Self {
        Socket::TcpListener(listener)
    }
}

/// A socket that is bound.
pub(super) enum Bound {
    Udp(UdpSocket),
    Tcp(TcpListener),
}

impl Socket {
    pub(super) fn bind(self) -> Result<Bound, StartError> {
        let refused = |address| {
            move |error| StartError::Bind {
                address,
                error: Arc::new(error),
            }
        };
        Ok(match self {
            Socket::Udp(address) => Bound::Udp(UdpSocket::bind(address).map_err(refused(address))?),
            Socket::Tcp(address) => {
                Bound::Tcp(TcpListener::bind(address).map_err(refused(address))?)
            }
            Socket::UdpSocket(socket) => Bound::Udp(socket),
            Socket::TcpListener(listener) => Bound::Tcp(listener),
        })
    }
}

impl Bound {
    pub(super) fn address(&self) -> io::Result<SocketAddr> {
        match self {
            Bound::Udp(socket) => socket.local_addr(),
            Bound::Tcp(listener) => listener.local_addr(),
        }
    }
}
