//! Frames: what travels on a stream, a datagram or in a WebSocket message.
//!
//! ```text
//! len: u32 LE | kind: u16 LE | request: u32 LE | body: len - 6 bytes
//! ```
//! `len` counts what follows it. `request` ties an answer to its request; it is
//! 0 in what the server pushes. The kind says what the body is; a kind that a
//! peer does not know is skipped by its length, so kinds can be added.

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Bytes of `kind` and `request`, which `len` counts.
pub const HEADER_BYTES: usize = 6;

/// Bytes of `len`.
pub const LENGTH_BYTES: usize = 4;

/// A frame whose body has not been looked at.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Frame {
    /// What the body is.
    pub kind: u16,
    /// The request that this asks or answers; 0 for a push.
    pub request: u32,
    /// The encoded body.
    pub body: Bytes,
}

/// Why a stream's bytes are not frames. The stream cannot be read further.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum FrameError {
    /// The frame is longer than this side accepts.
    #[error("a frame of {len} bytes is over the limit of {max}")]
    TooLarge {
        /// What the length field says.
        len: usize,
        /// What is allowed.
        max: usize,
    },
    /// The length field leaves no room for a header.
    #[error("a frame of {len} bytes has no room for its header")]
    TooShort {
        /// What the length field says.
        len: usize,
    },
}

impl Frame {
    /// Takes the next whole frame off the front of `buffer`, or `None` when
    /// more bytes are needed.
    ///
    /// # Errors
    /// [`FrameError`] as soon as the length field is there, before its bytes are.
    pub fn take(buffer: &mut BytesMut, frame_bytes_max: usize) -> Result<Option<Self>, FrameError> {
        let Some(len) = checked_len(buffer, frame_bytes_max)? else {
            return Ok(None);
        };
        if buffer.len() < LENGTH_BYTES + len {
            // Nothing is reserved: four bytes that promise a large frame must
            // not cost its memory before the frame comes.
            return Ok(None);
        }
        buffer.advance(LENGTH_BYTES);
        Ok(Some(Self::split(buffer.split_to(len).freeze())))
    }

    /// Takes the next frame off the front of a message that holds whole frames
    /// only (a datagram, a WebSocket message); `None` at its end.
    ///
    /// # Errors
    /// [`FrameError`]; a frame that is cut off is `TooLarge` for what is left.
    pub fn take_whole(
        message: &mut Bytes,
        frame_bytes_max: usize,
    ) -> Result<Option<Self>, FrameError> {
        if message.is_empty() {
            return Ok(None);
        }
        let Some(len) = checked_len(message, frame_bytes_max)? else {
            return Err(FrameError::TooShort { len: message.len() });
        };
        if message.len() < LENGTH_BYTES + len {
            return Err(FrameError::TooLarge {
                len,
                max: message.len() - LENGTH_BYTES,
            });
        }
        message.advance(LENGTH_BYTES);
        Ok(Some(Self::split(message.split_to(len))))
    }

    fn split(mut bytes: Bytes) -> Self {
        let kind = bytes.get_u16_le();
        let request = bytes.get_u32_le();
        Self {
            kind,
            request,
            body: bytes,
        }
    }

    /// The frame's bytes, length included.
    #[must_use]
    pub fn to_bytes(&self) -> Bytes {
        let mut buffer = Vec::with_capacity(LENGTH_BYTES + HEADER_BYTES + self.body.len());
        buffer.put_u32_le(u32::try_from(HEADER_BYTES + self.body.len()).unwrap_or(u32::MAX));
        buffer.put_u16_le(self.kind);
        buffer.put_u32_le(self.request);
        buffer.extend_from_slice(&self.body);
        Bytes::from(buffer)
    }
}

fn checked_len(bytes: &[u8], frame_bytes_max: usize) -> Result<Option<usize>, FrameError> {
    let Some(prefix) = bytes.first_chunk::<LENGTH_BYTES>() else {
        return Ok(None);
    };
    let len = u32::from_le_bytes(*prefix) as usize;
    if len > frame_bytes_max {
        return Err(FrameError::TooLarge {
            len,
            max: frame_bytes_max,
        });
    }
    if len < HEADER_BYTES {
        return Err(FrameError::TooShort { len });
    }
    Ok(Some(len))
}

/// Encodes a body as a whole frame, length included, in one allocation.
#[must_use]
pub(crate) fn encode_frame<T: crate::codec::Encode>(kind: u16, request: u32, body: &T) -> Bytes {
    let mut buffer = Vec::with_capacity(128);
    buffer.put_u32_le(0);
    buffer.put_u16_le(kind);
    buffer.put_u32_le(request);
    crate::codec::encode_into(body, &mut buffer);
    let len = u32::try_from(buffer.len() - LENGTH_BYTES).unwrap_or(u32::MAX);
    buffer[..LENGTH_BYTES].copy_from_slice(&len.to_le_bytes());
    Bytes::from(buffer)
}

#[cfg(test)]
mod tests {
    use super::{Frame, FrameError};
    use bytes::{Bytes, BytesMut};

    fn frame(kind: u16, body: &'static [u8]) -> Frame {
        Frame {
            kind,
            request: 7,
            body: Bytes::from_static(body),
        }
    }

    /// Frames come off a stream whole, however the network cut them.
    #[test]
    fn frames_survive_any_cut() {
        let frames = [frame(1, b"one"), frame(2, b""), frame(3, b"three")];
        let stream: Vec<u8> = frames.iter().flat_map(|f| f.to_bytes().to_vec()).collect();
        for cut in 1..stream.len() {
            let mut buffer = BytesMut::new();
            let mut seen = Vec::new();
            for part in stream.chunks(cut) {
                buffer.extend_from_slice(part);
                while let Some(next) = Frame::take(&mut buffer, 1_000).expect("valid frames") {
                    seen.push(next);
                }
            }
            assert_eq!(seen, frames);
        }
    }

    /// A length over the limit is refused at once, not after its bytes came.
    #[test]
    fn a_large_frame_is_refused_by_its_length() {
        let mut buffer = BytesMut::from(&[255u8, 255, 0, 0][..]);
        assert_eq!(
            Frame::take(&mut buffer, 1_000),
            Err(FrameError::TooLarge {
                len: 65_535,
                max: 1_000
            })
        );
    }

    #[test]
    fn a_message_that_ends_inside_a_frame_is_refused() {
        let mut message = frame(1, b"whole").to_bytes();
        message.truncate(12);
        assert!(Frame::take_whole(&mut message, 1_000).is_err());
        let mut message = Bytes::from_static(&[1, 0]);
        assert!(Frame::take_whole(&mut message, 1_000).is_err());
    }
}
