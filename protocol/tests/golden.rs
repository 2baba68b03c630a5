//! Golden byte vectors: what a body looks like on the wire, for ever.
//!
//! `golden/vectors.txt` holds at least one frame for every kind and for every
//! variant of every enum, with the value that it stands for. A vector is never
//! changed: bytes that other clients write and read would change with it. A new
//! kind or variant needs a new vector; the test says which lines to add.

#![allow(clippy::unwrap_used)]

mod draw;
mod vectors;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use confab_protocol::message::channel::MarkRead;
use confab_protocol::message::presence::PresenceState;
use confab_protocol::message::{Answer, Push, Request, channel, frame_of, presence};
use confab_protocol::{
    ChannelId, Epoch, ErrorCode, Frame, Offset, Packed, Position, UserId, WireError,
};
use draw::bodies::ENUMS;
use draw::{Draw, Table};
use vectors::Vector;

/// Where each enum's variants are seen: an enum and a kind that holds it.
const ENUM_KINDS: &[(&str, &str, &str)] = &[
    ("ChannelKind", "Answer", "ChannelInfo"),
    ("UserKind", "Answer", "UserPage"),
    ("Anchor", "Request", "History"),
    ("ChannelRole", "Request", "SetRole"),
    ("Change", "Push", "Event"),
    ("PresenceState", "Request", "SetPresence"),
    ("DirectoryChange", "Request", "UpdateDirectory"),
];

/// A frame read as its kind says is the value that stands beside it, and that
/// value is written as the same bytes.
#[test]
fn every_vector_reads_and_writes_alike() {
    for_each_table!(check_table);
}

fn check_table<T: Table>() {
    for vector in vectors::of_table(T::NAME) {
        let mut bytes = vector.bytes.clone();
        let frame = Frame::take_whole(&mut bytes, usize::MAX).unwrap().unwrap();
        assert!(bytes.is_empty(), "{}: bytes follow the frame", vector.name);
        let kind = T::KINDS.iter().find(|(_, name)| *name == vector.kind());
        let (kind, _) = kind.unwrap_or_else(|| panic!("{}: no such kind", vector.name));
        assert_eq!(frame.kind, *kind, "{}", vector.name);
        let value = T::from_frame(&frame).unwrap();
        assert_eq!(format!("{value:?}"), vector.value, "{}", vector.name);
        assert_eq!(
            value.to_frame(frame.request),
            vector.bytes,
            "{}",
            vector.name
        );
    }
}

/// A kind without a vector could change its bytes unseen.
#[test]
fn every_kind_and_variant_has_a_vector() {
    let mut missing = String::new();
    for_each_table!(find_missing, &mut missing);
    assert!(
        missing.is_empty(),
        "append to tests/golden/vectors.txt:\n\n{missing}"
    );
}

fn find_missing<T: Table>(missing: &mut String) {
    let known = vectors::all();
    let mut expect = |name: String, kind: &str, forced| {
        if known.iter().any(|vector| vector.name == name) {
            return;
        }
        let value = T::make(kind, &mut Draw::fixed(forced));
        let request = if T::NAME == "Push" { 0 } else { 7 };
        let bytes = value.to_frame(request);
        writeln!(
            missing,
            "{}",
            Vector::new(name, format!("{value:?}"), bytes)
        )
        .unwrap();
    };
    for (_, kind) in T::KINDS {
        expect(format!("{}.{kind}", T::NAME), kind, None);
    }
    for (name, table, kind) in ENUM_KINDS.iter().filter(|(_, table, _)| *table == T::NAME) {
        let (_, variants) = ENUMS.iter().find(|(other, _)| other == name).unwrap();
        for (place, variant) in variants.iter().enumerate() {
            let name_of_vector = format!("{table}.{kind} with {name}::{variant}");
            expect(name_of_vector, kind, Some((*name, place)));
        }
    }
}

/// Every enum is covered by a kind that holds it.
#[test]
fn no_enum_is_forgotten() {
    for (name, _) in ENUMS {
        assert!(
            ENUM_KINDS.iter().any(|(covered, ..)| covered == name),
            "add {name} to ENUM_KINDS"
        );
    }
}

/// The vectors come from a generator; these are written out by hand, byte by
/// byte, so that both cannot be wrong in the same way.
#[test]
fn bytes_written_by_hand() {
    let general = ChannelId::general();
    let mark_read = MarkRead {
        channel: general.clone(),
        thread: None,
        offset: Offset(300),
    };
    let mut expected = vec![26, 0, 0, 0, 0x30, 0, 7, 0, 0, 0];
    expected.push(15);
    expected.extend_from_slice(b"general-company");
    expected.extend_from_slice(&[0, 251, 0x2c, 0x01]);
    assert_eq!(frame_of(7, &mark_read), expected);

    let posted = channel::Posted {
        position: Position {
            epoch: Epoch(3),
            offset: Offset(70_000),
        },
        created_at_ms: 1_700_000_000_000,
        duplicate: true,
    };
    let mut expected = vec![22, 0, 0, 0, 0x20, 0x40, 9, 0, 0, 0];
    expected.extend_from_slice(&[3, 252, 0x70, 0x11, 0x01, 0]);
    expected.extend_from_slice(&[253, 0x00, 0x68, 0xe5, 0xcf, 0x8b, 0x01, 0, 0, 1]);
    assert_eq!(frame_of(9, &posted), expected);

    let pushed = Push::Presence(confab_protocol::message::PresencePushed(
        presence::PresenceChanged {
            users: Packed::from(vec![presence::Presence {
                user: UserId::new("ann").unwrap(),
                state: PresenceState::Online,
                status: "".into(),
                last_seen_ms: 0,
            }]),
        },
    ));
    let expected = [
        15, 0, 0, 0, 0x13, 0x80, 0, 0, 0, 0, 1, 7, 3, b'a', b'n', b'n', 3, 0, 0,
    ];
    assert_eq!(pushed.to_frame(0), expected.as_slice());

    let refused = WireError::new(ErrorCode::RateLimited, "slow").retry_after(251);
    let expected = [
        18, 0, 0, 0, 0x00, 0x40, 1, 0, 0, 0, 251, 0xf4, 0x01, 4, b's', b'l', b'o', b'w', 1, 251,
        251, 0,
    ];
    assert_eq!(Answer::Error(refused).to_frame(1), expected.as_slice());
}

/// Numbers are given once: two kinds never share one, and the range of a number
/// says in which table it stands.
#[test]
fn kinds_are_unique_and_in_their_range() {
    let mut seen = BTreeMap::new();
    let tables = [
        (Request::KINDS, 0x0001..=0x3fff),
        (Answer::KINDS, 0x4000..=0x7fff),
        (Push::KINDS, 0x8000..=0xffff),
    ];
    for (kinds, range) in tables {
        for (kind, name) in kinds {
            assert!(range.contains(kind), "{name} {kind:#06x}");
            assert_eq!(seen.insert(*kind, *name), None, "{kind:#06x}");
        }
    }
}
