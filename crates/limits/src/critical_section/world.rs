//! One world: a lock service, two clients, a memory that they share, and a receiver of messages outside, in a
//! system without bounds on time. What each does follows from what it hears; how long a client takes, and whether
//! it stalls or crashes, is the world's choice.
use super::{jobs::Job, services::LockService};
use std::{
    collections::BTreeMap,
    fmt::{self, Display},
};

/// A message takes so long, in microseconds.
pub const LATENCY: u64 = 10;

/// B asks so much later than A.
const LATER: u64 = 5;

/// B computes so long before each request.
const B_COMPUTES: u64 = 100;

/// One of two clients.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Client {
    A,
    B,
}

/// Numbers grants, growing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Token(pub u64);

/// Goes off for a grant.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Alarm {
    pub client: Client,
    pub token: Token,
}

/// What a service hears.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    Acquire(Client),
    Release(Client, Token),
    Alarm(Alarm),
    /// The client is stopped for good, as it was ordered.
    Stopped(Client),
}

/// What a service does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    /// The client may enter; a lease is valid up to and including `until`.
    Grant {
        client: Client,
        token: Token,
        until: Option<u64>,
    },
    /// For the service, the grant is over.
    End { client: Client, token: Token },
    /// The alarm goes off after this time.
    Wait { alarm: Alarm, after: u64 },
    /// The client is stopped, if it has not stopped by itself, wherever it is.
    Stop(Client),
}

impl Order {
    /// The alarm after `length`, if this is a grant. It goes off when the lease is no longer valid.
    pub(super) fn alarm(&self, length: u64) -> Option<Order> {
        let Order::Grant { client, token, .. } = *self else {
            return None;
        };
        let alarm = Alarm { client, token };
        let after = length.saturating_add(1);
        Some(Order::Wait { alarm, after })
    }
}

/// What a client requests from inside its critical section.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Request {
    Read,
    Write(u64),
    /// To the world outside: it cannot be called back.
    Tell,
}

/// The answer to a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reply {
    /// What the memory holds, if anything.
    Value(Option<u64>),
    Done,
    /// A larger token has been seen.
    Refused,
}

/// Which requests the memory checks for their tokens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fence {
    Nothing,
    /// Writes only, which is not enough (H2-E5).
    Writes,
    ReadsAndWrites,
}

/// What befalls a client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fault {
    pub client: Client,
    pub point: Point,
    pub kind: Stop,
}

/// When it befalls the client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Point {
    /// It has asked for the lock, and waits.
    Waiting,
    /// It is inside, has checked its lease, and is about to send its request of this number, counted from 0; or
    /// to exit, behind the last one.
    Before(usize),
}

/// How a client stops.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stop {
    Crash,
    /// It goes on after this time, in microseconds, as if nothing had happened.
    Stall(u64),
    /// It never goes on, and never crashes.
    StallForEver,
}

/// What a world is made of, beside the service.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Setting {
    pub job: Job,
    pub fence: Fence,
    /// Whether the memory outlives the crash of a client.
    pub survives: bool,
}

/// Where something happens.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Site {
    Client(Client),
    Service,
    Memory,
}

impl Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Site::Client(client) => write!(f, "{client:?}"),
            Site::Service => f.write_str("service"),
            Site::Memory => f.write_str("memory"),
        }
    }
}

/// Something that happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Happened {
    /// The client wants to enter.
    Asks(Client),
    /// The service hears something.
    Hears(Event),
    /// The service does something.
    Does(Order),
    Enters(Client, Token),
    Exits(Client),
    /// The client gives up, because its lease is over before it has done anything.
    TooLate(Client),
    Stops(Client, Stop),
    /// It goes on after a stall.
    GoesOn(Client),
    /// The service has stopped it.
    IsStopped(Client),
    /// The memory, or the world outside, takes a request.
    Takes(Client, Token, Request, Reply),
    /// The memory loses what it holds.
    Forgets,
    Decides(Client, u64),
    /// The client has read this, and its write of it plus one is done.
    Counts(Client),
}

