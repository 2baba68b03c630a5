//! Users: presence and the directory.

use confab_protocol::message::directory::{
    DirectoryChange, DirectoryUpdated, GetUsers, ListUsers, UpdateDirectory, UserPage,
};
use confab_protocol::message::presence::{Presence, PresenceState, SetPresence, WatchPresence};
use confab_protocol::message::session::UserProfile;
use confab_protocol::{Text, UserId};

use super::Client;
use crate::core::{Command, RequestError};

impl Client {
    /// Says how this device's user wants to be seen, now and after reconnecting.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub async fn set_presence(
        &self,
        state: PresenceState,
        status: impl Into<Text>,
    ) -> Result<(), RequestError> {
        let status = status.into();
        self.request(SetPresence { state, status }).await?;
        Ok(())
    }

    /// Watches users whatever channels they share with this one, at most 500,
    /// instead of those watched before. Answers with how they are now.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub async fn watch_presence(
        &self,
        users: impl IntoIterator<Item = UserId>,
    ) -> Result<Vec<Presence>, RequestError> {
        let users = users.into_iter().collect();
        let presences = self.request(WatchPresence { users }).await?;
        Ok(presences.users.to_vec())
    }

    /// The user did something: the next heartbeat says so. Sending and typing
    /// count by themselves.
    pub async fn active(&self) {
        self.command(Command::Active).await;
    }

    /// Users by id, at most 500; without those that are not known.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub async fn users(
        &self,
        users: impl IntoIterator<Item = UserId>,
    ) -> Result<Vec<UserProfile>, RequestError> {
        let users = users.into_iter().collect();
        Ok(self.request(GetUsers { users }).await?.users.to_vec())
    }

    /// Users in order of their ids, after one of them, whose id or name starts
    /// with `prefix`; `limit` is 1 to 200.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub async fn list_users(
        &self,
        after: Option<UserId>,
        prefix: impl Into<Text>,
        limit: u16,
    ) -> Result<UserPage, RequestError> {
        let prefix = prefix.into();
        self.request(ListUsers {
            after,
            prefix,
            limit,
        })
        .await
    }

    /// Changes the directory in one step, all or nothing, at most 1,000 changes.
    /// For administrators. Each change is idempotent, so it is safe to repeat.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub async fn update_directory(
        &self,
        changes: impl IntoIterator<Item = DirectoryChange>,
    ) -> Result<DirectoryUpdated, RequestError> {
        let changes = changes.into_iter().collect();
        self.request(UpdateDirectory { changes }).await
    }
}
