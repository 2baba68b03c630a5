//! The outbox: what waits to be written to one session.
//!
//! Any thread puts frames in (fan-out, answers, timers) without waiting; one
//! reader, the gateway's writing half, takes what has gathered in one batch.
//! Bounded in bytes: when it overflows, ephemeral frames go first, then all
//! events together, and the session is told once that it is behind. Answers are
//! never dropped: the requests in flight are bounded instead.
//!
//! Not here: how frames are written, and who decides to close.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use confab_protocol::WireError;
use confab_protocol::message::frame_of;
use confab_protocol::message::session::{Behind, SessionClosed};
use parking_lot::Mutex;

use crate::ops::Metrics;

/// Limits of an outbox.
#[derive(Clone, Copy, Debug)]
pub struct OutboxConfig {
    /// Bytes that may wait before events are dropped. Default 1 MiB: what one
    /// reader that does not read can cost.
    pub bytes_max: usize,
    /// Answers that may wait before requests are no longer read. Default 1,024.
    pub answers_max: usize,
    /// Bytes of answers that may wait before requests are no longer read.
    /// Default 256 KiB: one page of the largest kind.
    pub answer_bytes_max: usize,
    /// Frames in one batch. Default 256: 8 KiB of handles.
    pub batch_frames_max: usize,
    /// Bytes after which a batch takes no further frame. Default 128 KiB: half
    /// of a connection's send window.
    pub batch_bytes_max: usize,
}

impl OutboxConfig {
    /// The defaults.
    pub const DEFAULT: Self = Self {
        bytes_max: 1 << 20,
        answers_max: 1_024,
        answer_bytes_max: 256 << 10,
        batch_frames_max: 256,
        batch_bytes_max: 128 << 10,
    };
}

impl Default for OutboxConfig {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// How the bytes that wait in all outboxes are counted: in steps, so that an
/// outbox which is emptied as fast as it fills touches no shared memory.
const METER_STEP_BYTES: usize = 4 << 10;

/// Slots for queued frames that an emptied outbox keeps allocated.
const IDLE_SLOTS_MAX: usize = 16;

/// What all outboxes of a node report to. Cheap to clone.
#[derive(Clone)]
pub struct OutboxMeter(Arc<Meter>);

struct Meter {
    bytes: AtomicU64,
    metrics: Metrics,
}

impl OutboxMeter {
    /// A meter that passes on to `metrics`.
    #[must_use]
    pub fn new(metrics: Metrics) -> Self {
        Self(Arc::new(Meter {
            bytes: AtomicU64::new(0),
            metrics,
        }))
    }

    /// Bytes that wait in all outboxes, to within 4 KiB an outbox. A frame that
    /// waits in many outboxes is counted in each, though its bytes exist once.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.0.bytes.load(Ordering::Relaxed)
    }

    fn changed(&self, before: usize, now: usize) {
        let change = now.abs_diff(before);
        // An outbox holds far less than `i64` can count.
        let signed = i64::try_from(change).unwrap_or(i64::MAX);
        if now > before {
            self.0.bytes.fetch_add(change as u64, Ordering::Relaxed);
            self.0.metrics.outbox_bytes_changed(signed);
        } else {
            self.0.bytes.fetch_sub(change as u64, Ordering::Relaxed);
            self.0.metrics.outbox_bytes_changed(-signed);
        }
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Class {
    /// Answers, notices and the last word: never dropped.
    Kept { answer: bool },
    /// Dropped all together, and then the session is told.
    Event,
    /// Dropped first and silently.
    Ephemeral,
}

struct Item {
    class: Class,
    frame: Bytes,
}

#[derive(Default)]
struct Queue {
    items: VecDeque<Item>,
    /// Invariant: the sum of the lengths of `items`.
    bytes: usize,
    /// Invariant: the bytes of ephemeral `items`.
    ephemeral_bytes: usize,
    /// Answers among `items`, and their bytes.
    answers: usize,
    answer_bytes: usize,
    /// What `bytes` was when the meter was last told.
    metered_bytes: usize,
    /// Events left out since the session was last told. While it is not 0, no
    /// event is queued: the session would see a gap.
    events_dropped: u64,
    /// Why the session ends; nothing is queued after it is set.
    closing: Option<WireError>,
    /// The reader, waiting for a frame.
    reader: Option<Waker>,
    /// Whether the server goes away.
    draining: bool,
    /// The session's reading half, waiting for a [`Signal`].
    session: Option<Waker>,
}

struct Shared {
    config: OutboxConfig,
    meter: OutboxMeter,
    queue: Mutex<Queue>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        let metered = self.queue.get_mut().metered_bytes;
        self.meter.changed(metered, 0);
    }
}

/// What a session's reading half waits for, besides its end.
#[derive(Clone, Copy, Debug)]
pub struct Awaited {
    /// Answers were taken, so that the next request may be.
    pub room: bool,
    /// The server goes away.
    pub drain: bool,
}

/// What a session's reading half is told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Signal {
    /// There is room for answers.
    Room,
    /// Take no more requests, finish those taken, and close.
    Drain,
    /// Somebody closed the session.
    Closing,
}

