//! TCP, as a node is told of it.
use super::Socket;
use crate::{node::Builder, tcp::TcpSettings};
use std::net::{SocketAddr, TcpListener};

impl From<TcpListener> for Socket {
    fn from(listener: TcpListener) -> Self {
        Socket::TcpListener(listener)
    }
}

/// Over TCP.
impl Builder {
    /// Talks TCP, and listens at this address, which need not be the one at which the others talk to it: see
    /// [`Node::builder`](crate::Node::builder).
    #[must_use]
    pub fn tcp(mut self, bind: SocketAddr) -> Self {
        self.socket = Some(Socket::Tcp(bind));
        self
    }

    /// How TCP connections are kept.
    #[must_use]
    pub fn tcp_settings(mut self, settings: TcpSettings) -> Self {
        self.edges.tcp = settings;
        self
    }
}
