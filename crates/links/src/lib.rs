//! Fair-loss, stubborn and perfect links, in lanes.
//!
//! | module | what it is | promises |
//! |---|---|---|
//! | [`quorate_abstractions::fair_loss`] | what an edge gives: datagrams that may get lost | FLL1–3 |
//! | [`fair_loss`] | links over it: each message is one datagram | FLL1–3 |
//! | [`stubborn`] | retransmission until cancelled | SL1–2 |
//! | [`eliminate_duplicates`] | the textbook's perfect link over it: number, acknowledge, deliver once | PL1–3 |
//! | [`perfect`] | the link that everything stands on | PL1–3 |
//!
//! The same perfect link also runs over a byte stream: an edge cuts the stream into datagrams, and reports
//! when it had to begin a new one.
pub mod eliminate_duplicates;
pub mod fair_loss;
pub mod perfect;
pub mod stubborn;
