//! Links.
use super::{Properties, violation};
use crate::{
    property::{Completion, Property, Verdict, Violation, Watch},
    trace::{Kind, Loss, Record},
};
use quorate_core::ProcessId;
use std::collections::{BTreeMap, VecDeque};

/// The place where a link is watched.
#[derive(Clone, Debug)]
pub enum Channel {
    /// The messages that the network carries in the lane of this name. They are told apart by their send.
    Lane(String),
    /// The requests `Send` and the indications `Deliver` of the modules of this name. Messages are told apart
    /// by content, and counted. A request without a peer goes to every process or, where PL1 is not checked,
    /// to some.
    Module(String),
}

impl Channel {
    fn tap(&self) -> Tap {
        match self {
            Channel::Lane(name) => Tap::Lane(name.clone()),
            Channel::Module(name) => Tap::Module(Watch::new(name)),
        }
    }
}

enum Tap {
    Lane(String),
    Module(Watch),
}

/// The sender, the receiver, and the message.
type Passage = (ProcessId, ProcessId, u64);

/// The same, where `None` as the receiver means every process.
type Sending = (ProcessId, Option<ProcessId>, u64);

impl Tap {
    fn sent(&mut self, record: &Record) -> Option<Sending> {
        match (self, &record.kind) {
            (Tap::Lane(name), Kind::Send { message, to, .. }) => {
                (record.name.as_str() == name).then_some((record.process, Some(*to), *message))
            }
            (Tap::Lane(_), _) => None,
            (Tap::Module(watch), _) => {
                let (from, observation) = watch.request(record, "Send")?;
                Some((from, observation.peer, observation.digest))
            }
        }
    }

    fn delivered(&mut self, record: &Record) -> Option<Passage> {
        match (self, &record.kind) {
            (Tap::Lane(name), Kind::Receive { message, from, .. }) => {
                (record.name.as_str() == name).then_some((*from, record.process, *message))
            }
            (Tap::Lane(_), _) => None,
            (Tap::Module(watch), _) => {
                let (to, observation) = watch.indication(record, "Deliver")?;
                Some((observation.peer?, to, observation.digest))
            }
        }
    }
}

/// PL1–3 of a channel.
pub fn perfect_links(channel: &Channel) -> Properties {
    [Which::Reliable, Which::NoDuplication, Which::NoCreation]
        .map(|which| counting(which, channel.tap()))
        .into()
}

/// AL1–3 of a channel. All processes must be correct, or crash: nothing that a liar sends or is sent may be recorded.
pub fn authenticated_links(channel: &Channel) -> Properties {
    [
        Which::AuthenticReliable,
        Which::AuthenticNoDuplication,
        Which::Authenticity,
    ]
    .map(|which| counting(which, channel.tap()))
    .into()
}

/// SL1–2 of a channel, if messages are cancelled only long after they were sent: until then each has arrived
/// at least `copies` times.
pub fn stubborn_links(channel: &Channel, copies: u64) -> Properties {
    [Which::Stubborn(copies), Which::StubbornNoCreation]
        .map(|which| counting(which, channel.tap()))
        .into()
}

/// First-in first-out order of a channel between each two processes, under the tag `FIFO`: a stated
/// extra of some links, on which no algorithm may rely. No two messages may have the same content.
pub fn first_in_first_out(channel: &Channel) -> Box<dyn Property> {
    Box::new(Queue {
        tap: channel.tap(),
        waiting: BTreeMap::new(),
    })
}

/// FLL1–3 of the fair-loss links: at most `losses` copies in a row are lost between two processes, and
/// each arrives at most `arrivals` times.
pub fn fair_loss(losses: u32, arrivals: u32) -> Properties {
    let lane = || Tap::Lane("fair-loss".to_owned());
    vec![
        Box::new(FairLoss {
            bound: losses,
            rows: BTreeMap::new(),
        }),
        counting(Which::FiniteDuplication(u64::from(arrivals)), lane()),
        counting(Which::FairNoCreation, lane()),
    ]
}

/// FLL1–3 of a channel, as far as a finite run can show them: of `copies` copies of a message between correct
/// processes, sent over a time that is longer than any cut, at least one arrives; and a copy arrives at most `arrivals`
/// times.
pub fn fair_loss_links(channel: &Channel, copies: u64, arrivals: u32) -> Properties {
    [
        Which::FairLoss(copies),
        Which::FiniteDuplication(u64::from(arrivals)),
        Which::FairNoCreation,
    ]
    .map(|which| counting(which, channel.tap()))
    .into()
}

