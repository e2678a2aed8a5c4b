//! The keys that two processes have agreed on in one handshake, with the counters under them.
use crate::{
    frame::{Index, OVERHEAD, put_sealed},
    keys::Identity,
    mutant::{Mutant, Rules},
    noise::Keys,
    window::Window,
};
use bytes::{BufMut, Bytes, BytesMut};
use quorate_core::{Incarnation, Time, message::digest};

const DATA: u8 = 0;
const CONFIRM: u8 = 1;
const CHALLENGE: u8 = 2;
const ANSWER: u8 = 3;

/// The longest content of a sealed datagram: what Noise can seal, and what UDP can carry.
pub const LONGEST: usize = 65_507 - OVERHEAD;

/// What is sealed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Content {
    /// A datagram of the layer above.
    Data(Bytes),
    /// The sender has these keys.
    Confirm,
    /// Whoever is at this address is to answer with the same number.
    Challenge(u64),
    Answer(u64),
}

/// Why a datagram was not opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refused {
    /// Who sealed it does not have the keys.
    Forged,
    /// It has arrived before, or is too old to tell.
    Repeated,
    /// Its sealer has the keys, and has sealed something else than a content.
    Malformed,
}

/// A session.
pub struct Session {
    keys: Keys,
    /// Under which its datagrams arrive here.
    pub mine: Index,
    pub theirs: Index,
    /// The start of the peer.
    pub incarnation: Incarnation,
    /// The one that the peer has proven, of those that are listed for its seat.
    pub identity: Identity,
    /// Whether this process has begun the handshake.
    pub began: bool,
    pub made: Time,
    counter: u64,
    window: Window,
}

impl Session {
    /// A session of which nothing was sent yet.
    pub fn new(
        keys: Keys,
        (mine, theirs): (Index, Index),
        incarnation: Incarnation,
        identity: Identity,
        began: bool,
        made: Time,
    ) -> Session {
        Session {
            keys,
            mine,
            theirs,
            incarnation,
            identity,
            began,
            made,
            counter: 0,
            window: Window::default(),
        }
    }

    /// How many datagrams were sealed.
    pub fn sealed(&self) -> u64 {
        self.counter
    }

    /// Appends the sealed datagram to `out`. The counter is the session's own: the same content twice is two
    /// different datagrams (M-E1). `false` if it is too long, or the counters are used up.
    pub fn seal(&mut self, content: &Content, rules: Rules, out: &mut BytesMut) -> bool {
        let length = match content {
            Content::Data(bytes) => bytes.len(),
            Content::Confirm => 0,
            Content::Challenge(_) | Content::Answer(_) => 8,
        };
        let mut counter = self.counter;
        if let (Content::Data(bytes), true) = (content, rules.are_changed(Mutant::CounterFromAbove))
        {
            counter = digest(bytes);
        }
        if length > LONGEST || counter == u64::MAX {
            return false;
        }
        out.reserve(OVERHEAD + length);
        let start = out.len();
        put_sealed(out, self.theirs, counter);
        let head = out.len();
        match content {
            Content::Data(bytes) => {
                out.put_u8(DATA);
                out.put_slice(bytes);
            }
            Content::Confirm => out.put_u8(CONFIRM),
            Content::Challenge(number) => {
                out.put_u8(CHALLENGE);
                out.put_u64_le(*number);
            }
            Content::Answer(number) => {
                out.put_u8(ANSWER);
                out.put_u64_le(*number);
            }
        }
        let Some(tag) = self.keys.seal(counter, &mut out[head..]) else {
            out.truncate(start);
            return false;
        };
        out.put_slice(&tag);
        self.counter += 1;
        true
    }

    /// Opens a datagram, and says whether its counter is the highest so far. The window is checked and moved only
    /// after the tag (M-E2).
    pub fn open(
        &mut self,
        counter: u64,
        ciphertext: &Bytes,
        rules: Rules,
    ) -> Result<(Content, bool), Refused> {
        if rules.are_changed(Mutant::WindowBeforeTag) {
            if !self.window.is_fresh(counter) {
                return Err(Refused::Repeated);
            }
            self.window.accept(counter);
        }
        let (content, tag) = ciphertext.split_last_chunk().ok_or(Refused::Malformed)?;
        let mut clear = BytesMut::from(content);
        if !self.keys.open(counter, &mut clear, *tag) {
            return Err(Refused::Forged);
        }
        let is_checked =
            rules.are_changed(Mutant::WindowBeforeTag) || rules.are_changed(Mutant::NoWindow);
        if !is_checked && !self.window.is_fresh(counter) {
            return Err(Refused::Repeated);
        }
        let is_highest = self.window.is_highest(counter);
        if !is_checked {
            self.window.accept(counter);
        }
        let content = decode(clear.freeze()).ok_or(Refused::Malformed)?;
        Ok((content, is_highest))
    }
}

fn decode(mut clear: Bytes) -> Option<Content> {
    let kind = clear.first().copied()?;
    let rest = clear.split_off(1);
    let number = || Some(u64::from_le_bytes(rest[..].try_into().ok()?));
    match kind {
        DATA => Some(Content::Data(rest)),
        CONFIRM => rest.is_empty().then_some(Content::Confirm),
        CHALLENGE => number().map(Content::Challenge),
        ANSWER => number().map(Content::Answer),
        _ => None,
    }
}
