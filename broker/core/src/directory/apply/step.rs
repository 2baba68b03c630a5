//! One command on its way: its draft, and what it touched.
//!
//! Everything that changes a channel or its members goes through here, so that
//! rows, both indexes, counts and the queue for the logs cannot drift apart.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use confab_protocol::codec::{Encode, Text, encode};
use confab_protocol::message::event::ChannelRole;
use confab_protocol::{ChannelId, ClientMessageId, Epoch, UserId};

use crate::directory::change::{ChannelChange, ChannelChangeKind, MembersDelta, StoredProperties};
use crate::directory::command::Command;
use crate::directory::draft::{Draft, Writes};
use crate::directory::effects::{Effects, MemberChange};
use crate::directory::record::{Counters, StoredChannel, StoredMember, StoredUser};
use crate::directory::reply::{Refusal, RefusalReason};
use crate::directory::view::id;
use crate::directory::{DirectoryView, PENDING_CHANGES_MAX, SHARDS_MAX, keys, shard_of};
use crate::store::{Store, StoreMut};

/// A channel as it was before the command.
struct Before {
    channel: Option<StoredChannel>,
    /// The earlier roles of those whose role the command set. Of a channel
    /// that died in the command, those of its new life: none.
    roles: BTreeMap<UserId, Option<ChannelRole>>,
}

/// A finished command.
pub(super) struct Finished {
    pub(super) writes: Writes,
    pub(super) effects: Effects,
}

/// One command on its way.
pub(super) struct Step<'a, S> {
    draft: Draft<'a, S>,
    index: u64,
    pub(super) at_ms: u64,
    pub(super) by: Option<&'a UserId>,
    /// `None` before `Initialize`.
    counters: Option<Counters>,
    touched: BTreeMap<ChannelId, Before>,
    users: BTreeSet<UserId>,
    pub(super) revoked_tokens: Vec<Text>,
}

impl<'a, S: Store> Step<'a, S> {
    pub(super) fn new(store: &'a S, index: u64, command: &'a Command) -> Self {
        Self {
            draft: Draft::new(store),
            index,
            at_ms: command.at_ms,
            by: command.by.as_ref(),
            counters: DirectoryView::new(store).counters(),
            touched: BTreeMap::new(),
            users: BTreeSet::new(),
            revoked_tokens: Vec::new(),
        }
    }

    /// The directory as the command has made it so far.
    pub(super) fn view(&self) -> DirectoryView<'_, Draft<'a, S>> {
        DirectoryView::new(&self.draft)
    }

    pub(super) fn put<T: Encode>(&mut self, key: &[u8], record: &T) {
        self.draft.put(key, encode(record));
    }

    pub(super) fn delete(&mut self, key: &[u8]) {
        self.draft.delete(key);
    }

    pub(super) fn is_initialized(&self) -> bool {
        self.counters.is_some()
    }

    pub(super) fn initialize(&mut self, shards: u16) -> Result<bool, RefusalReason> {
        if !(1..=SHARDS_MAX).contains(&shards) {
            return Err(RefusalReason::BadShards);
        }
        if let Some(counters) = self.counters {
            return match counters.shards == shards {
                true => Ok(false),
                false => Err(RefusalReason::OtherShards(counters.shards)),
            };
        }
        self.counters = Some(Counters {
            shards,
            next_epoch: 1,
            last_index: 0,
            next_ordinal: 0,
        });
        let properties = StoredProperties {
            name: Text::from("General"),
            ..StoredProperties::default()
        };
        self.create_channel(&ChannelId::general(), properties, None, None);
        Ok(true)
    }

    /// Remembers that a user's sessions have to be looked at again.
    pub(super) fn look_at(&mut self, user: &UserId) {
        self.users.insert(user.clone());
    }

    pub(super) fn existing_user(&self, user: &UserId) -> Result<StoredUser, RefusalReason> {
        self.view()
            .user(user)
            .ok_or_else(|| RefusalReason::NoSuchUser(user.clone()))
    }

    pub(super) fn active_user(&self, user: &UserId) -> Result<StoredUser, RefusalReason> {
        let known = self.existing_user(user)?;
        match known.active {
            true => Ok(known),
            false => Err(RefusalReason::UserInactive(user.clone())),
        }
    }

    pub(super) fn existing_channel(
        &self,
        channel: &ChannelId,
    ) -> Result<StoredChannel, RefusalReason> {
        self.view()
            .channel(channel)
            .ok_or_else(|| RefusalReason::NoSuchChannel(channel.clone()))
    }

