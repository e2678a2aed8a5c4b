//! `quorate status` prints what replicas report of themselves; `quorate faults` sets their fault switches.
use crate::{credentials::ForOperators, http};
use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::{fmt::Write, net::SocketAddr};

/// Where `quorate node` serves HTTP by default.
pub const ADMIN: &str = "127.0.0.1:8379";

/// Asks replicas for their state.
#[derive(Args, Debug)]
pub struct Status {
    /// A replica's admin address; may be repeated.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = ADMIN, env = "QUORATE_ADMIN")]
    admin: Vec<SocketAddr>,
    #[command(flatten)]
    door: ForOperators,
    /// Print nothing; exit with 0 if every replica is ready to serve, with 1 if not.
    #[arg(long)]
    check: bool,
    /// Print all that the replicas say, one JSON object a line.
    #[arg(long, conflicts_with = "check")]
    json: bool,
}

impl Status {
    /// Prints one line for each replica. Returns an error if one does not answer, or is not ready under
    /// `--check`.
    pub fn run(self) -> Result<()> {
        let mut failures = Vec::new();
        for admin in self.admin.iter().map(|address| reachable(*address)) {
            let server = self.door.server(admin)?;
            if self.check {
                let (code, body) = http::ask(server, "GET", "/readyz", "")?;
                if code != 200 {
                    bail!("{admin} is not ready: {}", body.trim());
                }
                continue;
            }
            match http::get_json(server, "/status") {
                Ok(status) if self.json => println!("{status}"),
                Ok(status) => println!("{admin:<21} {}", line(&status)),
                Err(error) => {
                    println!("{admin:<21} unreachable");
                    failures.push(error);
                }
            }
        }
        match failures.into_iter().next() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }
}

/// Replaces an unspecified address, at which a server listens everywhere, by loopback.
pub fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

fn line(status: &Value) -> String {
    let text = |key: &str| match &status[key] {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let mut line = format!(
        "p{} {:<8} leader p{} ",
        text("process"),
        text("role"),
        text("leader")
    );
    let _ = if status["consistency"] == "register" {
        write!(line, "registers: operations {}", text("operations"))
    } else {
        write!(
            line,
            "delivered {} hash {}",
            text("delivered"),
            text("hash")
        )
    };
    let _ = write!(line, " keys {}", text("keys"));
    if let Some(suspected) = status["suspected"].as_array().filter(|set| !set.is_empty()) {
        let ranks: Vec<String> = suspected.iter().map(|rank| format!("p{rank}")).collect();
        let _ = write!(line, " suspects {}", ranks.join(" "));
    }
    if let Some(reason) = status["not_ready"].as_str() {
        let _ = write!(line, " NOT READY: {reason}");
    }
    let refusals = status["peers"].as_array().into_iter().flatten();
    for (peer, reason) in refusals.filter_map(|p| Some((&p["process"], p["refused"].as_str()?))) {
        let _ = write!(line, " p{peer} refused: {reason}");
    }
    line
}

/// Disturbs a replica's network (where its settings say `faults = true`).
#[derive(Args, Debug)]
pub struct FaultSwitches {
    /// The replica's admin address.
    #[arg(
        long,
        global = true,
        value_name = "ADDRESS:PORT",
        default_value = ADMIN,
        env = "QUORATE_ADMIN"
    )]
    admin: SocketAddr,
    #[command(flatten)]
    door: ForOperators,
    #[command(subcommand)]
    order: Order,
}

#[derive(Subcommand, Debug)]
enum Order {
    /// Cuts the replica off from a peer.
    Cut {
        /// The peer.
        peer: usize,
        /// Only what the replica sends: it still hears the peer.
        #[arg(long)]
        one_way: bool,
    },
    /// Loses, duplicates, delays or throttles datagrams between the replica and a peer.
    Disturb {
        /// The peer.
        peer: usize,
        /// The probability of loss.
        #[arg(long, default_value_t = 0.0)]
        loss: f64,
        /// The probability of duplication.
        #[arg(long, default_value_t = 0.0)]
        duplicate: f64,
        /// The delay, in milliseconds.
        #[arg(long, default_value_t = 0)]
        delay_ms: u64,
        /// The most that is added to the delay, in milliseconds.
        #[arg(long, default_value_t = 0)]
        jitter_ms: u64,
        /// How many bytes a second pass in each direction [default: as many as come].
        #[arg(long, default_value_t = 0, hide_default_value = true)]
        rate: u64,
    },
    /// Switches every fault off.
    Heal,
}

impl FaultSwitches {
    /// Sends the request to the replica.
    pub fn run(self) -> Result<()> {
        let (method, body) = match self.order {
            Order::Cut { peer, one_way } => {
                let direction = if one_way { "outgoing" } else { "both" };
                let body = json!({ "peer": peer, "direction": direction, "cut": true });
                ("POST", body.to_string())
            }
            Order::Disturb {
                peer,
                loss,
                duplicate,
                delay_ms,
                jitter_ms,
                rate,
            } => {
                let body = json!({ "peer": peer, "loss": loss, "duplicate": duplicate,
                                   "delay_ms": delay_ms, "jitter_ms": jitter_ms, "rate": rate });
                ("POST", body.to_string())
            }
            Order::Heal => ("DELETE", String::new()),
        };
        let admin = reachable(self.admin);
        let server = self.door.server(admin)?;
        let (code, answer) = http::ask(server, method, "/faults", &body)?;
        if code != 200 {
            bail!("{admin} answered {code}: {}", answer.trim());
        }
        println!("{}", answer.trim());
        Ok(())
    }
}

/// Makes a replica read its users, tokens and certificates anew, as SIGHUP does.
#[derive(Args, Debug)]
pub struct Reload {
    /// The replica's admin address.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = ADMIN, env = "QUORATE_ADMIN")]
    admin: SocketAddr,
    #[command(flatten)]
    door: ForOperators,
}

impl Reload {
    /// Prints what was read. Returns an error, in the replica's words, if nothing was.
    pub fn run(self) -> Result<()> {
        let admin = reachable(self.admin);
        let (code, answer) = http::ask(self.door.server(admin)?, "POST", "/reload", "")?;
        if code != 200 {
            bail!("{admin} answered {code}: {}", answer.trim());
        }
        println!("{}", answer.trim());
        Ok(())
    }
}
