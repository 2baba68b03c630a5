//! Does what the model wants, through the client.
//!
//! Each effect that has an outcome is a task of its own, so the screen never
//! waits for the network. Messages are queued in order before anything else.

use confab_client::{Client, RequestError, SendError};
use confab_protocol::limits::{NAME_BYTES_MAX, PAGE_ITEMS_MAX, TOPIC_BYTES_MAX};
use confab_protocol::message::channel::{Changed, ChannelSummary, History, MembersUpdated};
use confab_protocol::{ChannelId, ClientMessageId, ErrorCode};
use tokio::task::JoinSet;

use super::model::effect::{Effect, Outcome, Place, Problem};
use super::model::mentions::Mentioned;
use crate::failure::Failure;

/// Messages of a page.
const PAGE: u16 = 100;

/// Users that a search brings.
const FOUND_MAX: u16 = 20;

/// Tasks at once; past it what is only convenience is left out.
const TASKS_MAX: usize = 256;

/// Does effects, and collects what comes of them.
pub(crate) struct Session {
    client: Client,
    tasks: JoinSet<Option<Outcome>>,
}

impl Session {
    pub(crate) fn new(client: Client) -> Self {
        Self {
            client,
            tasks: JoinSet::new(),
        }
    }

    pub(crate) const fn client(&self) -> &Client {
        &self.client
    }

    /// Begins to do one thing.
    pub(crate) async fn begin(&mut self, effect: Effect) -> Option<Outcome> {
        match effect {
            Effect::Send {
                place,
                local,
                content,
                mentioned,
            } => return self.send(place, local, content, mentioned).await,
            Effect::Typing(place) => {
                let channel = self.client.channel(place.channel);
                channel.typing(place.thread).await;
            }
            Effect::StopTyping(place) => {
                let channel = self.client.channel(place.channel);
                channel.stop_typing(place.thread).await;
            }
            Effect::Active => self.client.active().await,
            // The screen makes sounds.
            Effect::Bell => {}
            // The model asks for one page and one cursor at a time.
            effect @ (Effect::History(..) | Effect::MarkRead(..)) => self.spawn(effect),
            effect if self.tasks.len() < TASKS_MAX => self.spawn(effect),
            _ => return Some(Outcome::Failed("Too much at once; try again.".into())),
        }
        None
    }

    fn spawn(&mut self, effect: Effect) {
        let client = self.client.clone();
        self.tasks
            .spawn(async move { perform(client, effect).await });
    }

    /// What came of one of the things begun; never, while there is nothing.
    pub(crate) async fn next(&mut self) -> Option<Outcome> {
        match self.tasks.join_next().await {
            Some(Ok(outcome)) => outcome,
            // A task of ours does not panic.
            Some(Err(_)) => None,
            None => std::future::pending().await,
        }
    }

    async fn send(
        &mut self,
        place: Place,
        local: u64,
        content: String,
        mentioned: Mentioned,
    ) -> Option<Outcome> {
        let mut message = self.client.channel(place.channel.clone()).send(content);
        if let Some(root) = place.thread {
            message = message.thread(root);
        }
        for user in mentioned.users {
            message = message.mention(user);
        }
        if mentioned.channel {
            message = message.mention_channel();
        }
        if mentioned.here {
            message = message.mention_here();
        }
        match message.enqueue().await {
            Ok(sending) => {
                self.tasks.spawn(async move {
                    let result = sending.await.map_err(send_problem);
                    Some(Outcome::Sent(place, local, result))
                });
                None
            }
            Err(error) => Some(Outcome::Sent(place, local, Err(send_problem(error)))),
        }
    }
}

fn problem(error: RequestError) -> Problem {
    Failure::from(error).told()
}

fn send_problem(error: SendError) -> Problem {
    Failure::from(error).told()
}

