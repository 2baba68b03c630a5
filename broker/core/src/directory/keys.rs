//! Every key of the directory, made and read here only.
//!
//! A key is a table's byte and its parts. A text that another part follows ends
//! with a zero byte, which no id may hold; so no two keys differ only by where
//! one part ends, and keys sort as the ids do. Numbers are big-endian, so they
//! sort too. The workspace is in the prefix that storage puts before a group's
//! keys, so it is not repeated here.

use confab_protocol::{ChannelId, ClientMessageId, DepartmentId, Epoch, ProjectId, UserId};

/// A table's first byte. Append-only: a table keeps its byte for ever.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
enum Table {
    Counters = 0x00,
    User = 0x01,
    Department = 0x02,
    DepartmentMember = 0x03,
    UserDepartment = 0x04,
    Project = 0x05,
    ProjectMember = 0x06,
    UserProject = 0x07,
    Channel = 0x08,
    Epoch = 0x09,
    Member = 0x0a,
    UserChannel = 0x0b,
    RevokedUser = 0x0c,
    RevokedToken = 0x0d,
    RevokedTokenExpiry = 0x0e,
    Pending = 0x0f,
    PendingCount = 0x10,
    GroupRequest = 0x11,
}

/// A key being put together; as it is, the prefix of all keys that begin so.
struct Parts(Vec<u8>);

impl Parts {
    fn of(table: Table) -> Self {
        let mut bytes = Vec::with_capacity(64);
        bytes.push(table as u8);
        Self(bytes)
    }

    /// A text that another part follows.
    fn text(mut self, text: &str) -> Self {
        debug_assert!(!text.as_bytes().contains(&0), "ids hold no zero byte");
        self.0.extend_from_slice(text.as_bytes());
        self.0.push(0);
        self
    }

    fn u16(mut self, number: u16) -> Self {
        self.0.extend_from_slice(&number.to_be_bytes());
        self
    }

    fn u32(mut self, number: u32) -> Self {
        self.0.extend_from_slice(&number.to_be_bytes());
        self
    }

    fn u64(mut self, number: u64) -> Self {
        self.0.extend_from_slice(&number.to_be_bytes());
        self
    }

    /// The key that ends with a text.
    fn end(mut self, text: &str) -> Vec<u8> {
        self.0.extend_from_slice(text.as_bytes());
        self.0
    }

    fn key(self) -> Vec<u8> {
        self.0
    }

    fn range(self) -> Range {
        Range {
            prefix_len: self.0.len(),
            to: successor(&self.0),
            from: self.0,
        }
    }
}

/// The keys that begin alike, from `from` to `to`, exclusive.
#[derive(Clone, Debug)]
pub(super) struct Range {
    pub(super) from: Vec<u8>,
    pub(super) to: Vec<u8>,
    prefix_len: usize,
}

impl Range {
    /// Only the keys whose last text is greater than `text`.
    pub(super) fn after(mut self, text: Option<&str>) -> Self {
        if let Some(text) = text {
            self.from.extend_from_slice(text.as_bytes());
            self.from.push(0);
        }
        self
    }

    /// The text that ends a key of this range.
    pub(super) fn last_text<'k>(&self, key: &'k [u8]) -> &'k str {
        std::str::from_utf8(&key[self.prefix_len..]).expect("keys are made of texts")
    }
}

/// The smallest byte string above all that begin with `prefix`.
fn successor(prefix: &[u8]) -> Vec<u8> {
    let mut bytes = prefix.to_vec();
    while let Some(last) = bytes.pop() {
        if last < u8::MAX {
            bytes.push(last + 1);
            break;
        }
    }
    bytes
}

pub(super) fn counters() -> Vec<u8> {
    Parts::of(Table::Counters).key()
}

pub(super) fn user(user: &UserId) -> Vec<u8> {
    Parts::of(Table::User).end(user.as_str())
}

pub(super) fn users() -> Range {
    Parts::of(Table::User).range()
}

pub(super) fn department(department: &DepartmentId) -> Vec<u8> {
    Parts::of(Table::Department).end(department.as_str())
}

pub(super) fn departments() -> Range {
    Parts::of(Table::Department).range()
}

pub(super) fn department_member(department: &DepartmentId, user: &UserId) -> Vec<u8> {
    Parts::of(Table::DepartmentMember)
        .text(department.as_str())
        .end(user.as_str())
}

pub(super) fn department_members(department: &DepartmentId) -> Range {
    Parts::of(Table::DepartmentMember)
        .text(department.as_str())
        .range()
}

pub(super) fn user_department(user: &UserId, department: &DepartmentId) -> Vec<u8> {
    Parts::of(Table::UserDepartment)
        .text(user.as_str())
        .end(department.as_str())
}

pub(super) fn user_departments(user: &UserId) -> Range {
    Parts::of(Table::UserDepartment).text(user.as_str()).range()
}

pub(super) fn project(project: &ProjectId) -> Vec<u8> {
    Parts::of(Table::Project).end(project.as_str())
}

pub(super) fn projects() -> Range {
    Parts::of(Table::Project).range()
}

pub(super) fn project_member(project: &ProjectId, user: &UserId) -> Vec<u8> {
    Parts::of(Table::ProjectMember)
        .text(project.as_str())
        .end(user.as_str())
}

pub(super) fn project_members(project: &ProjectId) -> Range {
    Parts::of(Table::ProjectMember)
        .text(project.as_str())
        .range()
}

