//! The server that clients talk to, in RESP, the protocol of Redis.
mod answer;
mod client;
mod connection;
mod data;
mod inline;
mod output;
mod request;
mod scan;
mod single;
mod table;

pub use connection::{STALL, Session};

use client::Clients;
use std::{net::SocketAddr, sync::Arc};
use tokio::{net::TcpListener, sync::Semaphore};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, warn};

/// Accepts clients until `stop`; returns when the last of them has been served.
pub async fn serve<I>(
    listener: TcpListener,
    connections: usize,
    session: Session<I>,
    stop: CancellationToken,
) where
    I: Fn() -> String + Clone + Send + Sync + 'static,
{
    let room = Arc::new(Semaphore::new(connections));
    let (known, clients) = (Clients::default(), TaskTracker::new());
    loop {
        // Who comes when the limit is reached waits in the listener's backlog.
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = accept(&listener, &room) => accepted,
        };
        let Some((stream, peer, permit)) = accepted else {
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

async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> Option<(
    tokio::net::TcpStream,
    SocketAddr,
    tokio::sync::OwnedSemaphorePermit,
)> {
    let permit = room.clone().acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, peer)) => {
            let _ = stream.set_nodelay(true);
            Some((stream, peer, permit))
        }
        Err(error) => {
            // Out of file descriptors, most likely: give those in use time to be returned.
            warn!(%error, "cannot accept a client");
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            None
        }
    }
}
