//! Confab's wire format: frames, messages, ids, positions, error codes, limits.
//!
//! Pure: no I/O, no clock, no randomness. The gateways, the client SDK and the
//! browser's wasm client all speak through this crate; `docs/protocol.md`
//! describes the same bytes for people who write another client.
//!
//! Not here: what a message *means* (that is `confab-core`) and how bytes
//! travel (that is a gateway or a transport).

pub mod codec;
pub mod error;
pub mod frame;
pub mod id;
pub mod limits;
pub mod message;
pub mod position;

pub use codec::{CodecError, Packed, Text};
pub use error::{ErrorCode, WireError};
pub use frame::{Frame, FrameError};
pub use id::{
    ChannelId, ChannelKind, ClientMessageId, DepartmentId, DeviceId, Emoji, InvalidId, MessageId,
    ProjectId, UserId,
};
pub use position::{Epoch, Offset, Position, Sequence};

/// The ALPN protocol name of a client's QUIC connection.
pub const ALPN: &[u8] = b"confab/1";

/// The oldest and newest protocol version that this build speaks.
pub const PROTOCOL_VERSIONS: std::ops::RangeInclusive<u16> = 1..=1;
