//! Identifiers: newtypes that cannot hold what SEMANTICS does not allow.
//!
//! Every id is checked when it is made, also when it is decoded, so code behind
//! a gateway never meets an id with an odd character. Cloning one is cheap.

use std::fmt;
use std::sync::Arc;

use bincode::de::{BorrowDecoder, Decoder};
use bincode::enc::Encoder;
use bincode::error::{DecodeError, EncodeError};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::codec::{Decode, Encode, read_str};
use crate::limits::{
    CHANNEL_ID_BYTES_MAX, CLIENT_MESSAGE_ID_BYTES_MAX, EMOJI_BYTES_MAX, ID_BYTES_MAX,
};
use crate::position::{Epoch, Offset};

/// Why a text is not an id; the sentence says what it must be.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidId(pub &'static str);

fn is_id_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'@' | b'-')
}

fn is_plain_id(text: &str) -> bool {
    (1..=ID_BYTES_MAX).contains(&text.len()) && text.bytes().all(is_id_byte)
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $valid:expr, $reason:expr) => {
        $(#[$doc])*
        #[derive(Clone, Eq, PartialEq, Ord, PartialOrd, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Makes an id of a text.
            ///
            /// # Errors
            /// [`InvalidId`] says what the text must be.
            pub fn new(text: &str) -> Result<Self, InvalidId> {
                let valid: fn(&str) -> bool = $valid;
                if valid(text) { Ok(Self(text.into())) } else { Err(InvalidId($reason)) }
            }

            /// The id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::str::FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                Self::new(text)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(formatter, "{}({})", stringify!($name), &self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl Encode for $name {
            fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
                self.as_str().encode(encoder)
            }
        }

        impl<C> Decode<C> for $name {
            fn decode<D: Decoder<Context = C>>(decoder: &mut D) -> Result<Self, DecodeError> {
                read_str(decoder, |text| {
                    Self::new(text).map_err(|InvalidId(reason)| DecodeError::Other(reason))
                })
            }
        }

        impl<'de, C> bincode::BorrowDecode<'de, C> for $name {
            fn borrow_decode<D: BorrowDecoder<'de, Context = C>>(
                decoder: &mut D,
            ) -> Result<Self, DecodeError> {
                Self::decode(decoder)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
                Self::new(&text).map_err(serde::de::Error::custom)
            }
        }
    };
}

id!(
    /// A user.
    UserId,
    is_plain_id,
    "a user id has 1 to 64 characters of A-Z a-z 0-9 . _ @ -"
);
id!(
    /// A device of a user: an installation that keeps its own delivery state.
    DeviceId,
    is_plain_id,
    "a device id has 1 to 64 characters of A-Z a-z 0-9 . _ @ -"
);
id!(
    /// A department of the company.
    DepartmentId,
    is_plain_id,
    "a department id has 1 to 64 characters of A-Z a-z 0-9 . _ @ -"
);
id!(
    /// A project for clients.
    ProjectId,
    is_plain_id,
    "a project id has 1 to 64 characters of A-Z a-z 0-9 . _ @ -"
);
id!(
    /// The sender's own name for a message, by which a resend is recognised.
    ClientMessageId,
    |text| {
        (1..=CLIENT_MESSAGE_ID_BYTES_MAX).contains(&text.len())
            && !text.chars().any(char::is_control)
    },
    "a client message id has 1 to 128 bytes and no control characters"
);
id!(
    /// A reaction: an emoji sequence or a `:short-name:`.
    Emoji,
    |text| {
        (1..=EMOJI_BYTES_MAX).contains(&text.len())
            && !text.chars().any(|c| c.is_control() || c.is_whitespace())
    },
    "an emoji has 1 to 64 bytes, no spaces and no control characters"
);
id!(
    /// A channel. The prefix says its kind; see [`ChannelKind`].
    ChannelId,
    |text| channel_kind(text).is_some(),
    "a channel id is general-company, dept-ID, project-ID, group-MS-RANDOM or dm-A-B"
);

/// What a channel is for, and who its members are.
#[derive(
    Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Hash, Encode, Decode, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum ChannelKind {
    /// Two users.
    Dm,
    /// The members of a department, always.
    Department,
    /// The team and the clients of a project.
    Project,
    /// Every active internal user.
    General,
    /// An explicit list.
    Group,
}

