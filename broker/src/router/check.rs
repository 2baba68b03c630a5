//! Whether a request's own fields are in order, before anything is looked up.
//!
//! The sentences go to whoever wrote the client: they name the field, the limit
//! and what was found.

use confab_core::channel::{StoredAttachment, StoredMentions};
use confab_protocol::message::event::{Attachment, Mentions};
use confab_protocol::{ErrorCode, Packed, Text, UserId, WireError, limits};

pub(super) fn invalid(message: impl Into<Text>) -> WireError {
    WireError::new(ErrorCode::InvalidArgument, message)
}

pub(super) fn too_large(message: impl Into<Text>) -> WireError {
    WireError::new(ErrorCode::TooLarge, message)
}

/// A message's text: 1 to 16,384 characters, or none when it has attachments.
pub(super) fn content(text: &str, may_be_empty: bool) -> Result<(), WireError> {
    if text.is_empty() {
        if may_be_empty {
            return Ok(());
        }
        return Err(invalid(
            "content is empty: a message needs text or an attachment",
        ));
    }
    if !may_be_empty && text.chars().all(char::is_whitespace) {
        return Err(invalid("content is blank: a message needs text"));
    }
    if text.len() > limits::CONTENT_BYTES_MAX {
        return Err(too_large(format!(
            "content has {} bytes, at most {} are allowed",
            text.len(),
            limits::CONTENT_BYTES_MAX
        )));
    }
    // A text has at most as many characters as bytes, so short ones need no count.
    if text.len() > limits::CONTENT_CHARS_MAX {
        let chars = text.chars().count();
        if chars > limits::CONTENT_CHARS_MAX {
            return Err(too_large(format!(
                "content has {chars} characters, at most {} are allowed",
                limits::CONTENT_CHARS_MAX
            )));
        }
    }
    Ok(())
}

/// A message's attachments: at most ten, each with a name and a place.
pub(super) fn attachments(packed: &Packed<Attachment>) -> Result<Vec<StoredAttachment>, WireError> {
    if packed.len() > limits::ATTACHMENTS_MAX {
        return Err(too_large(format!(
            "{} attachments, at most {} are allowed",
            packed.len(),
            limits::ATTACHMENTS_MAX
        )));
    }
    packed
        .iter()
        .map(|attachment| {
            field(
                "attachment name",
                &attachment.name,
                limits::ATTACHMENT_NAME_BYTES_MAX,
            )?;
            field(
                "attachment mediaType",
                &attachment.media_type,
                limits::ATTACHMENT_MEDIA_TYPE_BYTES_MAX,
            )?;
            field(
                "attachment url",
                &attachment.url,
                limits::ATTACHMENT_URL_BYTES_MAX,
            )?;
            // A link that runs as script in a reader's page is no attachment.
            let scheme = attachment.url.split(':').next().unwrap_or_default();
            if attachment.url.contains(':')
                && !["https", "http", "blob"].contains(&scheme.to_ascii_lowercase().as_str())
            {
                return Err(invalid(
                    "an attachment's url is an http(s) URL or a blob id",
                ));
            }
            Ok(StoredAttachment::from(attachment))
        })
        .collect()
}

/// Whom a message calls on: at most a hundred users by id.
pub(super) fn mentions(mentions: &Mentions) -> Result<StoredMentions, WireError> {
    if mentions.users.len() > limits::MENTIONS_MAX {
        return Err(too_large(format!(
            "{} users mentioned, at most {} are allowed",
            mentions.users.len(),
            limits::MENTIONS_MAX
        )));
    }
    let mut stored = StoredMentions::from(mentions);
    stored.users.sort_unstable();
    stored.users.dedup();
    Ok(stored)
}

/// A list of users in a request.
pub(super) fn users(users: &Packed<UserId>) -> Result<(), WireError> {
    if users.len() > limits::USERS_PER_REQUEST_MAX {
        return Err(too_large(format!(
            "{} users in one request, at most {} are allowed",
            users.len(),
            limits::USERS_PER_REQUEST_MAX
        )));
    }
    Ok(())
}

/// A channel's name: 1 to 200 bytes, not only spaces.
pub(super) fn name(name: &str) -> Result<(), WireError> {
    if name.trim().is_empty() {
        return Err(invalid("the name is empty"));
    }
    bytes("the name", name, limits::NAME_BYTES_MAX)
}

/// A channel's topic: at most 1,024 bytes.
pub(super) fn topic(topic: &str) -> Result<(), WireError> {
    bytes("the topic", topic, limits::TOPIC_BYTES_MAX)
}

/// How many items a page may have: what is asked, `default` for 0.
pub(super) fn page_limit(asked: u16, default: u16) -> Result<u16, WireError> {
    match asked {
        0 => Ok(default),
        1..=limits::PAGE_ITEMS_MAX => Ok(asked),
        _ => Err(invalid(format!(
            "limit is {asked}: a page has 1 to {} items",
            limits::PAGE_ITEMS_MAX
        ))),
    }
}

fn field(what: &str, text: &str, bytes_max: usize) -> Result<(), WireError> {
    if text.is_empty() {
        return Err(invalid(format!("{what} is empty")));
    }
    if text.chars().any(char::is_control) {
        return Err(invalid(format!("{what} has control characters")));
    }
    bytes(what, text, bytes_max)
}

fn bytes(what: &str, text: &str, bytes_max: usize) -> Result<(), WireError> {
    if text.len() > bytes_max {
        return Err(too_large(format!(
            "{what} has {} bytes, at most {bytes_max} are allowed",
            text.len()
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{attachments, content, page_limit};
    use confab_protocol::message::event::Attachment;
    use confab_protocol::{ErrorCode, Packed, limits};

    #[test]
    fn content_is_counted_in_characters_and_bytes() {
        assert!(content(&"ä".repeat(limits::CONTENT_CHARS_MAX), false).is_ok());
        let long = content(&"ä".repeat(limits::CONTENT_CHARS_MAX + 1), false).unwrap_err();
        assert_eq!(long.code(), ErrorCode::TooLarge);
        assert_eq!(
            content("", false).unwrap_err().code(),
            ErrorCode::InvalidArgument
        );
        assert_eq!(
            content(" \n", false).unwrap_err().code(),
            ErrorCode::InvalidArgument
        );
        assert!(content("", true).is_ok());
    }

    /// A link that would run as script where a reader clicks it is refused.
    #[test]
    fn a_script_is_no_attachment() {
        let with_url = |url: &str| {
            let attachment = Attachment {
                name: "a.png".into(),
                media_type: "image/png".into(),
                bytes: 1,
                url: url.into(),
            };
            attachments(&Packed::from(vec![attachment])).is_ok()
        };
        assert!(with_url("https://files.example/a.png"));
        assert!(with_url("0123abcd"));
        assert!(!with_url("javascript:alert(1)"));
        assert!(!with_url("JAVASCRIPT:alert(1)"));
        assert!(!with_url("data:text/html,x"));
        assert!(!with_url(""));
    }

    #[test]
    fn a_page_has_a_limit() {
        assert_eq!(page_limit(0, 50), Ok(50));
        assert_eq!(page_limit(200, 50), Ok(200));
        assert!(page_limit(201, 50).is_err());
    }
}
