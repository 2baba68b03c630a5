//! The directory against a naive model, and its rules one by one.

#![allow(clippy::unwrap_used)]

mod bulk;
mod commands;
mod model;
mod properties;
mod rules;
mod tokens;

use confab_protocol::codec::{Packed, Text};
use confab_protocol::message::directory::DirectoryChange;
use confab_protocol::message::session::UserKind;
use confab_protocol::{ChannelId, DepartmentId, ProjectId, UserId};

use super::{Applied, ChannelChange, Command, CommandKind, DirectoryView, Refusal, Reply, apply};
use crate::store::MemoryStore;

fn user(text: &str) -> UserId {
    UserId::new(text).unwrap()
}

fn department(text: &str) -> DepartmentId {
    DepartmentId::new(text).unwrap()
}

fn project(text: &str) -> ProjectId {
    ProjectId::new(text).unwrap()
}

fn put_user(name: &str, kind: UserKind, active: bool) -> DirectoryChange {
    DirectoryChange::PutUser {
        id: user(name),
        name: Text::from(name),
        kind,
        active,
        admin: None,
    }
}

/// A directory with its log: each command gets the next index.
struct Directory {
    store: MemoryStore,
    index: u64,
}

impl Directory {
    fn new() -> Self {
        let mut directory = Self {
            store: MemoryStore::new(),
            index: 0,
        };
        directory
            .run(None, CommandKind::Initialize { shards: 4 })
            .unwrap();
        directory
    }

    fn view(&self) -> DirectoryView<'_, MemoryStore> {
        DirectoryView::new(&self.store)
    }

    fn apply(&mut self, by: Option<&str>, what: CommandKind) -> Applied {
        self.index += 1;
        let command = Command {
            at_ms: 1_000 * self.index,
            by: by.map(user),
            what,
        };
        apply(&mut self.store, self.index, &command)
    }

    fn run(&mut self, by: Option<&str>, what: CommandKind) -> Result<Reply, Refusal> {
        self.apply(by, what).outcome
    }

    fn change(&mut self, changes: impl Into<Packed<DirectoryChange>>) -> Result<Reply, Refusal> {
        self.run(None, CommandKind::Change(changes.into()))
    }

    /// The changes that the last command queued.
    fn queued(&self) -> Vec<ChannelChange> {
        (0..4)
            .flat_map(|shard| self.view().pending_changes(shard, None, 10_000).items)
            .filter(|change| change.directory_index == self.index)
            .collect()
    }

    fn members(&self, channel: &ChannelId) -> Vec<String> {
        let members = self.view().members(channel, None, 1_000).items;
        members
            .into_iter()
            .map(|(user, role)| format!("{user} {role:?}"))
            .collect()
    }
}
