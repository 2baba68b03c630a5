//! One bulk request on a stream of its own.

use bytes::{Bytes, BytesMut};
use confab_protocol::Frame;
use confab_protocol::limits::SERVER_FRAME_BYTES_MAX;

/// Below S0, so that back-fill never delays live traffic.
const PRIORITY: i32 = -1;

/// The way of one bulk request.
#[derive(Debug)]
pub(crate) struct BulkStream(quinn::Connection);

impl BulkStream {
    pub(super) const fn new(connection: quinn::Connection) -> Self {
        Self(connection)
    }

    /// Writes the request's frame and reads the answer's; `None` when the stream
    /// or its connection broke.
    pub(crate) async fn ask(self, request: Bytes) -> Option<Frame> {
        let (mut send, mut receive) = self.0.open_bi().await.ok()?;
        // Only fails for a stream that is closed, which the write will tell.
        let _ = send.set_priority(PRIORITY);
        send.write_chunk(request).await.ok()?;
        send.finish().ok()?;
        let mut received = BytesMut::new();
        loop {
            if let Some(frame) = Frame::take(&mut received, SERVER_FRAME_BYTES_MAX).ok()? {
                return Some(frame);
            }
            let chunk = receive.read_chunk(usize::MAX, true).await.ok()??;
            received.extend_from_slice(&chunk.bytes);
        }
    }
}
