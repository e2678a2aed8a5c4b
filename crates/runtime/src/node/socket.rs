//! The socket of a node.
#[cfg(feature = "tcp")]
mod over_tcp;
#[cfg(feature = "udp")]
mod over_udp;

#[cfg(feature = "tcp")]
use crate::tcp::{TcpEdge, TcpSettings};
#[cfg(feature = "udp")]
use crate::udp::{UdpEdge, UdpSettings};
use crate::{error::StartError, faults::Faults, peers::Addresses, thread::Protocol};
#[cfg(feature = "sealed")]
use quorate_abstractions::addressed;
use quorate_abstractions::fair_loss::{Indication, Transmit};
use quorate_core::Addr;
#[cfg(feature = "tcp")]
use std::net::TcpListener;
#[cfg(feature = "udp")]
use std::net::UdpSocket;
use std::{io, net::SocketAddr, sync::Arc};

/// How the edges are set up.
#[derive(Clone, Copy, Default)]
pub(super) struct Edges {
    #[cfg(feature = "udp")]
    udp: UdpSettings,
    #[cfg(feature = "tcp")]
    tcp: TcpSettings,
}

/// A node's socket, which may be bound already.
#[derive(Debug)]
pub enum Socket {
    /// To be bound for UDP.
    #[cfg(feature = "udp")]
    Udp(SocketAddr),
    /// To be bound for TCP.
    #[cfg(feature = "tcp")]
    Tcp(SocketAddr),
    /// Bound for UDP.
    #[cfg(feature = "udp")]
    UdpSocket(UdpSocket),
    /// Bound for TCP.
    #[cfg(feature = "tcp")]
    TcpListener(TcpListener),
}

/// A socket that is bound.
pub(super) enum Bound {
    #[cfg(feature = "udp")]
    Udp(UdpSocket),
    #[cfg(feature = "tcp")]
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
            #[cfg(feature = "udp")]
            Socket::Udp(address) => Bound::Udp(UdpSocket::bind(address).map_err(refused(address))?),
            #[cfg(feature = "tcp")]
            Socket::Tcp(address) => {
                Bound::Tcp(TcpListener::bind(address).map_err(refused(address))?)
            }
            #[cfg(feature = "udp")]
            Socket::UdpSocket(socket) => Bound::Udp(socket),
            #[cfg(feature = "tcp")]
            Socket::TcpListener(listener) => Bound::Tcp(listener),
        })
    }
}

impl Bound {
    pub(super) fn address(&self) -> io::Result<SocketAddr> {
        match self {
            #[cfg(feature = "udp")]
            Bound::Udp(socket) => socket.local_addr(),
            #[cfg(feature = "tcp")]
            Bound::Tcp(listener) => listener.local_addr(),
        }
    }
    /// Whether it carries a stream, in order.
    pub(super) fn is_stream(&self) -> bool {
        match self {
            #[cfg(feature = "udp")]
            Bound::Udp(_) => false,
            #[cfg(feature = "tcp")]
            Bound::Tcp(_) => true,
        }
    }

    /// Hands it to its edge, for a layer that is told where datagrams come from, if the edge can tell.
    #[cfg(feature = "sealed")]
    pub(super) fn attach_addressed(
        self,
        protocol: &mut Protocol,
        peers: Addresses,
        edges: Edges,
        faults: &Faults,
        up: Addr<addressed::Indication>,
    ) -> io::Result<Addr<addressed::Transmit>> {
        match self {
            #[cfg(feature = "udp")]
            Bound::Udp(socket) => {
                UdpEdge::attach_addressed(protocol, socket, peers, edges.udp, faults, up)
            }
            // Its connections come from arbitrary ports: every peer is dialled where the list has it.
            #[cfg(feature = "tcp")]
            Bound::Tcp(socket) => {
                let up = up.with(addressed::Indication::from);
                let out = TcpEdge::attach(protocol, socket, peers, edges.tcp, faults, up)?;
                Ok(out.with(Transmit::from))
            }
        }
    }

    /// Hands it to its edge.
    pub(super) fn attach(
        self,
        protocol: &mut Protocol,
        peers: Addresses,
        edges: Edges,
        faults: &Faults,
        up: Addr<Indication>,
    ) -> io::Result<Addr<Transmit>> {
        match self {
            #[cfg(feature = "udp")]
            Bound::Udp(socket) => UdpEdge::attach(protocol, socket, peers, edges.udp, faults, up),
            #[cfg(feature = "tcp")]
            Bound::Tcp(socket) => TcpEdge::attach(protocol, socket, peers, edges.tcp, faults, up),
        }
    }
}
