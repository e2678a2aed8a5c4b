//! The handles of algorithms in synchronous rounds: consensus, and terminating broadcast.
use super::{
    Abandon, Builder, Wiring,
    agreement::Agreement,
    codec::{Coded, Coding},
    modules::HEADS,
    needs::wait_for,
    terminating::Content,
};
use crate::error::{Error, ProposeError, StartError};
use bytes::Bytes;
use quorate_abstractions::pressure::Room;
use quorate_core::{Addr, ProcessId};
use quorate_rounds::{
    problem::{Broadcasts, Consensus},
    properties::Delivery,
    synchroniser::{Begin, Omission, RoundBounds, Told},
};
use quorate_stacks::{needs::Needs, rounds::Rounds};
use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

/// What an instance in rounds has led to, and when.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct InRound<T> {
    /// The decision, or what was delivered.
    pub value: T,
    /// The round at whose end it came, counted from 1. It is the same at every process unless processes fail.
    pub round: u64,
}

/// Proposes values of type `T` to one consensus in rounds of a node. Clones share its instances.
pub struct RoundProposer<T> {
    agreement: Arc<Agreement<Begin<Consensus>, InRound<Bytes>>>,
    rounds: Rounds,
    /// The longest encoded value.
    limit: usize,
    codec: Coding<T>,
}

impl<T> Clone for RoundProposer<T> {
    fn clone(&self) -> Self {
        RoundProposer {
            agreement: self.agreement.clone(),
            ..*self
        }
    }
}

impl<T> fmt::Debug for RoundProposer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RoundProposer").finish_non_exhaustive()
    }
}

impl<T> RoundProposer<T> {
    /// Proposes a value in an instance, and waits for the decision, f + 1 rounds long. Instances are numbered
    /// from 1, and should be used without gaps.
    ///
    /// Of the values that are proposed, the least in the order of their encodings is decided. A process to
    /// which the first message of an instance comes before its own proposal proposes what it has heard, and
    /// its own value does not count.
    ///
    /// Waits for room first, and remembers the latest decisions, as [`Proposer::propose`] does. A call that
    /// is dropped while it waits for the decision has proposed.
    ///
    /// # Errors
    /// As [`Proposer::propose`].
    ///
    /// [`Proposer::propose`]: super::Proposer::propose
    pub async fn propose(&self, instance: u64, value: &T) -> Result<InRound<T>, ProposeError> {
        let request = (self.codec.encode)(value)?;
        let (size, limit) = (request.len(), self.limit);
        if size > limit {
            return Err(Error::TooLarge { size, limit }.into());
        }
        let begin = Begin { instance, request };
        let decision = self.agreement.request(instance, size, begin).await?;
        self.decode(instance, decision)
    }

    /// Waits for the decision of an instance, without a proposal. If no process proposes, the call waits
    /// until the node ends.
    ///
    /// # Errors
    /// As [`propose`](RoundProposer::propose), without the errors of the value.
    pub async fn decision(&self, instance: u64) -> Result<InRound<T>, ProposeError> {
        let decision = self.agreement.decision(instance).await?;
        self.decode(instance, decision)
    }

    /// Whether this process has proposed in an instance that is undecided here.
    pub fn has_proposed(&self, instance: u64) -> bool {
        self.agreement.has_requested(instance)
    }

    /// The length of a round, as it follows from the bounds.
    pub fn round_length(&self) -> Duration {
        self.rounds.length()
    }

    fn decode(&self, instance: u64, decision: InRound<Bytes>) -> Result<InRound<T>, ProposeError> {
        let InRound { value, round } = decision;
        let value = (self.codec.decode)(value);
        let value = value.ok_or(ProposeError::UndecodableDecision { instance })?;
        Ok(InRound { value, round })
    }
}

/// The instances of one source.
type OfSource = Agreement<Begin<Broadcasts>, InRound<Delivery<Bytes>>>;

/// Takes part in the terminating broadcasts in rounds of a node: broadcasts messages of type `T`, and waits
/// for those of others. Clones share the instances.
pub struct RoundBroadcaster<T> {
    me: ProcessId,
    sources: Arc<BTreeMap<ProcessId, Arc<OfSource>>>,
    rounds: Rounds,
    /// The longest encoded message.
    limit: usize,
    codec: Coding<T>,
}

impl<T> Clone for RoundBroadcaster<T> {
    fn clone(&self) -> Self {
        RoundBroadcaster {
            sources: self.sources.clone(),
            ..*self
        }
    }
}

impl<T> fmt::Debug for RoundBroadcaster<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RoundBroadcaster").finish_non_exhaustive()
    }
}

