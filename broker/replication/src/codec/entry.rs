//! Log entries, votes, log ids, and the marker of what is applied.

use std::collections::{BTreeMap, BTreeSet};

use bytes::{BufMut, Bytes, BytesMut};

use super::{CodecError, Reader, put_bytes, put_count, put_option};
use crate::raft_types::{
    CommandBatch, Entry, LeaderId, LogId, Membership, Payload, StoredMembership, Vote,
};

const VERSION: u8 = 1;

const KIND_BLANK: u8 = 0;
const KIND_COMMANDS: u8 = 1;
const KIND_MEMBERSHIP: u8 = 2;

/// Version, kind, and the 24 bytes of a log id.
const HEADER_BYTES: usize = 26;

/// The bytes that `entry` takes when encoded, exactly for commands, roughly else.
pub(crate) fn entry_size(entry: &Entry) -> usize {
    match &entry.payload {
        Payload::Blank => HEADER_BYTES,
        Payload::Normal(batch) => {
            HEADER_BYTES
                + 4
                + batch
                    .0
                    .iter()
                    .map(|command| 4 + command.len())
                    .sum::<usize>()
        }
        Payload::Membership(_) => HEADER_BYTES + 256,
    }
}

/// An entry with its log id: the same bytes on disk and between peers.
pub(crate) fn encode_entry(entry: &Entry) -> Bytes {
    let mut out = BytesMut::with_capacity(entry_size(entry));
    put_entry(&mut out, entry);
    out.freeze()
}

pub(super) fn put_entry(out: &mut BytesMut, entry: &Entry) {
    out.put_u8(VERSION);
    out.put_u8(match &entry.payload {
        Payload::Blank => KIND_BLANK,
        Payload::Normal(_) => KIND_COMMANDS,
        Payload::Membership(_) => KIND_MEMBERSHIP,
    });
    put_log_id(out, entry.log_id);
    match &entry.payload {
        Payload::Blank => {}
        Payload::Normal(CommandBatch(commands)) => {
            put_count(out, commands.len());
            for command in commands {
                put_bytes(out, command);
            }
        }
        Payload::Membership(membership) => put_membership(out, membership),
    }
}

/// Reads what [`encode_entry`] wrote; the commands share `bytes`' allocation.
///
/// # Errors
/// Any difference from that format, and an index other than `index`.
pub(crate) fn decode_entry(index: u64, bytes: Bytes) -> Result<Entry, CodecError> {
    let entry = decode_entry_at_any_index(bytes)?;
    if entry.log_id.index != index {
        return Err(CodecError::WrongIndex);
    }
    Ok(entry)
}

pub(super) fn decode_entry_at_any_index(bytes: Bytes) -> Result<Entry, CodecError> {
    let mut input = Reader::new(bytes);
    input.version(VERSION)?;
    let kind = input.u8()?;
    let log_id = take_log_id(&mut input)?;
    let payload = match kind {
        KIND_BLANK => Payload::Blank,
        KIND_COMMANDS => {
            let count = input.count(4)?;
            let mut commands = Vec::with_capacity(count);
            for _ in 0..count {
                commands.push(input.bytes()?);
            }
            Payload::Normal(CommandBatch(commands))
        }
        KIND_MEMBERSHIP => Payload::Membership(take_membership(&mut input)?),
        other => return Err(CodecError::UnknownKind(other)),
    };
    input.finish()?;
    Ok(Entry { log_id, payload })
}

pub(super) fn put_log_id(out: &mut BytesMut, log_id: LogId) {
    out.put_u64_le(log_id.leader_id.term);
    out.put_u64_le(log_id.leader_id.node_id);
    out.put_u64_le(log_id.index);
}

pub(super) fn take_log_id(input: &mut Reader) -> Result<LogId, CodecError> {
    let leader_id = LeaderId {
        term: input.u64()?,
        node_id: input.u64()?,
    };
    Ok(LogId {
        leader_id,
        index: input.u64()?,
    })
}