    fn touch(&mut self, channel: &ChannelId) -> &mut Before {
        let view = DirectoryView::new(&self.draft);
        self.touched
            .entry(channel.clone())
            .or_insert_with(|| Before {
                channel: view.channel(channel),
                roles: BTreeMap::new(),
            })
    }

    /// Begins a channel's life, without members. It must not exist.
    pub(super) fn create_channel(
        &mut self,
        channel: &ChannelId,
        properties: StoredProperties,
        created_by: Option<UserId>,
        client_id: Option<ClientMessageId>,
    ) {
        self.touch(channel);
        let counters = self
            .counters
            .as_mut()
            .expect("no command but Initialize gets here without counters");
        let epoch = Epoch(counters.next_epoch);
        counters.next_epoch += 1;
        self.put(&keys::epoch(epoch), channel);
        let stored = StoredChannel {
            epoch,
            kind: channel.kind(),
            properties,
            created_at_ms: self.at_ms,
            created_by,
            client_id,
            owner: None,
            member_count: 0,
        };
        self.put(&keys::channel(channel), &stored);
    }

    /// Changes a channel's record; `false` when the channel does not exist or
    /// is so already.
    pub(super) fn change_channel(
        &mut self,
        channel: &ChannelId,
        change: impl FnOnce(&mut StoredChannel),
    ) -> bool {
        let Some(before) = self.view().channel(channel) else {
            return false;
        };
        let mut now = before.clone();
        change(&mut now);
        if now == before {
            return false;
        }
        self.touch(channel);
        self.put(&keys::channel(channel), &now);
        true
    }

    /// Gives a user this role in a channel other than general, or none;
    /// `false` when it is so already or the channel does not exist.
    pub(super) fn set_member(
        &mut self,
        channel: &ChannelId,
        user: &UserId,
        role: Option<ChannelRole>,
    ) -> bool {
        let before = self.view().member(channel, user);
        let role_before = before.map(|member| member.role);
        if role_before == role || self.view().channel(channel).is_none() {
            return false;
        }
        self.touch(channel)
            .roles
            .entry(user.clone())
            .or_insert(role_before);
        match role {
            Some(role) => {
                let joined = before.map_or(self.index, |member| member.joined);
                self.put(&keys::member(channel, user), &StoredMember { role, joined });
                self.put(&keys::user_channel(user, channel), &());
            }
            None => {
                self.delete(&keys::member(channel, user));
                self.delete(&keys::user_channel(user, channel));
            }
        }
        self.change_channel(channel, |stored| {
            count(
                &mut stored.member_count,
                role_before.is_some(),
                role.is_some(),
            );
            if role == Some(ChannelRole::Owner) {
                stored.owner = Some(user.clone());
            } else if role_before == Some(ChannelRole::Owner) {
                stored.owner = None;
            }
        });
        true
    }

    /// Notes that a user came into general or left it; the rule itself is
    /// [`StoredUser::is_in_general`].
    pub(super) fn set_general(&mut self, user: &UserId, was_in: bool, is_in: bool) {
        if was_in == is_in {
            return;
        }
        let general = ChannelId::general();
        self.touch(&general)
            .roles
            .entry(user.clone())
            .or_insert(was_in.then_some(ChannelRole::Member));
        self.change_channel(&general, |stored| {
            count(&mut stored.member_count, was_in, is_in);
        });
    }

    /// Ends a channel's life with all that is stored about it.
    pub(super) fn delete_channel(&mut self, channel: &ChannelId) -> bool {
        let Some(stored) = self.view().channel(channel) else {
            return false;
        };
        self.touch(channel).roles.clear();
        let mut members: Vec<UserId> = Vec::new();
        self.view().walk(&keys::members(channel), |text, _| {
            members.push(id(text));
            ControlFlow::Continue(())
        });
        for user in &members {
            self.delete(&keys::member(channel, user));
            self.delete(&keys::user_channel(user, channel));
        }
        if let (Some(creator), Some(client_id)) = (&stored.created_by, &stored.client_id) {
            self.delete(&keys::group_request(creator, client_id));
        }
        self.delete(&keys::epoch(stored.epoch));
        self.delete(&keys::channel(channel));
        true
    }

