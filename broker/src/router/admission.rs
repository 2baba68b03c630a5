//! The check that is one with the append.
//!
//! A group's leader calls this in its one ordering task: between the check
//! against the directory and the place in the log nothing can come. What needs
//! no check was decided elsewhere, by the directory itself.

use std::collections::HashMap;

use bytes::Bytes;
use confab_core::channel::{self, Command};
use confab_core::directory::{self, CommandKind, DirectoryView};
use confab_core::rights::{self, ChannelAction};
use confab_protocol::codec::encode;
use confab_protocol::{ChannelId, Epoch, UserId, WireError};
use confab_replication::Admission;

use super::now_ms;
use crate::state::GroupView;

/// A change that is asked of the directory.
pub struct DirectoryRequest {
    /// Who asks; `None` for the system.
    pub(super) by: Option<UserId>,
    /// What is to be done.
    pub(super) what: CommandKind,
    /// What the asker must be allowed.
    pub(super) needs: Needs,
}

/// What an asker must be allowed.
pub(super) enum Needs {
    /// Nothing: the system asks.
    Nothing,
    /// All of these, in one channel.
    InChannel(ChannelId, Vec<ChannelAction>),
    /// To create a group.
    CreateGroup,
    /// To open the direct messages with a user.
    OpenDm(UserId),
    /// To administer the directory.
    ManageDirectory,
}

/// Admits changes of the directory.
pub struct DirectoryAdmission {
    directory: GroupView,
}

impl DirectoryAdmission {
    /// Checks against `directory`.
    #[must_use]
    pub const fn new(directory: GroupView) -> Self {
        Self { directory }
    }

    fn check(&self, by: &UserId, needs: &Needs) -> Result<(), rights::Denied> {
        let view = DirectoryView::new(&self.directory);
        let action = match needs {
            Needs::Nothing => return Ok(()),
            Needs::InChannel(channel, actions) => {
                for action in actions {
                    rights::authorize_in(&view, by, channel, *action)?;
                }
                return Ok(());
            }
            Needs::CreateGroup => rights::Action::CreateGroup,
            Needs::OpenDm(user) => rights::Action::OpenDm(user),
            Needs::ManageDirectory => rights::Action::ManageDirectory,
        };
        rights::authorize(&view, by, action).map(|_| ())
    }
}

impl Admission for DirectoryAdmission {
    type Request = DirectoryRequest;
    type Refusal = WireError;

    fn admit(&mut self, request: DirectoryRequest) -> Result<Bytes, WireError> {
        if let Some(by) = &request.by {
            self.check(by, &request.needs)
                .map_err(rights::Denied::to_wire)?;
        }
        let command = directory::Command {
            at_ms: now_ms(),
            by: request.by,
            what: request.what,
        };
        Ok(Bytes::from(encode(&command)))
    }
}

/// A command for a shard.
pub enum ShardRequest {
    /// To be checked in its turn.
    Checked {
        /// Who asks.
        by: UserId,
        /// What the asker must be allowed, all of it.
        needs: Vec<ChannelAction>,
        /// In which channel.
        channel: ChannelId,
        /// Which life of its log.
        epoch: Epoch,
        /// What is to be done.
        action: channel::Action,
    },
    /// Decided by the directory: it is only to be shown.
    Decided(Command),
}

/// Rights that were looked up and are remembered until the directory changes.
const REMEMBERED_MAX: usize = 10_000;

/// Admits commands for a shard's channels.
pub struct ShardAdmission {
    directory: GroupView,
    /// The directory's applied index that `allowed` belongs to.
    directory_index: u64,
    allowed: HashMap<(UserId, ChannelId), Vec<ChannelAction>>,
}

impl ShardAdmission {
    /// Checks against `directory`.
    #[must_use]
    pub fn new(directory: GroupView) -> Self {
        Self {
            directory,
            directory_index: 0,
            allowed: HashMap::new(),
        }
    }

    /// Looks a right up once for each state of the directory.
    fn check(
        &mut self,
        by: &UserId,
        channel: &ChannelId,
        needs: &[ChannelAction],
    ) -> Result<(), rights::Denied> {
        let directory_index = self.directory.applied_index();
        if directory_index != self.directory_index || self.allowed.len() >= REMEMBERED_MAX {
            self.allowed.clear();
            self.directory_index = directory_index;
        }
        let key = (by.clone(), channel.clone());
        let known = self.allowed.entry(key).or_default();
        for action in needs {
            if !known.contains(action) {
                let view = DirectoryView::new(&self.directory);
                rights::authorize_in(&view, by, channel, *action)?;
                known.push(*action);
            }
        }
        Ok(())
    }
}

impl Admission for ShardAdmission {
    type Request = ShardRequest;
    type Refusal = WireError;

    fn admit(&mut self, request: ShardRequest) -> Result<Bytes, WireError> {
        let command = match request {
            ShardRequest::Decided(command) => command,
            ShardRequest::Checked {
                by,
                needs,
                channel,
                epoch,
                action,
            } => {
                self.check(&by, &channel, &needs)
                    .map_err(rights::Denied::to_wire)?;
                Command {
                    channel,
                    epoch,
                    at_ms: now_ms(),
                    directory_index: self.directory_index,
                    action,
                }
            }
        };
        Ok(Bytes::from(encode(&command)))
    }
}
