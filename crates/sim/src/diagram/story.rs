//! The story of a trace, ready to be drawn: points on the lines of processes, arrows between them, and the
//! reason of each indication.
use super::choice::{Choice, is_within};
use crate::trace::{Kind, Loss, Record, Trace};
use quorate_core::{MessageId, Name, Observation, ProcessId, ProcessSet, Time, observe::Role};
use std::collections::{BTreeMap, VecDeque};

/// The meaning of a point on a line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Mark {
    /// Only copies leave or arrive.
    Dot,
    /// A request of the application.
    Request,
    /// An indication to the application.
    Indication,
    /// A detector suspects a process, or knows that it has crashed.
    Suspicion,
    /// A detector restores a process, or names the leader that it trusts.
    Trust,
    Crash,
    Pause,
    Resume,
    Cut,
}

/// Why an indication was given.
#[derive(Clone, Debug, Default)]
pub(super) struct Reason {
    /// The number of the arrow whose copy's handling led to the indication.
    pub(super) upon: Option<usize>,
    /// The processes from which this process had heard of the message by then, itself included once it had
    /// passed the message on or had its own copy.
    pub(super) heard: ProcessSet,
}

/// A place on the line of a process.
#[derive(Clone, Debug)]
pub(super) struct Point {
    pub(super) process: usize,
    pub(super) time: Time,
    pub(super) mark: Mark,
    pub(super) text: String,
    /// The path of the module.
    pub(super) module: Name,
    pub(super) reason: Option<Reason>,
    /// The point of another process that must come before this one.
    pub(super) after: Option<usize>,
}

/// The end of an arrow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum End {
    Arrives(usize),
    Lost(Loss),
    /// Neither: the receiver has crashed, or the trace ends before.
    Never,
}

/// The path of a copy.
#[derive(Clone, Debug)]
pub(super) struct Arrow {
    pub(super) message: u64,
    pub(super) lane: Name,
    pub(super) text: String,
    pub(super) about: Option<MessageId>,
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) end: End,
    /// From how many processes the receiver has heard of the message once this copy is handled.
    pub(super) heard: Option<usize>,
    /// Whether an indication depends on it.
    pub(super) counts: bool,
    /// Whether that indication's process had heard of the message by this copy.
    pub(super) counted: bool,
}

/// The story of a trace.
pub(super) struct Story {
    pub(super) n: usize,
    pub(super) points: Vec<Point>,
    pub(super) arrows: Vec<Arrow>,
    /// How many records were left out at the end.
    pub(super) left_out: usize,
}

/// What is known of a process while the records are read.
#[derive(Clone, Default)]
struct Reading {
    /// The point from which copies leave at this moment.
    leaving: Option<usize>,
    /// The point from which the last record's copy left.
    fan: Option<usize>,
    /// The last effect, which caused the copies that leave now.
    leaves: Option<Observation>,
    /// Copies that have arrived and were not handled yet.
    arrived: BTreeMap<(ProcessId, &'static str), VecDeque<usize>>,
    /// For each module, the copy of another process that led to its present activity.
    causes: BTreeMap<Name, Option<usize>>,
    /// Indications of lower modules that were not handled above yet, and the copies that led to them.
    told: BTreeMap<&'static str, VecDeque<(Name, Option<usize>)>>,
    /// For each module and message, the copy that led to the module's first event about the message.
    first: BTreeMap<(Name, MessageId), Option<usize>>,
    /// For each module and message (every module numbers its own), the processes from which it was heard of,
    /// and the copies.
    heard: BTreeMap<(Name, MessageId), (ProcessSet, Vec<usize>)>,
}

impl Reading {
    fn cause_of(&self, module: &Name) -> Option<usize> {
        self.causes.get(module).copied().flatten()
    }

    /// A request of a module's user has the same cause as the user's present activity.
    fn upon_request(&mut self, module: &Name) {
        let above = self
            .causes
            .iter()
            .filter(|(name, _)| is_within(module, name));
        let nearest = above.max_by_key(|(name, _)| name.as_str().len());
        let cause = nearest.and_then(|(_, cause)| *cause);
        self.causes.insert(module.clone(), cause);
    }