/// A log id alone, as the commit and purge records hold it.
pub(crate) fn encode_log_id(log_id: LogId) -> Bytes {
    let mut out = BytesMut::with_capacity(25);
    out.put_u8(VERSION);
    put_log_id(&mut out, log_id);
    out.freeze()
}

/// Reads what [`encode_log_id`] wrote.
pub(crate) fn decode_log_id(bytes: Bytes) -> Result<LogId, CodecError> {
    let mut input = Reader::new(bytes);
    input.version(VERSION)?;
    let log_id = take_log_id(&mut input)?;
    input.finish()?;
    Ok(log_id)
}

pub(super) fn put_vote(out: &mut BytesMut, vote: Vote) {
    out.put_u64_le(vote.leader_id.term);
    out.put_u64_le(vote.leader_id.node_id);
    out.put_u8(u8::from(vote.committed));
}

pub(super) fn take_vote(input: &mut Reader) -> Result<Vote, CodecError> {
    let leader_id = LeaderId {
        term: input.u64()?,
        node_id: input.u64()?,
    };
    Ok(Vote {
        leader_id,
        committed: input.flag()?,
    })
}

/// The vote as the log keeps it.
pub(crate) fn encode_vote(vote: Vote) -> Bytes {
    let mut out = BytesMut::with_capacity(18);
    out.put_u8(VERSION);
    put_vote(&mut out, vote);
    out.freeze()
}

/// Reads what [`encode_vote`] wrote.
pub(crate) fn decode_vote(bytes: Bytes) -> Result<Vote, CodecError> {
    let mut input = Reader::new(bytes);
    input.version(VERSION)?;
    let vote = take_vote(&mut input)?;
    input.finish()?;
    Ok(vote)
}

fn put_membership(out: &mut BytesMut, membership: &Membership) {
    let configs = membership.get_joint_config();
    put_count(out, configs.len());
    for voters in configs {
        put_count(out, voters.len());
        for voter in voters {
            out.put_u64_le(*voter);
        }
    }
    put_count(out, membership.nodes().count());
    for (node, ()) in membership.nodes() {
        out.put_u64_le(*node);
    }
}

fn take_membership(input: &mut Reader) -> Result<Membership, CodecError> {
    let config_count = input.count(4)?;
    let mut configs = Vec::with_capacity(config_count);
    for _ in 0..config_count {
        let voter_count = input.count(8)?;
        let mut voters = BTreeSet::new();
        for _ in 0..voter_count {
            voters.insert(input.u64()?);
        }
        configs.push(voters);
    }
    let node_count = input.count(8)?;
    let mut nodes = BTreeMap::new();
    for _ in 0..node_count {
        nodes.insert(input.u64()?, ());
    }
    Membership::new(configs, nodes).map_err(|_| CodecError::Membership)
}

pub(super) fn put_stored_membership(out: &mut BytesMut, membership: &StoredMembership) {
    put_option(out, *membership.log_id(), put_log_id);
    put_membership(out, membership.membership());
}

pub(super) fn take_stored_membership(input: &mut Reader) -> Result<StoredMembership, CodecError> {
    let log_id = input.option(take_log_id)?;
    Ok(StoredMembership::new(log_id, take_membership(input)?))
}

/// What the state says of itself: the last applied log id and the last applied membership.
pub(crate) fn encode_marker(applied: LogId, membership: &StoredMembership) -> Bytes {
    let mut out = BytesMut::with_capacity(96);
    out.put_u8(VERSION);
    put_log_id(&mut out, applied);
    put_stored_membership(&mut out, membership);
    out.freeze()
}

