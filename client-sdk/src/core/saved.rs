//! What a client must keep to go on exactly where a stopped process was.

use std::collections::BTreeMap;

use confab_protocol::codec::{Packed, decode, encode};
use confab_protocol::message::channel::Post;
use confab_protocol::message::session::ChannelPosition;
use confab_protocol::{ChannelId, CodecError, DeviceId, Position, Sequence};

/// The first byte of a saved state: the version of what follows.
const VERSION: u8 = 1;

/// Positions, the next sequence, and messages that were not acknowledged.
///
/// The core saves how far it has *handed out* events. A service that must act on
/// each event once keeps the [`Position`] of the last event that it acted on
/// together with its own data, and puts it in with [`SavedState::set_position`].
#[derive(Clone, Debug, PartialEq)]
pub struct SavedState {
    pub(crate) device: DeviceId,
    pub(crate) next_sequence: Sequence,
    /// Whether every channel of the user is in `positions`: then a channel that
    /// is not is new to the user.
    pub(crate) complete: bool,
    pub(crate) positions: BTreeMap<ChannelId, Position>,
    pub(crate) posts: Vec<Post>,
}

/// Why bytes are not a saved state: start without one.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum SavedStateError {
    /// Another version of the SDK wrote it.
    #[error("the saved state has version {0}, this client reads {VERSION}")]
    Version(u8),
    /// The bytes are damaged.
    #[error("the saved state is damaged: {0}")]
    Damaged(#[from] CodecError),
    /// There are no bytes.
    #[error("the saved state is empty")]
    Empty,
}

/// Device, next sequence, complete, positions, posts.
type Stored = (
    DeviceId,
    Sequence,
    bool,
    Packed<ChannelPosition>,
    Packed<Post>,
);

impl SavedState {
    /// The state of a device that has nothing yet.
    #[must_use]
    pub const fn new(device: DeviceId) -> Self {
        Self {
            device,
            next_sequence: Sequence(0),
            complete: false,
            positions: BTreeMap::new(),
            posts: Vec::new(),
        }
    }

    /// The device that the state is of.
    #[must_use]
    pub const fn device(&self) -> &DeviceId {
        &self.device
    }

    /// Up to where each channel was heard.
    pub fn positions(&self) -> impl Iterator<Item = (&ChannelId, Position)> {
        self.positions.iter().map(|(channel, at)| (channel, *at))
    }

    /// Says up to where a channel has been dealt with; its next event is the one after.
    pub fn set_position(&mut self, channel: ChannelId, position: Position) {
        self.positions.insert(channel, position);
    }

    /// Messages that were not acknowledged; they will be sent again.
    #[must_use]
    pub fn posts(&self) -> &[Post] {
        &self.posts
    }

    /// The state as bytes, to be kept in a file or a database.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let positions = self.positions.iter().map(|(channel, at)| ChannelPosition {
            channel: channel.clone(),
            position: *at,
        });
        let stored: Stored = (
            self.device.clone(),
            self.next_sequence,
            self.complete,
            positions.collect(),
            self.posts.iter().cloned().collect(),
        );
        let mut bytes = vec![VERSION];
        bytes.extend(encode(&stored));
        bytes
    }

    /// Reads what [`SavedState::to_bytes`] wrote.
    ///
    /// # Errors
    /// See [`SavedStateError`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SavedStateError> {
        match bytes.split_first() {
            None => Err(SavedStateError::Empty),
            Some((&VERSION, body)) => {
                let (device, next_sequence, complete, positions, posts): Stored = decode(body)?;
                Ok(Self {
                    device,
                    next_sequence,
                    complete,
                    positions: positions
                        .iter()
                        .map(|item| (item.channel, item.position))
                        .collect(),
                    posts: posts.to_vec(),
                })
            }
            Some((&version, _)) => Err(SavedStateError::Version(version)),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{SavedState, SavedStateError};
    use confab_protocol::{ChannelId, DeviceId, Epoch, Offset, Position, Sequence};

    /// A process that is stopped reads back what it wrote, and damage is seen.
    #[test]
    fn a_state_comes_back() {
        let mut state = SavedState::new(DeviceId::new("d").unwrap());
        state.next_sequence = Sequence(77);
        state.set_position(
            ChannelId::general(),
            Position {
                epoch: Epoch(3),
                offset: Offset(9),
            },
        );
        let mut bytes = state.to_bytes();
        assert_eq!(SavedState::from_bytes(&bytes).unwrap(), state);
        bytes.pop();
        assert!(matches!(
            SavedState::from_bytes(&bytes),
            Err(SavedStateError::Damaged(_))
        ));
        bytes[0] = 9;
        assert_eq!(
            SavedState::from_bytes(&bytes),
            Err(SavedStateError::Version(9))
        );
    }
}
