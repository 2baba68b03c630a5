//! The core's inputs and outputs: all that it knows of the world.

use bytes::Bytes;
use confab_protocol::message::Request;
use confab_protocol::message::channel::{ChannelSummary, CursorState, Post, Posted};
use confab_protocol::message::event::ChannelEvent;
use confab_protocol::message::presence::{Presence, Receipt, TypingChanged};
use confab_protocol::message::session::UserProfile;
use confab_protocol::{ChannelId, Epoch, ErrorCode, Frame, Offset, Sequence, Text, WireError};

use super::error::{CloseReason, DownReason, RequestError, SendError};
use super::saved::SavedState;

/// The number of one connection, or of one attempt to make it.
///
/// It is raised when a connection ends, not when the next is dialled, so that
/// nothing an old connection still delivers is taken for an answer.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub struct ConnectionId(pub u64);

/// By which the shell knows which of its callers an outcome is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, Hash)]
pub struct Ticket(pub u64);

/// How a frame travels.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Lane {
    /// The ordered stream of requests, answers and live events.
    Control,
    /// A stream of its own for one request and its answer.
    Bulk,
    /// A datagram; the control lane where there are none or it does not fit.
    Ephemeral,
}

/// What happens to the core.
#[derive(Clone, Debug)]
pub enum Input {
    /// Begins. Comes first, once.
    Start {
        /// The wall clock in Unix microseconds, from which a device that kept no
        /// state numbers its messages: it must not use a number twice.
        wall_clock_us: u64,
        /// A random number, from which all of the core's jitter comes.
        seed: u64,
    },
    /// The connection asked for with [`Output::Dial`] stands.
    Up {
        /// Which.
        connection: ConnectionId,
    },
    /// A frame came.
    Frame {
        /// On which connection.
        connection: ConnectionId,
        /// On which lane.
        lane: Lane,
        /// The frame.
        frame: Frame,
    },
    /// A bulk lane broke before its answer came, its connection not.
    BulkFailed {
        /// On which connection.
        connection: ConnectionId,
        /// The request's number.
        request: u32,
    },
    /// The connection ended, or could not be made.
    Down {
        /// Which.
        connection: ConnectionId,
        /// Why.
        reason: DownReason,
    },
    /// The transport took bytes of the control lane.
    Writable {
        /// On which connection.
        connection: ConnectionId,
        /// How many.
        bytes: usize,
    },
    /// Whether the application has as many events as it can take for now: then
    /// the core asks for no more and comes back to the logs later.
    Congested(bool),
    /// The application wants something.
    Command(Command),
    /// Time has passed.
    Tick,
}

/// What the application wants.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant)] // one at a time, never kept
pub enum Command {
    /// Post a message; the core gives it its sequence.
    Post {
        /// For its outcome, see [`Output::Posted`]; `None`: as an event.
        ticket: Option<Ticket>,
        /// The message. Its sequence is overwritten.
        post: Post,
    },
    /// Ask the server.
    Request {
        /// For its outcome, see [`Output::Answer`].
        ticket: Ticket,
        /// What to ask. Not `Hello`, `Resume`, `Post` or `Typing`, which the core sends itself.
        request: Request,
        /// How long to wait for the answer, in milliseconds; `None`: as configured.
        timeout_ms: Option<u64>,
    },
    /// The user types; repeat it for every key, the core sends as few as needed.
    Typing {
        /// Where.
        channel: ChannelId,
        /// The thread's root, when in a thread.
        thread: Option<Offset>,
    },
    /// The user stopped typing.
    StopTyping {
        /// Where.
        channel: ChannelId,
        /// The thread's root, when in a thread.
        thread: Option<Offset>,
    },
    /// The user did something: the next heartbeat says so.
    Active,
    /// A token: the answer to [`Output::NeedToken`], or a newer one unasked.
    Token(Text),
    /// There is no token.
    NoToken {
        /// Whether to ask again later.
        retry: bool,
    },
    /// End, after what waits has been answered.
    Close {
        /// How long that may take, in milliseconds.
        flush_timeout_ms: u64,
    },
}

