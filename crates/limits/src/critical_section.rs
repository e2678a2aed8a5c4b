//! No lock service gives a critical section that is safe and live when a client may be faulty, in a system without
//! bounds on time, although the service itself never fails.
//!
//! - CS1 (safety): no client enters while another one is inside.
//! - CS2 (liveness): a *correct* client that asks eventually enters. (Usually it is written for all clients, and
//!   then no service satisfies it: H2-E1.)
//!
//! # Why
//! A enters, checks its lease if it has one, and stops. In one world it has crashed. Either B never enters, and
//! CS2 is broken; or B enters at some time t. In the other world A has stalled, and goes on after t, as if nothing
//! had happened. Until then the service has seen the same in both ([`BothWorlds::cannot_tell`]), and so it has done
//! the same: both are inside, and CS1 is broken. For a lease of any length T, a stall of T + 1 does it. Nothing
//! here needs that A leaves one day (H2-E2).
//!
//! # What follows
//! - *Consensus* from a critical section: who enters first writes its proposal, all decide what is written. It
//!   needs CS1, CS2 and a memory that survives ([`show`] takes each away): so critical sections are harder than
//!   consensus (H2-E4). The converse does not hold: the service that grants one lease after the other agrees with
//!   itself all the time, and is no help.
//! - A message to the world *outside* cannot be called back.
//! - *Fencing* saves the memory: grants have growing tokens, requests carry them, and the memory refuses what has
//!   a smaller token than it has seen. CS1 is still broken in time, but effects are in the order of the tokens.
//!   Reads must be checked, too: else an update is lost (H2-E5).
//! - With the power to *stop* a client for certain, both CS1 and CS2 hold.
//!
//! # Source
//! The post “Generic Fault Tolerant Distributed Critical Section is Impossible”.
use crate::{
    chart::{self, Chart, Look, Place},
    named,
};
use checkers::broken;
use jobs::Job;
use services::{ForcedStop, Lease, LockService, NonPreemptive};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::{self, Display, Write},
};
use world::{
    Client, Event, Fault, Fence, Happened, History, LATENCY, Order, Point, Request, Setting, Site,
    Stop, milliseconds, run,
};

pub mod checkers;
pub mod jobs;
pub mod services;
pub mod world;

/// A text breaks its lines here.
const LINE: usize = 110;

/// What breaks.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Horn {
    /// The service grants the lock twice at a time. It is not supposed to.
    Service,
    /// CS1.
    Safety,
    /// CS2.
    Liveness,
    /// Two clients decide differently.
    Agreement,
    /// A correct client does not decide.
    Termination,
    /// What must happen once outside happens twice.
    Once,
    /// An update that was acknowledged is lost.
    Updates,
}

impl Display for Horn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Horn::Service => "the lock service",
            Horn::Safety => "CS1 (safety)",
            Horn::Liveness => "CS2 (liveness)",
            Horn::Agreement => "agreement",
            Horn::Termination => "termination",
            Horn::Once => "at most one message outside",
            Horn::Updates => "no lost update",
        })
    }
}

/// Starts a service.
pub type Start<'a> = &'a dyn Fn() -> Box<dyn LockService>;

/// A service and what clients do with it; the adversary is the same for all.
pub struct Scenario<'a> {
    pub name: String,
    pub service: Start<'a>,
    pub setting: Setting,
    /// A stops before it sends its request of this number.
    pub before: usize,
    /// The horns that it must break.
    pub stated: &'a [Horn],
}

/// A service in the world in which A crashes, and in the one in which it stalls.
pub struct BothWorlds {
    pub name: String,
    pub stated: BTreeSet<Horn>,
    pub crashed: History,
    pub stalled: History,
    /// When A goes on, in microseconds; `None` if it never does.
    pub goes_on: Option<u64>,
}

/// Lets A crash; and then lets it stall until B has read, or for ever if B never does.
pub fn run_both(scenario: &Scenario<'_>) -> BothWorlds {
    let world = |kind| {
        let fault = Fault {
            client: Client::A,
            point: Point::Before(scenario.before),
            kind,
        };
        run(&mut *(scenario.service)(), scenario.setting, Some(fault))
    };
    let crashed = world(Stop::Crash);
    let stops = crashed.when(|what| matches!(what, Happened::Stops(..)));
    let reads =
        crashed.when(|what| matches!(what, Happened::Takes(Client::B, _, Request::Read, _)));
    let goes_on = reads.map(|reads| reads + LATENCY);
    let stall = goes_on.map(|goes_on| goes_on.saturating_sub(stops.unwrap_or_default()));
    BothWorlds {
        name: scenario.name.clone(),
        stated: scenario.stated.iter().copied().collect(),
        stalled: world(stall.map_or(Stop::StallForEver, Stop::Stall)),
        crashed,
        goes_on,
    }
}

impl BothWorlds {
    /// The horns that break in either world.
    pub fn broken(&self) -> BTreeSet<Horn> {
        let both = [&self.crashed, &self.stalled];
        both.into_iter().flat_map(broken).collect()
    }

