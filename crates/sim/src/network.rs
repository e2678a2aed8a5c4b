//! The packets in flight between processes, and the faults in their way.
use crate::{
    adversary::{Fate, Pace, Transmission},
    channel::{Echo, Load},
    gap::{Turn, Way},
    schedule::Passage,
    state::{Core, Life, Scope, Shared, Token, What},
    tampering::Tamperer,
    trace::{Kind, Loss},
};
use bytes::Bytes;
use quorate_abstractions::{
    fair_loss,
    heartbeat::{Beat, Heard},
    lanes::{LaneId, LaneTable, Lanes},
    link::{Status, To},
};
use quorate_core::{Addr, Name, ProcessId, Time, message::digest};
use std::{collections::BTreeMap, sync::Arc};

/// The content of a packet, which determines the kind of link that carries it.
#[derive(Clone, Debug)]
pub(crate) enum Cargo {
    /// A message in a lane of the ideal perfect links.
    Lane(LaneId, Bytes),
    /// A heartbeat: lost at a cut, and a run does not wait for it.
    Beat(Beat),
    /// A datagram on a fair-loss link.
    Datagram(Bytes),
}

impl Cargo {
    /// The length of its content, in bytes.
    pub(crate) fn length(&self) -> usize {
        match self {
            Cargo::Lane(_, bytes) | Cargo::Datagram(bytes) => bytes.len(),
            Cargo::Beat(_) => 1,
        }
    }
}

pub(crate) struct Packet {
    pub(crate) birth: u64,
    pub(crate) copy: Transmission,
    pub(crate) label: &'static str,
    /// The number of the copy among those between these two processes, from 1.
    pub(crate) number: u32,
    cargo: Cargo,
}

impl Packet {
    pub(crate) fn foreground(&self) -> bool {
        matches!(self.cargo, Cargo::Lane(..))
    }

    pub(crate) fn cargo(&self) -> &Cargo {
        &self.cargo
    }

    pub(crate) fn passage(&self) -> Passage {
        Passage {
            from: self.copy.from,
            to: self.copy.to,
            number: self.number,
        }
    }

    fn digest(&self) -> u64 {
        match &self.cargo {
            Cargo::Lane(_, bytes) | Cargo::Datagram(bytes) => digest(bytes),
            Cargo::Beat(beat) => beat.digest(),
        }
    }
}

/// The receiver of an arriving packet.
pub(crate) enum Delivery {
    Lane(Arc<Lanes>, LaneId, ProcessId, Bytes),
    Heard(Addr<Heard>, Heard),
    Datagram(Addr<fair_loss::Indication>, Bytes),
    Status(Vec<Addr<Status>>, Status),
}

impl Delivery {
    /// Delivers it. Not under the lock, because this reaches the receiver's mailbox.
    pub(crate) fn complete(self) {
        match self {
            Delivery::Lane(lanes, lane, from, bytes) => {
                lanes.deliver(lane, from, bytes);
            }
            Delivery::Heard(up, heard) => up.send(heard),
            Delivery::Datagram(up, bytes) => {
                let segment = bytes.len().max(1);
                up.send(fair_loss::Indication::Arrive { bytes, segment });
            }
            Delivery::Status(watchers, status) => {
                for watcher in watchers {
                    watcher.send(status.clone());
                }
            }
        }
    }
}

/// The ends of the links at one process.
#[derive(Default)]
pub(crate) struct Ends {
    pub(crate) table: LaneTable,
    lanes: Option<Arc<Lanes>>,
    pub(crate) heard: Option<Addr<Heard>>,
    /// The subscribers to the ends and beginnings of streams.
    pub(crate) watchers: Vec<Addr<Status>>,
    pub(crate) arrivals: Option<Addr<fair_loss::Indication>>,
    /// Copies that this process has sent, except heartbeats.
    pub(crate) sent: u64,
}

