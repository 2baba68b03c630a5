//! Values of every body, drawn from a source of choices.
//!
//! A test that wants *any* value draws from bytes that proptest generated: it
//! shrinks by making them fewer and smaller, and bytes that run out draw the
//! smallest value. A golden vector draws from a fixed script. A new body is one
//! line in `bodies.rs`; a field that is missing there does not compile.

#![allow(dead_code, clippy::unwrap_used, unreachable_pub)] // each test binary uses a part

pub mod bodies;

use confab_protocol::message::{Answer, Push, Request};
use confab_protocol::{
    ChannelId, ClientMessageId, DepartmentId, DeviceId, Emoji, Packed, ProjectId, Text, UserId,
    codec::Encode,
};

/// Where choices come from.
pub enum Draw<'a> {
    /// From bytes, for property tests.
    Bytes(&'a [u8]),
    /// From a script: memorable values, each enum's first variant but for one
    /// enum whose variant is forced.
    Fixed {
        step: u64,
        forced: Option<(&'static str, usize)>,
    },
}

/// What a number in a golden vector may be: each length of the integer
/// encoding, and both sides of where one length ends.
const MEMORABLE: [u64; 8] = [
    7,
    250,
    251,
    1_700_000_000_000,
    65_535,
    65_536,
    4_294_967_296,
    42,
];

const NAMES: [&str; 5] = ["ann", "bob.smith", "c-3@corp", "D_4", "e"];

impl<'a> Draw<'a> {
    pub fn from_bytes(bytes: &'a [u8]) -> Self {
        Self::Bytes(bytes)
    }

    pub fn fixed(forced: Option<(&'static str, usize)>) -> Self {
        Self::Fixed { step: 0, forced }
    }

    fn byte(&mut self) -> u8 {
        match self {
            Self::Bytes(bytes) => bytes.split_off_first().copied().unwrap_or(0),
            Self::Fixed { step, .. } => {
                *step += 1;
                u8::try_from(*step % 251).unwrap()
            }
        }
    }

    pub fn number(&mut self) -> u64 {
        match self {
            Self::Fixed { step, .. } => {
                *step += 1;
                MEMORABLE[usize::try_from(*step).unwrap() % MEMORABLE.len()]
            }
            Self::Bytes(_) => {
                let width = [1, 1, 2, 4, 8][usize::from(self.byte()) % 5];
                (0..width).fold(0, |number, _| number << 8 | u64::from(self.byte()))
            }
        }
    }

    /// Whether an option is there or a flag is set: every other one in a script.
    pub fn flag(&mut self) -> bool {
        self.byte() % 2 == 1
    }

    pub fn variant(&mut self, name: &'static str, count: usize) -> usize {
        match self {
            Self::Bytes(_) => usize::from(self.byte()) % count,
            Self::Fixed { forced, .. } => match forced {
                Some((forced_name, variant)) if *forced_name == name => *variant,
                _ => 0,
            },
        }
    }

    fn len(&mut self, max: usize) -> usize {
        match self {
            Self::Bytes(_) => usize::from(self.byte()) % (max + 1),
            Self::Fixed { .. } => max.min(2),
        }
    }

    fn text(&mut self, chars: &[char], len_min: usize, len_max: usize) -> String {
        let len = len_min + self.len(len_max - len_min);
        (0..len)
            .map(|_| chars[usize::from(self.byte()) % chars.len()])
            .collect()
    }

    fn plain_id(&mut self) -> String {
        if let Self::Fixed { step, .. } = self {
            *step += 1;
            return NAMES[usize::try_from(*step).unwrap() % NAMES.len()].to_owned();
        }
        let chars: Vec<char> = "a-Z0._@9bc".chars().collect();
        self.text(&chars, 1, 64)
    }
}

/// A value drawn from choices.
pub trait Make {
    fn make(draw: &mut Draw<'_>) -> Self;
}

macro_rules! make_numbers {
    ($($number:ty),*) => {$(
        impl Make for $number {
            #[allow(clippy::cast_possible_truncation)]
            fn make(draw: &mut Draw<'_>) -> Self {
                draw.number() as $number
            }
        }
    )*};
}

make_numbers!(u16, u32, u64);

impl Make for bool {
    fn make(draw: &mut Draw<'_>) -> Self {
        draw.flag()
    }
}

impl Make for Text {
    fn make(draw: &mut Draw<'_>) -> Self {
        if let Draw::Fixed { .. } = draw {
            return Text::from(format!("text {}, ü€😀", draw.number()));
        }
        draw.text(&['a', 'ü', '€', '😀', '\n', '\0', ' '], 0, 200)
            .into()
    }
}

impl<T: Make> Make for Option<T> {
    fn make(draw: &mut Draw<'_>) -> Self {
        draw.flag().then(|| T::make(draw))
    }
}

impl<T: Make + Encode> Make for Packed<T> {
    fn make(draw: &mut Draw<'_>) -> Self {
        let len = draw.len(4);
        (0..len).map(|_| T::make(draw)).collect()
    }
}

macro_rules! make_plain_ids {
    ($($id:ident),*) => {$(
        impl Make for $id {
            fn make(draw: &mut Draw<'_>) -> Self {
                $id::new(&draw.plain_id()).unwrap()
            }
        }
    )*};
}

make_plain_ids!(UserId, DeviceId, DepartmentId, ProjectId);

impl Make for ClientMessageId {
    fn make(draw: &mut Draw<'_>) -> Self {
        Self::new(&draw.text(&['m', '-', '7', 'é', ' '], 1, 64)).unwrap()
    }
}

impl Make for Emoji {
    fn make(draw: &mut Draw<'_>) -> Self {
        Self::new(&draw.text(&['👍', '🎉', ':', 'x'], 1, 16)).unwrap()
    }
}

impl Make for ChannelId {
    fn make(draw: &mut Draw<'_>) -> Self {
        match draw.variant("ChannelId", 5) {
            0 => Self::general(),
            1 => Self::department(&DepartmentId::make(draw)),
            2 => Self::project(&ProjectId::make(draw)),
            3 => Self::group(draw.number(), draw.number()),
            _ => {
                let (one, other) = (UserId::make(draw), UserId::make(draw));
                Self::dm(&one, &other).unwrap_or_else(|_| Self::general())
            }
        }
    }
}

/// One of the three registries of kinds.
pub trait Table: Sized + std::fmt::Debug + PartialEq {
    /// The table's name in golden vectors.
    const NAME: &'static str;
    /// The kinds with their names.
    const KINDS: &'static [(u16, &'static str)];

    /// A value of the kind with this name.
    fn make(kind: &str, draw: &mut Draw<'_>) -> Self;
    fn from_frame(
        frame: &confab_protocol::Frame,
    ) -> Result<Self, confab_protocol::message::BodyError>;
    fn to_frame(&self, request: u32) -> bytes::Bytes;
}

macro_rules! make_table {
    ($table:ident { $($name:ident),* $(,)? }) => {
        impl Table for $table {
            const NAME: &'static str = stringify!($table);
            const KINDS: &'static [(u16, &'static str)] = $table::KINDS;

            fn make(kind: &str, draw: &mut Draw<'_>) -> Self {
                match kind {
                    $(stringify!($name) => Self::$name(Make::make(draw)),)*
                    new => panic!("add {new} to the tables at the end of tests/draw/mod.rs"),
                }
            }

            fn from_frame(
                frame: &confab_protocol::Frame,
            ) -> Result<Self, confab_protocol::message::BodyError> {
                $table::from_frame(frame)
            }

            fn to_frame(&self, request: u32) -> bytes::Bytes {
                $table::to_frame(self, request)
            }
        }
    };
}

