//! Who may do what: one table.
//!
//! Every door asks [`authorize_in`] or [`authorize`] before a command is
//! proposed; nothing else decides on rights, and `apply` does not ask again.
//! Who may not know of a channel gets `NotFound` from it, never `Forbidden`.

use confab_protocol::message::event::ChannelRole;
use confab_protocol::message::session::UserKind;
use confab_protocol::{ChannelId, ChannelKind, ErrorCode, UserId, WireError};

use crate::directory::{DirectoryView, StoredChannel, StoredUser};
use crate::store::Store;

/// What a user wants to do in a channel.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ChannelAction {
    /// Know of the channel: its name, topic and members.
    See,
    /// Read what stands in it, and follow its threads.
    Read,
    /// Post a message.
    Post,
    /// Show that one is typing.
    Type,
    /// Give a message another content.
    EditMessage {
        /// Whether the user sent it.
        own: bool,
    },
    /// Delete a message.
    DeleteMessage {
        /// Whether the user sent it.
        own: bool,
    },
    /// Put an emoji on a message or take it off.
    React,
    /// Pin a message or take the pin off.
    Pin,
    /// Call on everybody in the channel.
    MentionChannel,
    /// Move one's own cursors.
    MarkRead,
    /// Add members to a group.
    InviteMembers,
    /// Take a member out of a group.
    RemoveMember {
        /// The member's role; see [`DirectoryView::role_of`].
        role: ChannelRole,
    },
    /// Give a member of a group another role.
    SetRole,
    /// Change name or topic.
    Rename,
    /// Close or open a group.
    SetPrivate,
    /// Archive the channel.
    Archive,
    /// Bring an archived channel back.
    Unarchive,
    /// Delete the channel.
    Delete,
    /// Join an open group.
    Join,
    /// Leave a group.
    Leave,
}

