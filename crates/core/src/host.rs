//! Where algorithms live, and how they are stacked.
use crate::{
    algorithm::Algorithm,
    counters::Counters,
    mailbox::{Addr, Mailbox},
    name::Name,
    observe::Observe,
    ports::Port,
    process::{Incarnation, Membership, ProcessId},
};

/// Where the algorithms of one process live: it makes mailboxes, runs algorithms and keeps time.
///
/// Cloning is cheap and gives another handle on the same process.
pub trait Host: Clone + Send + 'static {
    /// The process that this host runs.
    fn me(&self) -> ProcessId;

    /// The incarnation of the process.
    fn incarnation(&self) -> Incarnation;

    /// Π.
    fn processes(&self) -> &Membership;

    /// The process's counters.
    fn counters(&self) -> &Counters;

    /// The path under which this handle names modules.
    fn path(&self) -> &Name;

    /// The same process, with modules named below `segment`.
    #[must_use]
    fn at(&self, segment: &str) -> Self;

    /// Makes a mailbox. A module makes its own mailbox before those of the layers below it. The order in
    /// which mailboxes are made decides which algorithm runs first (see the documentation of each host).
    fn mailbox<E: Observe + Send + 'static>(&self) -> Mailbox<E>;

    /// Starts an algorithm, named by [`path`](Host::path): from now on it handles what enters the
    /// mailbox, and `route` gets its effects, in order.
    fn start<A: Algorithm>(
        &self,
        mailbox: Mailbox<A::Event>,
        algorithm: A,
        route: impl FnMut(A::Effect) + Send + 'static,
    );
}

/// A lower layer that is still to be joined to the one above: give it the address for its
/// indications, get the address for its requests.
///
/// Every `FnOnce(Addr<Indication>) -> Addr<Request>` is one.
pub trait Layer<P: Port> {
    /// Joins the layer to the one above.
    fn attach(self, up: Addr<P::Indication>) -> Addr<P::Request>;
}

impl<F, P: Port> Layer<P> for F
where
    F: FnOnce(Addr<P::Indication>) -> Addr<P::Request>,
{
    fn attach(self, up: Addr<P::Indication>) -> Addr<P::Request> {
        self(up)
    }
}
