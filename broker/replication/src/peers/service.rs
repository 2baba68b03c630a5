//! The other end: what a replica answers to its peers.

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{SinkExt, StreamExt, future};
use openraft::errors::Fatal;

use super::{Lane, PeerStream};
use crate::codec::{
    ControlAnswer, ControlRequest, decode_append_request, decode_control_request,
    decode_snapshot_header, encode_append_answer, encode_control_answer, encode_vote_answer,
};
use crate::group::Raft;
use crate::raft_types::RaftTypes;
use crate::snapshot::SnapshotInbox;

/// Answers the streams that other nodes open to one group.
///
/// The transport authenticates the peer before it calls this: whoever gets
/// here is believed.
pub trait PeerService: Send + Sync + 'static {
    /// Serves one stream until either side closes it.
    fn serve(&self, lane: Lane, stream: PeerStream) -> BoxFuture<'static, ()>;
}

/// The service of one group.
#[derive(Clone)]
pub(crate) struct ReplicaService {
    pub(crate) raft: Raft,
    pub(crate) inbox: SnapshotInbox,
}

impl PeerService for ReplicaService {
    fn serve(&self, lane: Lane, stream: PeerStream) -> BoxFuture<'static, ()> {
        let service = self.clone();
        Box::pin(async move {
            match lane {
                Lane::Control => service.serve_control(stream).await,
                Lane::Heartbeat | Lane::Append => service.serve_append(stream).await,
                Lane::Snapshot => service.serve_snapshot(stream).await,
            }
        })
    }
}

impl ReplicaService {
    async fn serve_control(&self, mut stream: PeerStream) {
        while let Some(Ok(message)) = stream.incoming.next().await {
            let request = match decode_control_request(message) {
                Ok(request) => request,
                Err(error) => {
                    return tracing::warn!(%error, "a peer's control message is unreadable");
                }
            };
            let Ok(answer) = self.answer_control(request).await else {
                return;
            };
            if stream
                .outgoing
                .send(encode_control_answer(&answer))
                .await
                .is_err()
            {
                return;
            }
        }
    }

    async fn answer_control(
        &self,
        request: ControlRequest,
    ) -> Result<ControlAnswer, Fatal<RaftTypes>> {
        let vote = match request {
            ControlRequest::TransferLeader(request) => {
                let taken = self.raft.handle_transfer_leader(request).await?;
                return Ok(ControlAnswer::TransferLeader(taken.is_ok()));
            }
            ControlRequest::Vote(request) => self.raft.vote(request).await,
            ControlRequest::PreVote(request) => self.raft.pre_vote(request).await,
        };
        vote.map(ControlAnswer::Vote)
            .map_err(|error| match error.into_fatal() {
                Some(fatal) => fatal,
                None => Fatal::Stopped,
            })
    }

    /// Pipelined: the next message is read while earlier ones are being made durable.
    async fn serve_append(&self, stream: PeerStream) {
        let PeerStream {
            mut outgoing,
            incoming,
        } = stream;
        let requests = incoming
            .take_while(|message| future::ready(message.is_ok()))
            .filter_map(|message| future::ready(message.ok()))
            .map(decode_append_request)
            .inspect(|request| {
                if let Err(error) = request {
                    tracing::warn!(%error, "a peer's append message is unreadable");
                }
            })
            .take_while(|request| future::ready(request.is_ok()))
            .filter_map(|request| future::ready(request.ok()));
        let mut answers = std::pin::pin!(self.raft.stream_append(requests));
        while let Some(Ok(answer)) = answers.next().await {
            if outgoing.send(encode_append_answer(&answer)).await.is_err() {
                return;
            }
        }
    }

    async fn serve_snapshot(&self, mut stream: PeerStream) {
        let Some(Ok(message)) = stream.incoming.next().await else {
            return;
        };
        let header = match decode_snapshot_header(message) {
            Ok(header) => header,
            Err(error) => return tracing::warn!(%error, "a peer's snapshot header is unreadable"),
        };
        let chunks = stream
            .incoming
            .as_mut()
            .map(|chunk| chunk.map_err(std::io::Error::other));
        let snapshot = match self.inbox.receive(header.meta, header.length, chunks).await {
            Ok(snapshot) => snapshot,
            Err(error) => return tracing::warn!(%error, "a snapshot did not arrive whole"),
        };
        if let Ok(answer) = self.raft.install_full_snapshot(header.vote, snapshot).await {
            let answer: Bytes = encode_vote_answer(answer.vote);
            // The peer that is gone by now will ask again.
            let _ = stream.outgoing.send(answer).await;
        }
    }
}