fn counting(which: Which, tap: Tap) -> Box<dyn Property> {
    Box::new(Counting {
        which,
        tap,
        sent: BTreeMap::new(),
        delivered: BTreeMap::new(),
    })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Which {
    Reliable,
    NoDuplication,
    NoCreation,
    FairLoss(u64),
    FiniteDuplication(u64),
    FairNoCreation,
    Stubborn(u64),
    StubbornNoCreation,
    AuthenticReliable,
    AuthenticNoDuplication,
    Authenticity,
}

/// Counts, for each message, how often it was sent and delivered. The memory grows with the number of
/// different messages.
struct Counting {
    which: Which,
    tap: Tap,
    sent: BTreeMap<Sending, u64>,
    delivered: BTreeMap<Passage, u64>,
}

impl Counting {
    fn sent(&self, (from, to, message): Passage) -> u64 {
        let times = |to| self.sent.get(&(from, to, message)).copied().unwrap_or(0);
        times(Some(to)) + times(None)
    }

    fn delivered(&self, passage: Passage) -> u64 {
        self.delivered.get(&passage).copied().unwrap_or(0)
    }
}

impl Property for Counting {
    fn tag(&self) -> &'static str {
        match self.which {
            Which::Reliable => "PL1",
            Which::NoDuplication => "PL2",
            Which::NoCreation => "PL3",
            Which::FairLoss(_) => "FLL1",
            Which::FiniteDuplication(_) => "FLL2",
            Which::FairNoCreation => "FLL3",
            Which::Stubborn(_) => "SL1",
            Which::StubbornNoCreation => "SL2",
            Which::AuthenticReliable => "AL1",
            Which::AuthenticNoDuplication => "AL2",
            Which::Authenticity => "AL3",
        }
    }

    fn observe(&mut self, record: &Record) -> Result<(), Violation> {
        if let Some(sending) = self.tap.sent(record) {
            *self.sent.entry(sending).or_default() += 1;
        }
        let Some(passage) = self.tap.delivered(record) else {
            return Ok(());
        };
        *self.delivered.entry(passage).or_default() += 1;
        let (sent, delivered) = (self.sent(passage), self.delivered(passage));
        let broken = match self.which {
            Which::Reliable
            | Which::AuthenticReliable
            | Which::Stubborn(_)
            | Which::FairLoss(_) => false,
            Which::NoDuplication | Which::AuthenticNoDuplication => sent > 0 && delivered > sent,
            Which::FiniteDuplication(bound) => sent > 0 && delivered > sent * bound,
            Which::NoCreation
            | Which::FairNoCreation
            | Which::StubbornNoCreation
            | Which::Authenticity => sent == 0,
        };
        if broken {
            let (from, to, _) = passage;
            let text = format!("{to} delivers {delivered} times what {from} sent {sent} times");
            return Err(violation(self.tag(), record, text));
        }
        Ok(())
    }

    fn finish(&mut self, completion: &Completion) -> Verdict {
        // How many must have arrived of how many copies.
        let (arrived, copies) = match self.which {
            Which::Reliable | Which::AuthenticReliable => (1, 1),
            Which::Stubborn(arrived) => (arrived, 1),
            Which::FairLoss(copies) => (1, copies.max(1)),
            Which::NoDuplication
            | Which::NoCreation
            | Which::FiniteDuplication(_)
            | Which::FairNoCreation
            | Which::StubbornNoCreation
            | Which::AuthenticNoDuplication
            | Which::Authenticity => return Verdict::Holds,
        };
        let correct = completion.correct;
        let missing = |(from, to, message): Sending| {
            let mut receivers = correct.iter().filter(|q| to.is_none_or(|to| to == *q));
            let lost = receivers.find(|q| {
                let passage = (from, *q, message);
                self.delivered(passage) < self.sent(passage) / copies * arrived
            });
            lost.filter(|_| correct.contains(from))
        };
        let mut sendings = self.sent.keys();
        let broken = sendings.find_map(|sending| Some((sending.0, missing(*sending)?)));
        let broken = broken.map(|(from, to)| format!("{to} does not deliver what {from} sent"));
        completion.judge(self.tag(), broken)
    }
}

struct Queue {
    tap: Tap,
    waiting: BTreeMap<(ProcessId, ProcessId), VecDeque<u64>>,
}

impl Property for Queue {
    fn tag(&self) -> &'static str {
        "FIFO"
    }

    fn observe(&mut self, record: &Record) -> Result<(), Violation> {
        if let Some((from, Some(to), message)) = self.tap.sent(record) {
            let waiting = self.waiting.entry((from, to)).or_default();
            waiting.push_back(message);
        }
        if let Some((from, to, message)) = self.tap.delivered(record) {
            let waiting = self.waiting.entry((from, to)).or_default();
            if waiting.front() != Some(&message) {
                let text = format!("{to} delivers from {from} out of turn");
                return Err(violation("FIFO", record, text));
            }
            waiting.pop_front();
        }
        Ok(())
    }

    fn finish(&mut self, _: &Completion) -> Verdict {
        Verdict::Holds
    }
}

/// Fair loss, as far as a finite run can show it: no long series of losses.
struct FairLoss {
    bound: u32,
    /// For each pair, how many copies in a row were lost, and whether the last one was.
    rows: BTreeMap<(ProcessId, ProcessId), (u32, bool)>,
}

impl Property for FairLoss {
    fn tag(&self) -> &'static str {
        "FLL1"
    }

    fn observe(&mut self, record: &Record) -> Result<(), Violation> {
        match record.kind {
            Kind::Send { to, .. } if record.name.as_str() == "fair-loss" => {
                let (row, last_lost) = self.rows.entry((record.process, to)).or_default();
                if !std::mem::take(last_lost) {
                    *row = 0;
                }
            }
            Kind::Drop {
                to,
                loss: Loss::Chance,
                ..
            } => {
                let (row, last_lost) = self.rows.entry((record.process, to)).or_default();
                (*row, *last_lost) = (*row + 1, true);
                if *row > self.bound {
                    let text = format!("{row} copies in a row to {to} are lost");
                    return Err(violation("FLL1", record, text));
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn finish(&mut self, _: &Completion) -> Verdict {
        Verdict::Holds
    }
}