/// Something that happened, and when, in microseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Moment {
    pub at: u64,
    pub what: Happened,
}

/// A world that was run until nothing was left to happen.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct History {
    pub moments: Vec<Moment>,
    /// Whether the clients are to decide.
    pub decides: bool,
}

impl History {
    /// What the service has heard before this time, and when.
    pub fn view(&self, before: u64) -> Vec<(u64, Event)> {
        let moments = self.moments.iter().filter(|moment| moment.at < before);
        let heard = moments.filter_map(|moment| match moment.what {
            Happened::Hears(event) => Some((moment.at, event)),
            _ => None,
        });
        heard.collect()
    }

    /// When this happened first.
    pub fn when(&self, is: impl Fn(&Happened) -> bool) -> Option<u64> {
        let mut moments = self.moments.iter();
        Some(moments.find(|moment| is(&moment.what))?.at)
    }
}

/// What happens at a time.
enum Due {
    /// A client asks for the lock.
    Ask(Client),
    /// The service hears something.
    Hear(Event),
    /// A client gets the lock.
    Enter {
        client: Client,
        token: Token,
        until: Option<u64>,
    },
    /// A client has computed, and sends its next request.
    Act(Client),
    /// A client goes on after a stall, and sends it.
    GoOn(Client),
    /// It reaches the memory, or the world outside.
    Arrive(Client, Token, Request),
    /// The answer arrives.
    Answer(Client, Reply),
    Stop(Client),
}

/// A client inside its critical section.
struct Inside {
    token: Token,
    until: Option<u64>,
    /// The number of the next request.
    number: usize,
    /// The request to send next; `None` if it exits instead.
    next: Option<Request>,
}

struct World<'a> {
    setting: Setting,
    fault: Option<Fault>,
    service: &'a mut dyn LockService,
    due: BTreeMap<(u64, u64), Due>,
    /// How many were due so far: what is due at the same time happens in this order.
    numbered: u64,
    inside: BTreeMap<Client, Inside>,
    gone: Vec<Client>,
    memory: Option<u64>,
    /// The largest token that the memory has seen.
    seen: Token,
    moments: Vec<Moment>,
}

/// Runs a world to its end.
pub fn run(service: &mut dyn LockService, setting: Setting, fault: Option<Fault>) -> History {
    let mut world = World {
        setting,
        fault,
        service,
        due: BTreeMap::new(),
        numbered: 0,
        inside: BTreeMap::new(),
        gone: Vec::new(),
        memory: None,
        seen: Token(0),
        moments: Vec::new(),
    };
    world.at(0, Due::Ask(Client::A));
    world.at(LATER, Due::Ask(Client::B));
    while let Some(((now, _), due)) = world.due.pop_first() {
        world.upon(now, due);
    }
    History {
        moments: world.moments,
        decides: setting.job == Job::Decide,
    }
}

