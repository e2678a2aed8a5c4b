//! ◇P of first incarnations: a replaced incarnation is suspected for ever, however lively its successor.
//!
//! # Promises
//! - EPFD1 strong completeness, EPFD2 eventual strong accuracy (liveness). Here a process that comes back
//!   without its memory is another process, which is no member: its messages are not taken for a sign of life
//!   of the one before it.
//!
//! # Assumes
//! A ◇P that judges whichever incarnation answers in a seat, and links that report replacements.
//!
//! # Cost
//! No message. Memory O(n).
//!
//! # Why it holds
//! A replaced incarnation has crashed. An incarnation that is not replaced is reported as ◇P reports it.
//!
//! # Source
//! None: it serves modules that have no place for newcomers, beside other modules that have one.
use quorate_abstractions::{
    Subscribe,
    eventually_perfect::{Indication, Reach},
    link::Status,
};
use quorate_core::{Addr, Algorithm, Ctx, Host, ProcessId, ProcessSet, ports};

/// ◇P of first incarnations.
#[derive(Default)]
pub struct FirstIncarnations {
    /// Processes that ◇P suspects.
    silent: ProcessSet,
    /// Processes whose first incarnation is gone.
    replaced: ProcessSet,
    subscribers: Vec<Addr<Indication>>,
    /// The latest report of ◇P.
    known: Reach,
    listeners: Vec<Addr<Reach>>,
}

ports! {
    serves Indication => Subscribe -> Indicate, Answer;
    serves Reach => Listen -> Tell;
    watches suspicions: Indication => Detector;
    watches reach: Reach => Reach;
    watches links: Status => Status;
}

impl Algorithm for FirstIncarnations {
    type Event = Event;
    type Effect = Effect;

    fn upon(&mut self, event: Event, ctx: &mut Ctx<Self>) {
        match event {
            Event::Subscribe(subscriber) => self.upon_subscribe(subscriber, ctx),
            Event::Listen(listener) => self.upon_listen(listener, ctx),
            Event::Detector(indication) => self.upon_detector(indication, ctx),
            Event::Reach(reach) => self.upon_reach(reach, ctx),
            Event::Status(Status::Replaced { peer, .. }) => self.upon_replaced(peer, ctx),
            Event::Status(
                Status::Connected { .. }
                | Status::Refused { .. }
                | Status::Ended { .. }
                | Status::Begun { .. }
                | Status::Gap { .. }
                | Status::Admitted
                | Status::Newcomer { .. }
                | Status::Excluded { .. },
            ) => {}
        }
    }
}

impl FirstIncarnations {
    fn upon_subscribe(&mut self, subscriber: Addr<Indication>, ctx: &mut Ctx<Self>) {
        for p in self.silent.union(self.replaced).iter() {
            ctx.trigger(Effect::Answer(Indication::Suspect(p), subscriber.clone()));
        }
        self.subscribers.push(subscriber);
    }

    fn upon_listen(&mut self, listener: Addr<Reach>, ctx: &mut Ctx<Self>) {
        ctx.trigger(Effect::Tell(self.reach(), vec![listener.clone()]));
        self.listeners.push(listener);
    }

    fn reach(&self) -> Reach {
        let suspected = self.known.suspected.union(self.replaced);
        Reach {
            suspected,
            ..self.known
        }
    }

    fn upon_reach(&mut self, reach: Reach, ctx: &mut Ctx<Self>) {
        self.known = reach;
        ctx.trigger(Effect::Tell(self.reach(), self.listeners.clone()));
    }

    /// A sign of life of a successor changes nothing.
    fn upon_detector(&mut self, indication: Indication, ctx: &mut Ctx<Self>) {
        let (Indication::Suspect(p) | Indication::Restore(p)) = indication;
        indication.apply(&mut self.silent);
        if !self.replaced.contains(p) {
            ctx.trigger(Effect::Indicate(indication, self.subscribers.clone()));
        }
    }

