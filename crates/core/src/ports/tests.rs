use crate::{
    Addr, Algorithm, Counters, Ctx, Host, Incarnation, Mailbox, Membership, Name, Observation,
    Observe, ProcessId,
    actor::{Actor, Probe, join},
    mailbox::Schedule,
    observe::Role,
    time::Time,
};
use std::sync::{Arc, Mutex};

/// A word, of which a trace records the length.
#[derive(Clone, PartialEq, Debug)]
struct Word(Role, &'static str);

impl Observe for Word {
    fn observe(&self) -> Observation {
        Observation::new(self.0, self.1)
    }
}

fn request(word: &'static str) -> Word {
    Word(Role::Request, word)
}

fn indication(word: &'static str) -> Word {
    Word(Role::Indication, word)
}

type Words = (Word, Word);

/// A word of a layer that carries another layer's words.
#[derive(Clone, PartialEq, Debug)]
struct Carried(Word);

impl Observe for Carried {
    fn observe(&self) -> Observation {
        self.0.observe()
    }
}

impl From<Word> for Carried {
    fn from(word: Word) -> Self {
        Carried(word)
    }
}

impl From<Carried> for Word {
    fn from(Carried(word): Carried) -> Self {
        word
    }
}

fn unobserved(_: &Word) -> Observation {
    Observation::request("said otherwise")
}

fn twice(watched: &Addr<Addr<Word>>, up: Addr<Word>) {
    watched.send(up.clone());
    watched.send(up);
}

/// One clause of each kind.
mod all {
    use super::*;

    ports! {
        offers Words => Ask -> Say, observed unobserved;
        accepts Word => Accept;
        serves Word => Join -> Tell, Answer;
        serves Word => Listen -> News;
        uses plain: Words => Plain;
        uses named: Words => Told / Tells, observed unobserved;
        uses lane: (Carried, Carried) => Below as Words, Lane;
        uses each one: Words => Heard / Asks;
        watches one_way: Word => Watched, by twice;
        hears other: Word => Overheard;
        asks aside: Word => Aside;
        timer Tick;
        timer Wait(u64);
        timer Again(peer: ProcessId);
        notes Word => Note;

        /// Starts the algorithm that passes each event on.
        pub(super) fn spawn(host, extra: &'static str) = Passing(extra);
    }

    /// Answers each event with the effect of the same neighbour.
    pub(super) struct Passing(&'static str);

    impl Algorithm for Passing {
        type Event = Event;
        type Effect = Effect;

        fn upon(&mut self, event: Event, ctx: &mut Ctx<Self>) {
            let effect = match event {
                Event::Ask(word) => Effect::Say(indication(word.1)),
                Event::Accept(_) => Effect::Note(indication(self.0)),
                Event::Join(up) => Effect::Answer(indication("now"), up),
                Event::Listen(up) => Effect::News(indication("news"), vec![up.clone(), up]),
                Event::Plain(word) => Effect::Plain(request(word.1)),
                Event::Told(word) => Effect::Tells(request(word.1)),
                Event::Below(word) => Effect::Below(request(word.1)),
                Event::Heard(q, word) => Effect::Asks(q, request(word.1)),
                Event::Watched(word) => Effect::Aside(request(word.1)),
                Event::Overheard(word) => Effect::Lane(Carried(request(word.1))),
                Event::Tick => Effect::Tell(indication("tick"), Vec::new()),
                Event::Wait(times) => Effect::Note(indication(if times == 0 { "" } else { "on" })),
                Event::Again(q) => Effect::Asks(q, request("again")),
            };
            ctx.trigger(effect);
        }
    }
}

/// An algorithm that has a type parameter, and offers nothing.
mod generic {
    use super::*;

    ports! {
        for<W: Observe + Spoken>;
        indicates W => Say;
        hears other: W => Hear;

        pub(super) fn spawn(host) = Echo(std::marker::PhantomData);
    }

    pub(super) trait Spoken: Send + Sync + 'static {}

    impl Spoken for Word {}

    struct Echo<W>(std::marker::PhantomData<fn(W)>);

    impl<W: Observe + Spoken> Algorithm for Echo<W> {
        type Event = Event<W>;
        type Effect = Effect<W>;

        fn upon(&mut self, Event::Hear(word): Event<W>, ctx: &mut Ctx<Self>) {
            ctx.trigger(Effect::Say(word));
        }
    }
}

/// A process whose actors run when they are told to.
#[derive(Clone)]
struct Bench {
    processes: Membership,
    counters: Counters,
    path: Name,
    actors: Arc<Mutex<Vec<Box<dyn Actor>>>>,
}

struct Unscheduled;

impl Schedule for Unscheduled {
    fn posted(&self, _: usize, _: bool) {}
}

impl Host for Bench {
    fn me(&self) -> ProcessId {
        ProcessId::from_rank(1).unwrap()
    }

    fn incarnation(&self) -> Incarnation {
        Incarnation(1)
    }

    fn processes(&self) -> &Membership {
        &self.processes
    }

    fn counters(&self) -> &Counters {
        &self.counters
    }

    fn path(&self) -> &Name {
        &self.path
    }

    fn at(&self, segment: &str) -> Self {
        let path = self.path.at(segment);
        Bench {
            path,
            ..self.clone()
        }
    }

    fn mailbox<E: Observe + Send + 'static>(&self) -> Mailbox<E> {
        Mailbox::new(0, Arc::new(Unscheduled))
    }

    fn start<A: Algorithm>(
        &self,
        mailbox: Mailbox<A::Event>,
        algorithm: A,
        route: impl FnMut(A::Effect) + Send + 'static,
    ) {
        let (name, counters) = (self.path.clone(), self.counters.clone());
        let actor = join(name, 1, counters, mailbox, algorithm, route);
        self.actors.lock().unwrap().push(actor);
    }
}

impl Bench {
    fn new() -> Self {
        Bench {
            processes: Membership::of_size(2).unwrap(),
            counters: Counters::default(),
            path: Name::from("bench"),
            actors: Arc::default(),
        }
    }

    /// Handles the waiting events, and returns what a trace records of it.
    fn run(&self) -> Vec<Observation> {
        let mut seen = Seen(Vec::new());
        for actor in &mut *self.actors.lock().unwrap() {
            actor.handle_batch(Time::ZERO, &mut seen);
        }
        seen.0
    }
}

struct Seen(Vec<Observation>);

impl Probe for Seen {
    fn event(&mut self, _: &Name, event: &dyn Observe) {
        self.0.push(event.observe());
    }

    fn effect(&mut self, _: &Name, effect: &dyn Observe) -> bool {
        self.0.push(effect.observe());
        true
    }
}

type Shared<T> = Arc<Mutex<Vec<T>>>;

/// The list of the values sent to an address, and the address.
fn log<T: Clone + Send + 'static>() -> (Arc<Mutex<Vec<T>>>, Addr<T>) {
    let log = Arc::new(Mutex::new(Vec::new()));
    let to = log.clone();
    (log, Addr::new(move |said| to.lock().unwrap().push(said)))
}

/// A layer that reveals the address for its indications, and keeps the requests that it gets.
type Joint<R, I> = (Arc<Mutex<Option<Addr<I>>>>, Arc<Mutex<Vec<R>>>);

fn layer<R: Clone + Send + 'static, I: 'static>() -> (Joint<R, I>, impl FnOnce(Addr<I>) -> Addr<R>)
{
    let up = Arc::new(Mutex::new(None));
    let (requests, down) = log();
    let told = up.clone();
    let attach = move |to| {
        *told.lock().unwrap() = Some(to);
        down
    };
    ((up, requests), attach)
}

fn says<R, I: 'static>(joint: &Joint<R, I>, word: I) {
    joint.0.lock().unwrap().as_ref().unwrap().send(word);
}

