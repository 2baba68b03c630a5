//! What a leader or candidate asks of one peer, over the streams of a transport.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use confab_storage::GroupId;
use futures_util::{SinkExt, Stream, StreamExt, future, stream};
use openraft::base::{BoxFuture, BoxStream};
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{RPCOption, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, StreamAppendError,
    StreamAppendResult, TransferLeaderError, TransferLeaderRequest, TransferLeaderResponse,
    VoteRequest, VoteResponse,
};
use openraft::type_config::alias::SnapshotOf;
use parking_lot::Mutex;

use super::append::AppendSession;
use super::{Lane, PeerError, PeerStream, PeerTransport};
use crate::NodeId;
use crate::codec::{
    ControlAnswer, ControlRequest, SnapshotHeader, decode_control_answer, decode_vote_answer,
    encode_control_request, encode_snapshot_header,
};
use crate::raft_types::{RaftTypes, Vote};
use crate::snapshot::SnapshotFile;

/// Makes the clients of one group: one for each peer and purpose.
pub(crate) struct PeerClients {
    pub(crate) transport: Arc<dyn PeerTransport>,
    pub(crate) group: GroupId,
    /// How long a peer may leave an append message or the end of a snapshot unanswered.
    pub(crate) answer_timeout: Duration,
    pub(crate) snapshot_chunk_bytes: usize,
}

impl PeerClients {
    fn client(&self, target: u64, lane: Lane) -> PeerClient {
        PeerClient {
            transport: self.transport.clone(),
            group: self.group,
            target: NodeId(target),
            lane,
            answer_timeout: self.answer_timeout,
            snapshot_chunk_bytes: self.snapshot_chunk_bytes,
            idle: Mutex::new(None),
        }
    }
}

impl RaftNetworkFactory<RaftTypes> for PeerClients {
    type Network = PeerClient;

    async fn new_client(&mut self, target: u64, (): &()) -> PeerClient {
        self.client(target, Lane::Append)
    }

    async fn new_heartbeat_client(&mut self, target: u64, (): &()) -> PeerClient {
        self.client(target, Lane::Heartbeat)
    }

    async fn new_snapshot_client(&mut self, target: u64, (): &()) -> PeerClient {
        self.client(target, Lane::Snapshot)
    }
}

/// One group's way to one peer for one purpose.
pub(crate) struct PeerClient {
    transport: Arc<dyn PeerTransport>,
    group: GroupId,
    target: NodeId,
    /// The lane of append messages: entries or heartbeats. Votes and snapshots name their own.
    lane: Lane,
    answer_timeout: Duration,
    snapshot_chunk_bytes: usize,
    /// The append stream between sessions. A mutex only because openraft wants `Sync`; it is never locked.
    idle: Mutex<Option<PeerStream>>,
}

impl PeerClient {
    async fn open(&self, lane: Lane) -> Result<PeerStream, PeerError> {
        self.transport.open(self.target, self.group, lane).await
    }

    /// One question and its answer on a stream of their own.
    async fn ask(
        &self,
        request: ControlRequest,
        timeout: Duration,
    ) -> Result<ControlAnswer, RPCError<RaftTypes>> {
        let exchange = async {
            let mut stream = self.open(Lane::Control).await.map_err(rpc_error)?;
            let message = encode_control_request(&request);
            stream.outgoing.send(message).await.map_err(rpc_error)?;
            let answer = stream
                .incoming
                .next()
                .await
                .unwrap_or(Err(PeerError::Broken));
            decode_control_answer(answer.map_err(rpc_error)?)
                .map_err(|error| RPCError::Network(NetworkError::new(&error)))
        };
        tokio::time::timeout(timeout, exchange)
            .await
            .unwrap_or_else(|_| Err(rpc_error(PeerError::Unreachable)))
    }

    async fn ask_for_vote(
        &self,
        request: ControlRequest,
        timeout: Duration,
    ) -> Result<VoteResponse<RaftTypes>, RPCError<RaftTypes>> {
        match self.ask(request, timeout).await? {
            ControlAnswer::Vote(answer) => Ok(answer),
            ControlAnswer::TransferLeader(_) => Err(unexpected_answer()),
        }
    }

    /// Sends the file and waits until the peer has installed it.
    async fn send_snapshot(
        &self,
        header: SnapshotHeader,
        file: SnapshotFile,
    ) -> Result<Vote, StreamingError<RaftTypes>> {
        let mut stream = self.open(Lane::Snapshot).await.map_err(streaming_error)?;
        let mut chunks = file.chunks(self.snapshot_chunk_bytes);
        stream
            .outgoing
            .send(encode_snapshot_header(&header))
            .await
            .map_err(streaming_error)?;
        while let Some(chunk) = chunks.next().await {
            let chunk =
                chunk.map_err(|error| StreamingError::Network(NetworkError::new(&error)))?;
            self.within_answer_timeout(stream.outgoing.send(chunk))
                .await?;
        }
        // Installing takes the peer as long as the state is large: its stream breaks when it dies.
        let answer = stream
            .incoming
            .next()
            .await
            .unwrap_or(Err(PeerError::Broken));
        decode_vote_answer(answer.map_err(streaming_error)?)
            .map_err(|error| StreamingError::Network(NetworkError::new(&error)))
    }