/// What a user wants to do outside of any channel that exists.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Action<'a> {
    /// Create a group.
    CreateGroup,
    /// Open the direct messages with a user, existing or not.
    OpenDm(&'a UserId),
    /// Change users, departments, projects, revocations; run the server.
    ManageDirectory,
    /// Look at a user's name and kind.
    SeeUser(&'a UserId),
    /// Hear whether a user is online.
    SeePresence(&'a UserId),
}

/// Why a user may not do something.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{sentence}")]
pub struct Denied {
    /// The code that every door answers with.
    pub code: ErrorCode,
    /// What is wrong, for a person.
    pub sentence: &'static str,
}

impl Denied {
    const fn new(code: ErrorCode, sentence: &'static str) -> Self {
        Self { code, sentence }
    }

    /// The error as it travels.
    #[must_use]
    pub fn to_wire(self) -> WireError {
        WireError::new(self.code, self.sentence)
    }
}

const NO_CHANNEL: Denied = Denied::new(ErrorCode::NotFound, "there is no such channel");
const NO_USER: Denied = Denied::new(ErrorCode::NotFound, "there is no such user");
const ARCHIVED: Denied = Denied::new(
    ErrorCode::ChannelArchived,
    "the channel is archived: nothing can be added or changed",
);

/// A user who may do what was asked, with what was read to find out.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Authorized {
    /// The user.
    pub user: StoredUser,
    /// The channel.
    pub channel: StoredChannel,
    /// As what the user acts; `None` for who is not a member.
    pub role: Option<ChannelRole>,
}

/// Which kinds of channel something can be done in at all.
#[derive(Clone, Copy)]
struct Kinds(&'static [ChannelKind]);

impl Kinds {
    fn hold(self, kind: ChannelKind) -> bool {
        self.0.contains(&kind)
    }
}

/// One row of the table.
struct Rule {
    /// The least role of a member who may do it; `None`: no role suffices.
    least: Option<ChannelRole>,
    /// Whether server administrators may, members or not.
    administrators: bool,
    /// Whether any internal user may in an open group.
    outsiders: bool,
    /// In which channels.
    kinds: Kinds,
    /// Whether it is possible while the channel is archived.
    archived: bool,
    /// What everybody else is told.
    sentence: &'static str,
}

impl ChannelAction {
    /// The table.
    #[rustfmt::skip]
    fn rule(self) -> Rule {
        use ChannelKind::{Department, Dm, General, Group, Project};
        use ChannelRole::{Admin, Guest, Member, Owner};

        const ANY: Kinds = Kinds(&[Dm, Department, Project, General, Group]);
        const PLACES: Kinds = Kinds(&[Department, Project, General, Group]);
        const ENDING: Kinds = Kinds(&[Department, Project, Group]);
        const GROUPS: Kinds = Kinds(&[Group]);

        let least_to_remove = |role| if role < Admin { Admin } else { Owner };

        let (least, administrators, outsiders, kinds, archived, sentence) = match self {
            //                                  least member,   administr. outsid. kinds archived
            Self::See                        => (Some(Guest),   true,  true,  ANY,    true,  "you may not see this channel"),
            Self::Read                       => (Some(Guest),   false, false, ANY,    true,  "only members can read this channel"),
            Self::Post                       => (Some(Guest),   false, false, ANY,    false, "only members can write in this channel"),
            Self::Type                       => (Some(Guest),   false, false, ANY,    false, "only members can write in this channel"),
            Self::EditMessage { own: true }  => (Some(Guest),   false, false, ANY,    false, "only members can write in this channel"),
            Self::EditMessage { own: false } => (None,          false, false, ANY,    false, "only its sender can edit a message"),
            Self::DeleteMessage { own: true }=> (Some(Guest),   false, false, ANY,    true,  "only members can delete messages here"),
            Self::DeleteMessage {own: false} => (Some(Admin),   false, false, PLACES, true,  "only its sender or a channel admin can delete a message"),
            Self::React                      => (Some(Guest),   false, false, ANY,    false, "only members can react in this channel"),
            Self::Pin                        => (Some(Member),  false, false, ANY,    false, "guests cannot pin messages"),
            Self::MentionChannel             => (Some(Member),  false, false, ANY,    false, "guests cannot mention the whole channel"),
            Self::MarkRead                   => (Some(Guest),   false, false, ANY,    true,  "only members can read this channel"),
            Self::InviteMembers              => (Some(Member),  true,  false, GROUPS, false, "guests cannot invite"),
            Self::RemoveMember { role }      => (Some(least_to_remove(role)),
                                                                true,  false, GROUPS, true,  "only admins can remove members, and only the owner can remove admins"),
            Self::SetRole                    => (Some(Owner),   true,  false, GROUPS, false, "only the owner can change roles"),
            Self::Rename                     => (Some(Admin),   true,  false, PLACES, false, "only admins can change name and topic"),
            Self::SetPrivate                 => (Some(Admin),   true,  false, GROUPS, false, "only admins can close or open a group"),
            Self::Archive                    => (Some(Admin),   true,  false, PLACES, true,  "only admins can archive a channel"),
            Self::Unarchive                  => (Some(Admin),   true,  false, PLACES, true,  "only admins can bring a channel back"),
            Self::Delete                     => (Some(Owner),   true,  false, ENDING, true,  "only the owner can delete a channel"),
            Self::Join                       => (Some(Guest),   false, true,  GROUPS, false, "this group is joined by invitation"),
            Self::Leave                      => (Some(Guest),   false, false, GROUPS, true,  "you are not in this group"),
        };
        Rule { least, administrators, outsiders, kinds, archived, sentence }
    }
}

/// How a user stands to a channel.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Standing {
    /// As what a member acts.
    role: Option<ChannelRole>,
    /// Whether the user administers the server.
    administrator: bool,
    /// Whether the channel is a group that is open to the user.
    open: bool,
}

impl Standing {
    fn of(user: &StoredUser, channel: &StoredChannel, role: Option<ChannelRole>) -> Self {
        // An administrator is at least an admin where it is a member, but
        // nobody is more than a member in direct messages.
        let acts_as_admin = user.admin && channel.kind != ChannelKind::Dm;
        let role = role.map(|role| match acts_as_admin {
            true => role.max(ChannelRole::Admin),
            false => role,
        });
        Self {
            role,
            administrator: user.admin,
            open: channel.kind == ChannelKind::Group
                && !channel.properties.private
                && user.kind == UserKind::Internal,
        }
    }

    fn sees(self, kind: ChannelKind) -> bool {
        self.role.is_some() || self.open || (self.administrator && kind != ChannelKind::Dm)
    }
}

fn decide(
    standing: Standing,
    kind: ChannelKind,
    archived: bool,
    action: ChannelAction,
) -> Result<(), Denied> {
    if !standing.sees(kind) {
        return Err(NO_CHANNEL);
    }
    let rule = action.rule();
    if !rule.kinds.hold(kind) {
        return Err(Denied::new(ErrorCode::Forbidden, wrong_kind(action, kind)));
    }
    let by_role = rule
        .least
        .is_some_and(|least| standing.role.is_some_and(|role| role >= least));
    let allowed = by_role
        || (rule.administrators && standing.administrator)
        || (rule.outsiders && standing.open);
    if !allowed {
        return Err(Denied::new(ErrorCode::Forbidden, rule.sentence));
    }
    if archived && !rule.archived {
        return Err(ARCHIVED);
    }
    Ok(())
}

/// Why something cannot be done in a channel of this kind, by anybody.
const fn wrong_kind(action: ChannelAction, kind: ChannelKind) -> &'static str {
    match (action, kind) {
        (ChannelAction::DeleteMessage { .. }, _) => "only its sender can delete a direct message",
        (ChannelAction::Delete, ChannelKind::General) => "the company's channel cannot be deleted",
        (_, ChannelKind::Dm) => "direct messages have no such thing",
        (_, ChannelKind::General) => "every internal user is in this channel, and nobody else",
        (_, ChannelKind::Department) => "the members of this channel are those of its department",
        (_, ChannelKind::Project) => "the members of this channel are those of its project",
        (_, ChannelKind::Group) => "a group has no such thing",
    }
}

