//! The connection that this process dials to one peer, and sends on.
use super::{Broken, MAGIC, PREAMBLE, Sender, set_up};
use crate::faults::Injected;
use bytes::{Buf, BufMut};
use quorate_core::{ProcessId, Time};
use std::{
    future::Future,
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

type Dialling = Pin<Box<dyn Future<Output = io::Result<TcpStream>> + Send>>;

enum State {
    /// Not connected; the time is that of the next attempt.
    Waiting(Time),
    /// Being dialled; the attempt ends at this time.
    Dialling(Dialling, Time),
    /// Open; the time is that of the last progress in writing.
    Open(TcpStream, Time),
}

/// The way to one peer.
pub(super) struct Outgoing {
    me: ProcessId,
    pub(super) peer: ProcessId,
    /// `None` if the address is not known yet.
    address: Option<SocketAddr>,
    state: State,
    back_off: Duration,
    /// The number of cuts for which the connection has been reset.
    pub(super) holes: u64,
}

impl Outgoing {
    pub(super) fn new(
        me: ProcessId,
        peer: ProcessId,
        address: Option<SocketAddr>,
        back_off: Duration,
    ) -> Self {
        Outgoing {
            me,
            peer,
            address,
            state: State::Waiting(Time::ZERO),
            back_off,
            holes: 0,
        }
    }

    /// The peer shows signs of life: the next attempt need not wait long.
    pub(super) fn hurry(&mut self, now: Time, first: Duration) {
        if let State::Waiting(at) = &mut self.state {
            *at = (*at).min(now + first);
            self.back_off = first;
        }
    }

    pub(super) fn deadline(&self) -> Option<Time> {
        match &self.state {
            State::Waiting(_) if self.address.is_none() => None,
            State::Waiting(at) | State::Dialling(_, at) => Some(*at),
            State::Open(..) => None,
        }
    }

    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        now: Time,
        sender: &Sender,
        injected: &Injected,
    ) -> bool {
        match &mut self.state {
            State::Waiting(at) if now < *at => false,
            State::Waiting(_) => {
                let Some(address) = self.address else {
                    return false;
                };
                let dialling = Box::pin(TcpStream::connect(address));
                self.state = State::Dialling(dialling, now + sender.settings.silence);
                true
            }
            State::Dialling(dialling, until) => match dialling.as_mut().poll(cx) {
                Poll::Ready(Ok(stream)) => {
                    self.open(stream, now, sender, injected);
                    true
                }
                Poll::Pending if now < *until => false,
                Poll::Pending | Poll::Ready(Err(_)) => {
                    self.wait(now, sender);
                    true
                }
            },
            State::Open(stream, moved) => {
                let written = Self::write(stream, moved, self.peer, cx, now, sender);
                if written.is_err() {
                    self.close(now, sender);
                }
                written != Ok(false)
            }
        }
    }

    fn open(&mut self, stream: TcpStream, now: Time, sender: &Sender, injected: &Injected) {
        set_up(&stream, sender.settings.silence);
        if let Some(mut outbox) = sender.outbox(self.peer.index()) {
            outbox.open = true;
            outbox.bytes.clear();
            outbox.bytes.reserve(PREAMBLE);
            outbox.bytes.put_slice(MAGIC);
            outbox.bytes.put_u8(self.me.rank() as u8);
        }
        self.state = State::Open(stream, now);
        self.back_off = sender.settings.back_off.0;
        sender.counts.connected.add(1);
        injected.reopened(self.peer);
    }

    fn close(&mut self, now: Time, sender: &Sender) {
        if let Some(mut outbox) = sender.outbox(self.peer.index()) {
            outbox.open = false;
            outbox.bytes.clear();
        }
        sender.counts.disconnected.add(1);
        self.wait(now, sender);
    }

    /// Closes an open connection, and dials another one at once.
    pub(super) fn reset(&mut self, now: Time, sender: &Sender) {
        if matches!(self.state, State::Open(..)) {
            self.close(now, sender);
            self.state = State::Waiting(now);
        }
    }

    /// The peer has this address from now on, and is dialled at once.
    pub(super) fn move_to(&mut self, address: SocketAddr, now: Time, sender: &Sender) {
        self.address = Some(address);
        if matches!(self.state, State::Open(..)) {
            self.close(now, sender);
        }
        self.state = State::Waiting(now);
        self.back_off = sender.settings.back_off.0;
    }

    /// Waits for a random time from half of the backoff to all of it, and doubles the backoff.
    fn wait(&mut self, now: Time, sender: &Sender) {
        let pause = self.back_off.mul_f64(0.5 + 0.5 * rand::random::<f64>());
        self.state = State::Waiting(now + pause);
        self.back_off = (self.back_off * 2).min(sender.settings.back_off.1);
    }

    fn write(
        stream: &mut TcpStream,
        moved: &mut Time,
        peer: ProcessId,
        cx: &mut Context<'_>,
        now: Time,
        sender: &Sender,
    ) -> Result<bool, Broken> {
        Self::listen(stream, cx)?;
        let Some(mut outbox) = sender.outbox(peer.index()) else {
            return Err(Broken);
        };
        if outbox.bytes.is_empty() {
            *moved = now;
            return Ok(false);
        }
        let mut progress = false;
        while !outbox.bytes.is_empty() {
            match Pin::new(&mut *stream).poll_write(cx, &outbox.bytes) {
                Poll::Ready(Ok(written)) if written > 0 => {
                    outbox.bytes.advance(written);
                    *moved = now;
                    progress = true;
                }
                Poll::Ready(_) => return Err(Broken),
                Poll::Pending if now.since(*moved) > sender.settings.silence => {
                    sender.counts.stalled.add(1);
                    return Err(Broken);
                }
                Poll::Pending => break,
            }
        }
        Ok(progress)
    }

    /// The peer sends nothing on this connection: only its end can be read.
    fn listen(stream: &mut TcpStream, cx: &mut Context<'_>) -> Result<(), Broken> {
        let mut byte = [0];
        match Pin::new(stream).poll_read(cx, &mut ReadBuf::new(&mut byte)) {
            Poll::Pending => Ok(()),
            Poll::Ready(_) => Err(Broken),
        }
    }
}
