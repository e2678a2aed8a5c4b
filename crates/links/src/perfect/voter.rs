//! Who holds a seat, as frames tell it.
use super::framing::Malformed;
use bytes::{Buf, BufMut, BytesMut};
use quorate_core::Incarnation;

/// Who holds a seat.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Voter {
    pub incarnation: Incarnation,
    /// How many incarnations were adopted in the seat, this one included: of two the higher counts.
    pub number: u32,
}

/// Takes who holds a seat off the front.
pub fn take_voter(bytes: &mut impl Buf) -> Result<Voter, Malformed> {
    let voter = Voter {
        incarnation: Incarnation(bytes.try_get_u64_le()?),
        number: bytes.try_get_u32_le()?,
    };
    if voter.number < MOST_ADOPTIONS {
        Ok(voter)
    } else {
        Err(Malformed::Frame)
    }
}

/// Says who holds a seat, in [`VOTER`] bytes.
pub fn put_voter(voter: Voter, out: &mut BytesMut) {
    out.put_u64_le(voter.incarnation.0);
    out.put_u32_le(voter.number);
}

/// No seat has so many adoptions: who claims it is not believed.
pub const MOST_ADOPTIONS: u32 = 1 << 30;

/// How long a [`Voter`] is.
pub const VOTER: usize = 12;
