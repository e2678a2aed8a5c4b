//! Health, metrics, status, members, agreement and fault switches, over HTTP.
mod agreements;
mod door;
mod members;
mod memory;
mod server;

pub use agreements::Agreements;
pub use memory::Memory;
pub use server::{NO_TLS, serve};

use super::{Store, view::View};
use crate::{
    doors::{reload::Reload, tokens::AdminDoor, users::ClientDoor},
    trace::line::{self, Head},
};
use axum::{
    Json, Router,
    extract::{Extension, State, rejection::JsonRejection},
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use door::Trusted;
use quorate_core::{Counters, Membership, ProcessId};
use quorate_runtime::{
    Gauge, Gauges,
    faults::{Direction, Fault, Faults},
    recorder::Recorder,
};
use serde::Deserialize;
use serde_json::{Value, json};
use std::{fmt::Write, sync::Arc, time::Duration};
use tokio::time::timeout;
use tracing::warn;

/// How long the protocol thread may take to answer with the gauges of the peers.
const GAUGES: Duration = Duration::from_secs(1);

/// What the HTTP server shows and controls.
#[derive(Clone)]
pub struct Admin {
    /// What this process knows of the cluster.
    pub view: View,
    /// What serves the store.
    pub store: Store,
    /// The shared memory that the replicas offer beside the store.
    pub memory: Memory,
    /// What was counted.
    pub counters: Counters,
    /// The state of the exchange with each peer, read on demand.
    pub gauges: Gauges,
    /// What does not change while the node runs: the cluster's name, the incarnation, the transport.
    pub identity: Value,
    /// The fault switches, if the settings allow them.
    pub faults: Option<Faults>,
    /// The recorder of what the protocol does, if the settings ask for it.
    pub recorder: Option<Recorder>,
    /// The modules that agree: consensus and atomic commit.
    pub agreements: Agreements,
    /// `host:port` of p1 … pn.
    pub peers: Arc<[String]>,
    /// How long a request for agreement waits if it gives no timeout.
    pub deadline: Duration,
    /// The door for clients, and the one for operators.
    pub client_door: Arc<ClientDoor>,
    pub operator_door: Arc<AdminDoor>,
    /// What can be read anew while the node runs.
    pub reload: Reload,
    /// Whether the settings say `insecure = true`.
    pub insecure: bool,
    /// Π.
    pub membership: Membership,
    pub me: ProcessId,
}

/// The routes.
pub fn router(admin: Admin) -> Router {
    Router::new()
        .route("/livez", get(live))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/status", get(status))
        .route("/members", get(members::members))
        .route("/views", get(members::views))
        .route("/propose", post(agreements::propose))
        .route("/commit", post(agreements::commit))
        .route("/registers/read", post(memory::read))
        .route("/registers/write", post(memory::write))
        .route("/registers/snapshot", post(memory::snapshot))
        .route("/registers/join", post(memory::join))
        .route("/reload", post(reload))
        .route("/trace", get(trace))
        .route("/faults", get(faults).post(set_fault).delete(heal))
        .with_state(admin)
}

/// Whether all is well. Those who have not shown who they are get no reasons.
fn verdict(verdict: Result<(), String>, good: String, bad: &str, trusted: Trusted) -> Response {
    match verdict {
        Ok(()) => good.into_response(),
        Err(reason) => {
            let words = if trusted.0 { reason } else { bad.to_owned() };
            (StatusCode::SERVICE_UNAVAILABLE, words + "\n").into_response()
        }
    }
}

async fn live(State(admin): State<Admin>, Extension(trusted): Extension<Trusted>) -> Response {
    verdict(admin.view.live(), "alive\n".into(), "not alive", trusted)
}

async fn ready(State(admin): State<Admin>, Extension(trusted): Extension<Trusted>) -> Response {
    let how = if admin.insecure { " (insecure)" } else { "" };
    verdict(
        admin.view.ready(),
        format!("ready{how}\n"),
        "not ready",
        trusted,
    )
}

/// Reads the settings anew, as upon SIGHUP.
async fn reload(State(admin): State<Admin>) -> Response {
    match admin.reload.reload().await {
        Ok(reloaded) => {
            let (items, needs_restart) = (reloaded.items, reloaded.needs_restart);
            Json(json!({ "reloaded": items, "needs_restart": needs_restart })).into_response()
        }
        Err(error) => {
            let words = format!("nothing was read anew, all stays as it is: {error:#}\n");
            (StatusCode::UNPROCESSABLE_ENTITY, words).into_response()
        }
    }
}

async fn status(State(admin): State<Admin>) -> Json<Value> {
    let mut status = admin.status();
    for of in admin.gauges().await {
        let peers = status["peers"].as_array_mut().into_iter().flatten();
        let mut peers = peers.filter_map(Value::as_object_mut);
        if let Some(peer) = peers.find(|peer| peer["process"] == of.peer.rank()) {
            peer.insert("owed_bytes".to_owned(), of.owed.into());
            peer.insert("in_flight_bytes".to_owned(), of.in_flight.into());
            peer.insert("window_bytes".to_owned(), of.window.into());
            let round_trip = of.round_trip.map(|it| it.as_micros() as u64);
            peer.insert("round_trip_us".to_owned(), round_trip.into());
        }
    }
    Json(status)
}

impl Admin {
    /// All of `/status`.
    pub fn status(&self) -> Value {
        let mut status = self.view.to_json();
        let own = match &self.store {
            Store::Ordered(replica) => {
                let progress = replica.progress();
                json!({
                    "delivered": progress.delivered,
                    "hash": format!("{:016x}", progress.hash),
                    "applied": progress.applied,
                    "undecodable": progress.undecodable,
                    "keys": progress.keys,
                    "decisions": progress.decisions,
                    "in_flight": progress.in_flight,
                    "incoming_state": self.view.incoming(),
                })
            }
            Store::Registers(registers) => {
                let progress = registers.progress();
                json!({
                    "operations": progress.returned,
                    "keys": progress.known,
                    "in_flight": progress.in_flight,
                })
            }
        };
        let own_faults = json!({
            "faults": self.faults.as_ref().map(Faults::are_active),
            "insecure": self.insecure,
            "refused_passwords": self.client_door.refused.count(),
            "refused_tokens": self.operator_door.refused.count(),
        });
        for part in [&self.identity, &own, &own_faults] {
            if let (Some(status), Some(part)) = (status.as_object_mut(), part.as_object()) {
                status.extend(part.clone());
            }
        }
        status
    }

    /// The state of the exchange with each peer; empty if the protocol thread does not answer in time.
    async fn gauges(&self) -> Vec<Gauge> {
        let read = timeout(GAUGES, self.gauges.read()).await;
        read.ok().and_then(Result::ok).unwrap_or_default()
    }

    /// All of `/metrics`, in the text format of Prometheus.
    fn metrics(&self, gauges: &[Gauge]) -> String {
        let mut text = String::new();
        let ready = u64::from(self.view.ready().is_ok());
        let mut numbers = vec![
            ("ready", "gauge", "Whether this replica can serve.", ready),
            (
                "insecure",
                "gauge",
                "Whether the settings say that ports may stand open.",
                u64::from(self.insecure),
            ),
            (
                "refused_passwords_total",
                "counter",
                "Wrong passwords of clients.",
                self.client_door.refused.count(),
            ),
            (
                "refused_tokens_total",
                "counter",
                "Wrong tokens for HTTP.",
                self.operator_door.refused.count(),
            ),
        ];
        match &self.store {
            Store::Ordered(replica) => {
                let progress = replica.progress();
                let (keys, in_flight) = (progress.keys as u64, progress.in_flight as u64);
                let delivered = progress.delivered;
                numbers.extend([
                    (
                        "delivered_total",
                        "counter",
                        "Messages delivered.",
                        delivered,
                    ),
                    (
                        "applied_total",
                        "counter",
                        "Commands applied.",
                        progress.applied,
                    ),
                    ("keys", "gauge", "Keys in the store.", keys),
                    (
                        "in_flight",
                        "gauge",
                        "Own messages on their way through total order.",
                        in_flight,
                    ),
                ]);
            }
            Store::Registers(registers) => {
                let progress = registers.progress();
                let (keys, in_flight) = (progress.known as u64, progress.in_flight as u64);
                let returned = progress.returned;
                numbers.extend([
                    (
                        "operations_total",
                        "counter",
                        "Operations that have returned.",
                        returned,
                    ),
                    ("keys", "gauge", "Registers known here.", keys),
                    (
                        "in_flight",
                        "gauge",
                        "Registers with an operation in flight.",
                        in_flight,
                    ),
                ]);
            }
        }
        for (name, kind, help, value) in numbers {
            let _ = writeln!(
                text,
                "# HELP quorate_{name} {help}\n# TYPE quorate_{name} {kind}\nquorate_{name} {value}"
            );
        }
        let consistency = self.identity["consistency"].as_str().unwrap_or_default();
        let _ = writeln!(
            text,
            "# HELP quorate_consistency What serves the store.\n# TYPE quorate_consistency gauge\n\
             quorate_consistency{{consistency=\"{consistency}\"}} 1"
        );
        peers(gauges, &mut text);
        text.push_str(
            "# HELP quorate_events_total What the modules of the protocol counted.\n\
             # TYPE quorate_events_total counter\n",
        );
        for (module, reason, count) in self.counters.snapshot() {
            let _ = writeln!(
                text,
                "quorate_events_total{{module=\"{module}\",event=\"{reason}\"}} {count}"
            );
        }
        text
    }
}

async fn metrics(State(admin): State<Admin>) -> Response {
    let kind = [(CONTENT_TYPE, "text/plain; version=0.0.4")];
    let gauges = admin.gauges().await;
    (kind, admin.metrics(&gauges)).into_response()
}

/// A metric of each peer, for the text format of Prometheus: its name, its help text, its value.
type OfPeer = (&'static str, &'static str, fn(&Gauge) -> Option<f64>);

const OF_PEERS: &[OfPeer] = &[
    (
        "owed_bytes",
        "Sent to the peer and not acknowledged, or waiting to be sent.",
        |of| Some(of.owed as f64),
    ),
    ("in_flight_bytes", "In flight to the peer.", |of| {
        Some(of.in_flight as f64)
    }),
    (
        "window_bytes",
        "How many bytes may be in flight to the peer at once.",
        |of| Some(of.window as f64),
    ),
    (
        "round_trip_seconds",
        "From a message to its acknowledgement, smoothed.",
        |of| of.round_trip.map(|it| it.as_secs_f64()),
    ),
];

fn peers(gauges: &[Gauge], text: &mut String) {
    for (name, help, value) in OF_PEERS {
        let _ = writeln!(
            text,
            "# HELP quorate_peer_{name} {help}\n# TYPE quorate_peer_{name} gauge"
        );
        for of in gauges {
            if let Some(value) = value(of) {
                let peer = of.peer;
                let _ = writeln!(text, "quorate_peer_{name}{{peer=\"{peer}\"}} {value}");
            }
        }
    }
}

/// Answers with the recorded trace, as lines of JSON.
async fn trace(State(admin): State<Admin>) -> Response {
    let Some(recorder) = &admin.recorder else {
        let words = "nothing is recorded: start the node with `trace_records = N`\n";
        return (StatusCode::FORBIDDEN, words).into_response();
    };
    let recording = recorder.recording();
    let text = |key: &str| admin.identity[key].as_str().unwrap_or_default().to_owned();
    let head = Head {
        process: admin.me.rank(),
        processes: admin.membership.n(),
        cluster: text("cluster"),
        incarnation: text("incarnation"),
        forgotten: recording.forgotten,
    };
    match line::write(&head, &recording) {
        Ok(lines) => ([(CONTENT_TYPE, "application/x-ndjson")], lines).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

/// A fault to switch on between this process and a peer. If all its numbers are 0, the fault is switched off.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Order {
    peer: usize,
    #[serde(default)]
    direction: Directions,
    #[serde(default)]
    cut: bool,
    #[serde(default)]
    loss: f64,
    #[serde(default)]
    duplicate: f64,
    #[serde(default)]
    delay_ms: u64,
    #[serde(default)]
    jitter_ms: u64,
    /// The throttle, in bytes a second.
    #[serde(default)]
    rate: u64,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "lowercase")]
enum Directions {
    #[default]
    Both,
    Outgoing,
    Incoming,
}

fn forbidden() -> Response {
    let words = "fault injection is off: start the node with `faults = true`\n";
    (StatusCode::FORBIDDEN, words).into_response()
}

async fn faults(State(admin): State<Admin>) -> Response {
    match &admin.faults {
        Some(faults) => Json(json!({ "active": faults.are_active() })).into_response(),
        None => forbidden(),
    }
}

async fn heal(State(admin): State<Admin>) -> Response {
    let Some(faults) = &admin.faults else {
        return forbidden();
    };
    warn!("all injected faults are off");
    faults.heal();
    "healed\n".into_response()
}

/// Accepts JSON only if the content type says so, too: a web page cannot send that here without a preflight
/// request.
async fn set_fault(
    State(admin): State<Admin>,
    order: Result<Json<Order>, JsonRejection>,
) -> Response {
    let Some(faults) = &admin.faults else {
        return forbidden();
    };
    let bad = |words: String| (StatusCode::BAD_REQUEST, words + "\n").into_response();
    let order = match order {
        Ok(Json(order)) => order,
        Err(rejection) => return bad(rejection.body_text()),
    };
    let peer = ProcessId::from_rank(order.peer)
        .filter(|peer| admin.membership.contains(*peer) && *peer != admin.me);
    let Some(peer) = peer else {
        return bad(format!("{} is no other process of the cluster", order.peer));
    };
    let probability = 0.0..=1.0;
    if !probability.contains(&order.loss) || !probability.contains(&order.duplicate) {
        return bad("a probability is between 0 and 1".into());
    }
    let fault = Fault {
        cut: order.cut,
        loss: order.loss,
        duplicate: order.duplicate,
        delay: Duration::from_millis(order.delay_ms),
        jitter: Duration::from_millis(order.jitter_ms),
        rate: order.rate,
    };
    warn!(%peer, ?fault, "injected");
    if !matches!(order.direction, Directions::Incoming) {
        faults.set(peer, Direction::Outgoing, fault);
    }
    if !matches!(order.direction, Directions::Outgoing) {
        faults.set(peer, Direction::Incoming, fault);
    }
    "injected\n".into_response()
}