impl World<'_> {
    fn at(&mut self, time: u64, due: Due) {
        self.numbered += 1;
        self.due.insert((time, self.numbered), due);
    }

    fn note(&mut self, at: u64, what: Happened) {
        self.moments.push(Moment { at, what });
    }

    fn upon(&mut self, now: u64, due: Due) {
        match due {
            Due::Ask(client) => {
                self.note(now, Happened::Asks(client));
                self.at(now + LATENCY, Due::Hear(Event::Acquire(client)));
                self.befalls(now, client, Point::Waiting);
            }
            Due::Hear(event) => self.upon_heard(now, event),
            Due::Enter {
                client,
                token,
                until,
            } => self.upon_grant(now, client, token, until),
            Due::Act(client) => self.upon_act(now, client),
            Due::GoOn(client) => {
                if !self.gone.contains(&client) {
                    self.note(now, Happened::GoesOn(client));
                    self.send(now, client);
                }
            }
            Due::Arrive(client, token, request) => self.upon_request(now, client, token, request),
            Due::Answer(client, reply) => self.upon_answer(now, client, reply),
            Due::Stop(client) => self.upon_stop(now, client),
        }
    }

    fn upon_heard(&mut self, now: u64, event: Event) {
        self.note(now, Happened::Hears(event));
        for order in self.service.upon(now, event) {
            self.note(now, Happened::Does(order));
            match order {
                Order::Grant {
                    client,
                    token,
                    until,
                } => self.at(
                    now + LATENCY,
                    Due::Enter {
                        client,
                        token,
                        until,
                    },
                ),
                Order::Wait { alarm, after } => {
                    self.at(now.saturating_add(after), Due::Hear(Event::Alarm(alarm)));
                }
                Order::Stop(client) => self.at(now + LATENCY, Due::Stop(client)),
                Order::End { .. } => {}
            }
        }
    }

    /// A client enters, if its lease is valid.
    fn upon_grant(&mut self, now: u64, client: Client, token: Token, until: Option<u64>) {
        if self.gone.contains(&client) {
            return;
        }
        if until.is_some_and(|until| now > until) {
            return self.note(now, Happened::TooLate(client));
        }
        self.note(now, Happened::Enters(client, token));
        let inside = Inside {
            token,
            until,
            number: 0,
            next: Some(Request::Read),
        };
        self.inside.insert(client, inside);
        self.compute(now, client);
    }

    /// A client computes, and then acts. B takes its time.
    fn compute(&mut self, now: u64, client: Client) {
        let computes = match client {
            Client::A => 0,
            Client::B => B_COMPUTES,
        };
        self.at(now + computes, Due::Act(client));
    }

    /// A client checks its lease. Then it may stall, or crash; the check says nothing of that.
    fn upon_act(&mut self, now: u64, client: Client) {
        let Some(inside) = self.inside.get(&client) else {
            return;
        };
        let is_over = inside.until.is_some_and(|until| now > until);
        if is_over && inside.next.is_some() {
            return self.exit(now, client);
        }
        let point = Point::Before(inside.number);
        if !self.befalls(now, client, point) {
            self.send(now, client);
        }
    }

    /// Whether the fault is of this client at this point; then it happens.
    fn befalls(&mut self, now: u64, client: Client, point: Point) -> bool {
        let fault = self
            .fault
            .filter(|it| it.client == client && it.point == point);
        let Some(fault) = fault else {
            return false;
        };
        self.note(now, Happened::Stops(client, fault.kind));
        match fault.kind {
            Stop::Crash => self.lose(now, client),
            Stop::Stall(time) => self.at(now.saturating_add(time), Due::GoOn(client)),
            Stop::StallForEver => {}
        }
        true
    }

    /// Sends the next request, or exits if there is none.
    fn send(&mut self, now: u64, client: Client) {
        let Some(inside) = self.inside.get_mut(&client) else {
            return;
        };
        let token = inside.token;
        inside.number += 1;
        match inside.next.take() {
            Some(request) => self.at(now + LATENCY, Due::Arrive(client, token, request)),
            None => self.exit(now, client),
        }
    }

    fn exit(&mut self, now: u64, client: Client) {
        if let Some(inside) = self.inside.remove(&client) {
            self.note(now, Happened::Exits(client));
            let release = Event::Release(client, inside.token);
            self.at(now + LATENCY, Due::Hear(release));
        }
    }

    fn upon_request(&mut self, now: u64, client: Client, token: Token, request: Request) {
        let checked = match (self.setting.fence, request) {
            (Fence::Nothing, _) | (_, Request::Tell) | (Fence::Writes, Request::Read) => false,
            (Fence::Writes, Request::Write(_)) | (Fence::ReadsAndWrites, _) => true,
        };
        let refused = checked && token < self.seen;
        if checked {
            self.seen = self.seen.max(token);
        }
        let reply = match request {
            _ if refused => Reply::Refused,
            Request::Read => Reply::Value(self.memory),
            Request::Write(value) => {
                self.memory = Some(value);
                Reply::Done
            }
            Request::Tell => Reply::Done,
        };
        self.note(now, Happened::Takes(client, token, request, reply));
        self.at(now + LATENCY, Due::Answer(client, reply));
    }

    fn upon_answer(&mut self, now: u64, client: Client, reply: Reply) {
        let job = self.setting.job;
        let Some(inside) = self.inside.get_mut(&client) else {
            return;
        };
        let step = job.next(client, inside.number, reply);
        inside.next = step.request;
        for what in step.events {
            self.note(now, what);
        }
        self.compute(now, client);
    }

    /// The service's order to stop reaches a client, whatever it does, and is confirmed.
    fn upon_stop(&mut self, now: u64, client: Client) {
        if !self.gone.contains(&client) {
            self.note(now, Happened::IsStopped(client));
            self.lose(now, client);
        }
        self.at(now + LATENCY, Due::Hear(Event::Stopped(client)));
    }

    /// The client does nothing from now on.
    fn lose(&mut self, now: u64, client: Client) {
        self.gone.push(client);
        self.inside.remove(&client);
        if !self.setting.survives {
            self.memory = None;
            self.note(now, Happened::Forgets);
        }
    }
}

