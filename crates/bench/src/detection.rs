//! Measures how soon a crash is noticed, and what the watching costs while nothing happens.
//!
//! A group of processes runs on loopback, each with a thread and a UDP socket of its own, in this
//! operating-system process. It is left alone for a while, in which its datagrams are counted; then
//! its last process is stopped, and the time is taken until every other one has said so.
use crate::Error;
use quorate_abstractions::{
    Subscribe,
    eventually_perfect::Indication,
    link::{Links, Status},
    perfect::{Crash, as_eventually_perfect},
};
use quorate_core::{Addr, Host, Membership, ProcessId};
use quorate_detectors::{exclude_on_timeout, increasing_timeout};
use quorate_links::perfect::{LinkSettings, PerfectLinks};
use quorate_runtime::{
    faults::Faults,
    host::{Identity, TokioHost},
    thread::{Protocol, ProtocolThread},
    udp::{UdpEdge, UdpSettings},
};
use std::{
    collections::BTreeMap,
    net::{SocketAddr, UdpSocket},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

/// How long the members of a group may take to connect, and to notice a crash.
const TIMEOUT: Duration = Duration::from_secs(20);

/// A group of processes that can be measured.
pub trait Group {
    /// How many processes it has.
    fn n(&self) -> usize;

    /// What all processes have sent so far.
    fn traffic(&self) -> Traffic;

    /// Stops the last process.
    fn stop_last(&mut self);

    /// The suspicions since the last call; waits for at most this time if there are none yet.
    fn suspicions(&self, wait: Duration) -> Vec<Suspicion>;
}

/// What was sent, counted as the payload of UDP datagrams.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Traffic {
    pub datagrams: u64,
    pub bytes: u64,
}

/// A report of a process that another one has stopped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Suspicion {
    /// The rank of the process that reports.
    pub by: usize,
    /// The rank of the suspected process.
    pub of: usize,
    pub at: Instant,
}

/// The result of measuring a group.
#[derive(Clone, PartialEq, Debug)]
pub struct Detection {
    /// How long after the stop each survivor reported it, in ascending order.
    pub times: Vec<Duration>,
    /// Datagrams a second and process, before the stop.
    pub datagrams: f64,
    /// Bytes a second and process, before the stop.
    pub bytes: f64,
    /// Suspicions of processes that were alive.
    pub mistakes: usize,
}

/// Leaves a group alone for `quiet`, then for `phase` more, and stops its last process.
///
/// # Errors
/// When a survivor does not notice it in time.
pub fn measure(
    mut group: impl Group,
    quiet: Duration,
    phase: Duration,
) -> Result<Detection, Error> {
    let before = group.traffic();
    thread::sleep(quiet);
    let after = group.traffic();
    thread::sleep(phase);
    let mut mistakes = group.suspicions(Duration::ZERO).len();
    let stopped = Instant::now();
    group.stop_last();
    let mut noticed = BTreeMap::new();
    while noticed.len() < group.n() - 1 {
        if stopped.elapsed() > TIMEOUT {
            return Err(Error::Stalled(TIMEOUT));
        }
        for Suspicion { by, of, at } in group.suspicions(Duration::from_millis(100)) {
            if of == group.n() {
                noticed.entry(by).or_insert(at.duration_since(stopped));
            } else {
                mistakes += 1;
            }
        }
    }
    let mut times: Vec<Duration> = noticed.into_values().collect();
    times.sort();
    let rate = |sent: u64| sent as f64 / group.n() as f64 / quiet.as_secs_f64();
    Ok(Detection {
        times,
        datagrams: rate(after.datagrams - before.datagrams),
        bytes: rate(after.bytes - before.bytes),
        mistakes,
    })
}

/// The sockets of a group on loopback, and their addresses.
///
/// # Errors
/// When the operating system refuses a socket.
pub fn sockets(n: usize) -> Result<Vec<(UdpSocket, SocketAddr)>, Error> {
    let bind = |_| {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        let address = socket.local_addr()?;
        Ok((socket, address))
    };
    (0..n).map(bind).collect()
}

/// A detector of this project.
#[derive(Clone, Copy, Debug)]
pub enum Detector {
    /// ◇P.
    EventuallyPerfect(increasing_timeout::DetectorSettings),
    /// P.
    Perfect(exclude_on_timeout::SynchronyBounds),
}

