//! A group of foca (SWIM over UDP), run like the processes of Quorate: each member has a thread and a socket.
use foca::{AccumulatingRuntime, Config, Foca, OwnedNotification, PostcardCodec, Timer};
use quorate_bench::{
    Error,
    detection::{Group, Suspicion, Traffic, sockets},
};
use quorate_core::Random;
use rand::SeedableRng;
use std::{
    collections::{BTreeMap, HashMap},
    io,
    net::{self, SocketAddr},
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
        mpsc,
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};
use tokio::{net::UdpSocket, runtime, time::sleep_until};
use tokio_util::sync::CancellationToken;

/// How long the members may take to discover each other.
const TIMEOUT: Duration = Duration::from_secs(20);

/// foca's own settings for a local network, with all of its short times divided by ten: a probe
/// each 100 ms, as often as a heartbeat; 400 ms (at n = 16: 480) from suspicion to the verdict.
fn settings(n: usize) -> Config {
    let size = u32::try_from(n).ok().and_then(NonZeroU32::new);
    let mut config = Config::new_lan(size.unwrap_or(NonZeroU32::MIN));
    config.probe_period /= 10;
    config.probe_rtt /= 10;
    config.suspect_to_down_after /= 10;
    if let Some(gossip) = &mut config.periodic_gossip {
        gossip.frequency /= 10;
    }
    config
}

/// What the members of a group report.
#[derive(Clone)]
struct News {
    suspect: mpsc::Sender<Suspicion>,
    meet: mpsc::Sender<()>,
    ranks: HashMap<SocketAddr, usize>,
    datagrams: Arc<AtomicU64>,
    bytes: Arc<AtomicU64>,
}

struct Member {
    rank: usize,
    socket: UdpSocket,
    foca: Foca<SocketAddr, PostcardCodec, Random, foca::NoCustomBroadcast>,
    runtime: AccumulatingRuntime<SocketAddr>,
    timers: BTreeMap<(Instant, u64), Timer<SocketAddr>>,
    scheduled: u64,
    news: News,
}

impl Member {
    async fn run(mut self, seed: SocketAddr, stop: CancellationToken) -> io::Result<()> {
        let mut area = vec![0; 64 * 1024];
        if seed != self.socket.local_addr()? {
            let announced = self.foca.announce(seed, &mut self.runtime);
            announced.map_err(io::Error::other)?;
        }
        loop {
            self.settle().await?;
            let next = self.timers.first_key_value().map(|(key, _)| *key);
            let far = Instant::now() + Duration::from_hours(1);
            let due = next.map_or(far, |(at, _)| at);
            // foca returns an error for undecodable and outdated datagrams, which is ignored here.
            let _ = tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                received = self.socket.recv_from(&mut area) => {
                    let (length, _) = received?;
                    self.foca.handle_data(&area[..length], &mut self.runtime)
                }
                () = sleep_until(due.into()) => {
                    let timer = next.and_then(|key| self.timers.remove(&key));
                    timer.map_or(Ok(()), |timer| {
                        self.foca.handle_timer(timer, &mut self.runtime)
                    })
                }
            };
        }
    }

    /// Carries out what foca requests.
    async fn settle(&mut self) -> io::Result<()> {
        while let Some((to, bytes)) = self.runtime.to_send() {
            self.socket.send_to(&bytes, to).await?;
            self.news.datagrams.fetch_add(1, Relaxed);
            self.news.bytes.fetch_add(bytes.len() as u64, Relaxed);
        }
        let now = Instant::now();
        while let Some((delay, timer)) = self.runtime.to_schedule() {
            self.scheduled += 1;
            self.timers.insert((now + delay, self.scheduled), timer);
        }
        while let Some(notification) = self.runtime.to_notify() {
            match notification {
                OwnedNotification::MemberUp(_) => {
                    let _ = self.news.meet.send(());
                }
                OwnedNotification::MemberDown(other) => {
                    let _ = self.news.suspect.send(Suspicion {
                        by: self.rank,
                        of: self.news.ranks[&other],
                        at: now,
                    });
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// The running members. They stop when this is dropped.
pub struct Swim {
    threads: Vec<(CancellationToken, Option<JoinHandle<io::Result<()>>>)>,
    suspicions: mpsc::Receiver<Suspicion>,
    datagrams: Arc<AtomicU64>,
    bytes: Arc<AtomicU64>,
}

impl Swim {
    /// Starts `n` members, and waits until each knows every other.
    pub fn start(n: usize) -> Result<Self, Error> {
        let sockets = sockets(n)?;
        let (suspect, suspicions) = mpsc::channel();
        let (meet, meetings) = mpsc::channel();
        let addresses = sockets.iter().map(|(_, address)| *address);
        let news = News {
            suspect,
            meet,
            ranks: addresses.zip(1..).collect(),
            datagrams: Arc::default(),
            bytes: Arc::default(),
        };
        let seed = sockets[0].1;
        let mut threads = Vec::new();
        for (rank, (socket, address)) in (1..).zip(sockets) {
            let (stop, news) = (CancellationToken::new(), news.clone());
            let stopped = stop.clone();
            let run = move || member(rank, n, (socket, address), news, seed, stopped);
            threads.push((stop, Some(thread::spawn(run))));
        }
        for _ in 0..n * (n - 1) {
            let met = meetings.recv_timeout(TIMEOUT);
            met.map_err(|_| Error::Stalled(TIMEOUT))?;
        }
        Ok(Swim {
            threads,
            suspicions,
            datagrams: news.datagrams,
            bytes: news.bytes,
        })
    }
}

fn member(
    rank: usize,
    n: usize,
    (socket, address): (net::UdpSocket, SocketAddr),
    news: News,
    seed: SocketAddr,
    stop: CancellationToken,
) -> io::Result<()> {
    socket.set_nonblocking(true)?;
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let rng = Random::seed_from_u64(address.port().into());
        let member = Member {
            rank,
            socket: UdpSocket::from_std(socket)?,
            foca: Foca::new(address, settings(n), rng, PostcardCodec),
            runtime: AccumulatingRuntime::new(),
            timers: BTreeMap::new(),
            scheduled: 0,
            news,
        };
        member.run(seed, stop).await
    })
}

impl Group for Swim {
    fn n(&self) -> usize {
        self.threads.len()
    }

    fn traffic(&self) -> Traffic {
        Traffic {
            datagrams: self.datagrams.load(Relaxed),
            bytes: self.bytes.load(Relaxed),
        }
    }

    fn stop_last(&mut self) {
        if let Some((stop, _)) = self.threads.last() {
            stop.cancel();
        }
    }

    fn suspicions(&self, wait: Duration) -> Vec<Suspicion> {
        let first = self.suspicions.recv_timeout(wait).ok();
        first
            .into_iter()
            .chain(self.suspicions.try_iter())
            .collect()
    }
}

impl Drop for Swim {
    fn drop(&mut self) {
        for (stop, _) in &self.threads {
            stop.cancel();
        }
        for (_, thread) in &mut self.threads {
            if let Some(Ok(Err(error))) = thread.take().map(JoinHandle::join) {
                eprintln!("a member of foca failed: {error}");
            }
        }
    }
}
