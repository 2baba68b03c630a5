//! Decoding hostile bytes never panics and never takes much memory.
//!
//! The rule: the most heap that is in use at once while bytes are decoded, the
//! result included, is at most four times the bytes plus [`SPARE_BYTES`]. A
//! length that a peer claims costs nothing until its bytes are there.
//!
//! The allocator counts per thread, so tests may run beside each other.

// A global allocator cannot be written without `unsafe`; it only counts and
// passes on to the system's.
#![allow(unsafe_code, clippy::unwrap_used)]

mod draw;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use bytes::{Bytes, BytesMut};
use confab_protocol::Frame;
use confab_protocol::message::{Answer, Push, Request};
use draw::{Draw, Table};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

/// What a decoder may take beside four times its input.
///
/// A body has a handful of ids, each an allocation of its own: two counters of
/// 8 bytes, the text, and padding to 8. An id of one letter, 2 bytes on the
/// wire, takes 24. Lists do not add to it: their items are checked one at a
/// time. The value itself has a fixed size and lies on the stack.
const SPARE_BYTES: usize = 128;

struct Counting;

thread_local! {
    static LIVE: Cell<usize> = const { Cell::new(0) };
    static PEAK: Cell<usize> = const { Cell::new(0) };
}

fn grow(bytes: usize) {
    let live = LIVE.get().wrapping_add(bytes);
    LIVE.set(live);
    // What was allocated before the measurement may be freed inside it, which
    // takes `live` below zero: that is not a peak.
    if live < usize::MAX / 2 {
        PEAK.set(PEAK.get().max(live));
    }
}

fn shrink(bytes: usize) {
    LIVE.set(LIVE.get().wrapping_sub(bytes));
}

// SAFETY: every call goes to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        grow(layout.size());
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        shrink(layout.size());
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // Both blocks may exist while the content is copied.
        grow(size);
        let moved = unsafe { System.realloc(pointer, layout, size) };
        shrink(layout.size());
        moved
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Runs `work` and answers the most heap that was in use at once, beyond what
/// was in use before.
fn peak_of<R>(work: impl FnOnce() -> R) -> usize {
    LIVE.set(0);
    PEAK.set(0);
    let result = work();
    let peak = PEAK.get();
    drop(result);
    peak
}

fn assert_modest(peak: usize, input: usize, what: &dyn std::fmt::Display) {
    assert!(
        peak <= 4 * input + SPARE_BYTES,
        "{what}: {peak} bytes in use for {input} bytes of input"
    );
}

fn decode_modestly<T: Table>(kind: u16, body: &Bytes) {
    let frame = Frame {
        kind,
        request: 1,
        body: body.clone(),
    };
    let peak = peak_of(|| T::from_frame(&frame));
    assert_modest(peak, body.len(), &format_args!("kind {kind:#06x}"));
}

fn decode_as_every_kind(body: &Bytes) {
    for (kind, _) in Request::KINDS {
        decode_modestly::<Request>(*kind, body);
    }
    for (kind, _) in Answer::KINDS {
        decode_modestly::<Answer>(*kind, body);
    }
    for (kind, _) in Push::KINDS {
        decode_modestly::<Push>(*kind, body);
    }
}

/// What is done to a valid body so that it goes wrong somewhere deep inside.
#[derive(Clone, Debug)]
enum Damage {
    Set(Index, u8),
    Insert(Index, Vec<u8>),
    Remove(Index, usize),
    Repeat(Index, usize, usize),
}

fn damage() -> impl Strategy<Value = Damage> {
    // Bytes that open a long integer, an enum's variants and small counts are
    // likelier than others.
    let byte = prop_oneof![any::<u8>(), 250u8..=255, 0u8..=9];
    let bytes = vec(prop_oneof![250u8..=255, 0u8..=9, any::<u8>()], 1..12);
    prop_oneof![
        4 => (any::<Index>(), byte).prop_map(|(at, byte)| Damage::Set(at, byte)),
        1 => (any::<Index>(), bytes).prop_map(|(at, bytes)| Damage::Insert(at, bytes)),
        1 => (any::<Index>(), 1usize..40).prop_map(|(at, len)| Damage::Remove(at, len)),
        1 => (any::<Index>(), 1usize..60, 1usize..30)
            .prop_map(|(at, len, times)| Damage::Repeat(at, len, times)),
    ]
}

fn apply(damages: &[Damage], mut body: Vec<u8>) -> Bytes {
    for damage in damages {
        if body.is_empty() {
            body.push(0);
        }
        match damage {
            Damage::Set(at, byte) => {
                let at = at.index(body.len());
                body[at] = *byte;
            }
            Damage::Insert(at, bytes) => {
                let at = at.index(body.len());
                body.splice(at..at, bytes.iter().copied());
            }
            Damage::Remove(at, len) => {
                let at = at.index(body.len());
                body.drain(at..(at + len).min(body.len()));
            }
            Damage::Repeat(at, len, times) => {
                let at = at.index(body.len());
                let part = body[at..(at + len).min(body.len())].repeat(*times);
                body.splice(at..at, part);
            }
        }
    }
    body.into()
}

