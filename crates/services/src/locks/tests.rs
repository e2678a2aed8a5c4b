//! Drawn histories under the checkers, and the errata as executions.
use super::{
    properties::{Checker, Violated},
    *,
};

/// A generator of numbers that follow from a seed (`SplitMix64`).
struct Draw(u64);

impl Draw {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut number = self.0;
        number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (number ^ (number >> 31)) % limit
    }
}

fn server(process: usize, session: u64) -> Server {
    Server {
        process: ProcessId::from_rank(process).unwrap(),
        incarnation: Incarnation(1),
        session,
    }
}

fn acquire(lock: &str, owner: &str, server: Server) -> Command {
    Command::Acquire {
        lock: lock.into(),
        owner: owner.into(),
        lease: 0,
        waits: true,
        server,
    }
}

fn read(lock: &str, token: u64) -> Command {
    let (lock, key) = (lock.into(), b"balance".to_vec());
    Command::Read { lock, token, key }
}

fn write(lock: &str, token: u64, value: &str) -> Command {
    Command::Write {
        lock: lock.into(),
        token,
        key: b"balance".to_vec(),
        value: Some(value.into()),
    }
}

fn release(lock: &str, token: u64) -> Command {
    let lock = lock.into();
    Command::Release { lock, token }
}

/// The machine, its clients and the checker.
struct Run {
    draw: Draw,
    locks: Locks,
    checker: Checker,
    place: u64,
    /// Some connections that have served requests, and the last tokens, of which some have ended.
    servers: Vec<Server>,
    tokens: Vec<(Vec<u8>, u64)>,
    /// The places at which requests were renewed.
    renewals: Vec<u64>,
}

impl Run {
    fn new(seed: u64, mutant: Option<Mutant>) -> Self {
        let locks = Locks {
            mutant,
            ..Locks::default()
        };
        Run {
            draw: Draw(seed),
            locks,
            checker: Checker::default(),
            place: 0,
            servers: vec![server(1, 0)],
            tokens: vec![(b"a".to_vec(), 1)],
            renewals: vec![1],
        }
    }

    fn fresh_server(&mut self) -> Server {
        let process = 1 + self.draw.below(3) as usize;
        let server = server(process, self.servers.len() as u64);
        self.servers.push(server);
        server
    }

    /// One of the last few.
    fn recent<T: Clone>(draw: &mut Draw, all: &[T]) -> T {
        let back = draw.below(all.len().min(5) as u64) as usize;
        all[all.len() - 1 - back].clone()
    }

    fn command(&mut self) -> Command {
        let lock = ["a", "b"][self.draw.below(2) as usize];
        let owner = ["w", "x", "y", "z"][self.draw.below(4) as usize];
        let (of, token) = Self::recent(&mut self.draw, &self.tokens);
        match self.draw.below(12) {
            0..3 => {
                let mut command = acquire(lock, owner, self.fresh_server());
                if let Command::Acquire { waits, lease, .. } = &mut command {
                    *waits = self.draw.below(4) > 0;
                    *lease = self.draw.below(3);
                }
                command
            }
            3 => {
                let lock = of;
                if self.draw.below(2) == 0 {
                    let server = self.fresh_server();
                    return Command::Attach {
                        lock,
                        token,
                        server,
                    };
                }
                let server = Self::recent(&mut self.draw, &self.servers);
                Command::Renew {
                    lock,
                    token,
                    server,
                }
            }
            4 => Command::Release { lock: of, token },
            5 => {
                let server = Self::recent(&mut self.draw, &self.servers);
                Command::Disconnect { lock: of, server }
            }
            6..8 => {
                let known = self.locks.requests().find(|(_, _, it)| it.token == token);
                let renewed = match known {
                    Some((_, _, request)) if self.draw.below(3) > 0 => request.renewed,
                    _ => Self::recent(&mut self.draw, &self.renewals),
                };
                Command::Expire {
                    lock: of,
                    token,
                    renewed,
                }
            }
            8..10 => Command::Read {
                lock: of,
                token,
                key: vec![self.draw.below(2) as u8],
            },
            _ => {
                let value = self.draw.below(4) > 0;
                Command::Write {
                    lock: of,
                    token,
                    key: vec![self.draw.below(2) as u8],
                    value: value.then(|| self.place.to_le_bytes().to_vec()),
                }
            }
        }
    }

