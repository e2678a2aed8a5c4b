//! The HTTP server. It bounds the number of connections, and how long each may stall.
//!
//! A connection that comes when the limit is reached waits in the listener's backlog. A connection ends when
//! the head of its next request, or then the body, does not come within [`IDLE`], or when the client reads
//! nothing of an answer for as long. An answer may take longer than that to begin, and may go on without end.
use crate::node::listeners::{self, Listener};
use axum::{
    Router,
    body::{Body, to_bytes},
    extract::Request,
    http::StatusCode,
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use std::{
    io::{self, ErrorKind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpListener,
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Sleep, sleep, timeout},
};
use tracing::debug;

/// How long a connection may be idle, and how long a request or the reading of an answer may stall.
const IDLE: Duration = Duration::from_secs(30);

/// The longest body of a request.
const MAXIMUM_BODY: usize = 2 * 1024 * 1024;

/// Serves HTTP for ever.
pub async fn serve(listener: TcpListener, router: Router) {
    let router = router.layer(middleware::from_fn(whole));
    let mut listener = Listener::new(listener, "an HTTP connection");
    let room = Arc::new(Semaphore::new(listeners::HTTP));
    // The semaphore is never closed.
    while let Ok(permit) = room.clone().acquire_owned().await {
        let (stream, _) = listener.accept().await;
        tokio::spawn(connection(stream, router.clone(), permit));
    }
}

async fn connection<S>(stream: S, router: Router, permit: OwnedSemaphorePermit)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let stream = Stalling {
        stream,
        stalled: None,
    };
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    if let Err(error) = served.await {
        debug!(%error, "HTTP");
    }
    drop(permit);
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
        sync::Notify,
        time::Instant,
    };

    /// A connection to a server. The server has closed it when the semaphore has its permit again.
    fn connect(router: Router) -> (DuplexStream, Arc<Semaphore>) {
        let (client, server) = duplex(1024);
        let room = Arc::new(Semaphore::new(1));
        let permit = room.clone().try_acquire_owned().unwrap();
        let router = router.layer(middleware::from_fn(whole));
        tokio::spawn(connection(server, router, permit));
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