    /// Any other event handles a copy (of another process or its own), an indication of a lower module, or a
    /// timer. Returns the copy of another process.
    fn upon_inner(&mut self, record: &Record, observation: &Observation) -> Option<usize> {
        let (module, label) = (&record.name, observation.label);
        let arrived = observation
            .peer
            .and_then(|from| self.arrived.get_mut(&(from, label)));
        let arrow = arrived.and_then(VecDeque::pop_front);
        let cause = if arrow.is_some() {
            arrow
        } else if observation.peer == Some(record.process) {
            let id = observation.message;
            id.and_then(|id| self.first.get(&(module.clone(), id)).copied().flatten())
        } else {
            let told = self.told.get_mut(label);
            told.and_then(|told| {
                let place = told.iter().position(|(name, _)| is_within(name, module))?;
                told.remove(place)?.1
            })
        };
        self.causes.insert(module.clone(), cause);
        arrow
    }
}

/// A send whose copies may still arrive.
struct Sent {
    point: usize,
    arrow: usize,
    arrived: bool,
}

struct Reader<'a> {
    choice: &'a Choice,
    story: Story,
    processes: Vec<Reading>,
    sent: BTreeMap<u64, Sent>,
}

impl Story {
    /// Reads the records of a trace of `n` processes, until `limit` points were made.
    pub(super) fn read(trace: &Trace, n: usize, choice: &Choice, limit: usize) -> Self {
        let mut reader = Reader {
            choice,
            story: Story {
                n,
                points: Vec::new(),
                arrows: Vec::new(),
                left_out: 0,
            },
            processes: vec![Reading::default(); n],
            sent: BTreeMap::new(),
        };
        for record in trace.records() {
            if record.process.index() >= n {
                continue;
            }
            if reader.story.points.len() >= limit {
                reader.story.left_out += usize::from(choice.shows(record));
                continue;
            }
            reader.read(record);
        }
        reader.story
    }
}