pub(crate) struct Network {
    n: usize,
    pub(crate) packets: Vec<Option<Packet>>,
    free: Vec<usize>,
    births: u64,
    /// Copies that were put in flight, or omitted by their sender, by pair.
    pub(crate) launched: Vec<u32>,
    messages: u64,
    /// Foreground packets in flight to live processes.
    pub(crate) foreground: usize,
    pub(crate) ends: Vec<Ends>,
    names: Vec<Name>,
    /// Copies sent, by lane.
    by_lane: Vec<u64>,
    pub(crate) beats: u64,
    pub(crate) datagrams: u64,
    pub(crate) lost: u64,
    pub(crate) duplicated: u64,
    /// Cuts in force, by pair; they may overlap.
    pub(crate) cuts: Vec<u32>,
    /// The directions that are disconnected for good, by pair. This is a fault of the model, which no perfect
    /// link hides.
    pub(crate) disconnected: Vec<bool>,
    /// The packets that a cut holds back, by pair.
    pub(crate) held: BTreeMap<(ProcessId, ProcessId), Vec<usize>>,
    /// The gaps in progress, and the next event of each.
    pub(crate) turning: BTreeMap<Way, Turn>,
    /// Channels that have weight.
    pub(crate) loads: BTreeMap<Way, Load>,
    /// Until when byte streams wait after a cut.
    pub(crate) resumes: BTreeMap<Way, Time>,
    /// The datagrams that will arrive once more.
    pub(crate) echoes: Vec<Echo>,
    /// Who alters and forges datagrams.
    pub(crate) tamperer: Option<Box<Tamperer>>,
    /// How many copies in a row were lost, by pair.
    losses: Vec<u32>,
    /// At most this many copies in a row are lost.
    pub(crate) loss_bound: u32,
    /// A copy arrives at most this many times.
    pub(crate) duplicate_bound: u32,
    pub(crate) world_name: Name,
    pub(crate) heartbeat_name: Name,
    pub(crate) datagram_name: Name,
}

const BEATS: usize = usize::MAX;
const DATAGRAMS: usize = usize::MAX - 1;

impl Network {
    pub(crate) fn new(n: usize) -> Self {
        Network {
            n,
            packets: Vec::new(),
            free: Vec::new(),
            births: 0,
            launched: vec![0; n * n],
            messages: 0,
            foreground: 0,
            ends: std::iter::repeat_with(Ends::default).take(n).collect(),
            names: Vec::new(),
            by_lane: Vec::new(),
            beats: 0,
            datagrams: 0,
            lost: 0,
            duplicated: 0,
            cuts: vec![0; n * n],
            disconnected: vec![false; n * n],
            held: BTreeMap::new(),
            turning: BTreeMap::new(),
            loads: BTreeMap::new(),
            resumes: BTreeMap::new(),
            echoes: Vec::new(),
            tamperer: None,
            losses: vec![0; n * n],
            loss_bound: 16,
            duplicate_bound: 4,
            world_name: Name::root(),
            heartbeat_name: Name::from("heartbeat"),
            datagram_name: Name::from("fair-loss"),
        }
    }

    pub(crate) fn pair(&self, from: ProcessId, to: ProcessId) -> usize {
        from.index() * self.n + to.index()
    }

    pub(crate) fn is_cut(&self, from: ProcessId, to: ProcessId) -> bool {
        self.cuts[self.pair(from, to)] > 0
    }

    /// Whether the direction is cut by something that is not a fault of the model, so that liveness cannot be
    /// judged.
    pub(crate) fn is_severed(&self, from: ProcessId, to: ProcessId) -> bool {
        self.is_cut(from, to) && !self.disconnected[self.pair(from, to)]
    }

    pub(crate) fn lane_name(&self, lane: usize) -> Name {
        match lane {
            BEATS => self.heartbeat_name.clone(),
            DATAGRAMS => self.datagram_name.clone(),
            lane => self.names.get(lane).unwrap_or(&self.world_name).clone(),
        }
    }

