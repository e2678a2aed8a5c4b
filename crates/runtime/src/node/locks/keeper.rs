//! The edge that looks at the clock and at the failure detector. It ends what the connections of this process
//! have left, and proposes to take locks over. Time decides only when a command is proposed: what it does follows
//! from the order.
use super::{LockSettings, Table, told::Told};
use crate::node::{NodeStatus, Replicated};
use quorate_services::locks::{Command, Locks, Request, Server};
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    sync::{mpsc, watch},
    time::{MissedTickBehavior, interval},
};

/// How often it looks while there are requests.
const LOOK: Duration = Duration::from_millis(50);

/// How long it waits for a proposed command before it proposes it again.
const AGAIN: Duration = Duration::from_secs(1);

/// A session whose user has gone, and the lock that was asked for in it.
pub(super) struct Left {
    pub(super) lock: Vec<u8>,
    pub(super) server: Server,
}

pub(super) struct Keeper {
    pub(super) machine: Replicated<Table>,
    pub(super) told: Arc<Told>,
    pub(super) status: watch::Receiver<NodeStatus>,
    pub(super) settings: LockSettings,
    pub(super) left: mpsc::UnboundedReceiver<Left>,
}

impl Keeper {
    /// Works until the node stops, or may not take part.
    pub(super) async fn run(mut self) {
        let mut clocks = Clocks::default();
        let stopped = self.told.stopped().clone();
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            // While nobody asks for a lock, nothing has to be looked at.
            let idle = self.machine.peek(|table| table.locks().is_idle());
            let look = async {
                if idle {
                    self.told.applied().await;
                }
                looks.tick().await;
            };
            let commands = tokio::select! {
                () = stopped.cancelled() => return,
                Some(Left { lock, server }) = self.left.recv() => {
                    self.submit(Command::Disconnect { lock, server }).await;
                    self.told.has_left();
                    continue;
                }
                () = look => self.overdue(&mut clocks),
            };
            for command in commands {
                self.submit(command).await;
            }
        }
    }

    async fn submit(&self, command: Command) {
        // It fails only when the node is stopping.
        let _ = self.machine.submit_then(command, drop).await;
    }

    fn overdue(&self, clocks: &mut Clocks) -> Vec<Command> {
        let now = Instant::now();
        // Not held while the machine is read: who changes the status waits for no reader.
        let status = self.status.borrow().clone();
        let view = Seen {
            status: &status,
            told: &self.told,
        };
        let takeover = self.settings.takeover;
        self.machine
            .peek(|table| clocks.overdue(table.locks(), &view, takeover, now))
    }
}

/// What this process sees of the servers.
pub(super) trait Sees {
    /// Whether a server serves its users, as far as this process sees.
    fn serves(&self, server: Server) -> bool;
    /// Whether it is up to this process to propose that the requests of this server end.
    fn proposes(&self, server: Server) -> bool;
}

struct Seen<'s> {
    status: &'s NodeStatus,
    told: &'s Told,
}

impl Sees for Seen<'_> {
    fn serves(&self, server: Server) -> bool {
        if server.process == self.status.me {
            return self.told.serves(server);
        }
        let mut peers = self.status.peers.iter();
        let peer = peers.find(|peer| peer.process == server.process);
        // The holder of a seat is not known before it was met.
        let holder = peer.and_then(|peer| peer.holder);
        !self.status.suspected.contains(server.process)
            && holder.is_none_or(|holder| holder == server.incarnation)
    }

    fn proposes(&self, server: Server) -> bool {
        let me = self.status.me;
        self.status.leader == Some(me) || server.process == me
    }
}

/// What the clock of this process says of a request.
struct Clock {
    /// The place of its last renewal, and since when that is known here.
    renewed: u64,
    since: Instant,
    /// Since when its server does not serve it.
    unserved: Option<Instant>,
    /// When it was last proposed that it ends.
    proposed: Option<Instant>,
}

/// The clocks of all requests that stand.
#[derive(Default)]
pub(super) struct Clocks(BTreeMap<(Vec<u8>, u64), Clock>);

impl Clocks {
    /// The commands by which requests end that are overdue now.
    pub(super) fn overdue(
        &mut self,
        locks: &Locks,
        view: &impl Sees,
        takeover: Duration,
        now: Instant,
    ) -> Vec<Command> {
        let mut before = std::mem::take(&mut self.0);
        let mut commands = Vec::new();
        for (lock, at, request) in locks.requests() {
            let key = (lock.to_vec(), request.token);
            let fresh = Clock {
                renewed: request.renewed,
                since: now,
                unserved: None,
                proposed: None,
            };
            let known = before.remove(&key);
            let mut clock = known
                .filter(|clock| clock.renewed == request.renewed)
                .unwrap_or(fresh);
            clock.unserved = if view.serves(request.server) {
                None
            } else {
                clock.unserved.or(Some(now))
            };
            let unserved = clock.unserved.is_some_and(|since| now - since >= takeover);
            let is_due = unserved || at == 0 && is_over(request, now - clock.since);
            let again = clock.proposed.is_none_or(|then| now - then >= AGAIN);
            if is_due && again && view.proposes(request.server) {
                clock.proposed = Some(now);
                let (lock, token) = key.clone();
                let renewed = request.renewed;
                commands.push(Command::Expire {
                    lock,
                    token,
                    renewed,
                });
            }
            self.0.insert(key, clock);
        }
        commands
    }
}