    /// Whether the service has seen the same in both worlds, at the same times, until A goes on.
    pub fn cannot_tell(&self) -> bool {
        let until = self.goes_on.unwrap_or(u64::MAX);
        self.crashed.view(until) == self.stalled.view(until)
    }

    /// How it differs from what is stated.
    pub fn unexpected(&self) -> Option<String> {
        let (name, broken) = (&self.name, self.broken());
        if !self.cannot_tell() {
            return Some(format!("{name}: the service can tell a stall from a crash"));
        }
        if broken == self.stated {
            return None;
        }
        if broken.is_empty() {
            return Some(format!("{name}: no horn broke"));
        }
        Some(format!("{name}: {broken:?}, not {:?}", self.stated))
    }

    /// Both worlds, and what broke.
    pub fn text(&self) -> String {
        let mut text = format!("{}\n", self.name);
        for (name, history) in [("A crashes", &self.crashed), ("A stalls", &self.stalled)] {
            let _ = writeln!(text, "  {name}:");
            write_history(&mut text, history);
        }
        if self.cannot_tell() {
            let until = match self.goes_on {
                Some(time) => format!("until {} ms", milliseconds(time)),
                None => "for ever".to_owned(),
            };
            let _ = writeln!(text, "  the service sees the same in both, {until}");
        }
        let _ = writeln!(text, "  broken: {}", named(self.broken()));
        text
    }

    /// A world of it as a picture, and what breaks in it.
    fn chart(&self, says: &str, history: &History) -> Chart {
        Chart {
            title: format!("{}: {says}", self.name),
            verdict: format!("broken: {}", named(broken(history))),
            ..drawn(history)
        }
    }
}

/// What is left out of texts and pictures: it is said by what follows.
fn is_shown(what: &Happened) -> bool {
    !matches!(
        what,
        Happened::Hears(_) | Happened::Does(Order::Wait { .. })
    )
}

/// A history, several events a line.
fn write_history(text: &mut String, history: &History) {
    let shown = history.moments.iter();
    let shown = shown.filter(|moment| is_shown(&moment.what));
    let mut length = 0;
    for (number, moment) in shown.enumerate() {
        let event = format!("{} {}", milliseconds(moment.at), moment.what);
        let added = event.chars().count() + 2;
        let separator = match number {
            0 => "    ",
            _ if length + added > LINE => ";\n    ",
            _ => "; ",
        };
        length = if separator == "; " { length } else { 0 } + added;
        let _ = write!(text, "{separator}{event}");
    }
    text.push('\n');
}

/// The columns of a picture.
const SITES: [Site; 4] = [
    Site::Client(Client::A),
    Site::Service,
    Site::Client(Client::B),
    Site::Memory,
];

fn column(of: Site) -> usize {
    SITES
        .iter()
        .position(|site| *site == of)
        .unwrap_or_default()
}

/// From where something comes, and where it happens; the same, if nothing travels.
fn path(what: &Happened) -> [Site; 2] {
    let (client, service) = (Site::Client, Site::Service);
    match *what {
        Happened::Hears(Event::Acquire(it) | Event::Release(it, _)) => [client(it), service],
        Happened::Hears(_) | Happened::Does(_) => [service; 2],
        Happened::Enters(it, _) | Happened::TooLate(it) | Happened::IsStopped(it) => {
            [service, client(it)]
        }
        Happened::Takes(it, ..) => [client(it), Site::Memory],
        Happened::Forgets => [Site::Memory; 2],
        Happened::Asks(it)
        | Happened::Exits(it)
        | Happened::Stops(it, _)
        | Happened::GoesOn(it)
        | Happened::Decides(it, _)
        | Happened::Counts(it) => [client(it); 2],
    }
}

/// A history as a picture, without title and verdict.
fn drawn(history: &History) -> Chart {
    let mut chart = Chart {
        columns: SITES.iter().map(ToString::to_string).collect(),
        ..Chart::default()
    };
    let mut inside: BTreeMap<Client, usize> = BTreeMap::new();
    let moments = history.moments.iter();
    let shown = moments.filter(|moment| {
        let releases = matches!(moment.what, Happened::Hears(Event::Release(..)));
        releases || is_shown(&moment.what)
    });
    for (row, moment) in shown.enumerate() {
        chart.rows.push(milliseconds(moment.at));
        let [from, to] = path(&moment.what);
        let place = |site| Place {
            column: column(site),
            row,
        };
        let label = moment.what.to_string();
        match moment.what {
            Happened::Enters(client, _) => {
                inside.insert(client, row);
            }
            Happened::Exits(client)
            | Happened::IsStopped(client)
            | Happened::Stops(client, Stop::Crash) => {
                leave(&mut chart, &mut inside, client, row);
            }
            _ => {}
        }
        if from == to {
            let look = match moment.what {
                Happened::Stops(..) | Happened::GoesOn(_) => Look::Broken,
                Happened::Does(_) => Look::Strong,
                _ => Look::Plain,
            };
            chart.marks.push((place(to), label, look));
        } else {
            chart
                .arrows
                .push((place(from), place(to), label, Look::Plain));
        }
    }
    let end = chart.rows.len();
    for client in [Client::A, Client::B] {
        leave(&mut chart, &mut inside, client, end);
    }
    overlap(&mut chart);
    chart
}