impl<T> RoundBroadcaster<T> {
    /// Broadcasts a message as this process's message of that number, and waits for its own delivery: one
    /// round, if the system keeps its bounds. Messages are numbered from 1, and should be numbered without
    /// gaps.
    ///
    /// If others have [expected](RoundBroadcaster::expect) the message of that number before, all of them have
    /// learned that there is none, and so does this process: the message is not broadcast.
    ///
    /// Waits for room first, and remembers the latest outcomes, as [`Proposer::propose`] does.
    ///
    /// # Errors
    /// As [`Proposer::propose`].
    ///
    /// [`Proposer::propose`]: super::Proposer::propose
    pub async fn broadcast(
        &self,
        number: u64,
        message: &T,
    ) -> Result<InRound<Content<T>>, ProposeError> {
        let message = (self.codec.encode)(message)?;
        let (size, limit) = (message.len(), self.limit);
        if size > limit {
            return Err(Error::TooLarge { size, limit }.into());
        }
        let (instance, request) = (number, Some(message));
        let begin = Begin { instance, request };
        let delivery = self.of(self.me)?.request(number, size, begin).await?;
        self.decode(number, delivery)
    }

    /// Waits for the message of that number of another process: the message, or that the source is faulty. It
    /// always comes, and all correct processes get the same. If nobody has heard of the message yet, its
    /// rounds begin now: a source that has not broadcast it by then has none of that number. So expect a
    /// message that is due, and wait for its [`outcome`](RoundBroadcaster::outcome) otherwise.
    ///
    /// # Errors
    /// [`NotMember`](Error::NotMember) if there is no such process; else as
    /// [`broadcast`](RoundBroadcaster::broadcast), without the errors of the message.
    pub async fn expect(
        &self,
        source: ProcessId,
        number: u64,
    ) -> Result<InRound<Content<T>>, ProposeError> {
        let (instance, request) = (number, None);
        let begin = Begin { instance, request };
        let of = self.of(source)?;
        if source == self.me {
            return self.outcome(source, number).await;
        }
        match of.request(number, 0, begin).await {
            Err(ProposeError::RequestedTwice { .. }) => self.outcome(source, number).await,
            delivery => self.decode(number, delivery?),
        }
    }

    /// Waits for the message of that number of a process, without beginning its rounds. The call waits until
    /// some process begins them, or the node ends.
    ///
    /// # Errors
    /// As [`expect`](RoundBroadcaster::expect).
    pub async fn outcome(
        &self,
        source: ProcessId,
        number: u64,
    ) -> Result<InRound<Content<T>>, ProposeError> {
        let delivery = self.of(source)?.decision(number).await?;
        self.decode(number, delivery)
    }

    /// The length of a round, as it follows from the bounds.
    pub fn round_length(&self) -> Duration {
        self.rounds.length()
    }

    fn of(&self, source: ProcessId) -> Result<&OfSource, Error> {
        let (process, n) = (source, self.sources.len());
        let found = self.sources.get(&source);
        found
            .map(Arc::as_ref)
            .ok_or(Error::NotMember { process, n })
    }

    fn decode(
        &self,
        instance: u64,
        delivery: InRound<Delivery<Bytes>>,
    ) -> Result<InRound<Content<T>>, ProposeError> {
        let InRound { value, round } = delivery;
        let value = match value {
            Delivery::SenderFaulty => Content::SenderFaulty,
            Delivery::Message(message) => {
                let message = (self.codec.decode)(message);
                Content::Message(message.ok_or(ProposeError::UndecodableDecision { instance })?)
            }
        };
        Ok(InRound { value, round })
    }
}

impl Wiring {
    /// Where the omissions of a module are reported: the status of the node shows them.
    fn omissions(&self, module: String) -> impl Fn(Omission) + Send + Sync + use<> {
        let sight = self.sight.clone();
        move |omission| {
            if let Some(sight) = sight.upgrade() {
                sight.change(|now| now.upon_omission(module.clone(), omission));
            }
        }
    }
}

