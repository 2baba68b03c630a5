//! Any bytes as a stream of frames, cut as the first bytes say, and as one
//! message: both must find the same frames.

#![no_main]

use bytes::{Bytes, BytesMut};
use confab_protocol::Frame;
use confab_protocol::message::{Answer, Push, Request};
use libfuzzer_sys::fuzz_target;

const FRAME_BYTES_MAX: usize = 4_096;

fuzz_target!(|data: &[u8]| {
    let Some((cut, stream)) = data.split_first() else {
        return;
    };
    let mut buffer = BytesMut::new();
    let mut of_stream = Vec::new();
    'parts: for part in stream.chunks(usize::from(*cut) + 1) {
        buffer.extend_from_slice(part);
        loop {
            match Frame::take(&mut buffer, FRAME_BYTES_MAX) {
                Ok(Some(frame)) => of_stream.push(frame),
                Ok(None) => break,
                Err(_) => break 'parts,
            }
        }
    }
    let mut message = Bytes::copy_from_slice(stream);
    let mut of_message = Vec::new();
    while let Ok(Some(frame)) = Frame::take_whole(&mut message, FRAME_BYTES_MAX) {
        of_message.push(frame);
    }
    assert_eq!(of_stream, of_message);
    for frame in of_stream {
        let _ = Request::from_frame(&frame);
        let _ = Answer::from_frame(&frame);
        let _ = Push::from_frame(&frame);
    }
});
