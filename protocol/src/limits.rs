//! Every size that the wire format itself bounds, with its unit.
//!
//! A server may be configured to allow less and says so in its `Welcome`;
//! nothing may allow more.

/// Largest frame a client may send, in bytes after the length field.
///
/// The largest legal post is 64 KiB of content, ten attachments and a hundred
/// mentions: about 100 KiB.
pub const REQUEST_FRAME_BYTES_MAX: usize = 128 << 10;

/// Largest frame a server may send, in bytes after the length field.
pub const SERVER_FRAME_BYTES_MAX: usize = 512 << 10;

/// A page stops at the first item that takes it past this many bytes; it always
/// holds at least one item.
pub const PAGE_BYTES_SOFT_MAX: usize = 256 << 10;

/// Largest id of a user, department, project or device, in bytes.
pub const ID_BYTES_MAX: usize = 64;

/// Largest channel id, in bytes: `dm-` with two user ids.
pub const CHANNEL_ID_BYTES_MAX: usize = 3 + ID_BYTES_MAX + 1 + ID_BYTES_MAX;

/// Largest `clientMessageId`, in bytes.
pub const CLIENT_MESSAGE_ID_BYTES_MAX: usize = 128;

/// Largest emoji, in bytes of UTF-8: a sequence or a `:short-name:`.
pub const EMOJI_BYTES_MAX: usize = 64;

/// Largest message content, in characters.
pub const CONTENT_CHARS_MAX: usize = 16_384;

/// Largest message content, in bytes of UTF-8.
pub const CONTENT_BYTES_MAX: usize = 64 << 10;

/// Most attachments of one message.
pub const ATTACHMENTS_MAX: usize = 10;

/// Largest attachment name, in bytes.
pub const ATTACHMENT_NAME_BYTES_MAX: usize = 255;

/// Largest attachment media type, in bytes.
pub const ATTACHMENT_MEDIA_TYPE_BYTES_MAX: usize = 127;

/// Largest attachment URL or blob id, in bytes.
pub const ATTACHMENT_URL_BYTES_MAX: usize = 2_048;

/// Most users that one message may mention by id.
pub const MENTIONS_MAX: usize = 100;

/// Most different emoji on one message.
pub const REACTION_EMOJI_MAX: usize = 50;

/// Largest display name, of a user or a channel, in bytes.
pub const NAME_BYTES_MAX: usize = 200;

/// Largest channel topic, in bytes.
pub const TOPIC_BYTES_MAX: usize = 1_024;

/// Largest presence status text, in bytes.
pub const STATUS_BYTES_MAX: usize = 200;

/// Largest token, in bytes.
pub const TOKEN_BYTES_MAX: usize = 8 << 10;

/// Most items a history, member, channel or sync page may hold.
pub const PAGE_ITEMS_MAX: u16 = 200;

/// Items in a page whose request names no limit.
pub const PAGE_ITEMS_DEFAULT: u16 = 50;

/// Channels in one window of the channel list.
pub const CHANNEL_WINDOW: u16 = 100;

/// Most positions that one `Hello` or `Resume` may carry.
pub const POSITIONS_MAX: usize = 1_000;

/// Most users that one request may name (invitations, presence watches).
pub const USERS_PER_REQUEST_MAX: usize = 500;

/// Most changes in one directory batch.
pub const DIRECTORY_CHANGES_MAX: usize = 1_000;

/// Most users that a `MembersChanged` event lists; the counts are always exact.
pub const MEMBERS_LISTED_MAX: usize = 100;

/// Largest datagram either side sends, in bytes.
pub const DATAGRAM_BYTES_MAX: usize = 1_100;