/// Synchronous rounds.
impl Builder {
    /// Declares uniform consensus in synchronous rounds (`FloodSet`) on values of type `T`, in as many
    /// instances as are used. It decides after f + 1 rounds if at most `f` processes crash, however many there
    /// are, f < n; a value takes at most the n-th part of the longest message.
    ///
    /// A round is as long as the bounds demand: twice the longest delay of a message, if clocks do not drift.
    /// What comes later is not seen in its round, as if it had been lost. Each such omission is an
    /// [event](super::NodeEvent::Omission), and is counted in the [status](super::NodeStatus::omissions) and
    /// among the [counters](super::Node::counters) of the module (of an instance among the finished ones that
    /// are forgotten, there alone). If the sender of such a message is not among
    /// the `f` faulty ones, processes may decide differently.
    ///
    /// All processes should be connected before the first proposal: what waits for a connection is late.
    ///
    /// # Errors
    /// When the system is not [assumed to be synchronous](Builder::assume_synchronous), when there are no
    /// such rounds, or when the name is used already.
    pub fn consensus_in_rounds<T>(
        &mut self,
        name: impl Into<Coded<T>>,
        f: usize,
        bounds: RoundBounds,
    ) -> Result<RoundProposer<T>, StartError> {
        let rounds = self.check_rounds("consensus_in_rounds", f, bounds)?;
        let Coded { name, codec } = name.into();
        let agreement = Arc::new(Agreement::new(self.limits));
        let (decided, module) = (agreement.clone(), name.clone());
        let algorithms = codec.of(&name, &rounds.consensus_algorithms());
        self.fallible_module(&name, &algorithms, move |wiring| {
            let (told, omitted) = (decided.clone(), wiring.omissions(module));
            let up = Addr::new(move |news| match news {
                Told::Output {
                    instance,
                    round,
                    output: value,
                } => told.decided(instance, InRound { value, round }),
                Told::Omission(omission) => omitted(omission),
            });
            // Decisions are read by whoever waits for them.
            wiring.pressure(wait_for(Needs::Perfect), decided.pressure());
            decided.open(rounds.consensus(&wiring.host, &wiring.links, up));
            Ok(())
        })?;
        self.handles.agreements.push(agreement.clone());
        // The values of all processes together are one message.
        let limit = self.link.maximum_message.saturating_sub(HEADS) / self.processes();
        Ok(RoundProposer {
            agreement,
            rounds,
            limit,
            codec,
        })
    }

    /// Declares terminating broadcast in synchronous rounds that stops early, of messages of type `T`. Where t
    /// of the processes fail, at most `f`, each message is delivered within min(t + 1, f + 1) rounds: the
    /// source's message, or that the source is faulty.
    ///
    /// Unlike [`terminating`](Builder::terminating), it needs no failure detector, and binds correct processes
    /// only. Messages have numbers that the user gives, and a process that waits for a message begins its
    /// rounds. The bounds, and what happens if they do not hold, are as in
    /// [`consensus_in_rounds`](Builder::consensus_in_rounds).
    ///
    /// # Errors
    /// As [`consensus_in_rounds`](Builder::consensus_in_rounds).
    pub fn terminating_in_rounds<T>(
        &mut self,
        name: impl Into<Coded<T>>,
        f: usize,
        bounds: RoundBounds,
    ) -> Result<RoundBroadcaster<T>, StartError> {
        let rounds = self.check_rounds("terminating_in_rounds", f, bounds)?;
        let Coded { name, codec } = name.into();
        let ranks = 1..=self.processes();
        let sources = ranks.filter_map(ProcessId::from_rank);
        let sources = sources.map(|source| (source, Arc::new(OfSource::new(self.limits))));
        let sources: Arc<BTreeMap<_, _>> = Arc::new(sources.collect());
        let (all, module) = (sources.clone(), name.clone());
        let algorithms = codec.of(&name, &rounds.terminating_algorithms());
        self.fallible_module(&name, &algorithms, move |wiring| {
            let rooms: Vec<_> = all.values().map(|of| of.pressure()).collect();
            let room = Addr::new(move |room: Room| {
                for of_source in &rooms {
                    of_source.send(room);
                }
            });
            // What is delivered is read by whoever waits for it.
            wiring.pressure(wait_for(Needs::Perfect), room);
            let up = |source: ProcessId| {
                let told = all.get(&source).cloned();
                let omitted = wiring.omissions(format!("{module}/{source}"));
                Addr::new(move |news| match (news, &told) {
                    (
                        Told::Output {
                            instance,
                            round,
                            output: value,
                        },
                        Some(told),
                    ) => told.decided(instance, InRound { value, round }),
                    (Told::Omission(omission), _) => omitted(omission),
                    (Told::Output { .. }, None) => {}
                })
            };
            let ports = rounds.terminating(&wiring.host, &wiring.links, up);
            for (source, port) in ports {
                if let Some(of) = all.get(&source) {
                    of.open(port);
                }
            }
            Ok(())
        })?;
        for of in sources.values() {
            self.handles.agreements.push(of.clone() as Arc<dyn Abandon>);
        }
        Ok(RoundBroadcaster {
            me: self.me,
            sources,
            rounds,
            limit: self.link.maximum_message.saturating_sub(HEADS),
            codec,
        })
    }

    /// The rounds in which at most `f` of the processes fail.
    fn check_rounds(
        &self,
        method: &'static str,
        f: usize,
        bounds: RoundBounds,
    ) -> Result<Rounds, StartError> {
        if self.synchrony.is_none() {
            return Err(StartError::NeedsRounds(method));
        }
        Ok(Rounds::new(f, self.processes(), bounds)?)
    }
}