/// What a change of a message or of members comes to: nothing, unless it fails.
fn quiet<T>(doing: &str, result: Result<T, RequestError>) -> Option<Outcome> {
    match result {
        Ok(_) => None,
        Err(error) => Some(Outcome::Failed(format!(
            "Could not {doing}: {}",
            problem(error)
        ))),
    }
}

fn told(
    doing: &str,
    done: impl FnOnce() -> String,
    result: Result<impl Sized, RequestError>,
) -> Option<Outcome> {
    match result {
        Ok(_) => Some(Outcome::Done(done())),
        Err(error) => Some(Outcome::Failed(format!(
            "Could not {doing}: {}",
            problem(error)
        ))),
    }
}

fn entered(doing: &str, result: Result<ChannelSummary, RequestError>) -> Option<Outcome> {
    Some(match result {
        Ok(summary) => Outcome::Entered(summary),
        Err(error) => Outcome::Failed(format!("Could not {doing}: {}", problem(error))),
    })
}

async fn perform(client: Client, effect: Effect) -> Option<Outcome> {
    match effect {
        Effect::History(place, wanted) => {
            let history = History {
                channel: place.channel.clone(),
                thread: place.thread,
                anchor: wanted.anchor,
                limit: PAGE,
            };
            let result = client.request(history).await.map_err(problem);
            Some(Outcome::History(place, wanted, result))
        }
        Effect::Message(channel, message) => {
            let handle = client.channel(channel.clone());
            let info = handle.message(message, false).await.ok()?;
            Some(Outcome::Message(channel, info.message))
        }
        Effect::Cursors(channel) => cursors(&client, channel).await,
        Effect::Members { channel, show } => members(&client, channel, show).await,
        Effect::Profiles(users) => {
            let mut profiles = Vec::new();
            for some in users.chunks(confab_protocol::limits::USERS_PER_REQUEST_MAX) {
                profiles.extend(client.users(some.iter().cloned()).await.ok()?);
            }
            Some(Outcome::Profiles(profiles))
        }
        Effect::FindUsers(start) => {
            let page = client.list_users(None, start, FOUND_MAX).await.ok()?;
            Some(Outcome::Profiles(page.users.to_vec()))
        }
        Effect::WatchPresence(users) => {
            let users = client.watch_presence(users).await.ok()?;
            Some(Outcome::Presence(users))
        }
        Effect::Open(channel) => {
            let users = client.channel(channel).open().await.ok()?;
            Some(Outcome::Presence(users))
        }
        Effect::Close(channel) => {
            // A channel that is gone is closed.
            let _ = client.channel(channel).close().await;
            None
        }
        Effect::MarkRead(place, offset) => {
            let channel = client.channel(place.channel.clone());
            let marked = channel.mark_read(place.thread, offset).await;
            Some(Outcome::Marked(place, marked.is_ok()))
        }
        Effect::OpenDm(user) => {
            let doing = format!("write to {user}");
            entered(&doing, client.open_dm(user).await)
        }
        Effect::CreateGroup(name) => {
            let id = format!("group-{:032x}", rand::random::<u128>());
            let id = ClientMessageId::new(&id).ok();
            let name = cut_bytes(name, NAME_BYTES_MAX);
            entered(
                "make the group",
                client.create_group(name, "", true, [], id).await,
            )
        }
        Effect::Join(channel) => entered("join", client.channel(channel).join().await),
        Effect::SetPresence(state, text) => {
            let text = cut_bytes(text, confab_protocol::limits::STATUS_BYTES_MAX);
            let word = format!("You are seen as {}.", format!("{state:?}").to_lowercase());
            told(
                "set the status",
                || word,
                client.set_presence(state, text).await,
            )
        }
        Effect::Send { .. }
        | Effect::Typing(_)
        | Effect::StopTyping(_)
        | Effect::Active
        | Effect::Bell => None,
        effect => change(&client, effect).await,
    }
}