fn taken<T: Clone>(log: &Mutex<Vec<T>>) -> Vec<T> {
    std::mem::take(&mut log.lock().unwrap())
}

#[test]
fn each_clause_joins_what_it_says_and_is_recorded_on_its_side() {
    let bench = Bench::new();
    let p = |rank| ProcessId::from_rank(rank).unwrap();
    let (plain, attach_plain) = layer::<Word, Word>();
    let (named, attach_named) = layer::<Word, Word>();
    let (lane, attach_lane) = layer::<Carried, Carried>();
    let instances: Shared<(ProcessId, Addr<Word>)> = Arc::default();
    let asked: Shared<(ProcessId, Word)> = Arc::default();
    let (joined, asks) = (instances.clone(), asked.clone());
    let each = move |q, up| {
        joined.lock().unwrap().push((q, up));
        let asks = asks.clone();
        Addr::new(move |word| asks.lock().unwrap().push((q, word)))
    };
    let (watchers, watched) = log::<Addr<Word>>();
    let overheard = Arc::new(Mutex::new(Addr::nowhere()));
    let hear = |up| *overheard.lock().unwrap() = up;
    let (beside, aside) = log();
    let (said, up) = log();
    let (ask, accept, join, listen) = all::spawn(
        &bench,
        "extra",
        attach_plain,
        attach_named,
        attach_lane,
        each,
        &watched,
        hear,
        aside,
        up,
    );
    let internal = Observation::internal;

    ask.send(request("a"));
    let seen = [
        Observation::request("said otherwise"),
        Observation::indication("a"),
    ];
    assert_eq!(bench.run(), seen);
    assert_eq!(taken(&said), [indication("a")]);

    accept.send(request("b"));
    assert_eq!(bench.run(), [internal("b"), internal("extra")]);

    let (told, subscriber) = log();
    join.send(subscriber.clone());
    assert_eq!(bench.run(), [internal("Join"), internal("now")]);
    assert_eq!(taken(&told), [indication("now")]);
    listen.send(subscriber);
    let seen = [internal("Listen"), Observation::indication("news")];
    assert_eq!(bench.run(), seen);
    assert_eq!(taken(&told), [indication("news"), indication("news")]);

    says(&plain, indication("c"));
    assert_eq!(bench.run(), [internal("c"), internal("c")]);
    assert_eq!(taken(&plain.1), [request("c")]);

    says(&named, indication("d"));
    assert_eq!(bench.run(), [internal("d"), internal("said otherwise")]);
    assert_eq!(taken(&named.1), [request("d")]);

    says(&lane, Carried(indication("e")));
    assert_eq!(bench.run(), [internal("e"), internal("e")]);
    assert_eq!(taken(&lane.1), [Carried(request("e"))]);

    let of: Vec<_> = instances.lock().unwrap().iter().map(|(q, _)| *q).collect();
    assert_eq!(of, [p(1), p(2)]);
    instances.lock().unwrap()[1].1.send(indication("f"));
    assert_eq!(
        bench.run(),
        [internal("f").peer(p(2)), internal("f").peer(p(2))]
    );
    assert_eq!(taken(&asked), [(p(2), request("f"))]);

    let watchers = taken(&watchers);
    assert_eq!(watchers.len(), 2, "it subscribes as it is told to");
    watchers[0].send(indication("g"));
    assert_eq!(bench.run(), [internal("g"), internal("g")]);
    assert_eq!(taken(&beside), [request("g")]);

    overheard.lock().unwrap().send(indication("h"));
    assert_eq!(bench.run(), [internal("h"), internal("h")]);
    assert_eq!(taken(&lane.1), [Carried(request("h"))]);
}

#[test]
fn timers_are_recorded_by_their_names_and_what_they_are_about() {
    use all::Event;
    let p2 = ProcessId::from_rank(2).unwrap();
    assert_eq!(Event::Tick.observe(), Observation::internal("Tick"));
    assert_eq!(Event::Wait(7).observe(), Observation::internal("Wait"));
    let again = Observation::internal("Again").peer(p2);
    assert_eq!(Event::Again(p2).observe(), again);
}

#[test]
fn an_algorithm_may_have_parameters_and_nothing_that_is_asked() {
    let bench = Bench::new();
    let overheard = Arc::new(Mutex::new(Addr::nowhere()));
    let hear = |up| *overheard.lock().unwrap() = up;
    let (said, up) = log();
    let () = generic::spawn::<Word>(&bench, hear, up);
    overheard.lock().unwrap().send(indication("a"));
    let seen = [Observation::internal("a"), Observation::indication("a")];
    assert_eq!(bench.run(), seen);
    assert_eq!(taken(&said), [indication("a")]);
}
