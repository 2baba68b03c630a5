//! What the model wants done, and what came of it.

use confab_client::ClientEvent;
use confab_protocol::message::channel::{
    ChannelSummary, ChannelTotals, HistoryPage, MemberProfile, Posted,
};
use confab_protocol::message::event::Message;
use confab_protocol::message::presence::{Presence, PresenceState};
use confab_protocol::message::session::UserProfile;
use confab_protocol::{ChannelId, Emoji, Offset, UserId};
use ratatui::crossterm::event::KeyEvent;

use super::conversation::Wanted;
use super::mentions::Mentioned;

/// A channel, or a thread in one.
#[derive(Clone, Debug, Eq, PartialEq, Ord, PartialOrd)]
pub(crate) struct Place {
    pub(crate) channel: ChannelId,
    /// The thread's root.
    pub(crate) thread: Option<Offset>,
}

impl Place {
    /// The channel itself.
    pub(crate) const fn channel(channel: ChannelId) -> Self {
        Self {
            channel,
            thread: None,
        }
    }
}

/// What happens to the model.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant)] // one at a time, never kept
pub(crate) enum Input {
    /// A key was pressed.
    Key(KeyEvent),
    /// Text was pasted.
    Paste(String),
    /// The screen has this size.
    Size(u16, u16),
    /// The terminal has the user's attention, or lost it.
    Focus(bool),
    /// It is now, in Unix milliseconds.
    Now(u64),
    /// The client says something.
    Event(ClientEvent),
    /// The channel list, as the client has it.
    Channels(Vec<ChannelSummary>, ChannelTotals),
    /// What came of an effect.
    Outcome(Outcome),
}

/// What the model wants done.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Effect {
    History(Place, Wanted),
    /// One message again, for something about it is not known.
    Message(ChannelId, Offset),
    Cursors(ChannelId),
    /// The members, to know their names; and to show them, if so.
    Members {
        channel: ChannelId,
        show: bool,
    },
    Profiles(Vec<UserId>),
    /// Users whose id or name starts with this.
    FindUsers(String),
    WatchPresence(Vec<UserId>),
    Open(ChannelId),
    Close(ChannelId),
    Send {
        place: Place,
        local: u64,
        content: String,
        mentioned: Mentioned,
    },
    Edit {
        channel: ChannelId,
        message: Offset,
        content: String,
        mentioned: Mentioned,
        version: u32,
    },
    Delete(ChannelId, Offset),
    React {
        channel: ChannelId,
        message: Offset,
        emoji: Emoji,
        on: bool,
    },
    Pin {
        channel: ChannelId,
        message: Offset,
        on: bool,
    },
    MarkRead(Place, Offset),
    MarkUnread(ChannelId, Offset),
    Typing(Place),
    StopTyping(Place),
    /// The user does something.
    Active,
    OpenDm(UserId),
    CreateGroup(String),
    Join(ChannelId),
    Leave(ChannelId),
    Invite(ChannelId, Vec<UserId>),
    Remove(ChannelId, Vec<UserId>),
    Rename(ChannelId, String),
    Topic(ChannelId, String),
    SetPrivate(ChannelId, bool),
    SetPresence(PresenceState, String),
    /// Make a sound.
    Bell,
}

/// Why an effect came to nothing: a sentence for the user.
pub(crate) type Problem = String;

/// What came of an effect.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    History(Place, Wanted, Result<HistoryPage, Problem>),
    Message(ChannelId, Message),
    Cursors(ChannelId, Vec<(UserId, Offset)>),
    Members {
        channel: ChannelId,
        members: Vec<MemberProfile>,
        more: bool,
        show: bool,
    },
    Profiles(Vec<UserProfile>),
    Presence(Vec<Presence>),
    Sent(Place, u64, Result<Posted, Problem>),
    /// A channel to go to.
    Entered(ChannelSummary),
    /// Reading was told to the server, or could not be.
    Marked(Place, bool),
    /// It was done, and this is worth saying.
    Done(String),
    /// It was not done.
    Failed(Problem),
}
