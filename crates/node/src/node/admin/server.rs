//! The HTTP server. It bounds the number of connections, and how long each may stall.
//!
//! A connection that comes when the limit is reached waits in the listener's backlog. A connection ends when
//! the head of its next request, or then the body, does not come within [`IDLE`], or when the client reads
//! nothing of an answer for as long. An answer may take longer than that to begin, and may go on without end.
//!
//! Where tokens or certificates are asked for, or the port speaks TLS, a connection on which nobody has shown what is
//! asked for has a place in the [hall](crate::doors::hall), and must go when many others come.
use super::door::{self, Caller};
use crate::{
    doors::{
        hall::{Hall, Place},
        tls::Tls,
        tokens::AdminDoor,
    },
    node::listeners::{self, Listener},
};
use axum::{
    Router,
    body::{Body, to_bytes},
    extract::Request,
    http::StatusCode,
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use hyper::{
    body::Incoming,
    server::conn::http1,
    service::{Service, service_fn},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use std::{
    io::{self, ErrorKind},
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    time::{Sleep, sleep, timeout},
};
use tracing::debug;

/// How long a connection may be idle, and how long a request or the reading of an answer may stall.
const IDLE: Duration = Duration::from_secs(30);

/// The longest body of a request.
const MAXIMUM_BODY: usize = 2 * 1024 * 1024;

/// What is told to somebody who does not speak TLS, where the port does.
pub const NO_TLS: &[u8] =
    b"HTTP/1.0 400 Bad Request\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n\
                            this port speaks TLS only\n";

/// Serves HTTP for ever, to those whom the door lets in.
pub async fn serve(listener: TcpListener, router: Router, door: Arc<AdminDoor>, tls: Option<Tls>) {
    let router = router
        .layer(middleware::from_fn(whole))
        .layer(middleware::from_fn_with_state(door.clone(), door::ask));
    let mut listener = Listener::new(listener, "an HTTP connection");
    let hall = Hall::new(listeners::HTTP_STRANGERS, listeners::HTTP);
    loop {
        let admitted = if tls.is_none() && door.is_open() {
            hall.wait_admitted().await
        } else {
            None
        };
        let (stream, peer) = listener.accept().await;
        let place = admitted.unwrap_or_else(|| hall.enter());
        let (router, tls) = (router.clone(), tls.clone());
        tokio::spawn(async move {
            let out = place.out();
            let served = receive(stream, peer, place, router, tls);
            match out {
                None => served.await,
                Some(out) => tokio::select! {
                    () = served => {}
                    // It has no effect once the place is inside.
                    () = out.cancelled() => debug!(%peer, "others came"),
                },
            }
        });
    }
}

/// Serves one connection, after the handshake if the port speaks TLS.
async fn receive(
    stream: TcpStream,
    peer: SocketAddr,
    place: Place,
    router: Router,
    tls: Option<Tls>,
) {
    let from = peer.to_string();
    let Some(tls) = tls else {
        return connection(stream, router, Caller::new(from, false, place)).await;
    };
    match tls.accept(stream).await {
        Ok(stream) => {
            let certificates = stream.get_ref().1.peer_certificates();
            let certified = certificates.is_some_and(|chain| !chain.is_empty());
            connection(stream, router, Caller::new(from, certified, place)).await;
        }
        Err(error) => debug!(%peer, %error, "HTTP"),
    }
}

async fn connection<S>(stream: S, router: Router, caller: Caller)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let stream = Stalling {
        stream,
        stalled: None,
    };
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(caller.clone());
        router.call(request)
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = served.await {
        debug!(%error, "HTTP");
    }
}

/// Reads the whole body of a request before the request is handled.
async fn whole(request: Request, next: Next) -> Response {
    let (head, body) = request.into_parts();
    match timeout(IDLE, to_bytes(body, MAXIMUM_BODY)).await {
        Ok(Ok(body)) => next.run(Request::from_parts(head, Body::from(body))).await,
        Ok(Err(error)) => {
            let words = format!("a body has at most {MAXIMUM_BODY} bytes: {error}\n");
            (StatusCode::PAYLOAD_TOO_LARGE, words).into_response()
        }
        Err(_) => {
            let words = format!("the body was not there within {IDLE:?}\n");
            (StatusCode::REQUEST_TIMEOUT, words).into_response()
        }
    }
}

/// A stream whose writes fail when the peer reads nothing for long.
struct Stalling<S> {
    stream: S,
    /// The timer that runs while a write is pending.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<S: AsyncWrite + Unpin> Stalling<S> {
    /// Fails a write that has been pending for too long.
    fn watch<T>(
        &mut self,
        cx: &mut Context<'_>,
        write: impl FnOnce(Pin<&mut S>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if let Poll::Ready(written) = write(Pin::new(&mut self.stream), cx) {
            self.stalled = None;
            return Poll::Ready(written);
        }
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(IDLE)));
        ready!(stalled.as_mut().poll(cx));
        Poll::Ready(Err(ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Stalling<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Stalling<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.watch(cx, |stream, cx| stream.poll_write(cx, bytes))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.watch(cx, AsyncWrite::poll_flush)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.watch(cx, AsyncWrite::poll_shutdown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::routing::{get, post};
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
        sync::{Notify, Semaphore},
        time::Instant,
    };

    /// A connection to a server. The server has closed it when the semaphore has its permit again.
    fn connect(router: Router) -> (DuplexStream, Arc<Semaphore>) {
        let (client, server) = duplex(1024);
        let room = Arc::new(Semaphore::new(1));
        let permit = room.clone().try_acquire_owned().unwrap();
        let router = router.layer(middleware::from_fn(whole));
        let caller = Caller::new("test".into(), false, Hall::new(1, 1).enter());
        tokio::spawn(async move {
            connection(server, router, caller).await;
            drop(permit);
        });
        (client, room)
    }

    /// Measures how long it takes until the server closes the connection.
    async fn given_up(room: &Semaphore) -> Duration {
        let begin = Instant::now();
        let _ = room.acquire().await.unwrap();
        begin.elapsed()
    }

    fn router() -> Router {
        let long = "x".repeat(100_000);
        Router::new()
            .route("/short", get(|| async { "short" }))
            .route("/long", get(|| async { long }))
            .route("/post", post(|body: String| async { body }))
    }

    #[tokio::test(start_paused = true)]
    async fn who_asks_for_nothing_is_given_up() {
        let (mut client, room) = connect(router());
        assert_eq!(given_up(&room).await, IDLE);
        let mut rest = String::new();
        client.read_to_string(&mut rest).await.unwrap();

        // The server closes the connection both after a request and in the middle of one.
        let (mut client, room) = connect(router());
        client
            .write_all(b"GET /short HTTP/1.1\r\nHost: x\r\n\r\n")
            .await
            .unwrap();
        let mut answer = [0; 15];
        client.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200 OK");
        client.write_all(b"GET /short HT").await.unwrap();
        assert_eq!(given_up(&room).await, IDLE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_come_is_given_up_in_words() {
        let (mut client, _room) = connect(router());
        let request = b"POST /post HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n12345";
        client.write_all(request).await.unwrap();
        let begin = Instant::now();
        let mut answer = [0; 12];
        client.read_exact(&mut answer).await.unwrap();
        assert_eq!((&answer, begin.elapsed()), (b"HTTP/1.1 408", IDLE));
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_nothing_of_an_answer_is_given_up() {
        let (mut client, room) = connect(router());
        client
            .write_all(b"GET /long HTTP/1.1\r\nHost: x\r\n\r\n")
            .await
            .unwrap();
        assert_eq!(given_up(&room).await, IDLE);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_may_take_its_time() {
        let done = Arc::new(Notify::new());
        let waited = done.clone();
        let router = Router::new().route(
            "/",
            get(move || async move {
                waited.notified().await;
                "done"
            }),
        );
        let (mut client, room) = connect(router);
        client
            .write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            .await
            .unwrap();
        sleep(10 * IDLE).await;
        assert_eq!(room.available_permits(), 0);
        done.notify_one();
        let mut answer = [0; 15];
        client.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200 OK");
    }
}