/// What the core wants done.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant)] // one at a time, never kept
pub enum Output {
    /// Make a connection; answer with `Up` or `Down`.
    Dial {
        /// Its number.
        connection: ConnectionId,
    },
    /// Send a whole frame.
    Send {
        /// On which connection.
        connection: ConnectionId,
        /// On which lane.
        lane: Lane,
        /// The request's number, to name a bulk lane that breaks.
        request: u32,
        /// The frame, length included.
        bytes: Bytes,
    },
    /// Close the connection; nothing it still says counts.
    Hangup {
        /// Which.
        connection: ConnectionId,
        /// The code to close with; `None` when there is no error.
        code: Option<ErrorCode>,
    },
    /// Get a token; answer with `Command::Token` or `Command::NoToken`.
    NeedToken,
    /// A request's outcome.
    Answer {
        /// Whose.
        ticket: Ticket,
        /// The answer's frame, of the kind that belongs to the request if the
        /// server keeps to the protocol.
        result: Result<Frame, RequestError>,
    },
    /// A message's outcome.
    Posted {
        /// Whose.
        ticket: Ticket,
        /// Where it stands.
        result: Result<Posted, SendError>,
    },
    /// Tell the application.
    Event(ClientEvent),
    /// Save this, so that a process that is stopped goes on where it was.
    Persist(SavedState),
}

/// What the application hears.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
#[allow(clippy::large_enum_variant)] // most are the large one: a channel's event
pub enum ClientEvent {
    /// The session is open.
    Connected {
        /// Its number on its node.
        session: u64,
        /// Who the session is.
        user: UserProfile,
    },
    /// The connection ended or was not made; the client makes another by itself.
    Disconnected {
        /// Why.
        reason: DownReason,
        /// When the next attempt is made, in milliseconds from now.
        retry_in_ms: u64,
    },
    /// The next event of a channel's log: dense, in order, once.
    Channel(ChannelEvent),
    /// The channel's log began anew: forget what was heard of it before. Its
    /// events come from offset 1.
    Reset {
        /// Which channel.
        channel: ChannelId,
        /// The new life of its log.
        epoch: Epoch,
    },
    /// The user has a channel more.
    ChannelAdded {
        /// The channel as the user sees it.
        summary: ChannelSummary,
        /// Its events come from the one after this.
        after: Offset,
    },
    /// The user has a channel no more.
    ChannelRemoved {
        /// Which.
        channel: ChannelId,
    },
    /// The cached summary of a channel was corrected otherwise than by an event.
    ChannelRefreshed(ChannelSummary),
    /// The user's own cursor moved, on this device or another.
    CursorMoved(CursorState),
    /// A member's cursor moved.
    Receipt(Receipt),
    /// A user types or stopped.
    Typing(TypingChanged),
    /// Users' presence changed.
    Presence(Vec<Presence>),
    /// The server left live events out, for this client was too slow; the
    /// client is fetching them.
    Behind {
        /// How many.
        events_dropped: u64,
    },
    /// The token expires soon. With a token provider nothing need be done.
    TokenExpiring {
        /// When, in Unix milliseconds.
        token_expires_at_ms: u64,
    },
    /// The server did not take the new token; the session lasts until the old expires.
    TokenRefused(WireError),
    /// The server will close the connection; the client comes back by itself.
    GoingAway {
        /// After how long, in milliseconds.
        reconnect_after_ms: u32,
    },
    /// The outcome of a message that no caller waits for: one of an earlier
    /// process, taken from its saved state.
    PostSettled {
        /// Its sequence.
        sequence: Sequence,
        /// The message.
        post: Post,
        /// Where it stands.
        result: Result<Posted, SendError>,
    },
    /// This subscriber was too slow and missed events, typing and presence
    /// among them for good. What stood in the channels' logs comes next, complete
    /// and in order; the channel list is to be read again.
    Lagged {
        /// How many events were left out.
        missed: u64,
    },
    /// The client has ended. The last event.
    Closed(CloseReason),
}