    fn upon_replaced(&mut self, p: ProcessId, ctx: &mut Ctx<Self>) {
        if !self.replaced.insert(p) {
            return;
        }
        if !self.silent.contains(p) {
            let suspect = Indication::Suspect(p);
            ctx.trigger(Effect::Indicate(suspect, self.subscribers.clone()));
        }
        ctx.trigger(Effect::Tell(self.reach(), self.listeners.clone()));
    }
}

/// A running detector.
#[derive(Clone)]
pub struct Detector {
    /// The suspicions of ◇P.
    pub suspicions: Subscribe<Indication>,
    /// The processes that are suspected, and those known to be cut off, at the same time.
    pub reach: Subscribe<Reach>,
}

/// Starts the detector over ◇P and the links' reports.
pub fn spawn(
    host: &impl Host,
    suspicions: &Subscribe<Indication>,
    reach: &Subscribe<Reach>,
    links: &Subscribe<Status>,
) -> Detector {
    let algorithm = FirstIncarnations::default();
    let (suspicions, reach) = spawn_as(host, algorithm, suspicions, reach, links);
    Detector { suspicions, reach }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quorate_core::{Context, Counters, Incarnation};
    use quorate_sim::testing::p;

    fn replaced(rank: usize) -> Event {
        Event::Status(Status::Replaced {
            peer: p(rank),
            known: Incarnation(1),
            newcomer: Incarnation(2),
        })
    }

    #[test]
    fn whoever_is_replaced_stays_suspected_and_late_subscribers_know() {
        let mut ctx = Context::new("detector".into(), 1, Counters::default());
        let mut detector = FirstIncarnations::default();
        let mut said = |event| {
            detector.upon(event, &mut ctx);
            let mut effects = Vec::new();
            ctx.take_effects(&mut effects);
            let told = effects.into_iter().filter_map(|effect| match effect {
                Effect::Indicate(indication, _) | Effect::Answer(indication, _) => Some(indication),
                Effect::Tell(..) => None,
            });
            told.collect::<Vec<_>>()
        };
        let (suspect, restore) = (Indication::Suspect, Indication::Restore);
        assert_eq!(said(replaced(1)), [suspect(p(1))]);
        assert_eq!(said(replaced(1)), []);
        assert_eq!(said(Event::Detector(suspect(p(1)))), []);
        assert_eq!(said(Event::Detector(restore(p(1)))), []);
        assert_eq!(said(Event::Detector(suspect(p(2)))), [suspect(p(2))]);
        assert_eq!(said(replaced(2)), [], "it is suspected already");
        assert_eq!(said(Event::Detector(restore(p(2)))), []);
        assert_eq!(said(Event::Detector(suspect(p(3)))), [suspect(p(3))]);
        assert_eq!(said(Event::Detector(restore(p(3)))), [restore(p(3))]);
        let present = said(Event::Subscribe(Addr::nowhere()));
        assert_eq!(present, [suspect(p(1)), suspect(p(2))]);
    }

    #[test]
    fn what_is_known_at_one_time_names_the_replaced() {
        let mut ctx = Context::new("detector".into(), 1, Counters::default());
        let mut detector = FirstIncarnations::default();
        let mut told = |event| {
            detector.upon(event, &mut ctx);
            let mut effects = Vec::new();
            ctx.take_effects(&mut effects);
            let told = effects.into_iter().filter_map(|effect| match effect {
                Effect::Tell(reach, _) => Some(reach),
                Effect::Indicate(..) | Effect::Answer(..) => None,
            });
            told.last().unwrap()
        };
        let reach = |suspected: &[usize], cut_off: &[usize]| Reach {
            suspected: suspected.iter().copied().map(p).collect(),
            cut_off: cut_off.iter().copied().map(p).collect(),
            ..Reach::default()
        };
        assert_eq!(told(Event::Reach(reach(&[2], &[2]))), reach(&[2], &[2]));
        assert_eq!(told(replaced(1)), reach(&[1, 2], &[2]));
        assert_eq!(told(Event::Reach(reach(&[], &[]))), reach(&[1], &[]));
        assert_eq!(told(Event::Listen(Addr::nowhere())), reach(&[1], &[]));
    }
}
