//! The directory: users, departments, projects, and what revokes them.

use serde::{Deserialize, Serialize};

use super::session::{UserKind, UserProfile};
use crate::codec::{Decode, Encode, Packed, Text};
use crate::id::{DepartmentId, ProjectId, UserId};

/// One idempotent change of the directory. Append-only: a variant keeps its
/// place for ever.
#[derive(Clone, Debug, Eq, PartialEq, Encode, Decode, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "snake_case")]
pub enum DirectoryChange {
    /// Creates or replaces a user.
    PutUser {
        /// Who.
        id: UserId,
        /// Display name, 1 to 200 bytes.
        name: Text,
        /// Of the company, or a client of it.
        kind: UserKind,
        /// Whether the user may connect.
        #[serde(default = "yes")]
        active: bool,
        /// Whether the user administers the server; `None` leaves it.
        #[serde(default)]
        admin: Option<bool>,
    },
    /// Creates or renames a department, and its channel.
    PutDepartment {
        /// Which.
        id: DepartmentId,
        /// Display name, 1 to 200 bytes.
        name: Text,
    },
    /// Deletes a department, and its channel.
    DeleteDepartment {
        /// Which.
        id: DepartmentId,
    },
    /// Puts an internal user into a department.
    AddDepartmentMember {
        /// Which.
        department: DepartmentId,
        /// Whom.
        user: UserId,
    },
    /// Takes a user out of a department.
    RemoveDepartmentMember {
        /// Which.
        department: DepartmentId,
        /// Whom.
        user: UserId,
    },
    /// Creates or replaces a project: its team and its clients are exactly
    /// these. Its channel exists from the first assignment to a client.
    PutProject {
        /// Which.
        id: ProjectId,
        /// Display name, 1 to 200 bytes.
        name: Text,
        /// Internal users, at most 500.
        #[serde(with = "list")]
        team: Packed<UserId>,
        /// Clients, at most 500.
        #[serde(with = "list")]
        clients: Packed<UserId>,
    },
    /// Puts an internal user into a project's team.
    AddProjectTeam {
        /// Which.
        project: ProjectId,
        /// Whom.
        user: UserId,
    },
    /// Takes a user out of a project's team.
    RemoveProjectTeam {
        /// Which.
        project: ProjectId,
        /// Whom.
        user: UserId,
    },
    /// Assigns a project to a client.
    AddProjectClient {
        /// Which.
        project: ProjectId,
        /// Whom.
        user: UserId,
    },
    /// Takes a client off a project.
    RemoveProjectClient {
        /// Which.
        project: ProjectId,
        /// Whom.
        user: UserId,
    },
    /// Closes a project: its channel is archived.
    CloseProject {
        /// Which.
        id: ProjectId,
    },
    /// Refuses every token of a user that was issued before a time.
    RevokeUserTokens {
        /// Whose.
        user: UserId,
        /// Issued (`iat`) before this, in Unix seconds; tokens without `iat`
        /// are refused too.
        issued_before: u64,
    },
    /// Refuses one token.
    RevokeToken {
        /// Its `jti`.
        token_id: Text,
        /// Its `exp`, in Unix seconds: until then the revocation is kept.
        expires_at: u64,
    },
    /// Makes a user an administrator of the server, or one no more.
    SetAdmin {
        /// Whom.
        user: UserId,
        /// On or off.
        admin: bool,
    },
}

const fn yes() -> bool {
    true
}

/// A packed list as a plain list in JSON.
mod list {
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::codec::Packed;
    use crate::id::UserId;

    pub(super) fn serialize<S: Serializer>(
        list: &Packed<UserId>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(list.iter())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Packed<UserId>, D::Error> {
        Ok(Vec::<UserId>::deserialize(deserializer)?.into())
    }
}

/// Changes the directory in one replicated step: all of it or nothing.
/// Administrators only. Answer: [`DirectoryUpdated`].
#[derive(Clone, Debug, Eq, PartialEq, Encode, Decode)]
pub struct UpdateDirectory {
    /// The changes in order, at most 1,000.
    pub changes: Packed<DirectoryChange>,
}

/// The changes are committed, and every channel's log that they touch has them.
#[derive(Clone, Debug, Eq, PartialEq, Encode, Decode, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DirectoryUpdated {
    /// The directory's log index of this step.
    pub directory_index: u64,
    /// How many of the changes had something to change.
    pub changed: u32,
}

/// Asks for users by id. Answer: [`UserPage`], without those not known.
#[derive(Clone, Debug, Eq, PartialEq, Encode, Decode)]
pub struct GetUsers {
    /// Whom, at most 500.
    pub users: Packed<UserId>,
}

/// Asks for users in order of their ids. A client sees those it shares a
/// channel with. Answer: [`UserPage`].
#[derive(Clone, Debug, Eq, PartialEq, Encode, Decode)]
pub struct ListUsers {
    /// The last user of the page before.
    pub after: Option<UserId>,
    /// Only ids or names that start with this, whatever the case; may be empty.
    pub prefix: Text,
    /// 1 to 200.
    pub limit: u16,
}

/// Users.
#[derive(Clone, Debug, Eq, PartialEq, Encode, Decode, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UserPage {
    /// In order of their ids.
    pub users: Packed<UserProfile>,
    /// Whether there are more.
    pub more: bool,
}
