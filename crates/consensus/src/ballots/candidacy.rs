//! When a process asks to lead.
use super::Ballots;
use quorate_core::ProcessId;
use std::time::Duration;

/// A process that trusts itself and lost to another asks again after this time.
const FIRST_BACKOFF: Duration = Duration::from_millis(10);
/// The wait before asking again grows up to this.
const LONGEST_BACKOFF: Duration = Duration::from_secs(1);

/// The process that Ω trusts here, and its consequences for this process: it campaigns whenever it trusts
/// itself and neither leads nor campaigns. An open campaign is left alone, however long it takes: it ends by
/// promises or by a nack. After a nack there is a wait, so that two processes that both trust themselves do
/// not depose each other at the speed of the network.
#[derive(Debug)]
pub struct Candidacy {
    me: ProcessId,
    trusted: Option<ProcessId>,
    backoff: Duration,
    waits: bool,
}

impl Candidacy {
    /// A candidacy that trusts nobody yet.
    pub fn new(me: ProcessId) -> Self {
        Candidacy {
            me,
            trusted: None,
            backoff: FIRST_BACKOFF,
            waits: false,
        }
    }

    /// The process that Ω trusts, if it is not this one.
    pub fn other(&self) -> Option<ProcessId> {
        self.trusted.filter(|p| *p != self.me)
    }

    /// Ω trusts this process from now on.
    pub fn upon_trust<V: Clone + PartialEq>(&mut self, p: ProcessId, ballots: &mut Ballots<V>) {
        self.trusted = Some(p);
        self.campaign_if_idle(ballots);
    }

    /// Notes the process that Ω trusts, while there is nothing to lead yet.
    pub fn note_trust(&mut self, p: ProcessId) {
        self.trusted = Some(p);
    }

    /// There is something to lead now, or it has begun anew.
    pub fn upon_beginning<V: Clone + PartialEq>(&mut self, ballots: &mut Ballots<V>) {
        self.campaign_if_idle(ballots);
    }

    /// The wait is over.
    pub fn upon_retry<V: Clone + PartialEq>(&mut self, ballots: &mut Ballots<V>) {
        self.waits = false;
        self.campaign_if_idle(ballots);
    }

    /// This process leads now.
    pub fn upon_lead(&mut self) {
        self.backoff = FIRST_BACKOFF;
    }

    /// How long to wait before [`upon_retry`](Candidacy::upon_retry), if a wait is to begin now.
    pub fn wait<V: Clone + PartialEq>(&mut self, ballots: &Ballots<V>) -> Option<Duration> {
        if self.waits || !self.is_idle(ballots) {
            return None;
        }
        self.waits = true;
        let backoff = self.backoff;
        self.backoff = backoff.saturating_mul(2).min(LONGEST_BACKOFF);
        Some(backoff)
    }

    fn campaign_if_idle<V: Clone + PartialEq>(&self, ballots: &mut Ballots<V>) {
        if self.is_idle(ballots) {
            ballots.campaign();
        }
    }

    fn is_idle<V: Clone + PartialEq>(&self, ballots: &Ballots<V>) -> bool {
        self.trusted == Some(self.me) && !ballots.leads() && !ballots.campaigns()
    }
}
