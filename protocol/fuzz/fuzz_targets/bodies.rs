//! Any bytes as the body of any kind: the first two bytes choose the kind.
//!
//! What decodes must be written and read again as the same value.

#![no_main]

use bytes::Bytes;
use confab_protocol::Frame;
use confab_protocol::message::{Answer, Push, Request};
use libfuzzer_sys::fuzz_target;

macro_rules! check {
    ($table:ident, $frame:expr) => {
        if let Ok(value) = $table::from_frame($frame) {
            let mut written = value.to_frame($frame.request);
            let again = Frame::take_whole(&mut written, usize::MAX)
                .expect("what was written is a frame")
                .expect("what was written is not empty");
            assert!(written.is_empty());
            assert_eq!($table::from_frame(&again).as_ref(), Ok(&value));
            // Lists are read item by item; that must not panic either.
            let _ = format!("{value:?}");
        }
    };
}

fuzz_target!(|data: &[u8]| {
    let Some((choice, body)) = data.split_first_chunk::<2>() else {
        return;
    };
    let tables = [Request::KINDS, Answer::KINDS, Push::KINDS].concat();
    let choice = usize::from(u16::from_le_bytes(*choice));
    let frame = Frame {
        kind: tables[choice % tables.len()].0,
        request: 1,
        body: Bytes::copy_from_slice(body),
    };
    check!(Request, &frame);
    check!(Answer, &frame);
    check!(Push, &frame);
});
