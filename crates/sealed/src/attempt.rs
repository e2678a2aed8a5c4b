//! A handshake that this process has begun, and the answer to one that a peer has begun.
use crate::{
    cookie::{Code, CodeKeys, PairKeys, same},
    frame::{CODE, INITIATE_LENGTH, Index, Respond},
    keys::Identity,
    noise::Begun,
    peer::Listed,
    session::Session,
};
use bytes::{BufMut, Bytes, BytesMut};
use quorate_core::Time;

/// How often one INITIATE is sent before the handshake begins anew, with the next identity of the peer.
pub const TRIES: u32 = 4;
/// While it was sent less often than this, a handshake that the peer of a higher seat begins does not count.
pub const PRECEDENCE: u32 = 3;
/// How often new cookies make it leave at once.
const RETRIES: u32 = 3;

/// A handshake that waits for its answer.
pub struct Attempt {
    pub begun: Begun,
    pub index: Index,
    pub identity: Identity,
    /// The datagram up to its first code.
    body: Bytes,
    /// The keys of the peer's codes.
    codes: CodeKeys,
    pair: PairKeys,
    /// The cookie of the last transmission.
    cookie: Option<Code>,
    pub tries: u32,
    retries: u32,
    pub due: Time,
}

impl Attempt {
    /// A handshake of which nothing was sent yet.
    pub fn new(begun: Begun, index: Index, listed: Listed, body: Bytes) -> Self {
        let Listed {
            identity,
            codes,
            pair,
        } = listed;
        Attempt {
            begun,
            index,
            identity,
            body,
            codes,
            pair,
            cookie: None,
            tries: 0,
            retries: 0,
            due: Time::ZERO,
        }
    }

    /// The INITIATE.
    pub fn datagram(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(INITIATE_LENGTH);
        out.put_slice(&self.body);
        out.put_slice(&self.codes.first(&self.body));
        let last = self
            .cookie
            .map_or([0; CODE], |cookie| self.pair.second(&cookie, &out));
        out.put_slice(&last);
        out.freeze()
    }

    /// Takes a cookie that answers this INITIATE, and says whether to send it again at once.
    pub fn retry(&mut self, cookie: Code, codes: &[Code]) -> bool {
        let question = self.codes.first(&self.body);
        let right = self.pair.retry(&cookie, &question);
        let is_answer = codes.iter().any(|code| same(code, &right));
        if !is_answer || self.cookie == Some(cookie) || self.retries == RETRIES {
            return false;
        }
        self.cookie = Some(cookie);
        self.retries += 1;
        true
    }
}

impl Attempt {
    /// Whether this is an answer of the peer, as its code says. What it carries may still be wrong.
    pub fn admits(&self, respond: &Respond) -> bool {
        same(&self.pair.respond(&respond.body()), &respond.code)
    }
}

/// A session that waits for the peer to use it.
pub struct Answered {
    pub session: Session,
    /// The number of the handshake, among those of the peer's start.
    pub number: u64,
    /// The INITIATE, without its codes.
    pub question: Bytes,
    /// The RESPOND.
    pub datagram: Bytes,
    pub path: quorate_abstractions::addressed::Path,
    /// Whether it was repeated unasked: once, so that all answers together are shorter than the question.
    pub repeated: bool,
    pub due: Time,
}