    fn apply(&mut self, command: &Command) -> Result<Reply, Violated> {
        // Between two commands there are others, of other machines.
        self.place += 1 + self.draw.below(3);
        let applied = self.locks.apply(self.place, command);
        if let (Command::Acquire { lock, .. }, Reply::Queued { token, .. }) =
            (command, &applied.reply)
        {
            self.tokens.push((lock.clone(), *token));
        }
        self.renewals.push(self.place);
        self.checker.step(self.place, command, &applied)?;
        Ok(applied.reply)
    }

    /// Some commands; then every holder loses its lock, until nobody waits.
    fn run(mut self, commands: usize) -> Result<Self, Violated> {
        for _ in 0..commands {
            let command = self.command();
            self.apply(&command)?;
        }
        for _ in 0..=commands {
            let holders: Vec<_> = self
                .locks
                .requests()
                .filter(|(_, at, _)| *at == 0)
                .collect();
            let holders: Vec<_> = holders
                .into_iter()
                .map(|(lock, _, request)| (lock.to_vec(), request.clone()))
                .collect();
            for (lock, Request { token, renewed, .. }) in holders {
                let command = if self.draw.below(2) == 0 {
                    Command::Release { lock, token }
                } else {
                    Command::Expire {
                        lock,
                        token,
                        renewed,
                    }
                };
                self.apply(&command)?;
            }
        }
        self.checker.nobody_waits()?;
        Ok(self)
    }
}

#[test]
fn lk1_to_lk9_hold_in_drawn_histories_and_a_state_that_is_taken_over_goes_on_equally() {
    for seed in 0..400 {
        let run = Run::new(seed, None).run(60);
        let run = run.unwrap_or_else(|violated| panic!("seed {seed}: {violated}"));
        assert!(run.locks.is_idle());
        assert_eq!(run.locks.requests, 0);
    }
    for seed in 0..100 {
        let mut run = Run::new(seed, None);
        for _ in 0..40 {
            let command = run.command();
            run.apply(&command).unwrap();
        }
        let mut restored = Locks::default();
        for item in run.locks.items() {
            restored.restore(item).unwrap();
        }
        assert_eq!(restored, run.locks, "seed {seed}");
        run.locks = restored;
        run.run(20).unwrap();
    }
}

#[test]
fn every_mutant_is_found_by_the_property_that_it_breaks() {
    for (mutant, property) in [
        (Mutant::GrantsAtOnce, "LK1"),
        (Mutant::CountsRequests, "LK2"),
        (Mutant::NewestFirst, "LK7"),
        (Mutant::ComparesTheUsed, "LK3"),
        (Mutant::FencesWritesOnly, "LK3"),
        (Mutant::KeepsTheReleased, "LK4"),
        (Mutant::QueuesAgain, "LK5"),
        (Mutant::ExpiresTheRenewed, "LK6"),
        (Mutant::NeverExpires, "LK6"),
        (Mutant::TellsNobody, "LK7"),
        (Mutant::DisconnectsTheMoved, "LK8"),
        (Mutant::RenewsTheMoved, "LK8"),
        (Mutant::LosesWrites, "LK9"),
    ] {
        let violations = (0..400).filter_map(|seed| Run::new(seed, Some(mutant)).run(60).err());
        let found: Vec<Violated> = violations.collect();
        assert!(
            found.iter().any(|violated| violated.starts_with(property)),
            "{mutant:?}: {found:?}"
        );
    }
}

