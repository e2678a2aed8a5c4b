//! The asynchronous model as data: a protocol is deterministic, and a configuration is what all processes know
//! and the messages that are not delivered yet. Delivering one of them is a step; there is nothing else.
use quorate_core::{Membership, ProcessId};
use std::fmt::{self, Debug, Display};

/// A deterministic protocol by which processes decide a bit. It has no coins (H3-E5) and no detector: a timeout
/// is a message of a process to itself, which may take as long as any other.
pub trait Protocol {
    type State: Clone + Ord + Debug;
    type Message: Clone + Ord + Debug;

    /// What it is called in texts.
    fn name(&self) -> String;

    /// Π.
    fn processes(&self) -> &Membership;

    /// The first step of `p`: its state, and what it sends.
    fn start(&self, p: ProcessId, proposal: bool) -> (Self::State, Sent<Self::Message>);

    /// The step in which `p` receives this message; the result is what it sends.
    fn receive(
        &self,
        p: ProcessId,
        state: &mut Self::State,
        from: ProcessId,
        message: &Self::Message,
    ) -> Sent<Self::Message>;

    /// What the process has decided.
    fn decision(&self, state: &Self::State) -> Option<bool>;

    /// Whether a message changes nothing in this state, nor in any later one. Whether it is delivered makes no
    /// difference to what may be decided, and so searches leave it out.
    fn ignores(&self, _: &Self::State, _: &Self::Message) -> bool {
        false
    }

    /// Whether a message is a timeout. It makes no difference until delays have a bound.
    fn is_timeout(&self, _: &Self::Message) -> bool {
        false
    }
}

/// Messages, and to whom they go.
pub type Sent<M> = Vec<(ProcessId, M)>;

/// A message that is not delivered yet.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Envelope<M> {
    pub to: ProcessId,
    pub from: ProcessId,
    /// `None` lets the receiver take its first step, if it has not taken it yet.
    pub content: Option<M>,
}

impl<M: Debug> Display for Envelope<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Envelope { to, from, content } = self;
        match content {
            None => write!(f, "{to} starts"),
            Some(message) if to == from => write!(f, "{to}: {message:?}"),
            Some(message) => write!(f, "{from} → {to}: {message:?}"),
        }
    }
}

/// One process: its proposal, and its state once it has taken a step.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Member<S> {
    pub proposal: bool,
    pub state: Option<S>,
}

/// All processes, and the messages that are not delivered yet, sorted.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Configuration<S, M> {
    members: Vec<Member<S>>,
    pool: Vec<Envelope<M>>,
}

/// The configurations of a protocol.
pub type Of<P> = Configuration<<P as Protocol>::State, <P as Protocol>::Message>;

/// The envelopes of a protocol.
pub type In<P> = Envelope<<P as Protocol>::Message>;

/// A configuration, and what was sent in the step to it.
pub type Stepped<P> = (Of<P>, Vec<In<P>>);

impl<S: Clone + Ord + Debug, M: Clone + Ord + Debug> Configuration<S, M> {
    /// The initial configuration with these proposals, in rank order: nobody has taken a step.
    pub fn initial(processes: &Membership, proposals: &[bool]) -> Self {
        let members = proposals.iter().map(|proposal| Member {
            proposal: *proposal,
            state: None,
        });
        let pool = processes.iter().map(|p| Envelope {
            to: p,
            from: p,
            content: None,
        });
        Configuration {
            members: members.collect(),
            pool: pool.collect(),
        }
    }

    /// The processes, in rank order.
    pub fn members(&self) -> &[Member<S>] {
        &self.members
    }

    /// The messages that are not delivered yet, sorted.
    pub fn pool(&self) -> &[Envelope<M>] {
        &self.pool
    }

    /// The messages that are not delivered yet, each once, except those to `without`.
    pub fn deliverable(
        &self,
        without: Option<ProcessId>,
    ) -> impl Iterator<Item = &Envelope<M>> + '_ {
        let distinct = self.pool.iter().enumerate();
        let distinct = distinct.filter(|(at, e)| *at == 0 || self.pool[at - 1] != **e);
        distinct
            .map(|(_, envelope)| envelope)
            .filter(move |envelope| Some(envelope.to) != without)
    }

    /// The configuration after this message is delivered, and what was sent; `None` if there is no such
    /// message.
    pub fn deliver<P>(&self, protocol: &P, envelope: &Envelope<M>) -> Option<Stepped<P>>
    where
        P: Protocol<State = S, Message = M>,
    {
        let place = self.pool.binary_search(envelope).ok()?;
        let mut next = self.clone();
        next.pool.remove(place);
        let p = envelope.to;
        let member = next.members.get_mut(p.index())?;
        let mut sent = Vec::new();
        if member.state.is_none() {
            let (state, first) = protocol.start(p, member.proposal);
            member.state = Some(state);
            sent.extend(first);
        }
        if let (Some(state), Some(message)) = (&mut member.state, &envelope.content) {
            sent.extend(protocol.receive(p, state, envelope.from, message));
        }
        let sent: Vec<_> = sent
            .into_iter()
            .map(|(to, message)| Envelope {
                to,
                from: p,
                content: Some(message),
            })
            .collect();
        next.pool.extend(sent.iter().cloned());
        next.pool.sort();
        Some((next, sent))
    }

    /// The same without the messages that their receivers ignore.
    #[must_use]
    pub fn without_ignored<P>(mut self, protocol: &P) -> Self
    where
        P: Protocol<State = S, Message = M>,
    {
        let members = &self.members;
        self.pool.retain(|envelope| {
            let state = members.get(envelope.to.index());
            let state = state.and_then(|member| member.state.as_ref());
            let both = state.zip(envelope.content.as_ref());
            both.is_none_or(|(state, message)| !protocol.ignores(state, message))
        });
        self
    }

    /// The configuration after a whole run; `None` if a message of it is not there when its turn comes.
    pub fn after<P>(&self, protocol: &P, run: &[Envelope<M>]) -> Option<Self>
    where
        P: Protocol<State = S, Message = M>,
    {
        let mut present = self.clone();
        for envelope in run {
            present = present.deliver(protocol, envelope)?.0;
        }
        Some(present)
    }

    /// What each process has decided, in rank order.
    pub fn decisions<P>(&self, protocol: &P) -> Vec<Option<bool>>
    where
        P: Protocol<State = S, Message = M>,
    {
        let states = self.members.iter().map(|member| member.state.as_ref());
        states.map(|state| protocol.decision(state?)).collect()
    }
}

/// Which bits are decided in some run from a configuration.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Valency {
    // In this order 0-valent comes before 1-valent.
    pub one: bool,
    pub zero: bool,
}

impl Valency {
    /// Either bit may still be decided.
    pub fn is_bivalent(self) -> bool {
        self.zero && self.one
    }

    /// What is decided in either.
    #[must_use]
    pub fn with(self, other: Valency) -> Valency {
        Valency {
            zero: self.zero || other.zero,
            one: self.one || other.one,
        }
    }

    /// The bits that some process has decided.
    pub fn of(decisions: &[Option<bool>]) -> Valency {
        Valency {
            zero: decisions.contains(&Some(false)),
            one: decisions.contains(&Some(true)),
        }
    }
}

impl Display for Valency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.zero, self.one) {
            (true, true) => "bivalent",
            (true, false) => "0-valent",
            (false, true) => "1-valent",
            (false, false) => "nothing is decided any more",
        })
    }
}
