//! Places in a channel's log, and a device's own numbers.

use crate::codec::{Decode, Encode};
use serde::{Deserialize, Serialize};

macro_rules! number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, Default, Eq, PartialEq, Ord, PartialOrd, Hash, Encode, Decode,
            Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl $name {
            /// The number after this one.
            #[must_use]
            pub const fn next(self) -> Self {
                Self(self.0.saturating_add(1))
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(formatter)
            }
        }
    };
}

number! {
    /// One life of a channel's log.
    ///
    /// The directory hands out a new epoch for every channel it creates, so no
    /// two logs in a workspace ever share one: an epoch also names its channel.
    Epoch
}
number! {
    /// A place in a channel's log. Events stand at dense offsets from 1; 0 is
    /// before the first.
    Offset
}
number! {
    /// A device's own number for what it sends, growing with every send.
    Sequence
}

/// A place in one life of a channel's log.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    Eq,
    PartialEq,
    Ord,
    PartialOrd,
    Hash,
    Encode,
    Decode,
    Serialize,
    Deserialize,
)]
pub struct Position {
    /// Which life of the log.
    pub epoch: Epoch,
    /// The last offset that is meant, inclusive.
    pub offset: Offset,
}
