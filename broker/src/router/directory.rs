//! Requests to the directory itself, and how all changes of it are proposed.

use confab_core::directory::{CommandKind, Reply, ReplyKind};
use confab_protocol::codec::decode;
use confab_protocol::message::Answer;
use confab_protocol::message::directory::{DirectoryUpdated, UpdateDirectory};
use confab_protocol::{WireError, limits};

use super::admission::{DirectoryRequest, Needs};
use super::failure::{unreadable, wire_error};
use super::{Actor, Router, check};
use crate::state::DirectoryReply;

pub(super) async fn update(
    router: &Router,
    actor: &Actor,
    body: UpdateDirectory,
) -> Result<Answer, WireError> {
    if body.changes.len() > limits::DIRECTORY_CHANGES_MAX {
        return Err(check::too_large(format!(
            "{} changes, at most {} are taken at once",
            body.changes.len(),
            limits::DIRECTORY_CHANGES_MAX
        )));
    }
    let what = CommandKind::Change(body.changes);
    let reply = router
        .change_directory(Some(actor), what, Needs::ManageDirectory)
        .await?;
    match reply.what {
        ReplyKind::Done { changed } => Ok(Answer::DirectoryUpdated(DirectoryUpdated {
            directory_index: reply.directory_index,
            changed,
        })),
        ReplyKind::Channel { .. } => Err(unreadable()),
    }
}

impl Router {
    /// Proposes a change of the directory and waits until the channels' logs
    /// show it: an answer means that nobody is served by the state before. Also
    /// when it changed nothing: what made it so may still be on its way.
    pub(super) async fn change_directory(
        &self,
        by: Option<&Actor>,
        what: CommandKind,
        needs: Needs,
    ) -> Result<Reply, WireError> {
        let request = DirectoryRequest {
            by: by.map(|actor| actor.user.clone()),
            what,
            needs,
        };
        let proposed = self
            .0
            .directory
            .propose(request)
            .await
            .map_err(wire_error)?;
        let reply: DirectoryReply = decode(&proposed.reply).map_err(|_| unreadable())?;
        let reply = reply.map_err(|refusal| refusal.to_wire())?;
        self.wait_through(reply.directory_index).await;
        Ok(reply)
    }

    /// Begins the directory of a new cluster; does nothing if it has begun.
    ///
    /// # Errors
    /// That it was begun with another number of shards, or has no quorum.
    pub async fn initialize(&self) -> Result<(), WireError> {
        let what = CommandKind::Initialize {
            shards: self.lookup().shards(),
        };
        self.change_directory(None, what, Needs::Nothing)
            .await
            .map(|_| ())
    }
}
