//! Histories of operations on shared registers, and checks of what the registers promise.
//!
//! | module | what it holds |
//! |---|---|
//! | [`history`] | operations with the moments at which they begin and end; recording |
//! | [`linearizable`] | linearizability, by a memoised search (Wing, Gong and Lowe), register by register |
//! | [`single_writer`] | regular and atomic registers with one writer, by the index of the write |
//! | [`tags`] | the order of the writes as reported by an implementation, against real time |
//! | [`text`] | the text format of recorded histories |
//!
//! # Example
//! ```
//! use quorate_histories::{text, linearizable};
//!
//! let recorded = "\
//! 1 p1 invoke write \"x\" \"new\"
//! 2 p1 ok write \"x\" \"new\"
//! 3 p2 invoke read \"x\"
//! 4 p2 ok read \"x\" nil
//! ";
//! let history = text::parse(recorded)?;
//! let stale = linearizable::check(&history).unwrap_err();
//! assert!(stale.to_string().contains("read"));
//! # Ok::<(), quorate_histories::text::Malformed>(())
//! ```

pub mod history;
pub mod linearizable;
pub mod single_writer;
pub mod tags;
pub mod text;

pub use history::{Action, History, Operation, Tag};
