//! Measures a TCP stream of Tokio on loopback, with a length of four bytes before each message and nothing
//! else. It is the base for the perfect link.
use crate::{Error, machine};
use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use hdrhistogram::Histogram;
use std::{
    io, net,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    runtime,
};
use tokio_util::codec::{FramedRead, FramedWrite, LengthDelimitedCodec};

/// The least number of bytes that are gathered before they are written.
const BATCH: usize = 64 * 1024;
/// The number of messages between two readings of the clock.
const MESSAGES: u64 = 64;

/// Runs `task` on a thread, runtime and processor of its own.
fn on_thread<T, F>(
    index: usize,
    task: impl FnOnce() -> F + Send + 'static,
) -> JoinHandle<io::Result<T>>
where
    T: Send + 'static,
    F: Future<Output = io::Result<T>>,
{
    thread::spawn(move || {
        machine::pin(index);
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(task())
    })
}

fn join<T>(thread: JoinHandle<io::Result<T>>) -> Result<T, Error> {
    match thread.join() {
        Ok(result) => Ok(result?),
        Err(_) => Err(Error::Wrong("a thread panicked".to_owned())),
    }
}

fn listen() -> io::Result<(net::TcpListener, net::SocketAddr)> {
    let listener = net::TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

async fn accept(listener: net::TcpListener) -> io::Result<TcpStream> {
    let (stream, _) = TcpListener::from_std(listener)?.accept().await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn connect(address: net::SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Measures messages a second, one way, in batched writes. The first quarter of the time is not counted.
///
/// # Errors
/// When a socket fails.
pub fn one_way(time: Duration, size: usize) -> Result<f64, Error> {
    let (listener, address) = listen()?;
    let receiver = on_thread(0, move || async move {
        let stream = accept(listener).await?;
        let mut messages = FramedRead::with_capacity(stream, LengthDelimitedCodec::new(), BATCH);
        let begun = Instant::now();
        let mut count = 0;
        let mut from = None;
        while let Some(message) = messages.next().await {
            message?;
            count += 1;
            if count % MESSAGES == 0 && from.is_none() && begun.elapsed() > time / 4 {
                from = Some((Instant::now(), count));
            }
        }
        Ok(from.map(|(at, before)| (count - before) as f64 / at.elapsed().as_secs_f64()))
    });
    let sender = on_thread(1, move || async move {
        let mut messages = FramedWrite::new(connect(address).await?, LengthDelimitedCodec::new());
        messages.set_backpressure_boundary(BATCH);
        let message = Bytes::from(vec![7; size]);
        let begun = Instant::now();
        while begun.elapsed() < time {
            for _ in 0..MESSAGES {
                messages.feed(message.clone()).await?;
            }
        }
        SinkExt::<Bytes>::flush(&mut messages).await
    });
    join(sender)?;
    join(receiver)?.ok_or(Error::Stalled(time))
}

/// Measures the median round-trip time, in microseconds. The first quarter of the time is not counted.
///
/// # Errors
/// When a socket fails.
pub fn round_trip(time: Duration, size: usize) -> Result<f64, Error> {
    let (listener, address) = listen()?;
    let echo = on_thread(0, move || async move {
        let mut stream = accept(listener).await?;
        let mut buffer = vec![0; size];
        while stream.read_exact(&mut buffer).await.is_ok() {
            stream.write_all(&buffer).await?;
        }
        Ok(())
    });
    let ping = on_thread(1, move || async move {
        let mut stream = connect(address).await?;
        let mut buffer = vec![1; size];
        let mut times = histogram();
        let begun = Instant::now();
        loop {
            let sent = Instant::now();
            if sent - begun > time {
                return Ok(times);
            }
            stream.write_all(&buffer).await?;
            stream.read_exact(&mut buffer).await?;
            if sent - begun > time / 4 {
                times.saturating_record(sent.elapsed().as_nanos() as u64);
            }
        }
    });
    let times = join(ping)?;
    join(echo)?;
    Ok(microseconds(&times, 0.5))
}

/// The longest time that a histogram distinguishes from longer ones, in nanoseconds: a minute.
const LONGEST: u64 = 60_000_000_000;

/// A histogram of nanoseconds, precise to a thousandth.
pub(crate) fn histogram() -> Histogram<u64> {
    // It returns errors only for bad arguments, and these are good.
    Histogram::new_with_max(LONGEST, 3)
        .unwrap_or_else(|_| unreachable!("three digits are a valid precision"))
}

/// A quantile of a histogram of nanoseconds, in microseconds.
pub(crate) fn microseconds(times: &Histogram<u64>, quantile: f64) -> f64 {
    times.value_at_quantile(quantile) as f64 / 1e3
}
