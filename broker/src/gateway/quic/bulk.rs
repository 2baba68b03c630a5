//! What comes beside the session's stream: bulk requests and datagrams.
//!
//! A bulk request has a stream of its own: one request frame, one answer frame,
//! the end. Its answer has a lower priority than the session's stream, so live
//! events are never blocked behind back-fill.

use std::time::Duration;

use bytes::Bytes;
use confab_protocol::{ErrorCode, WireError};
use quinn::{Connection, RecvStream, SendStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::endpoint::{BIDI_STREAMS, close_code};
use super::stream::{FrameReader, write_frames};
use crate::session::{FrameSource, Requests, refused};

/// Below the session's stream, which has 0.
const PRIORITY: i32 = -1;

/// How long the last bytes of an answer are waited for when the server goes away.
const LINGER: Duration = Duration::from_millis(500);

/// Serves a connection's bulk streams and datagrams until it is gone.
pub(super) async fn serve(
    connection: Connection,
    requests: Requests,
    bulk_timeout: Duration,
    stall_timeout: Duration,
) {
    let mut tasks = JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = tasks.join_next(), if !tasks.is_empty() => {}
            stream = connection.accept_bi(), if tasks.len() < BIDI_STREAMS as usize => {
                let Ok((send, receive)) = stream else { return };
                tasks.spawn(answer(send, receive, requests.clone(), bulk_timeout, stall_timeout));
            }
            datagram = connection.read_datagram() => {
                let Ok(datagram) = datagram else { return };
                requests.datagram(datagram).await;
            }
            stream = connection.accept_uni() => {
                let Ok(mut stream) = stream else { return };
                // None are in use; left alone, they would hold their bytes.
                let _ = stream.stop(close_code(ErrorCode::UnknownKind));
            }
        }
    }
}

async fn answer(
    mut send: SendStream,
    receive: RecvStream,
    requests: Requests,
    bulk_timeout: Duration,
    stall_timeout: Duration,
) {
    // Fails only when the client has given the stream up.
    let _ = send.set_priority(PRIORITY);
    let mut reader = FrameReader::new(receive);
    let working = requests.begin_bulk();
    let answer = match timeout(bulk_timeout, reader.next_frame()).await {
        Ok(Ok(Some(frame))) if reader.has_more() => refused(
            frame.request,
            &misused("a bulk stream carries one request: open a stream for each"),
        ),
        Ok(Ok(Some(frame))) => requests.answer_bulk(&frame).await,
        Ok(Ok(None)) => return,
        Ok(Err(error)) => refused(0, &error),
        Err(_) => refused(0, &misused("no request came on the bulk stream in time")),
    };
    reader.stop(ErrorCode::MalformedFrame);
    write(&mut send, answer, stall_timeout).await;
    if requests.is_draining() {
        let _ = timeout(LINGER, send.stopped()).await;
    }
    drop(working);
}

async fn write(send: &mut SendStream, answer: Bytes, stall_timeout: Duration) {
    match write_frames(send, &mut [answer], stall_timeout).await {
        Ok(()) => drop(send.finish()),
        Err(_) => drop(send.reset(close_code(ErrorCode::SlowConsumer))),
    }
}

fn misused(sentence: &str) -> WireError {
    WireError::new(ErrorCode::MalformedFrame, sentence)
}