make_table!(Request {
    Hello,
    Resume,
    RefreshToken,
    ListChannels,
    GetChannel,
    OpenDm,
    CreateGroup,
    UpdateChannel,
    DeleteChannel,
    JoinChannel,
    LeaveChannel,
    AddMembers,
    RemoveMembers,
    SetRole,
    ListMembers,
    Post,
    Edit,
    Delete,
    React,
    Pin,
    MarkRead,
    MarkDelivered,
    MarkUnread,
    ListCursors,
    History,
    GetMessage,
    ListPins,
    Sync,
    FollowThread,
    GetThread,
    SetPresence,
    Heartbeat,
    WatchPresence,
    OpenChannel,
    CloseChannel,
    Typing,
    UpdateDirectory,
    GetUsers,
    ListUsers,
});

make_table!(Answer {
    Error,
    Welcome,
    Resumed,
    Refreshed,
    Done,
    ChannelPage,
    ChannelInfo,
    MembersUpdated,
    MemberPage,
    Posted,
    Changed,
    CursorState,
    CursorPage,
    HistoryPage,
    MessageInfo,
    SyncPage,
    ThreadInfo,
    Presences,
    DirectoryUpdated,
    UserPage,
});

make_table!(Push {
    Event,
    Behind,
    TokenExpiring,
    GoingAway,
    SessionClosed,
    ChannelAdded,
    ChannelRemoved,
    CursorMoved,
    Receipt,
    Typing,
    Presence,
});

/// Runs a test for every kind of all three tables.
#[macro_export]
macro_rules! for_each_table {
    ($function:ident $(, $argument:expr)*) => {
        $function::<confab_protocol::message::Request>($($argument),*);
        $function::<confab_protocol::message::Answer>($($argument),*);
        $function::<confab_protocol::message::Push>($($argument),*);
    };
}