/// Whether the lease of a holder that was not renewed for this time is over.
fn is_over(request: &Request, unrenewed: Duration) -> bool {
    request.lease > 0 && unrenewed >= Duration::from_millis(request.lease)
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_core::{Incarnation, ProcessId};

    fn server(process: usize) -> Server {
        Server {
            process: ProcessId::from_rank(process).unwrap(),
            incarnation: Incarnation(1),
            session: 1,
        }
    }

    /// Whom this process sees serving, and whether it leads.
    struct World {
        serving: Vec<Server>,
        leads: bool,
    }

    impl Sees for World {
        fn serves(&self, server: Server) -> bool {
            self.serving.contains(&server)
        }

        fn proposes(&self, _: Server) -> bool {
            self.leads
        }
    }

    const TAKEOVER: Duration = Duration::from_secs(10);

    fn acquire(place: u64, process: usize, lease: u64, locks: &mut Locks) {
        let command = Command::Acquire {
            lock: b"l".to_vec(),
            owner: place.to_le_bytes().to_vec(),
            lease,
            waits: true,
            server: server(process),
        };
        locks.apply(place, &command);
    }

    fn expired(commands: &[Command]) -> Vec<(u64, u64)> {
        let expired = commands.iter().map(|command| match command {
            Command::Expire { token, renewed, .. } => (*token, *renewed),
            other => panic!("{other:?}"),
        });
        expired.collect()
    }

    /// The commands after so many seconds.
    fn at(
        clocks: &mut Clocks,
        locks: &Locks,
        world: &World,
        begin: Instant,
        seconds: u64,
    ) -> Vec<(u64, u64)> {
        let now = begin + Duration::from_secs(seconds);
        expired(&clocks.overdue(locks, world, TAKEOVER, now))
    }

    #[test]
    fn a_holder_that_does_not_renew_is_overdue_after_its_lease_and_a_waiter_is_not() {
        let (mut locks, mut clocks) = (Locks::default(), Clocks::default());
        let world = World {
            serving: vec![server(1), server(2)],
            leads: true,
        };
        acquire(1, 1, 3000, &mut locks);
        acquire(2, 2, 3000, &mut locks);
        let begin = Instant::now();
        assert_eq!(at(&mut clocks, &locks, &world, begin, 0), []);
        assert_eq!(at(&mut clocks, &locks, &world, begin, 2), []);
        let renew = Command::Renew {
            lock: b"l".to_vec(),
            token: 1,
            server: server(1),
        };
        locks.apply(3, &renew);
        assert_eq!(at(&mut clocks, &locks, &world, begin, 3), []);
        assert_eq!(at(&mut clocks, &locks, &world, begin, 5), []);
        assert_eq!(at(&mut clocks, &locks, &world, begin, 6), [(1, 3)]);
        // The command is on its way.
        let soon = begin + Duration::from_millis(6500);
        assert!(clocks.overdue(&locks, &world, TAKEOVER, soon).is_empty());
        assert_eq!(at(&mut clocks, &locks, &world, begin, 7), [(1, 3)]);
        let (lock, token, renewed) = (b"l".to_vec(), 1, 3);
        locks.apply(
            4,
            &Command::Expire {
                lock,
                token,
                renewed,
            },
        );
        // The lease of the next one begins with the grant.
        assert_eq!(at(&mut clocks, &locks, &world, begin, 8), []);
        assert_eq!(at(&mut clocks, &locks, &world, begin, 11), [(2, 4)]);
    }

    #[test]
    fn what_nobody_serves_is_overdue_after_a_while_whether_it_holds_or_waits() {
        let (mut locks, mut clocks) = (Locks::default(), Clocks::default());
        let mut world = World {
            serving: vec![server(1), server(2)],
            leads: true,
        };
        acquire(1, 1, 0, &mut locks);
        acquire(2, 2, 0, &mut locks);
        let begin = Instant::now();
        assert_eq!(at(&mut clocks, &locks, &world, begin, 0), []);
        world.serving.clear();
        assert_eq!(at(&mut clocks, &locks, &world, begin, 100), []);
        // A wrong suspicion is taken back.
        world.serving = vec![server(1)];
        assert_eq!(at(&mut clocks, &locks, &world, begin, 105), []);
        world.serving.clear();
        assert_eq!(at(&mut clocks, &locks, &world, begin, 106), []);
        assert_eq!(at(&mut clocks, &locks, &world, begin, 110), [(2, 2)]);
        assert_eq!(
            at(&mut clocks, &locks, &world, begin, 116),
            [(1, 1), (2, 2)]
        );
    }

    #[test]
    fn who_does_not_lead_proposes_nothing_and_at_once_when_it_does() {
        let (mut locks, mut clocks) = (Locks::default(), Clocks::default());
        let mut world = World {
            serving: vec![server(1)],
            leads: false,
        };
        acquire(1, 1, 1000, &mut locks);
        let begin = Instant::now();
        assert_eq!(at(&mut clocks, &locks, &world, begin, 0), []);
        assert_eq!(at(&mut clocks, &locks, &world, begin, 5), []);
        world.leads = true;
        assert_eq!(at(&mut clocks, &locks, &world, begin, 5), [(1, 1)]);
        locks.apply(
            2,
            &Command::Release {
                lock: b"l".to_vec(),
                token: 1,
            },
        );
        assert_eq!(at(&mut clocks, &locks, &world, begin, 6), []);
        assert!(clocks.0.is_empty(), "what has ended leaves no clock");
    }
}
