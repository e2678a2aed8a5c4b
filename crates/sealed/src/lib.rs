//! Authenticated links: identities, sessions between them, and sealed datagrams.
//!
//! | module | what it holds |
//! |---|---|
//! | [`keys`] | the secret of a process, its identity, signed statements |
//! | [`settings`] | what the layer is given |
//! | [`layer`] | the layer between an edge and the perfect link |
//! | [`peers`] | the same as a state machine without an actor: all sessions of one process |
//! | [`frame`] | the layout of datagrams |
//!
//! Nothing here knows a socket or a clock, and every random byte comes from the context.
//!
//! # Wiring
//!
//! ```
//! use quorate_abstractions::{addressed::over, fair_loss};
//! use quorate_core::{Host, Layer};
//! use quorate_links::perfect::{LinkSettings, PerfectLinks, claimed_sender};
//! use quorate_sealed::{Settings, layer};
//!
//! # fn wire<H: Host>(host: &H, edge: impl Layer<fair_loss::Port>, sealed: Settings) {
//! let usual = LinkSettings::default();
//! let datagram = usual.datagram - layer::SHORTER;
//! let links = PerfectLinks::new(host, LinkSettings { datagram, ..usual });
//! // The lanes are opened here; then their names are known, which `Settings::agreed` needs.
//! let sealed = Settings { claims: claimed_sender, ..sealed };
//! let (below, _change, _news) = layer::spawn(&host.at("sealed"), sealed, over(edge), links.arrivals());
//! assert!(links.start(below).is_ok());
//! # }
//! ```
//!
//! # The pattern
//!
//! Both know each other's identity beforehand, so that IK and KK of the Noise patterns would do: both take one round
//! trip and the same number of key agreements. IK is used, because it names the sender's identity inside the
//! handshake. With KK the receiver would have to try each identity that is listed for a seat while keys are replaced,
//! and each try costs key agreements that a stranger can cause. And who only listens does not learn which identity
//! speaks.
//!
//! # The crates
//!
//! - *Handshake:* snow 0.10, rather than code of our own: it is kept, its keys take explicit counters, and its generator
//!   and its ciphers can be replaced.
//! - *Cipher:* AES-256-GCM by ring 0.17, whose keys are expanded once a session. ChaCha20-Poly1305 and AES-GCM of snow's
//!   own resolver set up their keys for each datagram. For 1 KiB it takes a fifth of the time where the processor has
//!   instructions for AES; where it has none, it is slower, and still takes the same time for all content.
//! - *Keys:* x25519-dalek 2 and ed25519-dalek 2, not 3: they stand on the curve25519-dalek of snow, so that there is no
//!   second copy.
//! - *Codes and derivation:* blake3, its portable code, rather than HKDF with SHA-2: one primitive for keyed hashes and
//!   for keys under domain strings.
//! - *Comparison:* subtle, which takes the same time wherever the difference is. *Overwriting:* zeroize.
//!
//! Licences are MIT, Apache-2.0 and BSD-3-Clause. snow does not overwrite the keys of sessions when they end.
mod address;
mod attempt;
mod budget;
mod cipher;
mod cookie;
pub mod frame;
pub mod keys;
pub mod layer;
pub mod mutant;
mod noise;
mod peer;
pub mod peers;
mod session;
pub mod settings;
pub mod step;
mod window;

pub use keys::{Identity, Secret};
pub use settings::{Agreed, Limits, Settings};