/// Whether `actor` may do `action` in a channel.
///
/// # Errors
/// [`Denied`] says why not: `NotFound` when the channel does not exist or the
/// user may not know of it, `UserDeactivated`, `Forbidden`, `ChannelArchived`.
pub fn authorize_in<S: Store>(
    view: &DirectoryView<'_, S>,
    actor: &UserId,
    channel: &ChannelId,
    action: ChannelAction,
) -> Result<Authorized, Denied> {
    let user = active(view, actor)?;
    let stored = view.channel(channel).ok_or(NO_CHANNEL)?;
    let role = view.role_of_known(channel, actor, &user);
    let standing = Standing::of(&user, &stored, role);
    let archived = stored.properties.archived_at_ms.is_some();
    decide(standing, stored.kind, archived, action)?;
    Ok(Authorized {
        user,
        channel: stored,
        role: standing.role,
    })
}

/// Whether `actor` may do `action`; answers who the actor is.
///
/// # Errors
/// [`Denied`] says why not: `NotFound` for a user that does not exist or that
/// the actor may not know of, `UserDeactivated`, `Forbidden`, `InvalidArgument`.
pub fn authorize<S: Store>(
    view: &DirectoryView<'_, S>,
    actor: &UserId,
    action: Action<'_>,
) -> Result<StoredUser, Denied> {
    let user = active(view, actor)?;
    let is_internal = user.kind == UserKind::Internal;
    let forbidden = |sentence| Err(Denied::new(ErrorCode::Forbidden, sentence));
    match action {
        Action::CreateGroup if is_internal => Ok(user),
        Action::CreateGroup => forbidden("clients cannot create groups"),
        Action::ManageDirectory if user.admin => Ok(user),
        Action::ManageDirectory => forbidden("only administrators can do this"),
        Action::OpenDm(other) => may_open_dm(view, actor, &user, other).map(|()| user),
        Action::SeeUser(other) | Action::SeePresence(other) => {
            let sees = actor == other
                || match is_internal {
                    true => view.user(other).is_some(),
                    false => view.shares_channel(actor, other),
                };
            if sees { Ok(user) } else { Err(NO_USER) }
        }
    }
}

/// Internal users write to everybody, clients to those they share a project or
/// a group with; what is open already stays open.
fn may_open_dm<S: Store>(
    view: &DirectoryView<'_, S>,
    actor: &UserId,
    user: &StoredUser,
    other: &UserId,
) -> Result<(), Denied> {
    let channel = ChannelId::dm(actor, other).map_err(|_| {
        Denied::new(
            ErrorCode::InvalidArgument,
            "a direct message needs two different users",
        )
    })?;
    if view.role_of(&channel, actor).is_some() {
        return Ok(());
    }
    let known = view.user(other).ok_or(NO_USER)?;
    if user.kind == UserKind::Client && !view.shares_place(actor, other) {
        return Err(NO_USER);
    }
    match known.active {
        true => Ok(()),
        false => Err(Denied::new(
            ErrorCode::Forbidden,
            "this user is deactivated",
        )),
    }
}

fn active<S: Store>(view: &DirectoryView<'_, S>, actor: &UserId) -> Result<StoredUser, Denied> {
    let user = view.user(actor).ok_or(Denied::new(
        ErrorCode::Forbidden,
        "the server does not know you yet: connect again",
    ))?;
    match user.active {
        true => Ok(user),
        false => Err(Denied::new(
            ErrorCode::UserDeactivated,
            "your account is deactivated",
        )),
    }
}

#[cfg(test)]
mod tests;
