//! `quorate bench`: what the layers cost on this machine.
use anyhow::Result;
use clap::{Args, Subcommand, ValueEnum};
use quorate_bench::{
    cluster::{Network, Transport},
    link,
    strangers::Strangers,
    suite, total_order,
};
use quorate_broadcast::by_leader;
use quorate_stacks::broadcasts::{Broadcast, TOTAL_ORDER};
use std::time::Duration;

/// Measures what the layers cost on this machine.
#[derive(Args, Debug)]
pub struct Bench {
    #[command(subcommand)]
    what: Benchmark,
}

#[derive(Subcommand, Debug)]
enum Benchmark {
    /// Runs everything, interleaved, and prints a table of ratios to the raw socket.
    Suite(Suite),
    /// Sends messages over the perfect link, and prints how many a second arrive.
    Link(Link),
    /// Runs a closed loop through total order, and prints one line of JSON.
    TotalOrder(TotalOrder),
}

#[derive(Args, Debug)]
struct Link {
    /// Bytes a message.
    #[arg(long, default_value_t = 64)]
    payload: usize,
    /// How long it is measured.
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 800)]
    measure_ms: u64,
    /// Sends one message to and fro, and prints the median time in microseconds.
    #[arg(long)]
    round_trip: bool,
    /// What the processes talk.
    #[arg(long, value_enum, default_value_t = EdgeKind::Udp)]
    transport: EdgeKind,
    /// The length of a datagram [default: what suits loopback].
    #[arg(long, value_name = "BYTES")]
    datagram: Option<usize>,
    /// With sealed links.
    #[arg(long)]
    sealed: bool,
}

#[derive(Args, Debug)]
struct Suite {
    /// How often each case runs.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// How long each case is measured.
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 800)]
    measure_ms: u64,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum EdgeKind {
    /// Datagrams.
    Udp,
    /// Connections.
    Tcp,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Whither {
    /// To a port at which nobody listens: what sending alone costs.
    ClosedPort,
    /// To the nodes.
    Nodes,
}

impl From<Whither> for Strangers {
    fn from(whither: Whither) -> Self {
        match whither {
            Whither::ClosedPort => Strangers::AtAClosedPort,
            Whither::Nodes => Strangers::AtTheNodes,
        }
    }
}

#[derive(Args, Debug)]
struct TotalOrder {
    /// How many processes run, all in this operating-system process.
    #[arg(long, default_value_t = 3)]
    n: usize,
    /// Bytes a message.
    #[arg(long, default_value_t = 64)]
    payload: usize,
    /// Messages in flight.
    #[arg(long, default_value_t = 1024)]
    window: usize,
    /// How long it runs before it is measured.
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 500)]
    warm_ms: u64,
    /// How long it is measured.
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 1500)]
    measure_ms: u64,
    /// Batches and consensus instances in flight; 0: the default.
    #[arg(long, default_value_t = 0)]
    tune: u64,
    /// What the processes talk.
    #[arg(long, value_enum, default_value_t = EdgeKind::Udp)]
    transport: EdgeKind,
    /// The length of a datagram [default: what suits loopback].
    #[arg(long, value_name = "BYTES")]
    datagram: Option<usize>,
    /// With sealed links.
    #[arg(long)]
    sealed: bool,
    /// Strangers begin handshakes meanwhile, as many as one processor can send [needs --sealed].
    #[arg(long, value_enum, requires = "sealed")]
    strangers: Option<Whither>,
    /// Bytes after which a batch is full [default: that of total order].
    #[arg(long, value_name = "BYTES")]
    batch_bytes: Option<usize>,
    /// What orders: by-leader, or by-consensus.
    #[arg(long, value_name = "NAME", default_value = TOTAL_ORDER.name())]
    algorithm: String,
    /// Prints what every process counted to standard error.
    #[arg(long)]
    counts: bool,
}

impl Bench {
    /// Runs it.
    pub fn run(self) -> Result<()> {
        match self.what {
            Benchmark::Suite(Suite { rounds, measure_ms }) => {
                print!("{}", suite::run(rounds, Duration::from_millis(measure_ms)));
                Ok(())
            }
            Benchmark::Link(arguments) => arguments.run(),
            Benchmark::TotalOrder(arguments) => arguments.run(),
        }
    }
}

impl From<EdgeKind> for Transport {
    fn from(kind: EdgeKind) -> Self {
        match kind {
            EdgeKind::Udp => Transport::Udp,
            EdgeKind::Tcp => Transport::Tcp,
        }
    }
}

impl Link {
    fn run(self) -> Result<()> {
        let network = Network {
            transport: self.transport.into(),
            datagram: self.datagram,
            sealed: self.sealed,
        };
        let time = Duration::from_millis(self.measure_ms);
        let figure = if self.round_trip {
            link::round_trip(network, time, self.payload)?
        } else {
            link::one_way(network, time, self.payload)?
        };
        println!("{figure:.1}");
        Ok(())
    }
}

impl TotalOrder {
    fn run(self) -> Result<()> {
        let mut settings = by_leader::OrderSettings::default();
        if self.tune > 0 {
            settings.instances = self.tune;
            settings.batches = self.tune;
        }
        if let Some(bytes) = self.batch_bytes {
            settings.batch_bytes = bytes;
        }
        let outcome = total_order::run(total_order::Run {
            n: self.n,
            payload: self.payload,
            window: self.window,
            warm: Duration::from_millis(self.warm_ms),
            measure: Duration::from_millis(self.measure_ms),
            network: Network {
                transport: self.transport.into(),
                datagram: self.datagram,
                sealed: self.sealed,
            },
            algorithm: self.algorithm.parse::<Broadcast>()?,
            settings,
            strangers: self.strangers.map(Into::into),
            counts: self.counts,
        })?;
        println!("{}", serde_json::to_string(&outcome)?);
        Ok(())
    }
}
