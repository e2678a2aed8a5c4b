//! The server that clients talk to, in RESP, the protocol of Redis, versions 2 and 3.
mod access;
mod answer;
mod client;
mod connection;
mod data;
mod inline;
mod locks;
mod output;
mod request;
mod scan;
mod single;
mod table;

pub use connection::{STALL, Session, discard};

use crate::{
    doors::{
        hall::{Hall, Place},
        tls::Tls,
        users::ClientDoor,
    },
    node::listeners::{Listener, REFUSED, STRANGERS},
};
use access::{Access, NO_ROOM};
use client::Clients;
use std::{io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::debug;

/// What is told to a client that does not speak TLS, where the port does.
pub const NO_TLS: &[u8] = b"-ERR this port speaks TLS only\r\n";

/// How long a refused client may take to close its side.
const LEAVING: Duration = Duration::from_secs(1);

/// What is at the port: how many clients there may be, who may come in, and how.
pub struct Port {
    pub listener: TcpListener,
    /// The most clients who are admitted.
    pub connections: usize,
    pub door: Arc<ClientDoor>,
    /// TLS, if the port speaks it.
    pub tls: Option<Tls>,
}

/// What all connections share.
struct Entrance<I> {
    session: Session<I>,
    door: Arc<ClientDoor>,
    tls: Option<Tls>,
    known: Clients,
    stop: CancellationToken,
}

/// Accepts clients until `stop` is cancelled; returns when the last of them has been served.
pub async fn serve<I>(port: Port, session: Session<I>, stop: CancellationToken)
where
    I: Fn() -> String + Clone + Send + Sync + 'static,
{
    let mut listener = Listener::new(port.listener, "a client");
    let hall = Hall::new(STRANGERS, port.connections);
    let refused = Arc::new(Semaphore::new(REFUSED));
    let clients = TaskTracker::new();
    let entrance = Arc::new(Entrance {
        session,
        door: port.door,
        tls: port.tls,
        known: Clients::default(),
        stop: stop.clone(),
    });
    loop {
        let (stream, peer) = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let is_open = entrance.tls.is_none() && entrance.door.is_open();
        let place = if is_open {
            hall.enter_admitted()
        } else {
            Some(hall.enter())
        };
        let Some(place) = place else {
            // The first write always finds room in the socket's buffer.
            let _ = stream.try_write(no_room().as_bytes());
            if let Ok(permit) = refused.clone().try_acquire_owned() {
                clients.spawn(part(stream, permit));
            }
            continue;
        };
        let entrance = entrance.clone();
        clients.spawn(async move {
            if let Err(error) = entrance.receive(stream, peer, place).await {
                debug!(%peer, %error, "client");
            }
        });
    }
    clients.close();
    clients.wait().await;
}

impl<I: Fn() -> String + Clone> Entrance<I> {
    /// Serves one connection. A stranger who must make room goes in the middle of whatever he does.
    async fn receive(&self, stream: TcpStream, peer: SocketAddr, place: Place) -> io::Result<()> {
        let out = place.out();
        let served = self.open(stream, peer, place);
        match out {
            None => served.await,
            Some(out) => tokio::select! {
                served = served => served,
                // It has no effect once the place is inside.
                () = out.cancelled() => Err(io::Error::other("others came")),
            },
        }
    }

    /// Serves one connection, after the handshake if the port speaks TLS.
    async fn open(&self, stream: TcpStream, peer: SocketAddr, place: Place) -> io::Result<()> {
        let own = stream.local_addr().map(|own| own.to_string());
        let own = own.unwrap_or_default();
        let Some(tls) = &self.tls else {
            return self.serve(stream, peer, own, place).await;
        };
        let stream = tokio::select! {
            () = self.stop.cancelled() => return Ok(()),
            stream = tls.accept(stream) => stream?,
        };
        self.serve(stream, peer, own, place).await
    }

    async fn serve<S>(
        &self,
        mut stream: S,
        peer: SocketAddr,
        own: String,
        place: Place,
    ) -> io::Result<()>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let Some(access) = Access::new(&self.door, place, peer) else {
            stream.write_all(no_room().as_bytes()).await?;
            stream.shutdown().await?;
            let _ = timeout(LEAVING, discard(stream)).await;
            return Ok(());
        };
        let client = self.known.enter(peer, own, access);
        connection::serve(stream, client, self.session.clone(), self.stop.clone()).await
    }
}

/// The reply to a client that connects when the limit is reached.
fn no_room() -> String {
    format!("-{NO_ROOM}\r\n")
}

/// Gives a refused client time to read the reason, even if it has sent something meanwhile.
async fn part(mut stream: TcpStream, permit: OwnedSemaphorePermit) {
    let _ = stream.shutdown().await;
    let _ = timeout(LEAVING, discard(stream)).await;
    drop(permit);
}