/// A client is no longer inside.
fn leave(chart: &mut Chart, inside: &mut BTreeMap<Client, usize>, client: Client, row: usize) {
    if let Some(entered) = inside.remove(&client) {
        let column = column(Site::Client(client));
        chart.spans.push((column, [entered, row], Look::Strong));
    }
}

/// Marks where both are inside.
fn overlap(chart: &mut Chart) {
    let mut overlaps = Vec::new();
    for (one, rows, _) in &chart.spans {
        for (other, others, _) in &chart.spans {
            let (first, last) = (rows[0].max(others[0]), rows[1].min(others[1]));
            if one != other && first < last {
                overlaps.push((*one, [first, last], Look::Broken));
            }
        }
    }
    chart.spans.extend(overlaps);
}

/// All scenarios.
pub struct Shown {
    pub scenarios: Vec<BothWorlds>,
}

/// Runs all scenarios, with a lease of so many milliseconds.
pub fn show(lease: u64) -> Shown {
    let length = lease.saturating_mul(1000);
    let never: Start<'_> = &|| Box::new(NonPreemptive::default());
    let leased: Start<'_> = &|| Box::new(Lease::new(length));
    let forced: Start<'_> = &|| Box::new(ForcedStop::new(length));
    let lock = |says: &str| format!("Lease of {lease} ms, {says}");
    let setting = |job, fence| Setting {
        job,
        fence,
        survives: true,
    };
    let forgets = Setting {
        survives: false,
        ..setting(Job::Decide, Fence::Nothing)
    };
    let look = setting(Job::Look, Fence::Nothing);
    let decide = setting(Job::Decide, Fence::Nothing);
    let tell = setting(Job::TellOnce, Fence::ReadsAndWrites);
    let count = |fence| setting(Job::Count, fence);
    let scenarios = [
        scenario(
            "Lock that only its holder frees",
            never,
            look,
            &[Horn::Liveness],
        ),
        scenario(&lock("only looking"), leased, look, &[Horn::Safety]),
        scenario("Forced stop, only looking", forced, look, &[]),
        scenario(
            "Consensus from a lock that only its holder frees",
            never,
            decide,
            &[Horn::Liveness, Horn::Termination],
        ),
        scenario(
            &lock("consensus from it"),
            leased,
            decide,
            &[Horn::Safety, Horn::Agreement],
        ),
        scenario("Forced stop, consensus from it", forced, decide, &[]),
        Scenario {
            // A has decided.
            before: 2,
            ..scenario(
                "Forced stop, consensus from it, the memory forgets",
                forced,
                forgets,
                &[Horn::Agreement],
            )
        },
        scenario(
            &lock("a message outside, memory fenced"),
            leased,
            tell,
            &[Horn::Safety, Horn::Once],
        ),
        scenario(
            &lock("counting"),
            leased,
            count(Fence::Nothing),
            &[Horn::Safety, Horn::Updates],
        ),
        scenario(
            &lock("counting, writes fenced"),
            leased,
            count(Fence::Writes),
            &[Horn::Safety, Horn::Updates],
        ),
        scenario(
            &lock("counting, reads and writes fenced"),
            leased,
            count(Fence::ReadsAndWrites),
            &[Horn::Safety],
        ),
    ];
    Shown {
        scenarios: scenarios.iter().map(run_both).collect(),
    }
}

/// A stops before what follows its first request.
fn scenario<'a>(
    name: &str,
    service: Start<'a>,
    setting: Setting,
    stated: &'a [Horn],
) -> Scenario<'a> {
    Scenario {
        name: name.to_owned(),
        service,
        setting,
        before: 1,
        stated,
    }
}

impl Shown {
    /// What is not as stated.
    pub fn unexpected(&self) -> Vec<String> {
        self.scenarios
            .iter()
            .filter_map(BothWorlds::unexpected)
            .collect()
    }

    /// All of it, as text.
    pub fn text(&self) -> String {
        let texts: Vec<_> = self.scenarios.iter().map(BothWorlds::text).collect();
        texts.join("\n")
    }

    /// The lock that only its holder frees, both worlds of the lease, and the lease with fences, as a picture.
    pub fn svg(&self) -> String {
        let (crashes, stalls) = ("A crashes", "A stalls");
        let drawn = [(0, stalls), (1, crashes), (1, stalls), (10, stalls)];
        let charts = drawn.into_iter().filter_map(|(at, says)| {
            let both = self.scenarios.get(at)?;
            let history = if says == crashes {
                &both.crashed
            } else {
                &both.stalled
            };
            Some(both.chart(says, history))
        });
        chart::svg(&charts.collect::<Vec<_>>())
    }
}

#[cfg(test)]
mod tests;
