//! View synchrony by consensus under a published rule.
use super::{ByConsensus, Effect, Event, Flushed, Phase};
use crate::messages::Message;
use bytes::Bytes;
use quorate_abstractions::{best_effort, perfect, view_synchrony::Indication};
use quorate_core::{Algorithm, Ctx, ProcessId};

/// The rule in force: this algorithm's, or one as published.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rule {
    /// That of the algorithm.
    Corrected,
    /// Crashes that were noticed while flushing are forgotten.
    NoFurtherFlush,
    /// The crash of a process that another decision has excluded starts a flush, and nobody joins it.
    FlushForTheExcluded,
    /// The condition of the proposal is checked after flushes only.
    FlushesOnly,
    /// Flushes of the next view are erased when it is installed.
    EarlyFlushIsErased,
    /// Delivered messages are known by content.
    KnownByContent,
    /// Data of the next view is dropped.
    EarlyDataIsDropped,
    /// The uniform form.
    Uniform,
    /// The uniform form is asked for, and the regular one runs.
    DeliversAtOnce,
    /// The uniform form, where a report of one member counts as one of the next in rank, too.
    AllButOne,
}

impl Rule {
    /// Whether it is one of the uniform form.
    pub fn is_uniform(self) -> bool {
        matches!(self, Rule::Uniform | Rule::DeliversAtOnce | Rule::AllButOne)
    }
}

/// The algorithm under a rule.
pub struct Ruled {
    rule: Rule,
    inner: ByConsensus,
    contents: Vec<Bytes>,
}

impl Ruled {
    /// The algorithm under this rule.
    pub fn by(rule: Rule, inner: ByConsensus) -> Self {
        let contents = Vec::new();
        Ruled {
            rule,
            inner,
            contents,
        }
    }

    fn upon_ruled(&mut self, event: Event, ctx: &mut Ctx<Self>) {
        match event {
            Event::Crash(perfect::Crash(q)) if self.rule == Rule::FlushForTheExcluded => {
                self.inner.crashed.insert(q);
                self.inner.start_flush(ctx);
                self.inner.upon_all_flushed(ctx);
            }
            Event::Crash(perfect::Crash(q)) if self.rule == Rule::FlushesOnly => {
                self.inner.crashed.insert(q);
                self.inner.start_flush(ctx);
            }
            Event::BestEffort(best_effort::Deliver {
                message: Message::Data { view, .. },
                ..
            }) if self.rule == Rule::EarlyDataIsDropped && view > self.inner.view.id => {}
            Event::BestEffort(best_effort::Deliver {
                from,
                message: Message::Stable { view, ref counts },
            }) if self.rule == Rule::AllButOne && view == self.inner.view.id => {
                if let Some(next) = ProcessId::from_rank(from.rank() % 3 + 1) {
                    self.inner.within.hear_counts(next, counts);
                }
                self.inner.upon(event, ctx);
            }
            Event::BestEffort(best_effort::Deliver {
                from,
                message:
                    Message::Flush {
                        view,
                        leaves,
                        messages,
                    },
            }) => match self.rule {
                Rule::EarlyFlushIsErased if view > self.inner.view.id => {}
                Rule::FlushForTheExcluded if view == self.inner.view.id => {
                    let flush = Flushed { leaves, messages };
                    self.inner.flushed.entry(from).or_insert(flush);
                    self.inner.upon_all_flushed(ctx);
                }
                _ => {
                    let flush = Flushed { leaves, messages };
                    self.inner.upon_flush_of(from, view, flush, ctx);
                }
            },
            event => self.inner.upon(event, ctx),
        }
    }
}

impl ByConsensus {
    fn upon_flush_of(
        &mut self,
        from: ProcessId,
        view: u64,
        Flushed { leaves, messages }: Flushed,
        ctx: &mut Ctx<Self>,
    ) {
        let message = Message::Flush {
            view,
            leaves,
            messages,
        };
        self.upon_message(from, message, ctx);
    }
}

impl Algorithm for Ruled {
    type Event = Event;
    type Effect = Effect;

    fn upon_start(&mut self, ctx: &mut Ctx<Self>) {
        self.inner.upon_start(ctx);
    }

    fn upon(&mut self, event: Event, ctx: &mut Ctx<Self>) {
        let is_decision = matches!(event, Event::Decide(_));
        self.upon_ruled(event, ctx);
        let mut effects = Vec::new();
        ctx.take_effects(&mut effects);
        for effect in effects {
            match &effect {
                Effect::Indicate(Indication::Block)
                    if is_decision && self.rule == Rule::NoFurtherFlush =>
                {
                    self.inner.phase = Phase::Open;
                    continue;
                }
                Effect::Indicate(Indication::Deliver(deliver))
                    if self.rule == Rule::KnownByContent =>
                {
                    if is_decision && self.contents.contains(&deliver.payload) {
                        continue;
                    }
                    self.contents.push(deliver.payload.clone());
                }
                _ => {}
            }
            ctx.trigger(effect);
        }
    }
}
