//! QUIC: how the client's frames travel. The only place that knows quinn.
//!
//! One connection at a time. S0, the first stream, carries requests, answers and
//! live events in order; each bulk request has a stream of its own; typing goes
//! in datagrams. The driver polls all of it from its one task. Not here: when to
//! connect, and what the frames say.

mod bulk;
mod dial;
mod tls;

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use confab_protocol::limits::{DATAGRAM_BYTES_MAX, SERVER_FRAME_BYTES_MAX};
use confab_protocol::{ErrorCode, Frame, Text, WireError};
use quinn::{ConnectionError, VarInt};

use crate::core::{DownReason, HandshakeFault, Lane};

pub(crate) use bulk::BulkStream;
pub(crate) use dial::Dialer;
pub(crate) use tls::{TlsConfig, TlsError};

/// Most bytes that one read takes off S0.
const READ_BYTES_MAX: usize = 64 << 10;

/// Most chunks that one write hands to quinn.
const WRITE_CHUNKS_MAX: usize = 64;

/// What happened on a connection.
#[derive(Debug)]
pub(crate) enum TransportEvent {
    /// Whole frames came.
    Frames(Lane, Vec<Frame>),
    /// S0 took so many bytes.
    Written(usize),
    /// It is over.
    Down(DownReason),
}

/// A connection with its S0.
#[derive(Debug)]
pub(crate) struct Transport {
    connection: quinn::Connection,
    send: quinn::SendStream,
    receive: quinn::RecvStream,
    received: BytesMut,
    /// What S0 has not taken; bounded by the core's send window.
    unsent: VecDeque<Bytes>,
}

impl Transport {
    /// Queues a frame for S0.
    pub(crate) fn send(&mut self, bytes: Bytes) {
        self.unsent.push_back(bytes);
    }

    /// Sends a frame as a datagram, or on S0 where that cannot be.
    pub(crate) fn send_ephemeral(&mut self, bytes: Bytes) {
        if bytes.len() > DATAGRAM_BYTES_MAX || self.connection.send_datagram(bytes.clone()).is_err()
        {
            self.send(bytes);
        }
    }

    /// What a bulk request needs, to go its own way.
    pub(crate) fn bulk(&self) -> BulkStream {
        BulkStream::new(self.connection.clone())
    }

    /// Closes the connection; what was not sent is lost.
    pub(crate) fn close(&self, code: Option<ErrorCode>) {
        let number = code.map_or(0, ErrorCode::number);
        self.connection.close(VarInt::from(number), b"");
    }

    /// The next thing that happens. Cancel-safe: nothing is lost when the future
    /// is dropped.
    pub(crate) async fn next(&mut self) -> TransportEvent {
        let unsent = self.unsent.make_contiguous();
        let chunks = unsent.len().min(WRITE_CHUNKS_MAX);
        tokio::select! {
            chunk = self.receive.read_chunk(READ_BYTES_MAX, true) => match chunk {
                Ok(Some(chunk)) => {
                    self.received.extend_from_slice(&chunk.bytes);
                    take_frames(&mut self.received)
                }
                // A server ends S0 only with the connection.
                Ok(None) => self.down(DownReason::Lost),
                Err(quinn::ReadError::ConnectionLost(error)) => TransportEvent::Down(down_reason(error)),
                Err(_) => self.down(DownReason::BrokenProtocol),
            },
            written = self.send.write_chunks(&mut unsent[..chunks]), if chunks > 0 => match written {
                Ok(written) => {
                    self.unsent.drain(..written.chunks);
                    TransportEvent::Written(written.bytes)
                }
                Err(quinn::WriteError::ConnectionLost(error)) => TransportEvent::Down(down_reason(error)),
                Err(_) => self.down(DownReason::BrokenProtocol),
            },
            datagram = self.connection.read_datagram() => match datagram {
                Ok(datagram) => datagram_frames(datagram),
                Err(error) => TransportEvent::Down(down_reason(error)),
            },
        }
    }

    /// S0 failed: the server may have said why on the connection.
    fn down(&self, otherwise: DownReason) -> TransportEvent {
        let reason = self
            .connection
            .close_reason()
            .map_or(otherwise, down_reason);
        TransportEvent::Down(reason)
    }
}

impl Drop for Transport {
    fn drop(&mut self) {
        // Does nothing when it was closed with a code before.
        self.close(None);
    }
}

fn take_frames(received: &mut BytesMut) -> TransportEvent {
    let mut frames = Vec::new();
    loop {
        match Frame::take(received, SERVER_FRAME_BYTES_MAX) {
            Ok(Some(frame)) => frames.push(frame),
            Ok(None) => return TransportEvent::Frames(Lane::Control, frames),
            Err(_) => return TransportEvent::Down(DownReason::BrokenProtocol),
        }
    }
}

/// A datagram that is damaged is ignored like one that was lost.
fn datagram_frames(mut datagram: Bytes) -> TransportEvent {
    let mut frames = Vec::new();
    while let Ok(Some(frame)) = Frame::take_whole(&mut datagram, DATAGRAM_BYTES_MAX) {
        frames.push(frame);
    }
    TransportEvent::Frames(Lane::Ephemeral, frames)
}

/// What a QUIC connection's end means to the core.
fn down_reason(error: ConnectionError) -> DownReason {
    match error {
        ConnectionError::ApplicationClosed(close) if close.error_code != VarInt::from_u32(0) => {
            let number = u16::try_from(close.error_code.into_inner()).unwrap_or(u16::MAX);
            let message = String::from_utf8_lossy(&close.reason).into_owned();
            let code = ErrorCode::from_number(number);
            DownReason::Server(WireError::new(code, Text::from(message)))
        }
        ConnectionError::TransportError(error) => handshake_or_lost(error.code),
        ConnectionError::ConnectionClosed(close) => handshake_or_lost(close.error_code),
        _ => DownReason::Lost,
    }
}

/// RFC 9001, section 4.8: a TLS alert is a QUIC error of 0x100 and the alert.
fn handshake_or_lost(code: quinn::TransportErrorCode) -> DownReason {
    let number = u64::from(code);
    match u8::try_from(number & 0xff) {
        Ok(alert) if number >> 8 == 1 => DownReason::Handshake(HandshakeFault::from_alert(alert)),
        _ => DownReason::Lost,
    }
}