const GENERAL: &str = "general-company";

/// RFC 4648 base32, in lower case.
const BASE32: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

fn channel_kind(text: &str) -> Option<ChannelKind> {
    if text.len() > CHANNEL_ID_BYTES_MAX {
        return None;
    }
    if text == GENERAL {
        return Some(ChannelKind::General);
    }
    let (prefix, rest) = text.split_once('-')?;
    match prefix {
        "dept" => is_plain_id(rest).then_some(ChannelKind::Department),
        "project" => is_plain_id(rest).then_some(ChannelKind::Project),
        "dm" => dm_peers(rest).map(|_| ChannelKind::Dm),
        "group" => {
            let (time, random) = rest.split_once('-')?;
            let time_ok = (1..=15).contains(&time.len())
                && time.bytes().all(|b| b.is_ascii_digit())
                && !(time.len() > 1 && time.starts_with('0'));
            let random_ok = random.len() == 8 && random.bytes().all(|b| BASE32.contains(&b));
            (time_ok && random_ok).then_some(ChannelKind::Group)
        }
        _ => None,
    }
}

fn dm_peers(rest: &str) -> Option<(UserId, UserId)> {
    let (first, second) = rest.split_once('-')?;
    if second.contains('-') {
        return None;
    }
    let first = UserId::new(&first.replace('~', "-")).ok()?;
    let second = UserId::new(&second.replace('~', "-")).ok()?;
    (first < second).then_some((first, second))
}

impl ChannelId {
    /// The company-wide channel.
    #[must_use]
    pub fn general() -> Self {
        Self(GENERAL.into())
    }

    /// The channel of a department.
    #[must_use]
    pub fn department(department: &DepartmentId) -> Self {
        Self(format!("dept-{department}").into())
    }

    /// The channel of a project.
    #[must_use]
    pub fn project(project: &ProjectId) -> Self {
        Self(format!("project-{project}").into())
    }

    /// The direct messages of two users, whichever comes first.
    ///
    /// A `-` inside an id is written `~`, which no id may hold, so two pairs
    /// never share a channel.
    ///
    /// # Errors
    /// [`InvalidId`] for a user with itself.
    pub fn dm(one: &UserId, other: &UserId) -> Result<Self, InvalidId> {
        let (first, second) = match one.cmp(other) {
            std::cmp::Ordering::Less => (one, other),
            std::cmp::Ordering::Greater => (other, one),
            std::cmp::Ordering::Equal => {
                return Err(InvalidId("a direct message needs two different users"));
            }
        };
        let written = |id: &UserId| id.as_str().replace('-', "~");
        Ok(Self(
            format!("dm-{}-{}", written(first), written(second)).into(),
        ))
    }

    /// A new group's id, from the time of its creation and 40 random bits.
    #[must_use]
    pub fn group(created_at_ms: u64, random: u64) -> Self {
        let tail: String = (0..8)
            .map(|place| BASE32[(random >> (place * 5)) as usize & 31] as char)
            .collect();
        // Milliseconds of more than 15 digits are 30,000 years away.
        let time = created_at_ms.min(999_999_999_999_999);
        Self(format!("group-{time}-{tail}").into())
    }

    /// The kind that the prefix says.
    #[must_use]
    pub fn kind(&self) -> ChannelKind {
        channel_kind(&self.0).expect("a ChannelId was checked when it was made")
    }

    /// The two users of a direct-message channel, in order.
    #[must_use]
    pub fn dm_users(&self) -> Option<(UserId, UserId)> {
        dm_peers(self.0.strip_prefix("dm-")?)
    }
}

/// A message's public name: opaque, URL-safe, sorting by posting order within
/// its channel.
///
/// It is the epoch and the offset in base32hex, 13 characters each; an epoch
/// belongs to one channel for ever, so the id alone finds its message.
#[derive(Clone, Copy, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub struct MessageId {
    epoch: Epoch,
    offset: Offset,
}

/// RFC 4648 base32hex in lower case: it sorts as the numbers do.
const BASE32HEX: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";
const DIGITS: usize = 13;

impl MessageId {
    /// The name of the message that `offset` posted.
    #[must_use]
    pub const fn new(epoch: Epoch, offset: Offset) -> Self {
        Self { epoch, offset }
    }