/// Reads what [`encode_marker`] wrote.
pub(crate) fn decode_marker(bytes: Bytes) -> Result<(LogId, StoredMembership), CodecError> {
    let mut input = Reader::new(bytes);
    input.version(VERSION)?;
    let applied = take_log_id(&mut input)?;
    let membership = take_stored_membership(&mut input)?;
    input.finish()?;
    Ok((applied, membership))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn log_id(term: u64, index: u64) -> LogId {
        LogId {
            leader_id: LeaderId { term, node_id: 3 },
            index,
        }
    }

    fn membership() -> Membership {
        Membership::new(
            vec![BTreeSet::from([1, 2, 3]), BTreeSet::from([2, 3, 4])],
            BTreeMap::from([(1, ()), (2, ()), (3, ()), (4, ()), (9, ())]),
        )
        .unwrap()
    }

    fn entries() -> Vec<Entry> {
        let commands = vec![
            Bytes::from_static(b"one"),
            Bytes::new(),
            Bytes::from_static(b"three"),
        ];
        vec![
            Entry {
                log_id: log_id(1, 0),
                payload: Payload::Blank,
            },
            Entry {
                log_id: log_id(2, 7),
                payload: Payload::Normal(CommandBatch(commands)),
            },
            Entry {
                log_id: log_id(9, u64::MAX),
                payload: Payload::Membership(membership()),
            },
        ]
    }

    /// What is written must be what is read, or a restart changes history.
    #[test]
    fn entries_survive_the_round_trip() {
        for entry in entries() {
            let bytes = encode_entry(&entry);
            assert_eq!(decode_entry(entry.log_id.index, bytes).unwrap(), entry);
        }
    }

    /// The size decides how much is read at once, so it must not lie for commands.
    #[test]
    fn the_size_of_commands_is_exact() {
        let entry = &entries()[1];
        assert_eq!(encode_entry(entry).len(), entry_size(entry));
    }

    /// A damaged disk gives an error, never a panic and never another entry.
    #[test]
    fn every_prefix_and_every_extension_is_refused() {
        for entry in entries() {
            let bytes = encode_entry(&entry);
            for end in 0..bytes.len() {
                assert!(decode_entry(entry.log_id.index, bytes.slice(..end)).is_err());
            }
            let mut longer = BytesMut::from(&bytes[..]);
            longer.put_u8(0);
            let refused = decode_entry(entry.log_id.index, longer.freeze());
            assert_eq!(refused, Err(CodecError::Trailing));
        }
    }

    /// Random damage decodes to something or to an error; it must not abort on a huge count.
    #[test]
    fn damaged_entries_never_panic() {
        for entry in entries() {
            let bytes = encode_entry(&entry);
            for at in 0..bytes.len() {
                for value in [0, 1, 0x7f, 0xff] {
                    let mut damaged = BytesMut::from(&bytes[..]);
                    damaged[at] = value;
                    let _ = decode_entry(entry.log_id.index, damaged.freeze());
                }
            }
        }
    }

    /// An entry found under another index would be applied in the wrong place.
    #[test]
    fn an_entry_under_another_index_is_refused() {
        let bytes = encode_entry(&entries()[1]);
        assert_eq!(decode_entry(8, bytes), Err(CodecError::WrongIndex));
    }

    #[test]
    fn marker_vote_and_log_id_survive_the_round_trip() {
        for stored in [
            StoredMembership::default(),
            StoredMembership::new(Some(log_id(4, 1)), membership()),
        ] {
            let bytes = encode_marker(log_id(5, 6), &stored);
            assert_eq!(decode_marker(bytes).unwrap(), (log_id(5, 6), stored));
        }
        for committed in [false, true] {
            let vote = Vote {
                leader_id: LeaderId {
                    term: 8,
                    node_id: 2,
                },
                committed,
            };
            assert_eq!(decode_vote(encode_vote(vote)).unwrap(), vote);
        }
        assert_eq!(
            decode_log_id(encode_log_id(log_id(3, 4))).unwrap(),
            log_id(3, 4)
        );
    }
}
