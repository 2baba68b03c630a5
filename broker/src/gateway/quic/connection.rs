//! One client's connection: handshake, `Hello`, session, close.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use confab_protocol::message::frame_of;
use confab_protocol::{ErrorCode, WireError};
use quinn::{Connecting, Connection, SendStream};
use tokio::time::{Instant, timeout, timeout_at};

use super::admission::Slot;
use super::endpoint::{close_code, welcome};
use super::stream::{FrameReader, Written, write_frames, write_outbox};
use super::{Shared, bulk};
use crate::limits::ConnectionGuard;
use crate::ops::Gateway;
use crate::session::outbox::OutboxReader;
use crate::session::{Ended, FrameSource, Opened, Peer, Session, decode_hello, refused};

/// How long the last frames may take to arrive before the connection closes.
/// A revoked session is to be closed within a second.
const LINGER: Duration = Duration::from_millis(500);

/// Longest reason in a close frame, in bytes: it must fit in one packet.
const REASON_BYTES_MAX: usize = 512;

/// Serves one connection from its handshake to its last packet.
pub(super) async fn serve(shared: Arc<Shared>, connecting: Connecting, mut slot: Slot) {
    let deadline = Instant::now() + shared.config.hello_timeout;
    let connection = match timeout_at(deadline, connecting).await {
        Ok(Ok(connection)) => connection,
        // quinn tells the client: a wrong ALPN, a wrong version, silence.
        Ok(Err(_)) | Err(_) => return,
    };
    slot.handshaken();
    // Boxed, so that an idle connection does not keep room for its beginning.
    let greeted = Box::pin(greet(&shared, &connection, slot.guard(), deadline)).await;
    let error = match greeted {
        Ok(greeted) => converse(&shared, &connection, greeted).await,
        Err(error) => Some(error),
    };
    match error {
        Some(error) => close(&connection, &error),
        None => connection.close(0u32.into(), b""),
    }
}

/// A connection that has a session. Boxed, for each step that it is handed on
/// by would keep room for it.
struct Greeted {
    session: Session,
    outbox: OutboxReader,
    stream: SendStream,
    reader: FrameReader,
}

/// Waits for the client's stream and its `Hello`, and opens its session.
async fn greet(
    shared: &Shared,
    connection: &Connection,
    guard: &mut ConnectionGuard,
    deadline: Instant,
) -> Result<Box<Greeted>, WireError> {
    let hello_timeout = || {
        let seconds = shared.config.hello_timeout.as_secs_f32();
        let text = format!("no Hello came within {seconds} s");
        WireError::new(ErrorCode::HelloTimeout, text)
    };
    let first = timeout_at(deadline, first_frame(connection));
    let shutdown = shared.shutdown.cancelled();
    let (mut stream, reader, frame) = tokio::select! {
        first = first => first.map_err(|_| hello_timeout())??,
        () = shutdown => return Err(going_away()),
    };
    let peer = Peer {
        gateway: Gateway::Quic,
        address: connection.remote_address().ip(),
        is_watched: true,
    };
    let opened = match decode_hello(&frame) {
        Ok(hello) => Session::open(&shared.services, peer, guard, hello).await,
        Err(error) => Err(error),
    };
    match opened {
        Ok(Opened {
            session,
            outbox,
            welcome,
        }) => {
            let welcome = frame_of(frame.request, &welcome);
            match write_frames(&mut stream, &mut [welcome], shared.config.stall_timeout).await {
                Ok(()) => Ok(Box::new(Greeted {
                    session,
                    outbox,
                    stream,
                    reader,
                })),
                Err(_) => Err(slow_consumer(shared)),
            }
        }
        Err(error) => {
            // As an answer too: a close frame has no room for `retry_after_ms`.
            let answer = refused(frame.request, &error);
            let _ = timeout(LINGER, finish(&mut stream, answer)).await;
            Err(error)
        }
    }
}

async fn finish(stream: &mut SendStream, answer: bytes::Bytes) {
    if stream.write_chunk(answer).await.is_ok() && stream.finish().is_ok() {
        let _ = stream.stopped().await;
    }
}

type First = (SendStream, FrameReader, confab_protocol::Frame);

async fn first_frame(connection: &Connection) -> Result<First, WireError> {
    let gone = || WireError::new(ErrorCode::HelloRequired, "the first frame must be Hello");
    let (stream, receive) = connection.accept_bi().await.map_err(|_| gone())?;
    let mut reader = FrameReader::new(receive);
    let frame = reader.next_frame().await?.ok_or_else(gone)?;
    Ok((stream, reader, frame))
}

/// Drives the session and its writing half until one of them ends; answers with
/// what to close the connection, or `None` when the client is gone.
async fn converse(
    shared: &Shared,
    connection: &Connection,
    greeted: Box<Greeted>,
) -> Option<WireError> {
    let Greeted {
        mut session,
        outbox,
        mut stream,
        mut reader,
    } = *greeted;
    welcome(connection);
    tokio::spawn(bulk::serve(
        connection.clone(),
        session.requests().clone(),
        shared.config.bulk_timeout,
        shared.config.stall_timeout,
    ));
    let written = {
        let mut writing = pin!(write_outbox(
            outbox,
            &mut stream,
            shared.config.stall_timeout
        ));
        // Both halves run in this one task: an answer goes from one to the
        // other without waking anybody.
        tokio::select! {
            biased;
            ended = session.run(&mut reader) => match ended {
                Ended::PeerGone => return None,
                Ended::Closing => {
                    let reason = session.requests().outbox().closing()?;
                    let linger = match reason.code() {
                        ErrorCode::ShuttingDown => shared.config.stall_timeout,
                        _ => LINGER,
                    };
                    timeout(linger, writing).await.unwrap_or(Written::End(reason))
                }
            },
            written = writing.as_mut() => written,
        }
    };
    // Out of the registry and the fan-out before the last bytes are waited for.
    drop(session);
    match written {
        Written::Gone => None,
        Written::Stalled => {
            shared.services.metrics.slow_consumer_closed();
            Some(slow_consumer(shared))
        }
        Written::End(reason) => {
            if stream.finish().is_ok() {
                let _ = timeout(LINGER, stream.stopped()).await;
            }
            Some(reason)
        }
    }
}

/// Closes the connection for a reason that the client is told.
fn close(connection: &Connection, error: &WireError) {
    let reason = &error.message.as_bytes()[..error.message.len().min(REASON_BYTES_MAX)];
    tracing::debug!(
        code = %error.code(),
        peer = %connection.remote_address(),
        "connection closed: {}",
        error.message
    );
    connection.close(close_code(error.code()), reason);
}

fn slow_consumer(shared: &Shared) -> WireError {
    let seconds = shared.config.stall_timeout.as_secs();
    WireError::new(
        ErrorCode::SlowConsumer,
        format!("the client took nothing for {seconds} s: connect again and resume"),
    )
}

fn going_away() -> WireError {
    WireError::new(
        ErrorCode::ShuttingDown,
        "the server goes away: connect to another",
    )
}
