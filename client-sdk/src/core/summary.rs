//! A cached channel summary, kept right from the channel's events.

use confab_protocol::message::channel::{ChannelSummary, MessagePreview};
use confab_protocol::message::event::{Change, Event, Message};
use confab_protocol::{ChannelKind, Offset, Text, UserId};

/// How much of a message a preview holds, in characters, as the server cuts it.
const PREVIEW_CHARS: usize = 200;

/// Applies the next event. Answers whether only the server knows the rest.
pub(super) fn apply(summary: &mut ChannelSummary, event: &Event, me: &UserId) -> bool {
    if event.offset <= summary.head {
        // The summary is from after this event: it is in it already.
        return false;
    }
    summary.head = event.offset;
    match &event.change {
        Change::MessagePosted { message } => {
            summary.last_activity_ms = summary.last_activity_ms.max(event.at_ms);
            if message.thread_root.is_none() && message.deleted_at_ms.is_none() {
                summary.last_message = Some(preview(message));
            }
        }
        Change::MessageEdited {
            message, content, ..
        } => {
            if let Some(last) = last_if(summary, *message) {
                last.content = cut(content);
            }
        }
        Change::MessageDeleted { message, .. } => return last_if(summary, *message).is_some(),
        Change::MembersChanged {
            added,
            member_count,
            ..
        } => {
            summary.member_count = *member_count;
            if let Some(member) = added.iter().find(|member| member.user == *me) {
                summary.role = member.role;
            }
        }
        Change::ChannelUpdated { properties, .. } => {
            if summary.kind != ChannelKind::Dm {
                summary.name = properties.name.clone();
            }
            summary.topic = properties.topic.clone();
            summary.private = properties.private;
            summary.archived_at_ms = properties.archived_at_ms;
        }
        Change::ReactionAdded { .. }
        | Change::ReactionRemoved { .. }
        | Change::MessagePinned { .. }
        | Change::MessageUnpinned { .. } => {}
    }
    false
}

fn last_if(summary: &mut ChannelSummary, message: Offset) -> Option<&mut MessagePreview> {
    summary
        .last_message
        .as_mut()
        .filter(|last| last.offset == message)
}

fn preview(message: &Message) -> MessagePreview {
    MessagePreview {
        offset: message.offset,
        sender: message.sender.clone(),
        content: cut(&message.content),
        created_at_ms: message.created_at_ms,
    }
}

fn cut(text: &Text) -> Text {
    match text.char_indices().nth(PREVIEW_CHARS) {
        Some((end, _)) => Text::from(&text[..end]),
        None => text.clone(),
    }
}
