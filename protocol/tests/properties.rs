//! Any value of any kind comes back from the wire as it was.

#![allow(clippy::unwrap_used)]

mod draw;

use confab_protocol::Frame;
use draw::{Draw, Table};
use proptest::collection::vec;
use proptest::prelude::*;

fn comes_back<T: Table>(kind: (u16, &str), choices: &[u8], request: u32) {
    let (number, name) = kind;
    let value = T::make(name, &mut Draw::from_bytes(choices));
    let mut bytes = value.to_frame(request);
    let frame = Frame::take_whole(&mut bytes, usize::MAX).unwrap().unwrap();
    assert!(bytes.is_empty());
    assert_eq!((frame.kind, frame.request), (number, request));
    assert_eq!(frame.to_bytes(), value.to_frame(request));
    assert_eq!(T::from_frame(&frame).unwrap(), value);
}

fn all_kinds_come_back<T: Table>(choices: &[u8], request: u32) {
    for kind in T::KINDS {
        comes_back::<T>(*kind, choices, request);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// What is written is read back equal, whatever the value.
    #[test]
    fn every_kind_comes_back(choices in vec(any::<u8>(), 0..1_500), request in any::<u32>()) {
        for_each_table!(all_kinds_come_back, &choices, request);
    }

    /// A stream of frames comes off whole however the network cuts it.
    #[test]
    fn frames_survive_any_cut(
        bodies in vec((any::<u16>(), any::<u32>(), vec(any::<u8>(), 0..200)), 0..20),
        cuts in vec(1usize..300, 1..50),
    ) {
        let frames: Vec<Frame> = bodies
            .into_iter()
            .map(|(kind, request, body)| Frame { kind, request, body: body.into() })
            .collect();
        let stream: Vec<u8> = frames.iter().flat_map(|frame| frame.to_bytes()).collect();
        let mut buffer = bytes::BytesMut::new();
        let mut seen = Vec::new();
        let mut rest = &stream[..];
        for cut in cuts.iter().cycle() {
            let (part, left) = rest.split_at((*cut).min(rest.len()));
            rest = left;
            buffer.extend_from_slice(part);
            while let Some(frame) = Frame::take(&mut buffer, 1_000).unwrap() {
                seen.push(frame);
            }
            if rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!(&seen, &frames);
        prop_assert!(buffer.is_empty());

        let mut message = bytes::Bytes::from(stream);
        let mut whole = Vec::new();
        while let Some(frame) = Frame::take_whole(&mut message, 1_000).unwrap() {
            whole.push(frame);
        }
        prop_assert_eq!(whole, frames);
    }
}
