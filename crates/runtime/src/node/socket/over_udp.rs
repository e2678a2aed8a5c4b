//! UDP, as a node is told of it.
use super::Socket;
use crate::{node::Builder, udp::UdpSettings};
use std::net::{SocketAddr, UdpSocket};

impl From<UdpSocket> for Socket {
    fn from(socket: UdpSocket) -> Self {
        Socket::UdpSocket(socket)
    }
}

/// Over UDP.
impl Builder {
    /// Talks UDP, from a socket bound to this address, which need not be the one at which the others talk to it:
    /// see [`Node::builder`](crate::Node::builder).
    #[must_use]
    pub fn udp(mut self, bind: SocketAddr) -> Self {
        self.socket = Some(Socket::Udp(bind));
        self
    }

    /// How the UDP socket is set up.
    #[must_use]
    pub fn udp_settings(mut self, settings: UdpSettings) -> Self {
        self.edges.udp = settings;
        self
    }
}
