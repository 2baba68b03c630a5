//! What a node has to look at after it applied a command.

use confab_protocol::codec::Text;
use confab_protocol::message::event::ChannelRole;
use confab_protocol::{ChannelId, UserId};

use super::change::ChannelChange;

/// What an applied command means for the sessions of a node.
///
/// Every replica gets the same. It is not stored: a node that starts reads the
/// state instead.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Effects {
    /// Users that are new or changed, or whose tokens were revoked: their
    /// sessions have to be looked at again.
    pub users: Vec<UserId>,
    /// Ids of tokens that were revoked: their sessions end.
    pub revoked_tokens: Vec<Text>,
    /// What was queued for the channels' logs. After `Deleted` nobody is a
    /// member of that channel any more.
    pub changes: Vec<ChannelChange>,
    /// Whose role in which channel is another now, all of them; members of a
    /// deleted channel are not listed.
    pub members: Vec<MemberChange>,
}

/// One user's new role in one channel.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MemberChange {
    /// Which channel.
    pub channel: ChannelId,
    /// Who.
    pub user: UserId,
    /// The role now; `None` for who is no longer a member.
    pub role: Option<ChannelRole>,
}