/// A time, in milliseconds.
pub fn milliseconds(time: u64) -> String {
    format!("{}.{:03}", time / 1000, time % 1000)
}

impl Display for Happened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Happened::Asks(client) | Happened::Hears(Event::Acquire(client)) => {
                write!(f, "{client:?} asks")
            }
            Happened::Hears(Event::Release(client, _)) => write!(f, "{client:?} releases"),
            Happened::Hears(Event::Alarm(alarm)) => write!(f, "{:?}'s time is over", alarm.client),
            Happened::Hears(Event::Stopped(client)) => {
                write!(f, "{client:?} is stopped for certain")
            }
            Happened::Does(Order::Grant { client, token, .. }) => {
                write!(f, "{client:?} is granted token {}", token.0)
            }
            Happened::Does(Order::End { client, .. }) => write!(f, "{client:?}'s grant ends"),
            Happened::Does(Order::Wait { .. }) => f.write_str("an alarm is set"),
            Happened::Does(Order::Stop(client)) => write!(f, "{client:?} is ordered to stop"),
            Happened::Enters(client, _) => write!(f, "{client:?} enters"),
            Happened::Exits(client) => write!(f, "{client:?} exits"),
            Happened::TooLate(client) => write!(f, "{client:?} gets its lease too late"),
            Happened::Stops(client, Stop::Crash) => write!(f, "{client:?} crashes"),
            Happened::Stops(client, Stop::Stall(time)) => {
                write!(f, "{client:?} stalls for {} ms", milliseconds(*time))
            }
            Happened::Stops(client, Stop::StallForEver) => write!(f, "{client:?} stalls for ever"),
            Happened::GoesOn(client) => write!(f, "{client:?} goes on"),
            Happened::IsStopped(client) => write!(f, "{client:?} is stopped"),
            Happened::Takes(client, _, request, reply) => {
                match request {
                    Request::Read => write!(f, "{client:?} reads")?,
                    Request::Write(value) => write!(f, "{client:?} writes {value}")?,
                    Request::Tell => write!(f, "{client:?} tells the world outside")?,
                }
                match reply {
                    Reply::Value(Some(value)) => write!(f, " {value}"),
                    Reply::Value(None) => f.write_str(" nothing"),
                    Reply::Done => Ok(()),
                    Reply::Refused => f.write_str(": refused"),
                }
            }
            Happened::Forgets => f.write_str("the memory forgets"),
            Happened::Decides(client, value) => write!(f, "{client:?} decides {value}"),
            Happened::Counts(client) => write!(f, "{client:?} has counted"),
        }
    }
}