/// What changes messages and channels.
async fn change(client: &Client, effect: Effect) -> Option<Outcome> {
    match effect {
        Effect::Edit {
            channel,
            message,
            content,
            mentioned,
            version,
        } => {
            let mut edit = client.channel(channel).edit(message, content);
            for user in mentioned.users {
                edit = edit.mention(user);
            }
            if mentioned.channel {
                edit = edit.mention_channel();
            }
            if mentioned.here {
                edit = edit.mention_here();
            }
            let result: Result<Changed, _> = edit.if_version(version).await;
            match result {
                Err(RequestError::Refused(error)) if error.code() == ErrorCode::Conflict => {
                    let sentence =
                        "The message was edited elsewhere meanwhile: look, then edit it again.";
                    Some(Outcome::Failed(sentence.into()))
                }
                result => quiet("edit the message", result),
            }
        }
        Effect::Delete(channel, message) => quiet(
            "delete the message",
            client.channel(channel).delete(message).await,
        ),
        Effect::React {
            channel,
            message,
            emoji,
            on,
        } => quiet(
            "react",
            client.channel(channel).react(message, emoji, on).await,
        ),
        Effect::Pin {
            channel,
            message,
            on,
        } => quiet("pin", client.channel(channel).pin(message, on).await),
        Effect::MarkUnread(channel, offset) => quiet(
            "make it unread",
            client.channel(channel).mark_unread(offset).await,
        ),
        Effect::Leave(channel) => quiet("leave", client.channel(channel).leave().await),
        Effect::Invite(channel, users) => {
            let result: Result<MembersUpdated, _> =
                client.channel(channel).add_members(users).await;
            quiet("invite", result)
        }
        Effect::Remove(channel, users) => quiet(
            "remove",
            client.channel(channel).remove_members(users).await,
        ),
        Effect::Rename(channel, name) => {
            let name = cut_bytes(name, NAME_BYTES_MAX).into();
            let channel = client.channel(channel);
            quiet("rename the group", channel.update(Some(name), None).await)
        }
        Effect::Topic(channel, topic) => {
            let topic = cut_bytes(topic, TOPIC_BYTES_MAX).into();
            let channel = client.channel(channel);
            quiet("set the topic", channel.update(None, Some(topic)).await)
        }
        Effect::SetPrivate(channel, private) => {
            let how = if private {
                "Only who is invited can join now."
            } else {
                "Every internal user can join now."
            };
            told(
                "change who may join",
                || how.to_owned(),
                client.channel(channel).set_private(private).await,
            )
        }
        _ => None,
    }
}

async fn cursors(client: &Client, channel: ChannelId) -> Option<Outcome> {
    let page = client
        .channel(channel.clone())
        .cursors(None, PAGE_ITEMS_MAX)
        .await
        .ok()?;
    let cursors = page.cursors.iter().map(|one| (one.user, one.read));
    Some(Outcome::Cursors(channel, cursors.collect()))
}

async fn members(client: &Client, channel: ChannelId, show: bool) -> Option<Outcome> {
    let page = client
        .channel(channel.clone())
        .members(None, PAGE_ITEMS_MAX)
        .await;
    match page {
        Ok(page) => Some(Outcome::Members {
            channel,
            members: page.members.to_vec(),
            more: page.more,
            show,
        }),
        Err(error) if show => Some(Outcome::Failed(problem(error))),
        Err(_) => None,
    }
}

/// Cuts a text to so many bytes, between characters.
fn cut_bytes(mut text: String, bytes_max: usize) -> String {
    if text.len() > bytes_max {
        let end = (0..=bytes_max)
            .rev()
            .find(|end| text.is_char_boundary(*end));
        text.truncate(end.unwrap_or(0));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::cut_bytes;

    #[test]
    fn a_text_is_cut_between_characters() {
        assert_eq!(cut_bytes("abc".into(), 3), "abc");
        assert_eq!(cut_bytes("aüü".into(), 4), "aü");
        assert_eq!(cut_bytes("ü".into(), 1), "");
    }
}
