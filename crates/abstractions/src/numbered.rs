//! The requests and indications that have the same form in several abstractions: broadcasts take payloads and
//! deliver numbered payloads; consensus takes and decides the values of numbered instances.
//!
//! Each abstraction has types of its own, so that a layer which needs one does not compile on
//! another.

/// `Broadcast` and `Deliver` of one abstraction.
macro_rules! numbered_broadcast {
    () => {
        /// What is requested, and what is indicated.
        pub type Port = (Broadcast, Deliver);

        /// Requests a broadcast.
        #[derive(Clone, PartialEq, Eq, Debug)]
        pub struct Broadcast {
            /// The payload, opaque.
            pub payload: bytes::Bytes,
        }

        /// Indicates a delivery.
        #[derive(Clone, PartialEq, Eq, Debug)]
        pub struct Deliver {
            /// Whose broadcast this is, and its sequence number.
            pub id: quorate_core::MessageId,
            pub payload: bytes::Bytes,
        }

        impl quorate_core::Observe for Broadcast {
            fn observe(&self) -> quorate_core::Observation {
                let content = quorate_core::message::digest(&self.payload);
                quorate_core::Observation::request("Broadcast").digest(content)
            }
        }

        impl quorate_core::Observe for Deliver {
            fn observe(&self) -> quorate_core::Observation {
                let content = quorate_core::message::digest(&self.payload);
                quorate_core::Observation::indication("Deliver")
                    .message(self.id)
                    .digest(content)
            }
        }
    };
}

/// `Propose` and `Decide` of one abstraction.
macro_rules! numbered_consensus {
    () => {
        /// What is requested, and what is indicated.
        pub type Port = (Propose, Decide);

        /// Requests agreement on a value. Of each process, at most one proposal counts in an instance.
        #[derive(Clone, PartialEq, Eq, Debug)]
        pub struct Propose {
            /// The instance, counted from 1.
            pub instance: u64,
            /// The value, opaque.
            pub value: bytes::Bytes,
        }

        /// Indicates the decision of an instance. Instances may end in any order. A process that did not
        /// propose in the instance gets the decision, too.
        #[derive(Clone, PartialEq, Eq, Debug)]
        pub struct Decide {
            pub instance: u64,
            pub value: bytes::Bytes,
        }

        impl quorate_core::Observe for Propose {
            fn observe(&self) -> quorate_core::Observation {
                quorate_core::Observation::request("Propose")
                    .instance(self.instance)
                    .digest(quorate_core::message::digest(&self.value))
            }
        }

        impl quorate_core::Observe for Decide {
            fn observe(&self) -> quorate_core::Observation {
                quorate_core::Observation::indication("Decide")
                    .instance(self.instance)
                    .digest(quorate_core::message::digest(&self.value))
            }
        }
    };
}

pub(crate) use {numbered_broadcast, numbered_consensus};