    async fn within_answer_timeout(
        &self,
        sending: impl Future<Output = Result<(), PeerError>>,
    ) -> Result<(), StreamingError<RaftTypes>> {
        tokio::time::timeout(self.answer_timeout, sending)
            .await
            .unwrap_or(Err(PeerError::Unreachable))
            .map_err(streaming_error)
    }
}

impl RaftNetworkV2<RaftTypes> for PeerClient {
    type SnapshotData = SnapshotFile;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<RaftTypes>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<RaftTypes>, RPCError<RaftTypes>> {
        let once = stream::once(future::ready(request));
        let mut answers = self.stream_append(once, option).await?;
        match answers.next().await {
            Some(answer) => Ok(match answer? {
                Ok(matched) => AppendEntriesResponse::PartialSuccess(matched),
                Err(StreamAppendError::Conflict(_)) => AppendEntriesResponse::Conflict,
                Err(StreamAppendError::HigherVote(vote)) => AppendEntriesResponse::HigherVote(vote),
            }),
            None => Err(rpc_error(PeerError::Broken)),
        }
    }

    fn stream_append<'s, S>(
        &'s mut self,
        requests: S,
        _option: RPCOption,
    ) -> BoxFuture<
        's,
        Result<
            BoxStream<'s, Result<StreamAppendResult<RaftTypes>, RPCError<RaftTypes>>>,
            RPCError<RaftTypes>,
        >,
    >
    where
        S: Stream<Item = AppendEntriesRequest<RaftTypes>> + Send + Unpin + 'static,
    {
        Box::pin(async move {
            let stream = match self.idle.get_mut().take() {
                Some(stream) => stream,
                None => self.open(self.lane).await.map_err(rpc_error)?,
            };
            let session =
                AppendSession::new(self.idle.get_mut(), stream, requests, self.answer_timeout);
            let answers: BoxStream<'s, _> = Box::pin(session);
            Ok(answers)
        })
    }

    async fn vote(
        &mut self,
        request: VoteRequest<RaftTypes>,
        option: RPCOption,
    ) -> Result<VoteResponse<RaftTypes>, RPCError<RaftTypes>> {
        self.ask_for_vote(ControlRequest::Vote(request), option.soft_ttl())
            .await
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<RaftTypes>,
        option: RPCOption,
    ) -> Result<VoteResponse<RaftTypes>, RPCError<RaftTypes>> {
        self.ask_for_vote(ControlRequest::PreVote(request), option.soft_ttl())
            .await
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: SnapshotOf<RaftTypes, SnapshotFile>,
        cancel: impl Future<Output = ReplicationClosed> + Send + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<RaftTypes>, StreamingError<RaftTypes>> {
        let header = SnapshotHeader {
            vote,
            meta: snapshot.meta,
            length: snapshot.snapshot.length(),
        };
        let sending = std::pin::pin!(self.send_snapshot(header, snapshot.snapshot));
        match future::select(sending, std::pin::pin!(cancel)).await {
            future::Either::Left((answered, _)) => answered.map(SnapshotResponse::new),
            future::Either::Right((closed, _)) => Err(StreamingError::Closed(closed)),
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<RaftTypes>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<RaftTypes>, RPCError<RaftTypes>> {
        let expected = request.last_log_id().copied();
        match self
            .ask(ControlRequest::TransferLeader(request), option.soft_ttl())
            .await?
        {
            ControlAnswer::TransferLeader(true) => Ok(Ok(())),
            ControlAnswer::TransferLeader(false) => Ok(Err(TransferLeaderError::LogNotFlushed {
                expected,
                actual: None,
            })),
            ControlAnswer::Vote(_) => Err(unexpected_answer()),
        }
    }
}

fn unexpected_answer() -> RPCError<RaftTypes> {
    RPCError::Network(NetworkError::from_string(
        "the peer answered another question",
    ))
}

fn rpc_error(error: PeerError) -> RPCError<RaftTypes> {
    match error {
        PeerError::Unreachable => RPCError::Unreachable(Unreachable::new(&error)),
        PeerError::Broken => RPCError::Network(NetworkError::new(&error)),
    }
}

fn streaming_error(error: PeerError) -> StreamingError<RaftTypes> {
    match error {
        PeerError::Unreachable => StreamingError::Unreachable(Unreachable::new(&error)),
        PeerError::Broken => StreamingError::Network(NetworkError::new(&error)),
    }
}