    /// The lanes of the ideal links and how many copies each has carried.
    pub(crate) fn lanes(&self) -> impl Iterator<Item = (&Name, u64)> {
        self.names.iter().zip(self.by_lane.iter().copied())
    }

    pub(crate) fn packet(&self, slot: usize) -> Option<&Packet> {
        self.packets.get(slot)?.as_ref()
    }

    /// Closes the tables of lanes, when a run begins.
    pub(crate) fn close(&mut self) {
        for ends in &mut self.ends {
            if ends.lanes.is_some() {
                continue;
            }
            match ends.table.close() {
                Ok(lanes) if lanes.is_empty() => {}
                Ok(lanes) => {
                    if self.names.is_empty() {
                        self.names = lanes.names().to_vec();
                        self.by_lane = vec![0; self.names.len()];
                    }
                    assert!(
                        self.names == lanes.names(),
                        "the processes open different lanes: {:?} and {:?}",
                        self.names,
                        lanes.names()
                    );
                    ends.lanes = Some(Arc::new(lanes));
                }
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn insert(&mut self, copy: Transmission, label: &'static str, cargo: Cargo) -> (usize, u64) {
        self.births += 1;
        let pair = self.pair(copy.from, copy.to);
        self.launched[pair] += 1;
        let packet = Some(Packet {
            birth: self.births,
            copy,
            label,
            number: self.launched[pair],
            cargo,
        });
        let slot = if let Some(slot) = self.free.pop() {
            self.packets[slot] = packet;
            slot
        } else {
            self.packets.push(packet);
            self.packets.len() - 1
        };
        (slot, self.births)
    }

    pub(crate) fn remove(&mut self, slot: usize) -> Option<Packet> {
        let packet = self.packets[slot].take()?;
        self.free.push(slot);
        Some(packet)
    }
}

fn lane_of(cargo: &Cargo) -> usize {
    match cargo {
        Cargo::Lane(lane, _) => usize::from(lane.0),
        Cargo::Beat(_) => BEATS,
        Cargo::Datagram(_) => DATAGRAMS,
    }
}

/// Sending of packets.
impl Core {
    /// A process sends in a lane, given by its position in the order of opening.
    pub(crate) fn send(&mut self, from: ProcessId, opened: usize, to: To, bytes: &Bytes) {
        let ends = &self.network.ends[from.index()];
        if ends.lanes.is_none() {
            self.network.close();
        }
        let ends = &self.network.ends[from.index()];
        let Some(lane) = ends.lanes.as_ref().and_then(|lanes| lanes.number(opened)) else {
            return;
        };
        let cargo = Cargo::Lane(lane, bytes.clone());
        match to {
            To::One(q) => self.send_copy(from, q, cargo),
            To::Some(set) => {
                for q in set.iter() {
                    self.send_copy(from, q, cargo.clone());
                }
            }
            To::All => {
                for index in 0..self.network.n {
                    if let Some(q) = ProcessId::from_rank(index + 1) {
                        self.send_copy(from, q, cargo.clone());
                    }
                }
            }
        }
    }

    /// One copy leaves. A copy to oneself is no output, takes no time and is not counted.
    pub(crate) fn send_copy(&mut self, from: ProcessId, to: ProcessId, cargo: Cargo) {
        if to.rank() == 0 || to.rank() > self.network.n {
            return;
        }
        if from == to {
            if self.life(from) != Life::Crashed {
                self.settle();
                let copy = Transmission {
                    message: 0,
                    from,
                    to,
                };
                self.launch(copy, self.cause, cargo);
            }
            return;
        }
        if !self.output(from) {
            return;
        }
        self.network.messages += 1;
        let copy = Transmission {
            message: self.network.messages,
            from,
            to,
        };
        let lane = lane_of(&cargo);
        match &cargo {
            Cargo::Lane(..) => {
                self.network.by_lane[lane] += 1;
                self.network.ends[from.index()].sent += 1;
            }
            Cargo::Beat(_) => self.network.beats += 1,
            Cargo::Datagram(_) => {
                self.network.datagrams += 1;
                self.network.ends[from.index()].sent += 1;
            }
        }
        let digest = match &cargo {
            Cargo::Lane(_, bytes) | Cargo::Datagram(bytes) => digest(bytes),
            Cargo::Beat(beat) => beat.digest(),
        };
        let label = self.cause;
        self.record(
            Scope::Lane(lane),
            from,
            Kind::Send {
                message: copy.message,
                to,
                label,
                digest,
            },
        );
        if self.omits_sending(from, to) {
            return self.omit(from, copy);
        }
        match cargo {
            Cargo::Datagram(_) => self.send_datagram(copy, label, cargo),
            Cargo::Lane(..) if self.network.turning.contains_key(&(from, to)) => {
                self.lose(copy, Loss::Gap);
            }
            _ => self.launch(copy, label, cargo),
        }
    }

    /// The adversary decides on a datagram, within the bounds.
    fn send_datagram(&mut self, copy: Transmission, label: &'static str, cargo: Cargo) {
        let pair = self.network.pair(copy.from, copy.to);
        let fate = self.adversary.fate(copy, &mut self.rng);
        let bounded = self.network.losses[pair] >= self.network.loss_bound;
        let way = (copy.from, copy.to);
        self.echo(copy, label, &cargo);
        self.tamper(copy, &cargo);
        match fate {
            _ if !self.has_room(copy, &cargo) => self.lose(copy, Loss::Queue),
            _ if self.is_stream(way) => {
                if fate == Fate::Lost {
                    self.stall(way);
                }
                self.launch(copy, label, cargo);
            }
            _ if self.network.is_cut(copy.from, copy.to) => self.lose(copy, Loss::Cut),
            Fate::Lost if !bounded => {
                self.network.losses[pair] += 1;
                self.lose(copy, Loss::Chance);
            }
            Fate::Lost | Fate::Arrives(_) => {
                self.network.losses[pair] = 0;
                let times = match fate {
                    Fate::Arrives(times) => times.clamp(1, self.network.duplicate_bound),
                    Fate::Lost => 1,
                };
                if times > 1 {
                    self.network.duplicated += u64::from(times - 1);
                    let kind = Kind::Duplicate {
                        message: copy.message,
                        to: copy.to,
                        extra: times - 1,
                    };
                    self.record(Scope::Lane(DATAGRAMS), copy.from, kind);
                }
                for _ in 0..times {
                    self.launch(copy, label, cargo.clone());
                }
            }
        }
    }

    pub(crate) fn lose(&mut self, copy: Transmission, loss: Loss) {
        self.network.lost += 1;
        let kind = Kind::Drop {
            message: copy.message,
            to: copy.to,
            loss,
        };
        self.record(Scope::World, copy.from, kind);
    }

    pub(crate) fn launch(&mut self, copy: Transmission, label: &'static str, cargo: Cargo) {
        let (slot, birth) = self.network.insert(copy, label, cargo);
        self.count_in(slot);
        self.fly(slot, birth, copy);
    }

    pub(crate) fn fly(&mut self, slot: usize, birth: u64, copy: Transmission) {
        match self.pace {
            Pace::Chosen | Pace::Atomic if self.life(copy.to) == Life::Crashed => {
                self.network.remove(slot);
            }
            Pace::Timed | Pace::Atomic if copy.from == copy.to => {
                self.ready.push_back(Token::Arrive(slot, birth));
            }
            Pace::Chosen | Pace::Atomic => self.steps.flying.push(slot),
            Pace::Timed => {
                let at = self.arrival(slot, copy);
                self.enter(at, What::Packet(slot, birth));
            }
        }
    }

    /// Counts a packet among those that keep the run open.
    pub(crate) fn count_in(&mut self, slot: usize) {
        let Some(packet) = self.network.packet(slot) else {
            return;
        };
        let to = packet.copy.to.index();
        if packet.foreground() && self.processes[to].life != Life::Crashed {
            self.processes[to].inbound += 1;
            self.network.foreground += 1;
        }
    }

    pub(crate) fn count_out(&mut self, packet_foreground: bool, to: ProcessId) {
        let process = &mut self.processes[to.index()];
        if packet_foreground && process.life != Life::Crashed {
            process.inbound -= 1;
            self.network.foreground -= 1;
        }
    }
}

/// Arrival of packets.
impl Core {
    /// A packet's time has come. Returns its delivery, if it gets through.
    pub(crate) fn arrive(&mut self, slot: usize, birth: u64) -> Option<Delivery> {
        let packet = self.network.packet(slot).filter(|p| p.birth == birth)?;
        let (copy, foreground) = (packet.copy, packet.foreground());
        let passage = packet.passage();
        match self.life(copy.to) {
            Life::Crashed => {
                self.network.remove(slot);
                return None;
            }
            Life::Paused if self.processes[copy.to.index()].is_unborn && !foreground => {
                self.network.remove(slot);
                self.lose(copy, Loss::Unborn);
                return None;
            }
            Life::Paused => {
                self.keep_for(copy.to, Token::Arrive(slot, birth));
                return None;
            }
            Life::Running if self.is_early(slot, birth) => return None,
            Life::Running => {}
        }
        self.count_out(foreground, copy.to);
        if copy.from != copy.to && self.network.is_cut(copy.from, copy.to) {
            let disconnected = self.network.disconnected[self.network.pair(copy.from, copy.to)];
            let is_kept = foreground || self.is_stream((copy.from, copy.to));
            if is_kept && !disconnected {
                self.hold(slot, copy);
            } else {
                self.network.remove(slot);
                self.lose(copy, Loss::Cut);
            }
            return None;
        }
        if self.omits_receiving(passage) {
            self.network.remove(slot);
            self.omit(copy.to, copy);
            return None;
        }
        let packet = self.network.remove(slot)?;
        if copy.from != copy.to {
            let kind = Kind::Receive {
                message: copy.message,
                from: copy.from,
                label: packet.label,
                digest: packet.digest(),
            };
            self.record(Scope::Lane(lane_of(&packet.cargo)), copy.to, kind);
        }
        let ends = &self.network.ends[copy.to.index()];
        match packet.cargo {
            Cargo::Lane(lane, bytes) => {
                Some(Delivery::Lane(ends.lanes.clone()?, lane, copy.from, bytes))
            }
            Cargo::Beat(beat) => {
                let (from, up) = (copy.from, ends.heard.clone()?);
                Some(Delivery::Heard(up, Heard { from, beat }))
            }
            Cargo::Datagram(bytes) => Some(Delivery::Datagram(ends.arrivals.clone()?, bytes)),
        }
    }

    /// A cut holds a packet back.
    fn hold(&mut self, slot: usize, copy: Transmission) {
        let way = (copy.from, copy.to);
        let bytes = self.network.packet(slot).filter(|p| !p.foreground());
        if let Some(bytes) = bytes.map(|packet| packet.cargo.length()) {
            self.hold_stream(way, bytes);
        }
        self.network.held.entry(way).or_default().push(slot);
    }

    /// The birth of the packet in this slot.
    pub(crate) fn birth(&self, slot: usize) -> u64 {
        self.network.packet(slot).map_or(0, |p| p.birth)
    }

    /// A datagram that no process has sent arrives now.
    pub(crate) fn inject(&mut self, to: ProcessId, bytes: Bytes) {
        let copy = Transmission {
            message: 0,
            from: to,
            to,
        };
        self.launch(copy, "Inject", Cargo::Datagram(bytes));
    }
}

impl Shared {
    /// A packet's time has come: delivers it.
    pub(crate) fn deliver(&self, slot: usize, birth: u64) {
        let delivery = self.lock().arrive(slot, birth);
        if let Some(delivery) = delivery {
            delivery.complete();
        }
    }
}
