//! The fields of every body, so that a value of each can be drawn.

use confab_protocol::message::{
    CursorMoved, PresencePushed, channel, directory, event, presence, session,
};
use confab_protocol::{ChannelKind, Epoch, ErrorCode, Offset, Position, Sequence, WireError};

use super::{Draw, Make};

macro_rules! structs {
    ($($name:path { $($field:tt),* };)*) => {$(
        impl Make for $name {
            // A body without fields draws nothing.
            #[allow(unused_variables)]
            fn make(draw: &mut Draw<'_>) -> Self {
                Self { $($field: Make::make(draw),)* }
            }
        }
    )*};
}

macro_rules! enums {
    ($($name:path as $label:ident { $($variant:ident { $($field:tt),* }),* };)*) => {
        /// Every enum of the wire with its variants in order.
        pub const ENUMS: &[(&str, &[&str])] =
            &[$((stringify!($label), &[$(stringify!($variant)),*]),)*];

        $(impl Make for $name {
            fn make(draw: &mut Draw<'_>) -> Self {
                // A variant without fields draws nothing.
                #[allow(unused_variables)]
                let makers: &[fn(&mut Draw<'_>) -> Self] =
                    &[$(|draw| Self::$variant { $($field: Make::make(draw),)* }),*];
                makers[draw.variant(stringify!($label), makers.len())](draw)
            }
        })*
    };
}

impl Make for WireError {
    fn make(draw: &mut Draw<'_>) -> Self {
        let code = ErrorCode::from_number(Make::make(draw));
        let error = Self::new(code, <confab_protocol::Text as Make>::make(draw));
        match Make::make(draw) {
            Some(retry_after_ms) => error.retry_after(retry_after_ms),
            None => error,
        }
    }
}

structs! {
    Epoch { 0 };
    Offset { 0 };
    Sequence { 0 };
    Position { epoch, offset };
    CursorMoved { 0 };
    PresencePushed { 0 };
    session::Hello { version_min, version_max, token, device, agent, positions, channels_max };
    session::ChannelPosition { channel, position };
    session::Welcome { version, session, server, server_time_ms, token_expires_at_ms, limits, user, channels, totals, behind };
    session::ServerLimits { frame_bytes_max, content_chars_max, messages_per_second, messages_burst, heartbeat_interval_ms, typing_interval_ms, typing_timeout_ms };
    session::ChannelHead { channel, head };
    session::Resume { positions };
    session::Resumed { behind, totals };
    session::RefreshToken { token };
    session::Refreshed { token_expires_at_ms };
    session::Done {  };
    session::UserProfile { id, name, kind, active, admin };
    session::Behind { events_dropped };
    session::TokenExpiring { token_expires_at_ms };
    session::GoingAway { reconnect_after_ms };
    session::SessionClosed { error };
    session::ChannelAdded { summary };
    session::ChannelRemoved { channel, epoch, last_offset };
    channel::ChannelSummary { channel, kind, epoch, name, topic, private, archived_at_ms, created_at_ms, role, member_count, head, last_activity_ms, last_message, read_state };
    channel::MessagePreview { offset, sender, content, created_at_ms };
    channel::ReadState { read, delivered, unread, mentions };
    channel::ChannelTotals { channels, unread_channels, unread, mentions };
    channel::ListChannels { after, limit };
    channel::ChannelListKey { last_activity_ms, channel };
    channel::ChannelPage { channels, next };
    channel::GetChannel { channel };
    channel::ChannelInfo { summary };
    channel::OpenDm { user };
    channel::CreateGroup { name, topic, private, members, client_id };
    channel::UpdateChannel { channel, name, topic, private, archived };
    channel::DeleteChannel { channel };
    channel::JoinChannel { channel };
    channel::LeaveChannel { channel };
    channel::AddMembers { channel, users };
    channel::RemoveMembers { channel, users };
    channel::SetRole { channel, user, role };
    channel::MembersUpdated { position, member_count };
    channel::ListMembers { channel, after, limit };
    channel::MemberPage { members, more };
    channel::MemberProfile { member, name, kind };
    channel::Post { channel, sequence, client_message_id, content, thread_root, attachments, mentions };
    channel::Posted { position, created_at_ms, duplicate };
    channel::Edit { channel, message, content, mentions, if_version };
    channel::Delete { channel, message };
    channel::React { channel, message, emoji, on };
    channel::Pin { channel, message, on };
    channel::Changed { position, version };
    channel::MarkRead { channel, thread, offset };
    channel::MarkDelivered { channel, offset };
    channel::MarkUnread { channel, offset };
    channel::CursorState { channel, thread, read_state };
    channel::ListCursors { channel, after, limit };
    channel::CursorPage { cursors, more };
    channel::MemberCursor { user, read, delivered };
    channel::History { channel, thread, anchor, limit };
    channel::HistoryPage { channel, epoch, messages, next_before, next_after, head };
    channel::GetMessage { channel, message, versions };
    channel::MessageInfo { message, versions };
    channel::ListPins { channel };
    channel::Sync { channel, after, limit };
    channel::SyncPage { channel, epoch, events, head };
    channel::FollowThread { channel, root, on };
    channel::GetThread { channel, root };
    channel::ThreadInfo { channel, root, reply_count, last_reply, following, follower_count, read_state };
    event::Attachment { name, media_type, bytes, url };
    event::Mentions { users, channel, here };
    event::Message { offset, sender, content, thread_root, attachments, mentions, client_message_id, created_at_ms, edited_at_ms, deleted_at_ms, version, pinned, reply_count, last_reply, reactions };
    event::Reaction { emoji, count, users };
    event::MessageVersion { version, content, written_at_ms };
    event::Member { user, role };
    event::Event { offset, at_ms, change };
    event::ChannelProperties { name, topic, private, archived_at_ms };
    event::ChannelEvent { channel, epoch, event };
    presence::Presence { user, state, status, last_seen_ms };
    presence::PresenceChanged { users };
    presence::SetPresence { state, status };
    presence::Heartbeat { active };
    presence::WatchPresence { users };
    presence::OpenChannel { channel };
    presence::CloseChannel { channel };
    presence::Typing { channel, thread, on };
    presence::TypingChanged { channel, thread, user, name, on };
    presence::Receipt { channel, thread, user, read, delivered, at_ms };
    directory::UpdateDirectory { changes };
    directory::DirectoryUpdated { directory_index, changed };
    directory::GetUsers { users };
    directory::ListUsers { after, prefix, limit };
    directory::UserPage { users, more };
}

enums! {
    ChannelKind as ChannelKind { Dm {}, Department {}, Project {}, General {}, Group {} };
    session::UserKind as UserKind { Internal {}, Client {} };
    channel::Anchor as Anchor { Latest {}, Before { 0 }, After { 0 }, AtTime { 0 } };
    event::ChannelRole as ChannelRole { Guest {}, Member {}, Admin {}, Owner {} };
    event::Change as Change { MessagePosted { message }, MessageEdited { message, by, content, mentions, version }, MessageDeleted { message, by }, ReactionAdded { message, by, emoji }, ReactionRemoved { message, by, emoji }, MessagePinned { message, by }, MessageUnpinned { message, by }, MembersChanged { by, added, removed, added_count, removed_count, member_count, directory_index }, ChannelUpdated { by, properties, directory_index } };
    presence::PresenceState as PresenceState { Offline {}, Away {}, Dnd {}, Online {} };
    directory::DirectoryChange as DirectoryChange { PutUser { id, name, kind, active, admin }, PutDepartment { id, name }, DeleteDepartment { id }, AddDepartmentMember { department, user }, RemoveDepartmentMember { department, user }, PutProject { id, name, team, clients }, AddProjectTeam { project, user }, RemoveProjectTeam { project, user }, AddProjectClient { project, user }, RemoveProjectClient { project, user }, CloseProject { id }, RevokeUserTokens { user, issued_before }, RevokeToken { token_id, expires_at }, SetAdmin { user, admin } };
}
