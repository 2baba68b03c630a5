//! Every body with its kind: requests, their answers, pushes.
//!
//! The three tables below are the registry of kinds. A kind keeps its number
//! and its body for ever; a changed body is a new struct with a new kind.

pub mod channel;
pub mod directory;
pub mod event;
pub mod presence;
pub mod session;

use bytes::Bytes;

use crate::codec::{CodecError, Decode, Encode, decode};
use crate::error::WireError;
use crate::frame::{Frame, encode_frame};

/// A body with the number by which frames name it.
pub trait Body: Encode + Decode<()> {
    /// The frame's kind.
    const KIND: u16;
}

/// A request and the answer that belongs to it.
pub trait Ask: Body {
    /// What the server answers when it does not answer [`WireError`].
    type Answer: Body;
}

/// Why a frame could not be turned into a request, an answer or a push.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum BodyError {
    /// The kind is not in the table: skip a push, refuse a request.
    #[error("kind {0:#06x} is not known")]
    UnknownKind(u16),
    /// The body is not what the kind says.
    #[error("the body of kind {kind:#06x} cannot be read: {error}")]
    Codec {
        /// The frame's kind.
        kind: u16,
        /// What is wrong with its body.
        error: CodecError,
    },
}

macro_rules! table {
    ($(#[$doc:meta])* $table:ident { $($kind:literal $name:ident($body:ty)),* $(,)? }) => {
        $(impl Body for $body { const KIND: u16 = $kind; })*

        $(#[$doc])*
        #[derive(Clone, Debug, Eq, PartialEq)]
        #[allow(missing_docs, clippy::large_enum_variant)] // the bodies carry the docs
        pub enum $table { $($name($body),)* }

        impl $table {
            /// The kinds of this table with their names.
            pub const KINDS: &[(u16, &'static str)] = &[$(($kind, stringify!($name)),)*];

            /// Reads a frame's body as its kind says.
            ///
            /// # Errors
            /// See [`BodyError`].
            pub fn from_frame(frame: &Frame) -> Result<Self, BodyError> {
                match frame.kind {
                    $($kind => decode(&frame.body).map(Self::$name),)*
                    kind => return Err(BodyError::UnknownKind(kind)),
                }
                .map_err(|error| BodyError::Codec { kind: frame.kind, error })
            }

            /// The whole frame, length included.
            #[must_use]
            pub fn to_frame(&self, request: u32) -> Bytes {
                match self { $(Self::$name(body) => encode_frame($kind, request, body),)* }
            }

            /// The name in logs and metrics.
            #[must_use]
            pub const fn name(&self) -> &'static str {
                match self { $(Self::$name(_) => stringify!($name),)* }
            }
        }

        $(impl From<$body> for $table {
            fn from(body: $body) -> Self { Self::$name(body) }
        })*
    };
}

table! {
    /// What a client asks.
    Request {
        0x0001 Hello(session::Hello),
        0x0002 Resume(session::Resume),
        0x0003 RefreshToken(session::RefreshToken),
        0x0010 ListChannels(channel::ListChannels),
        0x0011 GetChannel(channel::GetChannel),
        0x0012 OpenDm(channel::OpenDm),
        0x0013 CreateGroup(channel::CreateGroup),
        0x0014 UpdateChannel(channel::UpdateChannel),
        0x0015 DeleteChannel(channel::DeleteChannel),
        0x0016 JoinChannel(channel::JoinChannel),
        0x0017 LeaveChannel(channel::LeaveChannel),
        0x0018 AddMembers(channel::AddMembers),
        0x0019 RemoveMembers(channel::RemoveMembers),
        0x001a SetRole(channel::SetRole),
        0x001b ListMembers(channel::ListMembers),
        0x0020 Post(channel::Post),
        0x0021 Edit(channel::Edit),
        0x0022 Delete(channel::Delete),
        0x0023 React(channel::React),
        0x0024 Pin(channel::Pin),
        0x0030 MarkRead(channel::MarkRead),
        0x0031 MarkDelivered(channel::MarkDelivered),
        0x0032 MarkUnread(channel::MarkUnread),
        0x0033 ListCursors(channel::ListCursors),
        0x0040 History(channel::History),
        0x0041 GetMessage(channel::GetMessage),
        0x0042 ListPins(channel::ListPins),
        0x0043 Sync(channel::Sync),
        0x0044 FollowThread(channel::FollowThread),
        0x0045 GetThread(channel::GetThread),
        0x0050 SetPresence(presence::SetPresence),
        0x0051 Heartbeat(presence::Heartbeat),
        0x0052 WatchPresence(presence::WatchPresence),
        0x0053 OpenChannel(presence::OpenChannel),
        0x0054 CloseChannel(presence::CloseChannel),
        0x0055 Typing(presence::Typing),
        0x0060 UpdateDirectory(directory::UpdateDirectory),
        0x0061 GetUsers(directory::GetUsers),
        0x0062 ListUsers(directory::ListUsers),
    }
}

table! {
    /// What the server answers; the frame carries the request's number.
    Answer {
        0x4000 Error(WireError),
        0x4001 Welcome(session::Welcome),
        0x4002 Resumed(session::Resumed),
        0x4003 Refreshed(session::Refreshed),
        0x4004 Done(session::Done),
        0x4010 ChannelPage(channel::ChannelPage),
        0x4011 ChannelInfo(channel::ChannelInfo),
        0x4018 MembersUpdated(channel::MembersUpdated),
        0x401b MemberPage(channel::MemberPage),
        0x4020 Posted(channel::Posted),
        0x4021 Changed(channel::Changed),
        0x4030 CursorState(channel::CursorState),
        0x4033 CursorPage(channel::CursorPage),
        0x4040 HistoryPage(channel::HistoryPage),
        0x4041 MessageInfo(channel::MessageInfo),
        0x4043 SyncPage(channel::SyncPage),
        0x4045 ThreadInfo(channel::ThreadInfo),
        0x4052 Presences(presence::PresenceChanged),
        0x4060 DirectoryUpdated(directory::DirectoryUpdated),
        0x4061 UserPage(directory::UserPage),
    }
}

impl Request {
    /// Whether the request may come on a stream of its own, beside the
    /// session's: what only reads and may be long, and imports. Both sides go
    /// by this one list.
    #[must_use]
    pub const fn may_be_bulk(&self) -> bool {
        matches!(
            self,
            Self::Resume(_)
                | Self::ListChannels(_)
                | Self::GetChannel(_)
                | Self::ListMembers(_)
                | Self::ListCursors(_)
                | Self::History(_)
                | Self::GetMessage(_)
                | Self::ListPins(_)
                | Self::Sync(_)
                | Self::GetThread(_)
                | Self::GetUsers(_)
                | Self::ListUsers(_)
                | Self::UpdateDirectory(_)
        )
    }
}

/// A push reuses an answer's body under a kind of its own, so it is wrapped.
macro_rules! pushed {
    ($($(#[$doc:meta])* $name:ident($body:ty)),* $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, Eq, PartialEq, Encode, Decode)]
        pub struct $name(pub $body);
    )*};
}

pushed! {
    /// The user's own cursor moved, on this device or another; counts with it.
    CursorMoved(channel::CursorState),
    /// Users' presence changed.
    PresencePushed(presence::PresenceChanged),
}

table! {
    /// What the server says unasked; the frame's request number is 0.
    Push {
        0x8001 Event(event::ChannelEvent),
        0x8002 Behind(session::Behind),
        0x8003 TokenExpiring(session::TokenExpiring),
        0x8004 GoingAway(session::GoingAway),
        0x8005 SessionClosed(session::SessionClosed),
        0x8006 ChannelAdded(session::ChannelAdded),
        0x8007 ChannelRemoved(session::ChannelRemoved),
        0x8010 CursorMoved(CursorMoved),
        0x8011 Receipt(presence::Receipt),
        0x8012 Typing(presence::TypingChanged),
        0x8013 Presence(PresencePushed),
    }
}

macro_rules! asks {
    ($($request:ty => $answer:ty),* $(,)?) => {
        $(impl Ask for $request { type Answer = $answer; })*
    };
}

asks! {
    session::Hello => session::Welcome,
    session::Resume => session::Resumed,
    session::RefreshToken => session::Refreshed,
    channel::ListChannels => channel::ChannelPage,
    channel::GetChannel => channel::ChannelInfo,
    channel::OpenDm => channel::ChannelInfo,
    channel::CreateGroup => channel::ChannelInfo,
    channel::UpdateChannel => channel::ChannelInfo,
    channel::DeleteChannel => session::Done,
    channel::JoinChannel => channel::ChannelInfo,
    channel::LeaveChannel => channel::MembersUpdated,
    channel::AddMembers => channel::MembersUpdated,
    channel::RemoveMembers => channel::MembersUpdated,
    channel::SetRole => channel::MembersUpdated,
    channel::ListMembers => channel::MemberPage,
    channel::Post => channel::Posted,
    channel::Edit => channel::Changed,
    channel::Delete => channel::Changed,
    channel::React => channel::Changed,
    channel::Pin => channel::Changed,
    channel::MarkRead => channel::CursorState,
    channel::MarkDelivered => channel::CursorState,
    channel::MarkUnread => channel::CursorState,
    channel::ListCursors => channel::CursorPage,
    channel::History => channel::HistoryPage,
    channel::GetMessage => channel::MessageInfo,
    channel::ListPins => channel::HistoryPage,
    channel::Sync => channel::SyncPage,
    channel::FollowThread => channel::ThreadInfo,
    channel::GetThread => channel::ThreadInfo,
    presence::SetPresence => session::Done,
    presence::Heartbeat => session::Done,
    presence::WatchPresence => presence::PresenceChanged,
    presence::OpenChannel => presence::PresenceChanged,
    presence::CloseChannel => session::Done,
    directory::UpdateDirectory => directory::DirectoryUpdated,
    directory::GetUsers => directory::UserPage,
    directory::ListUsers => directory::UserPage,
}

/// Encodes any body as a whole frame, length included.
#[must_use]
pub fn frame_of<T: Body>(request: u32, body: &T) -> Bytes {
    encode_frame(T::KIND, request, body)
}
