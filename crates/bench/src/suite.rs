//! Runs all measurements, and gives one table.
use crate::{
    Error,
    cluster::{Network, Transport},
    hop, link, machine, raw,
    rounds::{self, Base, Case},
    strangers::Strangers,
    total_order,
};
use quorate_broadcast::by_leader;
use quorate_stacks::broadcasts::TOTAL_ORDER;
use std::time::Duration;

/// How many messages go to and fro between two algorithms or tasks, in all rounds together.
const HOPS: u64 = 200_000;
/// How long total order runs before it is measured.
const WARM: Duration = Duration::from_millis(300);

const UDP: Network = Network {
    transport: Transport::Udp,
    datagram: None,
    sealed: false,
};
const TCP: Network = Network {
    transport: Transport::Tcp,
    ..UDP
};

/// The same network, with keys.
fn sealed(network: Network) -> Network {
    Network {
        sealed: true,
        ..network
    }
}

/// Collects the cases.
struct Cases {
    time: Duration,
    cases: Vec<Case<'static>>,
}

impl Cases {
    /// Adds a case and gives its index.
    fn add(
        &mut self,
        name: impl Into<String>,
        unit: &'static str,
        base: Base,
        run: impl FnMut() -> Result<f64, Error> + 'static,
    ) -> usize {
        self.cases.push(Case {
            name: name.into(),
            unit,
            base,
            run: Box::new(run),
        });
        self.cases.len() - 1
    }

    fn hops(&mut self) {
        for (batch, how) in [(1, "alone"), (64, "in batches of 64")] {
            let rounds = HOPS / batch;
            let base = self.add(
                format!("hop between tasks, tokio mpsc, {how}"),
                "ns",
                Base::Own,
                move || hop::between_tasks(batch, rounds),
            );
            self.add(
                format!("hop between algorithms, {how}"),
                "ns",
                Base::Case(base),
                move || hop::between_algorithms(batch, rounds),
            );
        }
    }

    /// Adds cases; returns the index of the raw socket's case.
    fn one_way(&mut self, size: usize) -> usize {
        let (time, unit) = (self.time, "messages/s");
        let name = format!("one way {size} B, raw TCP, batched writes");
        let base = self.add(name, unit, Base::Own, move || raw::one_way(time, size));
        for (network, name) in [(UDP, "UDP"), (TCP, "TCP")] {
            let of = format!("one way {size} B, perfect link over {name}");
            let plain = self.add(of, unit, Base::Case(base), move || {
                link::one_way(network, time, size)
            });
            let of = format!("one way {size} B, sealed link over {name}");
            self.add(of, unit, Base::Case(plain), move || {
                link::one_way(sealed(network), time, size)
            });
        }
        base
    }

    /// Adds cases; returns the index of the raw socket's case.
    fn round_trip(&mut self, size: usize) -> usize {
        let (time, unit) = (self.time, "µs, median");
        let name = format!("to and fro {size} B, raw TCP");
        let base = self.add(name, unit, Base::Own, move || raw::round_trip(time, size));
        for (network, name) in [(UDP, "UDP"), (TCP, "TCP")] {
            let of = format!("to and fro {size} B, perfect link over {name}");
            let plain = self.add(of, unit, Base::Case(base), move || {
                link::round_trip(network, time, size)
            });
            let of = format!("to and fro {size} B, sealed link over {name}");
            self.add(of, unit, Base::Case(plain), move || {
                link::round_trip(sealed(network), time, size)
            });
        }
        base
    }

    fn total_order(&mut self, n: usize, one_way: usize, round_trip: usize) {
        let run = total_order::Run {
            n,
            payload: 64,
            window: 1,
            warm: WARM,
            measure: self.time,
            network: UDP,
            algorithm: TOTAL_ORDER,
            settings: by_leader::OrderSettings::default(),
            strangers: None,
            counts: false,
        };
        let name = format!("total order, n = {n}, 64 B, 1 in flight");
        let plain = self.add(name, "µs, median", Base::Case(round_trip), move || {
            Ok(total_order::run(run)?.p50_us)
        });
        let of_sealed = total_order::Run {
            network: sealed(UDP),
            ..run
        };
        let name = format!("total order, n = {n}, 64 B, 1 in flight, sealed");
        self.add(name, "µs, median", Base::Case(plain), move || {
            Ok(total_order::run(of_sealed)?.p50_us)
        });
        let run = total_order::Run {
            window: 1024,
            ..run
        };
        let name = format!("total order, n = {n}, 64 B, 1,024 in flight");
        let plain = self.add(name, "messages/s", Base::Case(one_way), move || {
            Ok(total_order::run(run)?.slowest_per_s)
        });
        let of_sealed = total_order::Run {
            network: sealed(UDP),
            ..run
        };
        let name = format!("total order, n = {n}, 64 B, 1,024 in flight, sealed");
        self.add(name.clone(), "messages/s", Base::Case(plain), move || {
            Ok(total_order::run(of_sealed)?.slowest_per_s)
        });
        let mut base = Base::Own;
        for (whither, where_to) in [
            (Strangers::AtAClosedPort, "a closed port"),
            (Strangers::AtTheNodes, "the nodes"),
        ] {
            let flooded = total_order::Run {
                strangers: Some(whither),
                ..of_sealed
            };
            let name = format!("{name}, strangers' handshakes to {where_to}");
            let case = self.add(name, "messages/s", base, move || {
                Ok(total_order::run(flooded)?.slowest_per_s)
            });
            base = Base::Case(case);
        }
    }
}

/// Runs every case `rounds` times, about `time` each, and gives the table, as Markdown.
pub fn run(count: usize, time: Duration) -> String {
    let mut cases = Cases {
        time,
        cases: Vec::new(),
    };
    cases.hops();
    let one_way = cases.one_way(64);
    cases.one_way(1024);
    let round_trip = cases.round_trip(64);
    cases.round_trip(1024);
    for n in [3, 5] {
        cases.total_order(n, one_way, round_trip);
    }
    let before = machine::stolen_ticks();
    let figures = rounds::interleave(&mut cases.cases, count);
    let after = machine::stolen_ticks();
    let stolen = (after.0 - before.0) as f64 / (after.1 - before.1).max(1) as f64;
    format!(
        "{}. {count} rounds of {time:?} a case; {:.1} % of the processors' time went to other guests \
         of the host.\n\n{}",
        machine::description(),
        100.0 * stolen,
        rounds::table(&cases.cases, &figures),
    )
}
