//! What is typed with a slash.

use confab_protocol::message::presence::PresenceState;
use confab_protocol::{ChannelId, Emoji, UserId};

/// Every command with its arguments and what it does, for help and completion.
pub(crate) const COMMANDS: &[(&str, &str, &str)] = &[
    ("/dm", "USER", "write to a user directly"),
    ("/group", "NAME", "make a private group"),
    ("/invite", "USER…", "bring users into this group"),
    ("/remove", "USER…", "take users out of this group"),
    ("/join", "CHANNEL", "join an open group by its id"),
    ("/leave", "", "leave this group"),
    ("/open", "", "let every internal user join this group"),
    ("/private", "", "let only invited users join this group"),
    ("/name", "NAME", "rename this group"),
    ("/topic", "TEXT", "say what this channel is about"),
    ("/members", "", "show who is in this channel"),
    (
        "/edit",
        "[TEXT]",
        "change the selected message, or your last",
    ),
    ("/delete", "", "delete the selected message, or your last"),
    (
        "/react",
        "EMOJI",
        "put an emoji on the selected message, or take it off",
    ),
    ("/pin", "", "pin the selected message, or take the pin off"),
    ("/thread", "", "open the thread of the selected message"),
    ("/unread", "", "make the selected message unread again"),
    ("/retry", "", "send again what could not be sent"),
    ("/status", "[online|away|dnd] [TEXT]", "say how you are"),
    ("/help", "", "show this"),
    ("/quit", "", "end"),
];

/// A command that was typed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum SlashCommand {
    Dm(UserId),
    Group(String),
    Invite(Vec<UserId>),
    Remove(Vec<UserId>),
    Join(ChannelId),
    Leave,
    SetPrivate(bool),
    Rename(String),
    Topic(String),
    Members,
    Edit(Option<String>),
    Delete,
    React(Emoji),
    Pin,
    Thread,
    Unread,
    Retry,
    Status(PresenceState, String),
    Help,
    Quit,
}

/// What was typed, once it is sent.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Typed {
    Message(String),
    Command(SlashCommand),
    /// It is no command; the sentence says why.
    Wrong(String),
}

/// Reads what was typed. `//` at the start stands for a message with one slash.
pub(crate) fn read(text: &str) -> Typed {
    let Some(rest) = text.strip_prefix('/') else {
        return Typed::Message(text.to_owned());
    };
    if rest.starts_with('/') {
        return Typed::Message(rest.to_owned());
    }
    let (word, argument) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    match command(word, argument.trim()) {
        Ok(command) => Typed::Command(command),
        Err(sentence) => Typed::Wrong(sentence),
    }
}

fn command(word: &str, argument: &str) -> Result<SlashCommand, String> {
    Ok(match word {
        "dm" => SlashCommand::Dm(user(argument)?),
        "group" => SlashCommand::Group(needed(argument, "/group NAME")?),
        "invite" => SlashCommand::Invite(users(argument, "/invite USER…")?),
        "remove" => SlashCommand::Remove(users(argument, "/remove USER…")?),
        "join" => SlashCommand::Join(ChannelId::new(argument).map_err(|error| error.to_string())?),
        "leave" => SlashCommand::Leave,
        "open" => SlashCommand::SetPrivate(false),
        "private" => SlashCommand::SetPrivate(true),
        "name" => SlashCommand::Rename(needed(argument, "/name NAME")?),
        "topic" => SlashCommand::Topic(argument.to_owned()),
        "members" => SlashCommand::Members,
        "edit" => SlashCommand::Edit((!argument.is_empty()).then(|| argument.to_owned())),
        "delete" => SlashCommand::Delete,
        "react" => SlashCommand::React(Emoji::new(argument).map_err(|error| error.to_string())?),
        "pin" => SlashCommand::Pin,
        "thread" => SlashCommand::Thread,
        "unread" => SlashCommand::Unread,
        "retry" => SlashCommand::Retry,
        "status" => status(argument),
        "help" => SlashCommand::Help,
        "quit" | "exit" => SlashCommand::Quit,
        word => {
            return Err(format!(
                "there is no /{word}: /help shows what there is; // sends a slash"
            ));
        }
    })
}

fn needed(argument: &str, usage: &str) -> Result<String, String> {
    match argument {
        "" => Err(format!("type {usage}")),
        argument => Ok(argument.to_owned()),
    }
}

fn user(text: &str) -> Result<UserId, String> {
    UserId::new(text.strip_prefix('@').unwrap_or(text)).map_err(|error| error.to_string())
}

fn users(argument: &str, usage: &str) -> Result<Vec<UserId>, String> {
    needed(argument, usage)?;
    argument
        .split([' ', ','])
        .filter(|word| !word.is_empty())
        .map(user)
        .collect()
}

fn status(argument: &str) -> SlashCommand {
    let (word, rest) = argument
        .split_once(char::is_whitespace)
        .unwrap_or((argument, ""));
    let state = match word {
        "online" => Some(PresenceState::Online),
        "away" => Some(PresenceState::Away),
        "dnd" => Some(PresenceState::Dnd),
        "offline" => Some(PresenceState::Offline),
        _ => None,
    };
    match state {
        Some(state) => SlashCommand::Status(state, rest.trim().to_owned()),
        None => SlashCommand::Status(PresenceState::Online, argument.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{COMMANDS, SlashCommand, Typed, read};
    use confab_protocol::UserId;
    use confab_protocol::message::presence::PresenceState;

    #[test]
    fn messages_are_not_commands() {
        assert_eq!(read("a /b"), Typed::Message("a /b".into()));
        assert_eq!(read("//etc/hosts"), Typed::Message("/etc/hosts".into()));
        assert!(matches!(read("/etc/hosts"), Typed::Wrong(_)));
        assert!(matches!(read("/"), Typed::Wrong(_)));
    }

    #[test]
    fn users_may_be_written_as_mentions() {
        let u2 = UserId::new("u2").unwrap();
        let u3 = UserId::new("u3").unwrap();
        assert_eq!(
            read("/dm @u2"),
            Typed::Command(SlashCommand::Dm(u2.clone()))
        );
        assert_eq!(
            read("/invite @u2, u3"),
            Typed::Command(SlashCommand::Invite(vec![u2, u3]))
        );
        assert!(matches!(read("/invite"), Typed::Wrong(_)));
        assert!(matches!(read("/dm a b"), Typed::Wrong(_)));
    }

    #[test]
    fn a_status_is_a_word_a_text_or_both() {
        let status = |text: &str| match read(text) {
            Typed::Command(SlashCommand::Status(state, text)) => (state, text),
            other => panic!("{other:?}"),
        };
        assert_eq!(
            status("/status dnd in a call"),
            (PresenceState::Dnd, "in a call".into())
        );
        assert_eq!(
            status("/status lunch"),
            (PresenceState::Online, "lunch".into())
        );
        assert_eq!(status("/status"), (PresenceState::Online, String::new()));
    }

    /// Help must not promise what does not exist.
    #[test]
    fn every_command_of_the_help_is_known() {
        for (name, ..) in COMMANDS {
            for argument in ["", "u2", "group-1-abcdefg2"] {
                if let Typed::Wrong(sentence) = read(&format!("{name} {argument}")) {
                    assert!(!sentence.contains("there is no"), "{name}: {sentence}");
                }
            }
        }
    }
}
