//! The server that clients talk to, in RESP, the protocol of Redis, versions 2 and 3.
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

pub use connection::{STALL, Session};

use crate::node::listeners::{Listener, REFUSED};
use client::Clients;
use std::{sync::Arc, time::Duration};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::debug;

/// The reply to a client that connects when the limit is reached.
const NO_ROOM: &[u8] = b"-ERR max number of clients reached\r\n";

/// How long a refused client may take to close its side.
const LEAVING: Duration = Duration::from_secs(1);

/// Accepts clients until `stop` is cancelled; returns when the last of them has been served.
pub async fn serve<I>(
    listener: TcpListener,
    connections: usize,
    session: Session<I>,
    stop: CancellationToken,
) where
    I: Fn() -> String + Clone + Send + Sync + 'static,
{
    let mut listener = Listener::new(listener, "a client");
    let room = Arc::new(Semaphore::new(connections));
    let refused = Arc::new(Semaphore::new(REFUSED));
    let (known, clients) = (Clients::default(), TaskTracker::new());
    loop {
        let (stream, peer) = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let Ok(permit) = room.clone().try_acquire_owned() else {
            // The first write always finds room in the socket's buffer.
            let _ = stream.try_write(NO_ROOM);
            if let Ok(permit) = refused.clone().try_acquire_owned() {
                clients.spawn(part(stream, permit));
            }
            continue;
        };
        let (session, stop) = (session.clone(), stop.clone());
        let own = stream.local_addr().map(|own| own.to_string());
        let client = known.enter(peer, own.unwrap_or_default());
        clients.spawn(async move {
            if let Err(error) = connection::serve(stream, client, session, stop).await {
                debug!(%peer, %error, "client");
            }
            drop(permit);
        });
    }
    clients.close();
    clients.wait().await;
}

/// Gives a refused client time to read the reason, even if it has sent something meanwhile.
async fn part(mut stream: TcpStream, permit: OwnedSemaphorePermit) {
    let _ = stream.shutdown().await;
    let _ = timeout(LEAVING, connection::discard(stream)).await;
    drop(permit);
}