impl Detector {
    fn spawn(self, host: &TokioHost, links: &PerfectLinks<TokioHost>) -> Subscribe<Indication> {
        let (host, heartbeat) = (host.at("detector"), |up| links.heartbeat(up));
        match self {
            Detector::EventuallyPerfect(settings) => {
                increasing_timeout::spawn(&host, settings, heartbeat).suspicions
            }
            Detector::Perfect(settings) => {
                let detector: Subscribe<Crash> =
                    exclude_on_timeout::spawn(&host, settings, heartbeat);
                as_eventually_perfect(&detector)
            }
        }
    }
}

/// Processes, each with a perfect link, a detector, and nothing else. They stop when this is dropped.
pub struct Detectors {
    threads: Vec<ProtocolThread>,
    suspicions: mpsc::Receiver<Suspicion>,
}

impl Detectors {
    /// Starts `n` processes, and waits until each is connected to every other.
    ///
    /// # Errors
    /// When the operating system refuses something, or the processes do not connect in time.
    pub fn start(n: usize, detector: Detector) -> Result<Self, Error> {
        let processes = Membership::of_size(n).map_err(|_| Error::Unusable("no membership"))?;
        let (sockets, peers): (Vec<_>, Vec<_>) = sockets(n)?.into_iter().unzip();
        let (suspect, suspicions) = mpsc::channel();
        let (connect, connections) = mpsc::channel();
        let mut threads = Vec::new();
        for (me, socket) in processes.iter().zip(sockets) {
            let mut protocol = Protocol::new(Identity::fresh(me, processes))?;
            let links = PerfectLinks::new(protocol.host(), LinkSettings::default());
            let indications = detector.spawn(protocol.host(), &links);
            indications.send(told(me, suspect.clone()));
            let connect = connect.clone();
            links.status().send(Addr::new(move |status| {
                if let Status::Connected { .. } = status {
                    let _ = connect.send(());
                }
            }));
            let edge = UdpEdge::attach(
                &mut protocol,
                socket,
                &peers,
                UdpSettings::default(),
                &Faults::default(),
                links.arrivals(),
            )?;
            links
                .start(edge)
                .map_err(|error| Error::Wrong(error.to_string()))?;
            threads.push(protocol.start()?);
        }
        for _ in 0..n * (n - 1) {
            let met = connections.recv_timeout(TIMEOUT);
            met.map_err(|_| Error::Stalled(TIMEOUT))?;
        }
        Ok(Detectors {
            threads,
            suspicions,
        })
    }
}

/// The address to which the detector of `me` reports whom it suspects.
fn told(me: ProcessId, suspect: mpsc::Sender<Suspicion>) -> Addr<Indication> {
    Addr::new(move |indication| {
        if let Indication::Suspect(of) = indication {
            let _ = suspect.send(Suspicion {
                by: me.rank(),
                of: of.rank(),
                at: Instant::now(),
            });
        }
    })
}

impl Group for Detectors {
    fn n(&self) -> usize {
        self.threads.len()
    }

    fn traffic(&self) -> Traffic {
        let mut traffic = Traffic::default();
        for thread in &self.threads {
            for (module, reason, count) in thread.host().counters().snapshot() {
                match (module.last(), reason) {
                    ("udp", "sent") => traffic.datagrams += count,
                    ("udp", "sent_bytes") => traffic.bytes += count,
                    _ => {}
                }
            }
        }
        traffic
    }

    fn stop_last(&mut self) {
        if let Some(last) = self.threads.last() {
            last.stop();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn survivors_notice_that_a_process_has_stopped() {
        let interval = Duration::from_millis(50);
        let slow = increasing_timeout::DetectorSettings {
            interval,
            timeout: Duration::from_secs(1),
        };
        let synchronous =
            exclude_on_timeout::SynchronyBounds::new(interval, Duration::from_secs(1)).unwrap();
        for detector in [
            Detector::EventuallyPerfect(slow),
            Detector::Perfect(synchronous),
        ] {
            let group = Detectors::start(3, detector).unwrap();
            let detection = measure(group, interval * 4, Duration::ZERO).unwrap();
            assert_eq!(detection.times.len(), 2);
            assert!(detection.datagrams > 0.0 && detection.bytes > detection.datagrams);
        }
    }
}