pub(super) fn user_project(user: &UserId, project: &ProjectId) -> Vec<u8> {
    Parts::of(Table::UserProject)
        .text(user.as_str())
        .end(project.as_str())
}

pub(super) fn user_projects(user: &UserId) -> Range {
    Parts::of(Table::UserProject).text(user.as_str()).range()
}

pub(super) fn channel(channel: &ChannelId) -> Vec<u8> {
    Parts::of(Table::Channel).end(channel.as_str())
}

pub(super) fn channels() -> Range {
    Parts::of(Table::Channel).range()
}

pub(super) fn epoch(epoch: Epoch) -> Vec<u8> {
    Parts::of(Table::Epoch).u64(epoch.0).key()
}

pub(super) fn member(channel: &ChannelId, user: &UserId) -> Vec<u8> {
    Parts::of(Table::Member)
        .text(channel.as_str())
        .end(user.as_str())
}

pub(super) fn members(channel: &ChannelId) -> Range {
    Parts::of(Table::Member).text(channel.as_str()).range()
}

pub(super) fn user_channel(user: &UserId, channel: &ChannelId) -> Vec<u8> {
    Parts::of(Table::UserChannel)
        .text(user.as_str())
        .end(channel.as_str())
}

pub(super) fn user_channels(user: &UserId) -> Range {
    Parts::of(Table::UserChannel).text(user.as_str()).range()
}

pub(super) fn revoked_user(user: &UserId) -> Vec<u8> {
    Parts::of(Table::RevokedUser).end(user.as_str())
}

pub(super) fn revoked_token(token_id: &str) -> Vec<u8> {
    Parts::of(Table::RevokedToken).end(token_id)
}

pub(super) fn revoked_token_expiry(expires_at: u64, token_id: &str) -> Vec<u8> {
    Parts::of(Table::RevokedTokenExpiry)
        .u64(expires_at)
        .end(token_id)
}

/// The revoked tokens that expire before `expires_before`, oldest first.
pub(super) fn revoked_tokens_expiring(expires_before: u64) -> Range {
    let table = Parts::of(Table::RevokedTokenExpiry);
    Range {
        // A key is the table's byte, eight bytes of time, the token's id.
        prefix_len: table.0.len() + 8,
        to: Parts::of(Table::RevokedTokenExpiry)
            .u64(expires_before)
            .key(),
        from: table.key(),
    }
}

pub(super) fn pending(shard: u16, directory_index: u64, ordinal: u32) -> Vec<u8> {
    Parts::of(Table::Pending)
        .u16(shard)
        .u64(directory_index)
        .u32(ordinal)
        .key()
}

/// A shard's queue after `(directory_index, ordinal)`.
pub(super) fn pending_after(shard: u16, directory_index: u64, ordinal: u32) -> Range {
    let queue = Parts::of(Table::Pending).u16(shard).range();
    let mut from = pending(shard, directory_index, ordinal);
    from.push(0);
    Range { from, ..queue }
}

/// A shard's queue up to and with `through_index`.
pub(super) fn pending_through(shard: u16, through_index: u64) -> Range {
    let queue = Parts::of(Table::Pending).u16(shard).range();
    match through_index.checked_add(1) {
        Some(next) => Range {
            to: pending(shard, next, 0),
            ..queue
        },
        None => queue,
    }
}

pub(super) fn pending_count(shard: u16) -> Vec<u8> {
    Parts::of(Table::PendingCount).u16(shard).key()
}

pub(super) fn group_request(user: &UserId, client_id: &ClientMessageId) -> Vec<u8> {
    Parts::of(Table::GroupRequest)
        .text(user.as_str())
        .end(client_id.as_str())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{Range, member, members, pending, pending_after, pending_through, successor};
    use confab_protocol::{ChannelId, UserId};

    fn holds(range: &Range, key: &[u8]) -> bool {
        range.from.as_slice() <= key && key < range.to.as_slice()
    }

    /// `dept-a` must not list the members of `dept-a-b` or `dept-a.x`.
    #[test]
    fn a_range_holds_only_its_own_keys() {
        let channel = |text: &str| ChannelId::new(text).unwrap();
        let user = |text: &str| UserId::new(text).unwrap();
        let range = members(&channel("dept-a"));
        let inside = member(&channel("dept-a"), &user("z"));
        assert!(holds(&range, &inside));
        assert_eq!(range.last_text(&inside), "z");
        for other in ["dept-a-b", "dept-a.x", "dept-aa", "dept-A", "dept-9"] {
            assert!(
                !holds(&range, &member(&channel(other), &user("z"))),
                "{other}"
            );
        }
        let after = members(&channel("dept-a")).after(Some("m"));
        assert!(!holds(&after, &member(&channel("dept-a"), &user("m"))));
        assert!(holds(&after, &member(&channel("dept-a"), &user("m-"))));
    }

    #[test]
    fn queues_do_not_touch() {
        let through = pending_through(3, 9);
        assert!(holds(&through, &pending(3, 9, u32::MAX)));
        assert!(!holds(&through, &pending(3, 10, 0)));
        assert!(!holds(&through, &pending(2, 1, 0)));
        let after = pending_after(3, 9, 1);
        assert!(!holds(&after, &pending(3, 9, 1)));
        assert!(holds(&after, &pending(3, 9, 2)));
        assert!(!holds(&after, &pending(4, 0, 0)));
        assert!(holds(
            &pending_through(3, u64::MAX),
            &pending(3, u64::MAX, 7)
        ));
        assert_eq!(successor(&[1, 255, 255]), [2]);
    }
}