/// The side that puts frames in; cheap to clone.
#[derive(Clone)]
pub struct Outbox(Arc<Shared>);

/// The side that takes them out; there is one.
pub struct OutboxReader(Arc<Shared>);

/// What the reader is to do next.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Next {
    /// Write the batch.
    Write,
    /// All is written: end the session for this reason.
    End(WireError),
}

/// Makes an outbox that reports to `meter`.
#[must_use]
pub fn outbox(config: OutboxConfig, meter: OutboxMeter) -> (Outbox, OutboxReader) {
    let shared = Arc::new(Shared {
        config,
        meter,
        queue: Mutex::default(),
    });
    (Outbox(Arc::clone(&shared)), OutboxReader(shared))
}

impl Outbox {
    /// Queues the answer to a request.
    pub fn answer(&self, frame: Bytes) {
        self.put(Class::Kept { answer: true }, frame);
    }

    /// Queues something unasked that must arrive: a token is about to expire,
    /// the server goes away.
    pub fn notice(&self, frame: Bytes) {
        self.put(Class::Kept { answer: false }, frame);
    }

    /// Queues an event. When the outbox is full, all events in it are dropped
    /// and the session is told that it is behind.
    pub fn event(&self, frame: Bytes) {
        self.put(Class::Event, frame);
    }

    /// Queues something that may be lost: typing, a receipt, a presence hint.
    pub fn ephemeral(&self, frame: Bytes) {
        self.put(Class::Ephemeral, frame);
    }

    /// Ends the session once what is queued is written; `SessionClosed` says
    /// why. The first reason counts, and nothing is queued after it.
    pub fn close(&self, reason: WireError) {
        let mut queue = self.0.queue.lock();
        if queue.closing.is_some() {
            return;
        }
        let body = SessionClosed { error: reason };
        queue.push(Class::Kept { answer: false }, frame_of(0, &body));
        queue.closing = Some(body.error);
        self.0.tell_meter(&mut queue);
        let wake = [queue.reader.take(), queue.session.take()];
        drop(queue);
        for waker in wake.into_iter().flatten() {
            waker.wake();
        }
    }

    /// Why the session ends, if it does.
    #[must_use]
    pub fn closing(&self) -> Option<WireError> {
        self.0.queue.lock().closing.clone()
    }

    /// Bytes that wait to be written.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.0.queue.lock().bytes
    }

    /// Tells the session to finish what it has begun and to end: the server
    /// goes away.
    pub fn drain(&self) {
        let mut queue = self.0.queue.lock();
        queue.draining = true;
        let wake = queue.session.take();
        drop(queue);
        if let Some(waker) = wake {
            waker.wake();
        }
    }

    /// Whether so few answers wait that the next request may be taken.
    #[must_use]
    pub fn has_answer_room(&self) -> bool {
        self.0.queue.lock().has_answer_room(&self.0.config)
    }

    /// Waits for the first of what is `awaited`, or for the session's end.
    /// Cancel safe; one task may wait.
    pub async fn signal(&self, awaited: Awaited) -> Signal {
        poll_fn(|context| {
            let mut queue = self.0.queue.lock();
            if queue.closing.is_some() {
                Poll::Ready(Signal::Closing)
            } else if awaited.drain && queue.draining {
                Poll::Ready(Signal::Drain)
            } else if awaited.room && queue.has_answer_room(&self.0.config) {
                Poll::Ready(Signal::Room)
            } else {
                set_waker(&mut queue.session, context);
                Poll::Pending
            }
        })
        .await
    }

    fn put(&self, class: Class, frame: Bytes) {
        let mut queue = self.0.queue.lock();
        if queue.closing.is_some() {
            return;
        }
        let (admitted, shed) = queue.admit(class, frame.len(), self.0.config.bytes_max);
        if shed > 0 {
            self.0.meter.0.metrics.ephemeral_dropped(shed);
        }
        if !admitted {
            return;
        }
        queue.push(class, frame);
        self.0.tell_meter(&mut queue);
        // Woken after the lock is let go, or the reader would run into it.
        let wake = queue.reader.take();
        drop(queue);
        if let Some(waker) = wake {
            waker.wake();
        }
    }
}

impl Shared {
    fn tell_meter(&self, queue: &mut Queue) {
        let change = queue.bytes.abs_diff(queue.metered_bytes);
        if change >= METER_STEP_BYTES || (queue.bytes == 0 && change > 0) {
            self.meter.changed(queue.metered_bytes, queue.bytes);
            queue.metered_bytes = queue.bytes;
        }
    }
}

impl Queue {
    fn has_answer_room(&self, config: &OutboxConfig) -> bool {
        self.answers < config.answers_max && self.answer_bytes < config.answer_bytes_max
    }

