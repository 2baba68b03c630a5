//! What the nodes of a group say to each other.

use bytes::{BufMut, Bytes, BytesMut};
use openraft::raft::{
    AppendEntriesRequest, StreamAppendError, StreamAppendResult, TransferLeaderRequest,
    VoteRequest, VoteResponse,
};

use super::entry::{
    decode_entry_at_any_index, put_entry, put_log_id, put_stored_membership, put_vote, take_log_id,
    take_stored_membership, take_vote,
};
use super::{CodecError, Reader, entry_size, put_count, put_option};
use crate::raft_types::{RaftTypes, SnapshotMeta, Vote};

const VERSION: u8 = 1;

/// A question on the control lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ControlRequest {
    Vote(VoteRequest<RaftTypes>),
    PreVote(VoteRequest<RaftTypes>),
    TransferLeader(TransferLeaderRequest<RaftTypes>),
}

/// The answer to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ControlAnswer {
    Vote(VoteResponse<RaftTypes>),
    /// Whether the peer takes leadership now.
    TransferLeader(bool),
}

pub(crate) type AppendAnswer = StreamAppendResult<RaftTypes>;

/// What is said before the chunks of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SnapshotHeader {
    pub(crate) vote: Vote,
    pub(crate) meta: SnapshotMeta,
    /// Bytes of the file that follows.
    pub(crate) length: u64,
}

fn put_vote_request(out: &mut BytesMut, request: &VoteRequest<RaftTypes>) {
    put_vote(out, request.vote);
    put_option(out, request.last_log_id, put_log_id);
    out.put_u8(u8::from(request.leadership_transfer));
}

fn take_vote_request(input: &mut Reader) -> Result<VoteRequest<RaftTypes>, CodecError> {
    Ok(VoteRequest {
        vote: take_vote(input)?,
        last_log_id: input.option(take_log_id)?,
        leadership_transfer: input.flag()?,
    })
}

pub(crate) fn encode_control_request(request: &ControlRequest) -> Bytes {
    let mut out = BytesMut::with_capacity(64);
    out.put_u8(VERSION);
    match request {
        ControlRequest::Vote(request) => {
            out.put_u8(0);
            put_vote_request(&mut out, request);
        }
        ControlRequest::PreVote(request) => {
            out.put_u8(1);
            put_vote_request(&mut out, request);
        }
        ControlRequest::TransferLeader(request) => {
            out.put_u8(2);
            put_vote(&mut out, *request.from_leader());
            out.put_u64_le(*request.to_node_id());
            put_option(&mut out, request.last_log_id().copied(), put_log_id);
        }
    }
    out.freeze()
}

pub(crate) fn decode_control_request(bytes: Bytes) -> Result<ControlRequest, CodecError> {
    let mut input = Reader::new(bytes);
    input.version(VERSION)?;
    let request = match input.u8()? {
        0 => ControlRequest::Vote(take_vote_request(&mut input)?),
        1 => ControlRequest::PreVote(take_vote_request(&mut input)?),
        2 => ControlRequest::TransferLeader(TransferLeaderRequest::new(
            take_vote(&mut input)?,
            input.u64()?,
            input.option(take_log_id)?,
        )),
        other => return Err(CodecError::UnknownKind(other)),
    };
    input.finish()?;
    Ok(request)
}

pub(crate) fn encode_control_answer(answer: &ControlAnswer) -> Bytes {
    let mut out = BytesMut::with_capacity(64);
    out.put_u8(VERSION);
    match answer {
        ControlAnswer::Vote(answer) => {
            out.put_u8(0);
            put_vote(&mut out, answer.vote);
            out.put_u8(u8::from(answer.vote_granted));
            put_option(&mut out, answer.last_log_id, put_log_id);
        }
        ControlAnswer::TransferLeader(taken) => {
            out.put_u8(1);
            out.put_u8(u8::from(*taken));
        }
    }
    out.freeze()
}

