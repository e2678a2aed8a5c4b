//! Measures a message from one algorithm to another of the same process, compared with a channel of Tokio.
//!
//! Two parties send a batch to and fro. The figure is the time in nanoseconds for each hop of one message.
use crate::{Error, machine};
use quorate_core::{Addr, Algorithm, Ctx, Host, Membership, Observation, Observe, ProcessId};
use quorate_runtime::{host::Identity, thread::Protocol};
use std::{
    hint::black_box,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};
use tokio::{runtime, sync::mpsc::channel};

/// How long a run may take.
const TIMEOUT: Duration = Duration::from_secs(20);

/// One of two algorithms that send a batch to and fro. It answers when the batch is complete.
struct Player {
    batch: u64,
    /// How many batches this party has still to answer; `None`: it answers every batch.
    left: Option<u64>,
    begun: Option<Instant>,
    received: u64,
}

enum Event {
    Ball(u64),
}

enum Effect {
    Ball(u64),
    Done(Duration),
}

impl Observe for Event {
    fn observe(&self) -> Observation {
        Observation::internal("Ball")
    }
}

impl Observe for Effect {
    fn observe(&self) -> Observation {
        Observation::internal("Ball")
    }
}

impl Algorithm for Player {
    type Event = Event;
    type Effect = Effect;

    fn upon_start(&mut self, ctx: &mut Ctx<Self>) {
        machine::pin(0);
        if self.left.is_some() {
            self.begun = Some(Instant::now());
            self.serve(ctx);
        }
    }

    fn upon(&mut self, Event::Ball(ball): Event, ctx: &mut Ctx<Self>) {
        black_box(ball);
        self.received += 1;
        if self.received < self.batch {
            return;
        }
        self.received = 0;
        match &mut self.left {
            None => self.serve(ctx),
            Some(0) => {}
            Some(1) => {
                self.left = Some(0);
                let begun = self.begun.unwrap_or_else(Instant::now);
                ctx.trigger(Effect::Done(begun.elapsed()));
            }
            Some(left) => {
                *left -= 1;
                self.serve(ctx);
            }
        }
    }
}

impl Player {
    fn new(batch: u64, left: Option<u64>) -> Self {
        Player {
            batch,
            left,
            begun: None,
            received: 0,
        }
    }

    fn serve(&mut self, ctx: &mut Ctx<Self>) {
        for ball in 0..self.batch {
            ctx.trigger(Effect::Ball(ball));
        }
    }
}

/// The nanoseconds for each hop between two algorithms on one protocol thread.
///
/// # Errors
/// When the operating system refuses the thread, or nothing comes back.
pub fn between_algorithms(batch: u64, rounds: u64) -> Result<f64, Error> {
    let processes = Membership::of_size(1).map_err(|_| Error::Unusable("no membership"))?;
    let me = ProcessId::from_rank(1).ok_or(Error::Unusable("no process"))?;
    let protocol = Protocol::new(Identity::fresh(me, processes))?;
    let host = protocol.host();
    let (server, returner) = (host.mailbox::<Event>(), host.mailbox::<Event>());
    let (to_server, to_returner) = (server.addr(), returner.addr());
    let (done, result) = mpsc::channel();
    let route = |to: Addr<Event>, done: mpsc::Sender<Duration>| {
        move |effect| match effect {
            Effect::Ball(ball) => to.send(Event::Ball(ball)),
            Effect::Done(time) => {
                let _ = done.send(time);
            }
        }
    };
    let answering = Player::new(batch, None);
    host.at("returner")
        .start(returner, answering, route(to_server, done.clone()));
    let serving = Player::new(batch, Some(rounds));
    host.at("server")
        .start(server, serving, route(to_returner, done));
    let thread = protocol.start()?;
    let time = result
        .recv_timeout(TIMEOUT)
        .map_err(|_| Error::Stalled(TIMEOUT))?;
    thread.stop();
    Ok(a_hop(time, batch, rounds))
}

/// The nanoseconds for each hop between two tasks on one thread, through bounded channels of Tokio. Batches
/// are received whole.
///
/// # Errors
/// When the operating system refuses the thread, or a task ends early.
pub fn between_tasks(batch: u64, rounds: u64) -> Result<f64, Error> {
    let thread = thread::spawn(move || {
        machine::pin(0);
        let runtime = runtime::Builder::new_current_thread().build()?;
        runtime.block_on(async {
            let (to_server, mut server) = channel::<u64>(64);
            let (to_returner, mut returner) = channel::<u64>(64);
            tokio::spawn(async move {
                let mut balls = Vec::with_capacity(64);
                let mut received = 0;
                loop {
                    let some = returner.recv_many(&mut balls, 64).await as u64;
                    received += some;
                    balls.clear();
                    if some == 0 {
                        return;
                    }
                    if received == batch {
                        received = 0;
                        for ball in 0..batch {
                            if to_server.send(ball).await.is_err() {
                                return;
                            }
                        }
                    }
                }
            });
            let serving = tokio::spawn(async move {
                let mut balls = Vec::with_capacity(64);
                let begun = Instant::now();
                for _ in 0..rounds {
                    for ball in 0..batch {
                        to_returner.send(ball).await.ok()?;
                    }
                    let mut received = 0;
                    while received < batch {
                        received += server.recv_many(&mut balls, 64).await as u64;
                        balls.clear();
                    }
                }
                Some(begun.elapsed())
            });
            Ok(serving.await.ok().flatten())
        })
    });
    let result: std::io::Result<Option<Duration>> = thread
        .join()
        .map_err(|_| Error::Wrong("a thread panicked".to_owned()))?;
    let time = result?.ok_or(Error::Wrong("a task ended early".to_owned()))?;
    Ok(a_hop(time, batch, rounds))
}

fn a_hop(time: Duration, batch: u64, rounds: u64) -> f64 {
    time.as_nanos() as f64 / (2 * batch * rounds) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn balls_come_back() {
        for batch in [1, 64] {
            assert!(between_algorithms(batch, 100).unwrap() > 0.0);
            assert!(between_tasks(batch, 100).unwrap() > 0.0);
        }
    }
}
