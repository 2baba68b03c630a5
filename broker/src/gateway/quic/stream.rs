//! Frames on QUIC streams: read one by one, written in batches.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use confab_protocol::limits::REQUEST_FRAME_BYTES_MAX;
use confab_protocol::{ErrorCode, Frame, FrameError, WireError};
use quinn::{RecvStream, SendStream};
use tokio::time::timeout;

use crate::session::FrameSource;
use crate::session::outbox::{Next, OutboxReader};

/// Pieces of a stream that are read at once.
const READ_CHUNKS: usize = 4;

/// Frames for which a writing half keeps memory while it has nothing to write.
const IDLE_BATCH_FRAMES: usize = 8;

/// Reads frames off a stream that the client opened.
pub(super) struct FrameReader {
    stream: RecvStream,
    /// Bytes that came but are not a whole frame yet.
    buffer: BytesMut,
}

impl FrameReader {
    pub(super) fn new(stream: RecvStream) -> Self {
        Self {
            stream,
            buffer: BytesMut::new(),
        }
    }

    /// Whether bytes have come that no frame took.
    pub(super) fn has_more(&self) -> bool {
        !self.buffer.is_empty()
    }

    /// Tells the client to send nothing more.
    pub(super) fn stop(&mut self, code: ErrorCode) {
        // Fails only when the stream has ended already.
        let _ = self.stream.stop(super::endpoint::close_code(code));
    }

    /// Reads what has come; `false` at the stream's end.
    async fn fill(&mut self) -> Result<bool, quinn::ReadError> {
        let mut chunks: [Bytes; READ_CHUNKS] = Default::default();
        let Some(count) = self.stream.read_chunks(&mut chunks).await? else {
            return Ok(false);
        };
        for chunk in &chunks[..count] {
            self.buffer.extend_from_slice(chunk);
        }
        Ok(true)
    }
}

impl FrameSource for FrameReader {
    async fn next_frame(&mut self) -> Result<Option<Frame>, WireError> {
        loop {
            match Frame::take(&mut self.buffer, REQUEST_FRAME_BYTES_MAX) {
                Ok(Some(frame)) => {
                    if self.buffer.is_empty() {
                        // An idle connection keeps no buffer.
                        self.buffer = BytesMut::new();
                    }
                    return Ok(Some(frame));
                }
                Ok(None) => {}
                Err(error) => return Err(refused(error)),
            }
            match self.fill().await {
                Ok(true) => {}
                Ok(false) if self.buffer.is_empty() => return Ok(None),
                Ok(false) => {
                    return Err(WireError::new(
                        ErrorCode::MalformedFrame,
                        "the stream ends inside a frame",
                    ));
                }
                // The connection or the stream is gone; quinn knows why.
                Err(_) => return Ok(None),
            }
        }
    }
}

/// What a client is told about bytes that are no frame.
fn refused(error: FrameError) -> WireError {
    let code = match error {
        FrameError::TooLarge { .. } => ErrorCode::FrameTooLarge,
        FrameError::TooShort { .. } => ErrorCode::MalformedFrame,
    };
    WireError::new(code, error.to_string())
}

/// How a writing half ended.
#[derive(Debug)]
pub(super) enum Written {
    /// All is written and the session ends for this reason.
    End(WireError),
    /// The client took nothing for too long.
    Stalled,
    /// The client is gone.
    Gone,
}

/// Writes what gathers in the outbox until the session ends. A batch is one
/// call into quinn, which keeps the shared bytes without copying them.
pub(super) async fn write_outbox(
    mut outbox: OutboxReader,
    stream: &mut SendStream,
    stall_timeout: Duration,
) -> Written {
    let mut batch = Vec::new();
    loop {
        batch.clear();
        if batch.capacity() > IDLE_BATCH_FRAMES {
            batch = Vec::new();
        }
        match outbox.next_batch(&mut batch).await {
            Next::Write => {}
            Next::End(reason) => return Written::End(reason),
        }
        match write_frames(stream, &mut batch, stall_timeout).await {
            Ok(()) => {}
            Err(Unwritten::Gone) => return Written::Gone,
            Err(Unwritten::Stalled) => return Written::Stalled,
        }
    }
}

/// Why frames could not be written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Unwritten {
    /// The client took nothing for too long.
    Stalled,
    /// The client, or its interest in the stream, is gone.
    Gone,
}

/// Writes frames in one call, or as few as the client's windows allow.
pub(super) async fn write_frames(
    stream: &mut SendStream,
    mut frames: &mut [Bytes],
    stall_timeout: Duration,
) -> Result<(), Unwritten> {
    while !frames.is_empty() {
        // Any byte taken is progress and starts the time anew.
        match timeout(stall_timeout, stream.write_chunks(frames)).await {
            Ok(Ok(written)) => frames = &mut frames[written.chunks..],
            Ok(Err(_)) => return Err(Unwritten::Gone),
            Err(_) => return Err(Unwritten::Stalled),
        }
    }
    Ok(())
}
