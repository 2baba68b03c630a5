//! What peers of different versions may send each other, and what is refused.

#![allow(clippy::unwrap_used)]

mod draw;
mod vectors;

use confab_protocol::message::{Answer, BodyError, Push, Request};
use confab_protocol::{CodecError, Frame};
use draw::Table;

fn frame_of(vector: &vectors::Vector) -> Frame {
    let mut bytes = vector.bytes.clone();
    Frame::take_whole(&mut bytes, usize::MAX).unwrap().unwrap()
}

/// A kind of a newer peer is told apart from a broken body, so a push can be
/// skipped and a request be refused; what follows it on the stream is read.
#[test]
fn an_unknown_kind_is_named_and_skipped() {
    let unknown = Frame {
        kind: 0x8fff,
        request: 0,
        body: vec![1, 2, 3].into(),
    };
    assert_eq!(
        Push::from_frame(&unknown),
        Err(BodyError::UnknownKind(0x8fff))
    );
    let known = vectors::named("Push.TokenExpiring");
    let mut stream = bytes::BytesMut::from(&unknown.to_bytes()[..]);
    stream.extend_from_slice(&known.bytes);
    let first = Frame::take(&mut stream, 1_000).unwrap().unwrap();
    assert!(Push::from_frame(&first).is_err());
    let second = Frame::take(&mut stream, 1_000).unwrap().unwrap();
    assert!(matches!(
        Push::from_frame(&second),
        Ok(Push::TokenExpiring(_))
    ));
}

/// A kind means something in one table only: a client cannot send a push, a
/// server cannot send a request.
#[test]
fn a_kind_of_another_table_is_unknown() {
    for vector in vectors::all() {
        let frame = frame_of(&vector);
        let unknown = BodyError::UnknownKind(frame.kind);
        if vector.table() != "Request" {
            assert_eq!(Request::from_frame(&frame).unwrap_err(), unknown);
        }
        if vector.table() != "Answer" {
            assert_eq!(Answer::from_frame(&frame).unwrap_err(), unknown);
        }
        if vector.table() != "Push" {
            assert_eq!(Push::from_frame(&frame).unwrap_err(), unknown);
        }
    }
}

/// A body is never extended in place: a byte after it is refused, so a changed
/// body must come as a new kind and old peers cannot misread it.
#[test]
fn trailing_bytes_are_refused() {
    for_each_table!(refuses_trailing);
}

fn refuses_trailing<T: Table>() {
    for vector in vectors::of_table(T::NAME) {
        let mut frame = frame_of(&vector);
        frame.body = [&frame.body[..], &[0]].concat().into();
        let error = T::from_frame(&frame).unwrap_err();
        let kind = frame.kind;
        let expected = BodyError::Codec {
            kind,
            error: CodecError::Trailing(1),
        };
        assert_eq!(error, expected, "{}", vector.name);
    }
}

/// A body that was cut is never taken for a shorter one.
#[test]
fn every_cut_is_refused() {
    for_each_table!(refuses_cuts);
}

fn refuses_cuts<T: Table>() {
    for vector in vectors::of_table(T::NAME) {
        let mut frame = frame_of(&vector);
        let whole = frame.body.clone();
        for len in 0..whole.len() {
            frame.body = whole.slice(..len);
            assert!(T::from_frame(&frame).is_err(), "{} to {len}", vector.name);
        }
    }
}