pub(crate) fn decode_control_answer(bytes: Bytes) -> Result<ControlAnswer, CodecError> {
    let mut input = Reader::new(bytes);
    input.version(VERSION)?;
    let answer = match input.u8()? {
        0 => ControlAnswer::Vote(VoteResponse {
            vote: take_vote(&mut input)?,
            vote_granted: input.flag()?,
            last_log_id: input.option(take_log_id)?,
        }),
        1 => ControlAnswer::TransferLeader(input.flag()?),
        other => return Err(CodecError::UnknownKind(other)),
    };
    input.finish()?;
    Ok(answer)
}

pub(crate) fn encode_append_request(request: &AppendEntriesRequest<RaftTypes>) -> Bytes {
    let entry_bytes: usize = request
        .entries
        .iter()
        .map(|entry| 4 + entry_size(entry))
        .sum();
    let mut out = BytesMut::with_capacity(80 + entry_bytes);
    out.put_u8(VERSION);
    put_vote(&mut out, request.vote);
    put_option(&mut out, request.prev_log_id, put_log_id);
    put_option(&mut out, request.leader_commit, put_log_id);
    put_count(&mut out, request.entries.len());
    for entry in &request.entries {
        let length_at = out.len();
        put_count(&mut out, 0);
        put_entry(&mut out, entry);
        let length = u32::try_from(out.len() - length_at - 4)
            .expect("an entry is bounded by the batch limits, far below 4 GiB");
        out[length_at..length_at + 4].copy_from_slice(&length.to_le_bytes());
    }
    out.freeze()
}

pub(crate) fn decode_append_request(
    bytes: Bytes,
) -> Result<AppendEntriesRequest<RaftTypes>, CodecError> {
    let mut input = Reader::new(bytes);
    input.version(VERSION)?;
    let vote = take_vote(&mut input)?;
    let prev_log_id = input.option(take_log_id)?;
    let leader_commit = input.option(take_log_id)?;
    let count = input.count(4)?;
    let mut entries = Vec::with_capacity(count);
    for _ in 0..count {
        entries.push(decode_entry_at_any_index(input.bytes()?)?);
    }
    input.finish()?;
    Ok(AppendEntriesRequest {
        vote,
        prev_log_id,
        entries,
        leader_commit,
    })
}

pub(crate) fn encode_append_answer(answer: &AppendAnswer) -> Bytes {
    let mut out = BytesMut::with_capacity(32);
    out.put_u8(VERSION);
    match answer {
        Ok(matched) => {
            out.put_u8(0);
            put_option(&mut out, *matched, put_log_id);
        }
        Err(StreamAppendError::Conflict(log_id)) => {
            out.put_u8(1);
            put_log_id(&mut out, *log_id);
        }
        Err(StreamAppendError::HigherVote(vote)) => {
            out.put_u8(2);
            put_vote(&mut out, *vote);
        }
    }
    out.freeze()
}

pub(crate) fn decode_append_answer(bytes: Bytes) -> Result<AppendAnswer, CodecError> {
    let mut input = Reader::new(bytes);
    input.version(VERSION)?;
    let answer = match input.u8()? {
        0 => Ok(input.option(take_log_id)?),
        1 => Err(StreamAppendError::Conflict(take_log_id(&mut input)?)),
        2 => Err(StreamAppendError::HigherVote(take_vote(&mut input)?)),
        other => return Err(CodecError::UnknownKind(other)),
    };
    input.finish()?;
    Ok(answer)
}

pub(crate) fn encode_snapshot_header(header: &SnapshotHeader) -> Bytes {
    let mut out = BytesMut::with_capacity(128);
    out.put_u8(VERSION);
    put_vote(&mut out, header.vote);
    put_option(&mut out, header.meta.last_log_id, put_log_id);
    put_stored_membership(&mut out, &header.meta.last_membership);
    out.put_u64_le(header.length);
    out.freeze()
}

pub(crate) fn decode_snapshot_header(bytes: Bytes) -> Result<SnapshotHeader, CodecError> {
    let mut input = Reader::new(bytes);
    input.version(VERSION)?;
    let header = SnapshotHeader {
        vote: take_vote(&mut input)?,
        meta: SnapshotMeta {
            last_log_id: input.option(take_log_id)?,
            last_membership: take_stored_membership(&mut input)?,
        },
        length: input.u64()?,
    };
    input.finish()?;
    Ok(header)
}

