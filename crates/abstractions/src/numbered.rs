//! The requests and indications that most broadcasts share: payloads in, numbered payloads out.
//!
//! Each abstraction has types of its own, so that a layer which needs one does not compile on
//! another.

/// `Broadcast` and `Deliver` of one abstraction.
macro_rules! numbered_broadcast {
    () => {
        /// Requests a broadcast.
        #[derive(Clone, PartialEq, Eq, Debug)]
        pub struct Broadcast {
            /// The payload, opaque.
            pub payload: bytes::Bytes,
        }

        /// Indicates a delivery.
        #[derive(Clone, PartialEq, Eq, Debug)]
        pub struct Deliver {
            /// Whose how-manieth broadcast this is.
            pub id: quorate_core::MessageId,
            /// The payload.
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

pub(crate) use numbered_broadcast;