    /// Queues what the channels' logs have to show and gives up the draft.
    pub(super) fn finish(mut self) -> Result<Finished, Refusal> {
        let mut effects = Effects {
            users: std::mem::take(&mut self.users).into_iter().collect(),
            revoked_tokens: std::mem::take(&mut self.revoked_tokens),
            ..Effects::default()
        };
        for (channel, before) in std::mem::take(&mut self.touched) {
            let mut delta = self.delta(&channel, &before.roles, &mut effects.members);
            let now = self.view().channel(&channel);
            let (died, lives) = match (&before.channel, now) {
                (Some(before), Some(now)) if before.epoch == now.epoch => {
                    delta.member_count = now.member_count;
                    if before.properties != now.properties {
                        let properties = now.properties.clone();
                        let what = ChannelChangeKind::Updated { properties };
                        effects.changes.push(self.queue(&channel, now.epoch, what)?);
                    }
                    if !delta.is_empty() {
                        let what = ChannelChangeKind::Members(delta);
                        effects.changes.push(self.queue(&channel, now.epoch, what)?);
                    }
                    continue;
                }
                (before, now) => (before.as_ref().map(|before| before.epoch), now),
            };
            if let Some(epoch) = died {
                let what = ChannelChangeKind::Deleted;
                effects.changes.push(self.queue(&channel, epoch, what)?);
            }
            if let Some(now) = lives {
                delta.member_count = now.member_count;
                let what = ChannelChangeKind::Created {
                    properties: now.properties,
                    members: delta,
                };
                effects.changes.push(self.queue(&channel, now.epoch, what)?);
            }
        }
        if let Some(counters) = self.counters
            && self.view().counters() != Some(counters)
        {
            self.put(&keys::counters(), &counters);
        }
        Ok(Finished {
            writes: self.draft.into_writes(),
            effects,
        })
    }

    /// What the command did to a channel's members, in order of their ids.
    fn delta(
        &self,
        channel: &ChannelId,
        before: &BTreeMap<UserId, Option<ChannelRole>>,
        members: &mut Vec<MemberChange>,
    ) -> MembersDelta {
        let mut delta = MembersDelta::default();
        for (user, role_before) in before {
            let role = self.view().role_of(channel, user);
            if role == *role_before {
                continue;
            }
            match role {
                Some(role) => delta.add(user, role),
                None => delta.remove(user),
            }
            members.push(MemberChange {
                channel: channel.clone(),
                user: user.clone(),
                role,
            });
        }
        delta
    }

    fn queue(
        &mut self,
        channel: &ChannelId,
        epoch: Epoch,
        what: ChannelChangeKind,
    ) -> Result<ChannelChange, RefusalReason> {
        let counters = self
            .counters
            .as_mut()
            .expect("a channel was touched, so the directory is initialised");
        let shard = shard_of(channel, counters.shards);
        if counters.last_index != self.index {
            counters.last_index = self.index;
            counters.next_ordinal = 0;
        }
        let ordinal = counters.next_ordinal;
        counters.next_ordinal += 1;
        let waiting = self.view().pending_count(shard);
        if waiting >= PENDING_CHANGES_MAX {
            return Err(RefusalReason::Backlog(shard));
        }
        let change = ChannelChange {
            directory_index: self.index,
            ordinal,
            channel: channel.clone(),
            epoch,
            kind: channel.kind(),
            by: self.by.cloned(),
            at_ms: self.at_ms,
            what,
        };
        self.put(&keys::pending(shard, self.index, ordinal), &change);
        self.put(&keys::pending_count(shard), &(waiting + 1));
        Ok(change)
    }

    /// Forgets what a shard's logs have; answers how many changes that were.
    pub(super) fn forget_propagated(&mut self, shard: u16, through_index: u64) -> u32 {
        let range = keys::pending_through(shard, through_index);
        let mut found: Vec<Vec<u8>> = Vec::new();
        self.draft.scan(
            &range.from,
            &range.to,
            crate::store::Direction::Forward,
            &mut |key, _| {
                found.push(key.to_vec());
                ControlFlow::Continue(())
            },
        );
        if found.is_empty() {
            return 0;
        }
        for key in &found {
            self.delete(key);
        }
        let forgotten = found.len() as u64;
        let waiting = self.view().pending_count(shard);
        self.put(
            &keys::pending_count(shard),
            &waiting.saturating_sub(forgotten),
        );
        u32::try_from(forgotten).unwrap_or(u32::MAX)
    }
}

/// Keeps a count of members in step with one who may come or go.
fn count(members: &mut u32, was_in: bool, is_in: bool) {
    match (was_in, is_in) {
        (false, true) => *members = members.saturating_add(1),
        (true, false) => *members = members.saturating_sub(1),
        _ => {}
    }
}
