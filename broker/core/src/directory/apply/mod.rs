//! One committed command after another: the only way in which a directory changes.
//!
//! A command is done in a draft and written as a whole, so what is refused
//! changed nothing. Rules keep each other in step by *settling*: after a change
//! of a user, a department or a project, the channels that follow from it are
//! brought to what the rules say, and the difference is what their logs get.

mod channels;
mod departments;
mod groups;
mod projects;
mod revocation;
mod step;
mod users;

use confab_protocol::limits::{
    DIRECTORY_CHANGES_MAX, NAME_BYTES_MAX, TOPIC_BYTES_MAX, USERS_PER_REQUEST_MAX,
};
use confab_protocol::message::directory::DirectoryChange;
use confab_protocol::{ChannelId, Packed, UserId};

use self::step::Step;
use super::command::{Command, CommandKind};
use super::effects::Effects;
use super::reply::{Refusal, RefusalReason, Reply, ReplyKind};
use crate::store::{Store, StoreMut};

/// Whether a part of a command changed something, or why it could not be done.
type Part = Result<bool, RefusalReason>;

/// What became of a command.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Applied {
    /// What it did, or why it did nothing.
    pub outcome: Result<Reply, Refusal>,
    /// What the node has to look at now; empty when it was refused.
    pub effects: Effects,
}

/// Applies the command that the log holds at `index`.
///
/// Several commands may share an index, one after another. Never panics on any
/// decodable command and fails only when the state makes it impossible; then
/// the store is as it was.
pub fn apply<S: StoreMut>(store: &mut S, index: u64, command: &Command) -> Applied {
    let mut step = Step::new(&*store, index, command);
    let done = step
        .run(&command.what)
        .and_then(|what| Ok((step.finish()?, what)));
    match done {
        Ok((finished, what)) => {
            for (key, value) in finished.writes {
                match value {
                    Some(value) => store.put(&key, value.into()),
                    None => store.delete(&key),
                }
            }
            let channel_changes = u32::try_from(finished.effects.changes.len());
            Applied {
                outcome: Ok(Reply {
                    directory_index: index,
                    channel_changes: channel_changes.unwrap_or(u32::MAX),
                    what,
                }),
                effects: finished.effects,
            }
        }
        Err(refusal) => Applied {
            outcome: Err(refusal),
            effects: Effects::default(),
        },
    }
}

