//! A trace as lines of JSON: a head, and then one line for each record.
use quorate_core::{MessageId, Observation, ProcessId, observe::Role};
use quorate_runtime::recorder::{EventKind, Recorded, Recording};
use serde::{Deserialize, Serialize};

/// The process and the start whose trace it is.
#[derive(Clone, Serialize, Deserialize, Debug)]
pub struct Head {
    /// The process's rank.
    pub process: usize,
    /// The number of processes of the cluster, n.
    pub processes: usize,
    /// The cluster's name.
    pub cluster: String,
    /// The incarnation: which start of the process recorded this.
    pub incarnation: String,
    /// How many records were dropped before the first one here.
    pub forgotten: u64,
}

/// One record.
#[derive(Clone, Serialize, Deserialize, Debug)]
pub struct Line {
    /// Nanoseconds since the Unix epoch.
    pub at: u64,
    /// The module, or the lane.
    pub name: String,
    /// What happened.
    #[serde(flatten)]
    pub what: LineKind,
}

/// What happened.
#[derive(Clone, Serialize, Deserialize, Debug)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum LineKind {
    /// A module handled an event.
    Event(Seen),
    /// A module triggered an effect.
    Effect(Seen),
    /// A copy left.
    Send {
        /// The receiver's rank.
        to: usize,
        /// Its sequence number among those for it in this lane.
        number: u64,
        /// The label of what caused it.
        label: String,
        /// A digest of the payload.
        digest: u64,
    },
    /// A copy arrived.
    Receive {
        /// The sender's rank.
        from: usize,
        /// Its sequence number among those from it in this lane.
        number: u64,
        /// A digest of the payload.
        digest: u64,
    },
}

/// Where an observation stands, seen from its module.
#[derive(Clone, Copy, Serialize, Deserialize, Debug)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// A request, which comes from the layer above.
    Request,
    /// An indication, which goes to the layer above.
    Indication,
    /// Anything else.
    Internal,
}

/// An observation.
#[derive(Clone, Serialize, Deserialize, Debug)]
pub struct Seen {
    /// Where an observation stands, seen from its module.
    pub role: Side,
    pub label: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<MessageId>,
    /// How many messages.
    pub count: u64,
    /// The other process's rank.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<usize>,
    /// A digest of the content.
    pub digest: u64,
}

impl From<&Observation> for Seen {
    fn from(observation: &Observation) -> Self {
        Seen {
            role: match observation.role {
                Role::Request => Side::Request,
                Role::Indication => Side::Indication,
                Role::Internal => Side::Internal,
            },
            label: observation.label.to_owned(),
            instance: observation.instance,
            message: observation.message,
            count: observation.count,
            peer: observation.peer.map(ProcessId::rank),
            digest: observation.digest,
        }
    }
}

impl From<&Recorded> for Line {
    fn from(recorded: &Recorded) -> Self {
        Line {
            at: u64::try_from(recorded.at.as_nanos()).unwrap_or(u64::MAX),
            name: recorded.name.as_str().to_owned(),
            what: match recorded.what {
                EventKind::Event(observation) => LineKind::Event(Seen::from(&observation)),
                EventKind::Effect(observation) => LineKind::Effect(Seen::from(&observation)),
                EventKind::Send {
                    to,
                    number,
                    label,
                    digest,
                } => LineKind::Send {
                    to: to.rank(),
                    number,
                    label: label.to_owned(),
                    digest,
                },
                EventKind::Receive {
                    from,
                    number,
                    digest,
                } => LineKind::Receive {
                    from: from.rank(),
                    number,
                    digest,
                },
            },
        }
    }
}

/// Writes the whole answer of `GET /trace`.
pub fn write(head: &Head, recording: &Recording) -> serde_json::Result<String> {
    let mut text = serde_json::to_string(head)?;
    for record in &recording.records {
        text.push('\n');
        text += &serde_json::to_string(&Line::from(record))?;
    }
    text.push('\n');
    Ok(text)
}

/// Reads what `write` has written.
pub fn read(text: &str) -> serde_json::Result<(Head, Vec<Line>)> {
    let mut lines = text.lines();
    let head = serde_json::from_str(lines.next().unwrap_or_default())?;
    let lines = lines.map(serde_json::from_str).collect::<Result<_, _>>()?;
    Ok((head, lines))
}