/// The vote of whoever took in a snapshot.
pub(crate) fn encode_vote_answer(vote: Vote) -> Bytes {
    super::encode_vote(vote)
}

/// Reads what [`encode_vote_answer`] wrote.
pub(crate) fn decode_vote_answer(bytes: Bytes) -> Result<Vote, CodecError> {
    super::decode_vote(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::raft_types::{
        CommandBatch, Entry, LeaderId, LogId, Membership, Payload, StoredMembership,
    };

    fn vote(term: u64, committed: bool) -> Vote {
        Vote {
            leader_id: LeaderId { term, node_id: 5 },
            committed,
        }
    }

    fn log_id(index: u64) -> LogId {
        LogId {
            leader_id: LeaderId {
                term: 2,
                node_id: 5,
            },
            index,
        }
    }

    /// Peers of one version must understand each other in every message there is.
    #[test]
    fn control_messages_survive_the_round_trip() {
        let request = VoteRequest {
            vote: vote(3, false),
            last_log_id: Some(log_id(9)),
            leadership_transfer: true,
        };
        for request in [
            ControlRequest::Vote(request.clone()),
            ControlRequest::PreVote(VoteRequest {
                last_log_id: None,
                ..request
            }),
            ControlRequest::TransferLeader(TransferLeaderRequest::new(vote(4, true), 7, None)),
        ] {
            let bytes = encode_control_request(&request);
            assert_eq!(decode_control_request(bytes).unwrap(), request);
        }
        for answer in [
            ControlAnswer::Vote(VoteResponse {
                vote: vote(3, true),
                vote_granted: false,
                last_log_id: Some(log_id(1)),
            }),
            ControlAnswer::TransferLeader(true),
        ] {
            assert_eq!(
                decode_control_answer(encode_control_answer(&answer)).unwrap(),
                answer
            );
        }
    }

    #[test]
    fn append_messages_survive_the_round_trip() {
        let entries = vec![
            Entry {
                log_id: log_id(4),
                payload: Payload::Blank,
            },
            Entry {
                log_id: log_id(5),
                payload: Payload::Normal(CommandBatch(vec![Bytes::from_static(b"x")])),
            },
        ];
        let request = AppendEntriesRequest {
            vote: vote(2, true),
            prev_log_id: Some(log_id(3)),
            entries: entries.clone(),
            leader_commit: None,
        };
        let decoded = decode_append_request(encode_append_request(&request)).unwrap();
        assert_eq!(decoded.entries, entries);
        assert_eq!(decoded.vote, request.vote);
        assert_eq!(decoded.prev_log_id, request.prev_log_id);
        assert_eq!(decoded.leader_commit, None);
        for answer in [
            Ok(None),
            Ok(Some(log_id(5))),
            Err(StreamAppendError::Conflict(log_id(1))),
            Err(StreamAppendError::HigherVote(vote(8, false))),
        ] {
            assert_eq!(
                decode_append_answer(encode_append_answer(&answer)).unwrap(),
                answer
            );
        }
    }

    #[test]
    fn the_snapshot_header_survives_the_round_trip() {
        let membership =
            Membership::new(vec![BTreeSet::from([1])], BTreeMap::from([(1, ())])).unwrap();
        let header = SnapshotHeader {
            vote: vote(2, true),
            meta: SnapshotMeta {
                last_log_id: Some(log_id(77)),
                last_membership: StoredMembership::new(Some(log_id(0)), membership),
            },
            length: 1 << 40,
        };
        assert_eq!(
            decode_snapshot_header(encode_snapshot_header(&header)).unwrap(),
            header
        );
    }

    /// A peer's bytes are bad input like anybody else's: an error at every cut.
    #[test]
    fn cut_messages_are_refused() {
        let request = AppendEntriesRequest::<RaftTypes> {
            vote: vote(2, true),
            prev_log_id: Some(log_id(3)),
            entries: vec![Entry {
                log_id: log_id(4),
                payload: Payload::Blank,
            }],
            leader_commit: Some(log_id(3)),
        };
        let bytes = encode_append_request(&request);
        for end in 0..bytes.len() {
            assert!(decode_append_request(bytes.slice(..end)).is_err());
        }
    }
}