fn decode_every_kind_damaged<T: Table>(choices: &[u8], damages: &[Damage]) {
    for (kind, name) in T::KINDS {
        let value = T::make(name, &mut Draw::from_bytes(choices));
        let mut frame = value.to_frame(1);
        let body = Frame::take_whole(&mut frame, usize::MAX)
            .unwrap()
            .unwrap()
            .body;
        decode_modestly::<T>(*kind, &body);
        decode_modestly::<T>(*kind, &apply(damages, body.to_vec()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    /// Bytes of no sense at all, as any kind.
    #[test]
    fn arbitrary_bytes_take_little(body in vec(any::<u8>(), 0..4_096)) {
        decode_as_every_kind(&body.into());
    }

    /// Small numbers and length marks reach further into a decoder than noise.
    #[test]
    fn plausible_bytes_take_little(
        body in vec(prop_oneof![0u8..=9, 250u8..=255, Just(b'a')], 0..2_000),
    ) {
        decode_as_every_kind(&body.into());
    }

    /// Valid bodies, and what a few changes make of them, reach every depth.
    #[test]
    fn damaged_bodies_take_little(
        choices in vec(any::<u8>(), 0..1_500),
        damages in vec(damage(), 1..6),
    ) {
        for_each_table!(decode_every_kind_damaged, &choices, &damages);
    }

    /// A stream that is cut anywhere and says anything of its lengths; frames
    /// are kept, as a slow reader would keep them.
    #[test]
    fn frames_of_a_stream_take_little(
        stream in stream(),
        cuts in vec(1usize..5_000, 1..40),
        keep in any::<bool>(),
    ) {
        let mut kept = Vec::with_capacity(stream.len() / 6 + 1);
        let mut cuts = cuts.iter().cycle();
        let mut fed = 0;
        let mut rest = &stream[..];
        let mut buffer = BytesMut::new();
        let peak = peak_of(|| {
            while !rest.is_empty() {
                let cut = (*cuts.next().unwrap()).min(rest.len());
                buffer.extend_from_slice(&rest[..cut]);
                rest = &rest[cut..];
                fed += cut;
                loop {
                    match Frame::take(&mut buffer, 128 << 10) {
                        Ok(Some(frame)) if keep => kept.push(frame),
                        Ok(Some(_)) => {}
                        Ok(None) => break,
                        Err(_) => return,
                    }
                }
            }
        });
        assert_modest(peak, fed, &"a stream");
    }

    /// A message that should hold whole frames and holds anything.
    #[test]
    fn frames_of_a_message_take_little(stream in stream()) {
        let mut message = Bytes::from(stream.clone());
        let peak = peak_of(|| {
            while let Ok(Some(frame)) = Frame::take_whole(&mut message, 128 << 10) {
                assert!(frame.body.len() <= stream.len());
            }
        });
        assert_modest(peak, stream.len(), &"a message");
    }
}

/// Frames that are mostly sound, so that more than the first is read.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let frame = (
        prop_oneof![9 => Just(0i64), 1 => -20i64..200_000],
        vec(any::<u8>(), 6..3_000),
    );
    vec(frame, 0..12).prop_map(|frames| {
        let mut stream = Vec::new();
        for (lie, content) in frames {
            let len = i64::try_from(content.len()).unwrap() + lie;
            stream.extend_from_slice(&u32::try_from(len.max(0)).unwrap().to_le_bytes());
            stream.extend_from_slice(&content);
        }
        stream
    })
}

/// Four bytes that promise the largest frame must not cost its memory: ten
/// thousand connections can send them before they authenticate.
#[test]
fn a_promised_frame_costs_nothing() {
    let mut buffer = BytesMut::with_capacity(64);
    buffer.extend_from_slice(&(128u32 << 10).to_le_bytes());
    let peak = peak_of(|| Frame::take(&mut buffer, 128 << 10));
    assert_eq!(peak, 0);
    assert_eq!(buffer.capacity(), 64);
}

/// The largest list that a frame can hold, of the smallest items, in the kinds
/// whose items are widest in memory.
#[test]
fn long_lists_of_small_items_take_little() {
    let count: u32 = 50_000;
    let mut body = vec![252];
    body.extend_from_slice(&count.to_le_bytes());
    body.push(252);
    body.extend_from_slice(&(2 * count).to_le_bytes());
    body.extend([1u8, b'a'].repeat(count as usize));
    let body = Bytes::from(body);
    let watch = Frame {
        kind: 0x0052,
        request: 1,
        body: body.clone(),
    };
    assert!(Request::from_frame(&watch).is_ok());
    decode_modestly::<Request>(0x0052, &body);
}

/// The part of a body that does not depend on its content is small as well.
#[test]
fn a_body_is_small_on_the_stack() {
    assert!(size_of::<Request>() <= 512, "{}", size_of::<Request>());
    assert!(size_of::<Answer>() <= 512, "{}", size_of::<Answer>());
    assert!(size_of::<Push>() <= 512, "{}", size_of::<Push>());
}