/// B reads the balance with its own token before A, which has stalled, writes.
#[test]
fn h2_e5_a_late_write_is_refused_once_a_larger_token_was_granted_although_it_was_not_used() {
    let lost_update = |mutant: Option<Mutant>| {
        let mut locks = Locks {
            mutant,
            ..Locks::default()
        };
        let reply = |locks: &mut Locks, place, command| locks.apply(place, &command).reply;
        reply(&mut locks, 33, acquire("l", "a", server(1, 1)));
        assert_eq!(reply(&mut locks, 34, write("l", 33, "100")), Reply::Written);
        reply(&mut locks, 35, acquire("l", "b", server(2, 1)));
        let (lock, token, renewed) = (b"l".to_vec(), 33, 33);
        let taken = reply(
            &mut locks,
            36,
            Command::Expire {
                lock,
                token,
                renewed,
            },
        );
        assert_eq!(taken, Reply::Found(true));
        let read_by_b = reply(&mut locks, 37, read("l", 35));
        assert_eq!(read_by_b, Reply::Value(Some("100".into())));
        // A goes on.
        let late = reply(&mut locks, 38, write("l", 33, "150"));
        // B writes what follows from what it has read.
        assert_eq!(reply(&mut locks, 39, write("l", 35, "130")), Reply::Written);
        late
    };
    assert_eq!(lost_update(None), Reply::Fenced { holder: Some(35) });
    // Where only tokens count that were used for writing, A's deposit is acknowledged, and lost.
    assert_eq!(lost_update(Some(Mutant::ComparesTheUsed)), Reply::Written);
}

#[test]
fn h2_e5_a_late_read_is_refused_and_so_is_a_token_that_was_released() {
    let mut locks = Locks::default();
    locks.apply(5, &acquire("l", "a", server(1, 1)));
    locks.apply(6, &write("l", 5, "1"));
    locks.apply(7, &release("l", 5));
    let fenced = Reply::Fenced { holder: None };
    assert_eq!(locks.apply(8, &read("l", 5)).reply, fenced);
    assert_eq!(locks.apply(9, &write("l", 5, "2")).reply, fenced);
    // The value outlives the lock.
    locks.apply(10, &acquire("l", "b", server(1, 2)));
    let value = Reply::Value(Some("1".into()));
    assert_eq!(locks.apply(11, &read("l", 10)).reply, value);
    let fenced = Reply::Fenced { holder: Some(10) };
    assert_eq!(locks.apply(12, &read("l", 5)).reply, fenced);
}

#[test]
fn who_reconnects_keeps_the_lock_and_the_end_of_the_first_connection_does_not_end_it() {
    let mut locks = Locks::default();
    let (first, second) = (server(1, 1), server(2, 1));
    locks.apply(1, &acquire("l", "a", first));
    let lock = b"l".to_vec();
    let attach = Command::Attach {
        lock: lock.clone(),
        token: 1,
        server: second,
    };
    let moved = locks.apply(2, &attach);
    assert_eq!(moved.reply, Reply::Found(true));
    let told = vec![(first, Status::Ended), (second, Status::Held)];
    assert_eq!(moved.told, told);
    // A renewal, too, may still be on its way through the first connection.
    let (server, token) = (first, 1);
    let renew = Command::Renew {
        lock: lock.clone(),
        token,
        server,
    };
    assert_eq!(locks.apply(3, &renew).reply, Reply::Found(false));
    let late = locks.apply(4, &Command::Disconnect { lock, server });
    assert_eq!(late.reply, Reply::Found(false));
    assert_eq!(locks.holder(b"l").unwrap().token, 1);
    assert_eq!(locks.served(second), Some(Status::Held));
    assert_eq!(locks.served(first), None);
}