impl<S: Store> Step<'_, S> {
    fn run(&mut self, what: &CommandKind) -> Result<ReplyKind, Refusal> {
        if let CommandKind::Initialize { shards } = what {
            return Ok(done(self.initialize(*shards)?));
        }
        if !self.is_initialized() {
            return Err(RefusalReason::NotInitialized.into());
        }
        match what {
            CommandKind::Change(changes) => self.change_all(changes),
            CommandKind::Provision(claims) => Ok(done(self.provision(claims)?)),
            CommandKind::DeleteChannel { channel } => Ok(done(self.delete_with_owner(channel)?)),
            CommandKind::ChangesPropagated {
                shard,
                through_index,
            } => Ok(ReplyKind::Done {
                changed: self.forget_propagated(*shard, *through_index),
            }),
            about_a_channel => Ok(self.run_in_channel(about_a_channel)?),
        }
    }

    fn run_in_channel(&mut self, what: &CommandKind) -> Result<ReplyKind, RefusalReason> {
        let (channel, changed) = match what {
            CommandKind::OpenDm { a, b } => self.open_dm(a, b)?,
            CommandKind::CreateGroup(group) => self.create_group(group)?,
            CommandKind::UpdateChannel {
                channel,
                name,
                topic,
                private,
                archived,
            } => {
                let changed = self.update_channel(
                    channel,
                    name.as_ref(),
                    topic.as_ref(),
                    *private,
                    *archived,
                )?;
                (channel.clone(), changed)
            }
            CommandKind::Join { channel } => (channel.clone(), self.join(channel)?),
            CommandKind::Leave { channel } => (channel.clone(), self.leave(channel)?),
            CommandKind::AddMembers { channel, users } => {
                (channel.clone(), self.add_members(channel, &listed(users)?)?)
            }
            CommandKind::RemoveMembers { channel, users } => (
                channel.clone(),
                self.remove_members(channel, &listed(users)?)?,
            ),
            CommandKind::SetRole {
                channel,
                user,
                role,
            } => (channel.clone(), self.set_role(channel, user, *role)?),
            CommandKind::Initialize { .. }
            | CommandKind::Provision(_)
            | CommandKind::Change(_)
            | CommandKind::DeleteChannel { .. }
            | CommandKind::ChangesPropagated { .. } => {
                unreachable!("run keeps these to itself")
            }
        };
        self.channel_reply(channel, changed)
    }

    fn channel_reply(&self, channel: ChannelId, changed: bool) -> Result<ReplyKind, RefusalReason> {
        let stored = self.existing_channel(&channel)?;
        Ok(ReplyKind::Channel {
            channel,
            epoch: stored.epoch,
            member_count: stored.member_count,
            changed,
        })
    }

    /// All changes or none; the first that is at fault is named.
    fn change_all(&mut self, changes: &Packed<DirectoryChange>) -> Result<ReplyKind, Refusal> {
        within(changes.len(), DIRECTORY_CHANGES_MAX)?;
        let mut changed = 0;
        for (place, change) in changes.iter().enumerate() {
            let part = self.change(change);
            changed += u32::from(part.map_err(|reason| Refusal::at(place, reason))?);
        }
        Ok(ReplyKind::Done { changed })
    }

    fn change(&mut self, change: DirectoryChange) -> Part {
        match change {
            DirectoryChange::PutUser {
                id,
                name,
                kind,
                active,
                admin,
            } => self.put_user(&id, name, kind, active, admin),
            DirectoryChange::PutDepartment { id, name } => self.put_department(&id, &name),
            DirectoryChange::DeleteDepartment { id } => Ok(self.delete_department(&id)),
            DirectoryChange::AddDepartmentMember { department, user } => {
                self.add_department_member(&department, &user)
            }
            DirectoryChange::RemoveDepartmentMember { department, user } => {
                Ok(self.remove_department_member(&department, &user))
            }
            DirectoryChange::PutProject {
                id,
                name,
                team,
                clients,
            } => self.put_project(&id, &name, &listed(&team)?, &listed(&clients)?),
            DirectoryChange::AddProjectTeam { project, user } => {
                self.add_project_team(&project, &user)
            }
            DirectoryChange::RemoveProjectTeam { project, user } => {
                Ok(self.remove_project_team(&project, &user))
            }
            DirectoryChange::AddProjectClient { project, user } => {
                self.add_project_client(&project, &user)
            }
            DirectoryChange::RemoveProjectClient { project, user } => {
                Ok(self.remove_project_client(&project, &user))
            }
            DirectoryChange::CloseProject { id } => self.set_project_closed(&id, true),
            DirectoryChange::RevokeUserTokens {
                user,
                issued_before,
            } => Ok(self.revoke_user_tokens(&user, issued_before)),
            DirectoryChange::RevokeToken {
                token_id,
                expires_at,
            } => self.revoke_token(token_id, expires_at),
            DirectoryChange::SetAdmin { user, admin } => self.set_admin(&user, admin),
        }
    }
}

fn done(changed: bool) -> ReplyKind {
    ReplyKind::Done {
        changed: u32::from(changed),
    }
}

fn within(items: usize, most: usize) -> Result<(), RefusalReason> {
    if items <= most {
        return Ok(());
    }
    Err(RefusalReason::TooMany(
        u32::try_from(most).expect("list limits are small"),
    ))
}

fn listed(users: &Packed<UserId>) -> Result<Vec<UserId>, RefusalReason> {
    within(users.len(), USERS_PER_REQUEST_MAX)?;
    Ok(users.to_vec())
}

fn check_name(name: &str) -> Result<(), RefusalReason> {
    let is_good = (1..=NAME_BYTES_MAX).contains(&name.len()) && !name.chars().any(char::is_control);
    is_good.then_some(()).ok_or(RefusalReason::BadName)
}

fn check_topic(topic: &str) -> Result<(), RefusalReason> {
    (topic.len() <= TOPIC_BYTES_MAX)
        .then_some(())
        .ok_or(RefusalReason::BadTopic)
}