    /// Whether a frame of this class may be queued, after making room for it,
    /// and how many ephemeral frames were left out.
    fn admit(&mut self, class: Class, len: usize, bytes_max: usize) -> (bool, u64) {
        match class {
            Class::Kept { .. } => (true, 0),
            Class::Ephemeral => {
                let fits = self.bytes + len <= bytes_max;
                (fits, u64::from(!fits))
            }
            Class::Event => {
                if self.events_dropped > 0 {
                    self.events_dropped += 1;
                    return (false, 0);
                }
                let mut shed = 0;
                if self.bytes + len > bytes_max && self.ephemeral_bytes > 0 {
                    let before = self.items.len();
                    self.items.retain(|item| item.class != Class::Ephemeral);
                    shed = (before - self.items.len()) as u64;
                    self.bytes -= self.ephemeral_bytes;
                    self.ephemeral_bytes = 0;
                }
                if self.bytes + len > bytes_max {
                    self.drop_events();
                    return (false, shed);
                }
                (true, shed)
            }
        }
    }

    /// Drops every queued event, and counts the one that found no room.
    fn drop_events(&mut self) {
        let (mut dropped, mut bytes) = (1, 0);
        self.items.retain(|item| {
            let keep = item.class != Class::Event;
            if !keep {
                dropped += 1;
                bytes += item.frame.len();
            }
            keep
        });
        self.bytes -= bytes;
        self.events_dropped = dropped;
    }

    fn push(&mut self, class: Class, frame: Bytes) {
        let len = frame.len();
        self.bytes += len;
        match class {
            Class::Kept { answer: true } => {
                self.answers += 1;
                self.answer_bytes += len;
            }
            Class::Ephemeral => self.ephemeral_bytes += len,
            Class::Kept { answer: false } | Class::Event => {}
        }
        self.items.push_back(Item { class, frame });
    }

    fn pop(&mut self) -> Option<Bytes> {
        let Item { class, frame } = self.items.pop_front()?;
        self.bytes -= frame.len();
        match class {
            Class::Kept { answer: true } => {
                self.answers -= 1;
                self.answer_bytes -= frame.len();
            }
            Class::Ephemeral => self.ephemeral_bytes -= frame.len(),
            Class::Kept { answer: false } | Class::Event => {}
        }
        Some(frame)
    }

    /// Moves what is queued into `batch`, within the limits of one batch;
    /// whether the session is told that it fell behind.
    fn take(&mut self, batch: &mut Vec<Bytes>, config: &OutboxConfig) -> bool {
        let mut bytes = 0;
        while batch.len() < config.batch_frames_max && bytes < config.batch_bytes_max {
            let Some(frame) = self.pop() else { break };
            bytes += frame.len();
            batch.push(frame);
        }
        if self.items.is_empty() {
            if self.items.capacity() > IDLE_SLOTS_MAX {
                self.items = VecDeque::new();
            }
            // Said at the end of what was kept, so that the events that follow
            // stand behind it.
            if self.events_dropped > 0 && self.closing.is_none() {
                let events_dropped = std::mem::take(&mut self.events_dropped);
                batch.push(frame_of(0, &Behind { events_dropped }));
                return true;
            }
        }
        false
    }
}

fn set_waker(slot: &mut Option<Waker>, context: &Context<'_>) {
    match slot {
        Some(waker) => waker.clone_from(context.waker()),
        None => *slot = Some(context.waker().clone()),
    }
}

impl OutboxReader {
    /// Waits for frames and puts them into `batch`, which must be empty.
    ///
    /// Cancel safe: until it is ready, nothing is taken.
    pub async fn next_batch(&mut self, batch: &mut Vec<Bytes>) -> Next {
        poll_fn(|context| self.poll_batch(context, batch)).await
    }

    /// As [`Self::next_batch`], for a writing half that polls by hand.
    pub fn poll_batch(&mut self, context: &Context<'_>, batch: &mut Vec<Bytes>) -> Poll<Next> {
        let mut queue = self.0.queue.lock();
        if queue.take(batch, &self.0.config) {
            self.0.meter.0.metrics.fell_behind();
        }
        if batch.is_empty() {
            if let Some(reason) = &queue.closing {
                return Poll::Ready(Next::End(reason.clone()));
            }
            set_waker(&mut queue.reader, context);
            return Poll::Pending;
        }
        self.0.tell_meter(&mut queue);
        let wake = queue.session.take();
        drop(queue);
        if let Some(waker) = wake {
            waker.wake();
        }
        Poll::Ready(Next::Write)
    }
}

impl Drop for OutboxReader {
    /// Nobody will read: what is queued is freed, and nothing more is taken in.
    fn drop(&mut self) {
        let mut queue = self.0.queue.lock();
        queue.closing.get_or_insert_with(|| {
            WireError::new(
                confab_protocol::ErrorCode::ShuttingDown,
                "the connection ended",
            )
        });
        let items = std::mem::take(&mut queue.items);
        (queue.bytes, queue.ephemeral_bytes) = (0, 0);
        (queue.answers, queue.answer_bytes) = (0, 0);
        self.0.tell_meter(&mut queue);
        let wake = queue.session.take();
        drop(queue);
        drop(items);
        if let Some(waker) = wake {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests;
