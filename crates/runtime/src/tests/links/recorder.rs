//! Records the requests and deliveries of links on real sockets, for the simulator's checkers.
use crate::tests::TIMEOUT;
use bytes::Bytes;
use quorate_core::{Name, Observation, ProcessId, ProcessSet, Time, message::digest};
use quorate_sim::{
    Completion, Kind, ModuleNumber, Record, Verdict, Violation,
    properties::{Channel, Properties, first_in_first_out, perfect_links},
};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

const MODULE: &str = "link";

struct Watched {
    properties: Properties,
    violations: Vec<Violation>,
    /// How many records there were.
    records: u64,
    delivered: usize,
}

/// PL1–3 and first-in first-out order of links that run elsewhere. Each start of a process is a
/// process of its own here.
#[derive(Clone)]
pub(super) struct Recorder(Arc<(Mutex<Watched>, Condvar)>);

impl Recorder {
    pub(super) fn new() -> Self {
        let channel = Channel::Module(MODULE.to_owned());
        let mut properties = perfect_links(&channel);
        properties.push(first_in_first_out(&channel));
        let watched = Watched {
            properties,
            violations: Vec::new(),
            records: 0,
            delivered: 0,
        };
        Recorder(Arc::new((Mutex::new(watched), Condvar::new())))
    }

    fn watched(&self) -> MutexGuard<'_, Watched> {
        self.0.0.lock().unwrap()
    }

    /// `from` asks for a message to be sent. Call this before sending.
    pub(super) fn send(&self, from: ProcessId, to: ProcessId, message: &Bytes) {
        let request = Observation::request("Send");
        let request = request.peer(to).digest(digest(message));
        self.watched().record(from, Kind::Event(request));
    }

    /// A message of `from` has arrived at `to`.
    pub(super) fn deliver(&self, from: ProcessId, to: ProcessId, message: &Bytes) {
        let indication = Observation::indication("Deliver");
        let indication = indication.peer(from).digest(digest(message));
        let mut watched = self.watched();
        watched.delivered += 1;
        watched.record(to, Kind::Effect(indication));
        drop(watched);
        self.0.1.notify_all();
    }

    /// Waits until this many messages have been delivered in total.
    pub(super) fn wait(&self, count: usize) {
        let missing = |watched: &mut Watched| watched.delivered < count;
        let (watched, _) = self
            .0
            .1
            .wait_timeout_while(self.watched(), TIMEOUT, missing)
            .unwrap();
        let delivered = watched.delivered;
        assert!(
            delivered >= count,
            "{delivered} of {count} messages were delivered"
        );
    }

    /// The checkers' verdicts, after everything that must be delivered has been delivered.
    pub(super) fn verdicts(&self, correct: ProcessSet) -> Vec<(String, Verdict)> {
        let completion = Completion {
            time: Time::ZERO,
            correct,
            complete: true,
            severed: false,
        };
        let mut watched = self.watched();
        let broken = std::mem::take(&mut watched.violations).into_iter();
        let broken = broken.map(|v| (v.tag.clone(), Verdict::Violated(v)));
        let mut verdicts: Vec<_> = broken.collect();
        verdicts.extend(watched.properties.iter_mut().map(|property| {
            let verdict = property.finish(&completion);
            (property.tag().to_owned(), verdict)
        }));
        verdicts
    }

    pub(super) fn assert_all_hold(&self, correct: ProcessSet) {
        let verdicts = self.verdicts(correct);
        assert!(
            verdicts
                .iter()
                .all(|(_, verdict)| *verdict == Verdict::Holds),
            "{verdicts:?}"
        );
    }
}

impl Watched {
    fn record(&mut self, process: ProcessId, kind: Kind) {
        let record = Record {
            index: self.records,
            time: Time::ZERO,
            process,
            module: Some(ModuleNumber(process.index())),
            name: Name::from(MODULE),
            kind,
        };
        self.records += 1;
        let properties = self.properties.iter_mut();
        let broken = properties.filter_map(|property| property.observe(&record).err());
        self.violations.extend(broken);
    }
}