#[test]
fn everything_is_bounded_and_what_is_over_leaves_nothing() {
    let mut locks = Locks::default();
    let long = "x".repeat(LONGEST_NAME + 1);
    let refused = |reply: Reply| matches!(reply, Reply::Refused(_));
    assert!(refused(
        locks.apply(1, &acquire(&long, "o", server(1, 1))).reply
    ));
    assert!(refused(
        locks.apply(2, &acquire("l", &long, server(1, 1))).reply
    ));
    assert_eq!(locks, Locks::default());
    for number in 0..REQUESTS as u64 {
        let owner = format!("{number}");
        let reply = locks.apply(10 + number, &acquire("l", &owner, server(1, number)));
        assert!(matches!(reply.reply, Reply::Queued { .. }));
    }
    assert!(refused(
        locks.apply(9000, &acquire("m", "o", server(2, 1))).reply
    ));
    // A request that stands is answered even now.
    let again = locks.apply(9001, &acquire("l", "7", server(2, 2))).reply;
    let (token, before) = (17, 7);
    assert_eq!(again, Reply::Queued { token, before });
    let value = "v".repeat(LONGEST_VALUE);
    let put = |key: u64, value: &str| Command::Write {
        lock: b"l".to_vec(),
        token: 10,
        key: key.to_le_bytes().to_vec(),
        value: Some(value.into()),
    };
    assert!(refused(
        locks.apply(9002, &put(1, &format!("{value}v"))).reply
    ));
    // What is too long need not be ordered.
    let long = |lock: &str, owner: &str| acquire(lock, owner, server(1, 1)).is_too_long();
    let (name, longer) = ("x".repeat(LONGEST_NAME), "x".repeat(LONGEST_NAME + 1));
    assert!(!long(&name, &name) && long(&longer, "o") && long("l", &longer));
    assert!(!put(1, &value).is_too_long() && put(1, &format!("{value}v")).is_too_long());
    let mut stored = 0;
    while locks.apply(9003 + stored, &put(stored, &value)).reply == Reply::Written {
        stored += 1;
    }
    assert_eq!(stored, (BYTES / (LONGEST_VALUE + 9)) as u64);
    // What is overwritten or removed makes room.
    assert_eq!(locks.apply(9900, &put(0, "")).reply, Reply::Written);
    assert_eq!(
        locks.apply(9901, &put(stored, &value)).reply,
        Reply::Written
    );
    for number in 0..=stored {
        let mut remove = put(number, "");
        if let Command::Write { value, .. } = &mut remove {
            *value = None;
        }
        assert_eq!(locks.apply(10_000 + number, &remove).reply, Reply::Written);
    }
    for number in 0..REQUESTS as u64 {
        locks.apply(20_000 + number, &release("l", 10 + number));
    }
    assert_eq!(locks, Locks::default());
}

#[test]
fn what_is_no_state_is_not_restored() {
    let request = |lock: &str, token, owner: &str| {
        let request = Request {
            token,
            owner: owner.into(),
            lease: 0,
            renewed: token,
            server: server(1, token),
        };
        Item::Request(lock.into(), request)
    };
    let value = |lock: &str, key: &str| Item::Value(lock.into(), key.into(), Vec::new());
    let restored = |items: &[Item]| {
        let mut locks = Locks::default();
        items
            .iter()
            .try_for_each(|item| locks.restore(item.clone()))
    };
    let good = [
        request("a", 5, "x"),
        request("a", 7, "y"),
        request("b", 1, "x"),
        value("a", "k"),
        value("b", "j"),
    ];
    assert_eq!(restored(&good), Ok(()));
    for at in 0..good.len() - 1 {
        let mut swapped = good.clone();
        swapped.swap(at, at + 1);
        assert!(restored(&swapped).is_err(), "{at}");
        let mut twice = good.clone();
        twice[at + 1] = twice[at].clone();
        assert!(restored(&twice).is_err(), "{at}");
    }
    assert!(restored(&[request("a", 5, "x"), request("a", 6, "x")]).is_err());
    assert!(restored(&[request(&"a".repeat(257), 5, "x")]).is_err());
}