    /// The life of the channel's log.
    #[must_use]
    pub const fn epoch(self) -> Epoch {
        self.epoch
    }

    /// The offset that posted it.
    #[must_use]
    pub const fn offset(self) -> Offset {
        self.offset
    }
}

fn push_digits(text: &mut String, number: u64) {
    for place in (0..DIGITS).rev() {
        text.push(BASE32HEX[(number >> (place * 5)) as usize & 31] as char);
    }
}

fn read_digits(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0u64, |number, digit| {
        let value = BASE32HEX.iter().position(|known| known == digit)? as u64;
        (number >> 59 == 0).then_some(number << 5 | value)
    })
}

impl fmt::Display for MessageId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::with_capacity(2 * DIGITS);
        push_digits(&mut text, self.epoch.0);
        push_digits(&mut text, self.offset.0);
        formatter.write_str(&text)
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "MessageId({self})")
    }
}

impl std::str::FromStr for MessageId {
    type Err = InvalidId;
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let error = InvalidId("a message id has 26 characters of 0-9 a-v");
        let bytes = text.as_bytes();
        if bytes.len() != 2 * DIGITS {
            return Err(error);
        }
        let epoch = read_digits(&bytes[..DIGITS]).ok_or(error)?;
        let offset = read_digits(&bytes[DIGITS..]).ok_or(error)?;
        Ok(Self::new(Epoch(epoch), Offset(offset)))
    }
}

impl Serialize for MessageId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{ChannelId, ChannelKind, MessageId, UserId};
    use crate::position::{Epoch, Offset};

    fn user(text: &str) -> UserId {
        UserId::new(text).unwrap()
    }

    /// `a-b` with `c` and `a` with `b-c` are different pairs.
    #[test]
    fn two_pairs_never_share_a_dm() {
        let one = ChannelId::dm(&user("a-b"), &user("c")).unwrap();
        let other = ChannelId::dm(&user("a"), &user("b-c")).unwrap();
        assert_ne!(one, other);
        assert_eq!(one.dm_users(), Some((user("a-b"), user("c"))));
        assert_eq!(other.dm_users(), Some((user("a"), user("b-c"))));
        assert_eq!(ChannelId::dm(&user("c"), &user("a-b")).unwrap(), one);
        assert!(ChannelId::dm(&user("a"), &user("a")).is_err());
    }

    #[test]
    fn a_channel_id_tells_its_kind() {
        let kind = |text| ChannelId::new(text).map(|id| id.kind());
        assert_eq!(kind("general-company"), Ok(ChannelKind::General));
        assert_eq!(kind("dept-a-b"), Ok(ChannelKind::Department));
        assert_eq!(kind("project-x"), Ok(ChannelKind::Project));
        assert_eq!(kind("group-1700000000000-abcdefg2"), Ok(ChannelKind::Group));
        let made = ChannelId::group(1_700_000_000_000, 0xdead_beef);
        assert_eq!(made.kind(), ChannelKind::Group);
        for wrong in [
            "",
            "general",
            "dept-",
            "dm-a",
            "dm-b-a",
            "dm-a-a",
            "dm-a-b-c",
            "dept-a~b",
            "group-1-abc",
            "group-01-abcdefg2",
            "other-x",
            "dept-ä",
        ] {
            assert!(ChannelId::new(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn message_ids_sort_by_offset_and_come_back() {
        let ids: Vec<MessageId> = [1, 2, 31, 32, 1 << 40, u64::MAX]
            .map(|offset| MessageId::new(Epoch(77), Offset(offset)))
            .to_vec();
        let texts: Vec<String> = ids.iter().map(ToString::to_string).collect();
        assert!(texts.is_sorted());
        for (id, text) in ids.iter().zip(&texts) {
            assert_eq!(text.parse::<MessageId>().unwrap(), *id);
            assert!(text.len() <= 32);
        }
        assert!("zz".parse::<MessageId>().is_err());
        assert!("v".repeat(26).parse::<MessageId>().is_err());
    }

    #[test]
    fn user_ids_have_no_odd_characters() {
        assert!(UserId::new("ann.smith_1@corp-x").is_ok());
        for wrong in ["", "a b", "a~b", "a/b", "é", "a\0", &"x".repeat(65)] {
            assert!(UserId::new(wrong).is_err(), "{wrong}");
        }
    }
}