impl Reader<'_> {
    fn read(&mut self, record: &Record) {
        if !matches!(record.kind, Kind::Send { .. }) {
            self.processes[record.process.index()].fan = None;
        }
        match &record.kind {
            Kind::Event(observation) => self.read_event(record, observation),
            Kind::Effect(observation) => self.read_effect(record, observation),
            _ if !self.choice.shows(record) => {}
            Kind::Send {
                message, to, label, ..
            } => self.read_send(record, *message, *to, label),
            Kind::Receive {
                message,
                from,
                label,
                ..
            } => self.read_receive(record, *message, *from, label),
            Kind::Drop { message, loss, .. } => self.read_drop(*message, *loss),
            Kind::Duplicate { .. } => {}
            Kind::Crash => self.add(record, Mark::Crash, "crash".to_owned()),
            Kind::Pause => self.add(record, Mark::Pause, "pause".to_owned()),
            Kind::Start => self.add(record, Mark::Resume, "start".to_owned()),
            Kind::Resume => self.add(record, Mark::Resume, "resume".to_owned()),
            Kind::Cut { to } => self.add(record, Mark::Cut, format!("cut off from {to}")),
            Kind::Heal { to } => self.add(record, Mark::Cut, format!("reaches {to} again")),
            Kind::End { to } => self.add(record, Mark::Cut, format!("stream to {to} ended")),
            Kind::Gap { from } => self.add(record, Mark::Cut, format!("gap from {from}")),
            Kind::Begin { to } => self.add(record, Mark::Cut, format!("stream to {to} begun")),
        }
    }

    fn add(&mut self, record: &Record, mark: Mark, text: String) {
        let process = record.process.index();
        self.processes[process].leaving =
            (mark == Mark::Request).then_some(self.story.points.len());
        self.story.points.push(Point {
            process,
            time: record.time,
            mark,
            text,
            module: record.name.clone(),
            reason: None,
            after: None,
        });
    }

    /// An event is a request, the handling of a copy, or internal to the process.
    fn read_event(&mut self, record: &Record, observation: &Observation) {
        let reading = &mut self.processes[record.process.index()];
        if observation.role == Role::Request {
            reading.upon_request(&record.name);
            if self.choice.shows(record) {
                self.add(record, Mark::Request, observation.to_string());
            }
            return;
        }
        let arrow = reading.upon_inner(record, observation);
        if let (Some(from), Some(id)) = (observation.peer, observation.message)
            && (arrow.is_some() || from == record.process)
        {
            self.hear(record, id, from, arrow);
        }
    }

    fn hear(&mut self, record: &Record, id: MessageId, from: ProcessId, arrow: Option<usize>) {
        let reading = &mut self.processes[record.process.index()];
        let known = reading.heard.entry((record.name.clone(), id));
        let (heard, arrows) = known.or_default();
        heard.insert(from);
        arrows.extend(arrow);
        if let Some(arrow) = arrow {
            self.story.arrows[arrow].heard = Some(heard.len());
        }
    }

    fn read_effect(&mut self, record: &Record, observation: &Observation) {
        let reading = &mut self.processes[record.process.index()];
        let cause = reading.cause_of(&record.name);
        if observation.role == Role::Internal {
            reading.leaves = Some(*observation);
            if let Some(id) = observation.message {
                let key = (record.name.clone(), id);
                reading.first.entry(key).or_insert(cause);
                self.pass_on(record, id);
            }
            return;
        }
        if observation.role == Role::Indication && !self.choice.is_top(&record.name) {
            let told = reading.told.entry(observation.label).or_default();
            told.push_back((record.name.clone(), cause));
        }
        if observation.role == Role::Indication && self.choice.shows(record) {
            let mark = match observation.label {
                "Suspect" | "Crash" => Mark::Suspicion,
                "Restore" | "Trust" => Mark::Trust,
                _ => Mark::Indication,
            };
            self.add(record, mark, observation.to_string());
            if mark == Mark::Indication {
                self.explain(record, observation);
            }
        }
    }

    /// A process that passes a message on counts itself among the processes from which it has heard of it.
    fn pass_on(&mut self, record: &Record, id: MessageId) {
        let reading = &mut self.processes[record.process.index()];
        let cause = reading.cause_of(&record.name);
        let Some((heard, _)) = reading.heard.get_mut(&(record.name.clone(), id)) else {
            return;
        };
        heard.insert(record.process);
        if let Some(arrow) = cause {
            let arrow = &mut self.story.arrows[arrow];
            if arrow.about == Some(id) {
                arrow.heard = Some(heard.len());
            }
        }
    }

    /// Adds the reason of the latest indication.
    fn explain(&mut self, record: &Record, observation: &Observation) {
        let reading = &mut self.processes[record.process.index()];
        let mut reason = Reason {
            upon: reading.cause_of(&record.name),
            heard: ProcessSet::default(),
        };
        let key = observation.message.map(|id| (record.name.clone(), id));
        if let Some((heard, arrows)) = key.and_then(|key| reading.heard.get_mut(&key)) {
            reason.heard = *heard;
            for arrow in arrows.drain(..) {
                self.story.arrows[arrow].counts = true;
                self.story.arrows[arrow].counted = true;
            }
        }
        if let Some(arrow) = reason.upon {
            self.story.arrows[arrow].counts = true;
        }
        if let Some(point) = self.story.points.last_mut() {
            point.reason = Some(reason);
        }
    }

    fn read_send(&mut self, record: &Record, message: u64, to: ProcessId, label: &'static str) {
        let process = record.process.index();
        let reading = &self.processes[process];
        let now = |point: &usize| self.story.points[*point].time == record.time;
        let open = reading.fan.or(reading.leaving.filter(now));
        let point = open.unwrap_or_else(|| {
            self.add(record, Mark::Dot, String::new());
            self.story.points.len() - 1
        });
        self.processes[process].leaving = Some(point);
        self.processes[process].fan = Some(point);
        let cause = self.processes[process].leaves.filter(|c| c.label == label);
        let (text, about) = cause.map_or((label.to_owned(), None), |mut cause| {
            cause.peer = None;
            (cause.to_string(), cause.message)
        });
        let arrow = self.story.arrows.len();
        self.story.arrows.push(Arrow {
            message,
            lane: record.name.clone(),
            text,
            about,
            from: point,
            to: to.index(),
            end: End::Never,
            heard: None,
            counts: false,
            counted: false,
        });
        let sent = Sent {
            point,
            arrow,
            arrived: false,
        };
        self.sent.insert(message, sent);
    }

    fn read_receive(
        &mut self,
        record: &Record,
        message: u64,
        from: ProcessId,
        label: &'static str,
    ) {
        self.add(record, Mark::Dot, String::new());
        let point = self.story.points.len() - 1;
        self.processes[record.process.index()].leaving = Some(point);
        let Some(sent) = self.sent.get_mut(&message) else {
            return;
        };
        self.story.points[point].after = Some(sent.point);
        let mut arrow = sent.arrow;
        if sent.arrived {
            // A duplicate is an arrow of its own.
            let copy = self.story.arrows[arrow].clone();
            arrow = self.story.arrows.len();
            self.story.arrows.push(Arrow {
                heard: None,
                counts: false,
                counted: false,
                ..copy
            });
        }
        sent.arrived = true;
        self.story.arrows[arrow].end = End::Arrives(point);
        let reading = &mut self.processes[record.process.index()];
        reading
            .arrived
            .entry((from, label))
            .or_default()
            .push_back(arrow);
    }

    fn read_drop(&mut self, message: u64, loss: Loss) {
        if let Some(sent) = self.sent.get(&message).filter(|sent| !sent.arrived) {
            self.story.arrows[sent.arrow].end = End::Lost(loss);
        }
    }
}
