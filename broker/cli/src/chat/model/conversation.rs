//! What stands in one channel, or in one of its threads: a contiguous stretch of
//! messages, kept right by events.
//!
//! The stretch begins as a page of history and grows at both ends. Events that
//! come while a page is on its way wait for it, so none is lost between the two;
//! those that a page already holds are recognised by their offsets.

use std::collections::{BTreeMap, VecDeque};

use confab_protocol::message::channel::{Anchor, HistoryPage};
use confab_protocol::message::event::{Change, Event, Message};
use confab_protocol::{Offset, UserId};

use super::entry::{Entry, Pending, Sending};
use super::message::ShownMessage;

/// Most messages kept of one conversation; past it those farthest from the
/// reader are dropped and fetched again when wanted.
const ENTRIES_MAX: usize = 2_000;

/// Most events that wait for a page; past it the page is asked for again.
const WAITING_MAX: usize = 4_096;

/// Most replies whose root is remembered.
const REPLIES_MAX: usize = 10_000;

/// How the stretch stands.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Stretch {
    /// The newest page is on its way.
    Loading,
    Loaded,
    Failed(String),
}

/// What is to be fetched for a conversation.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Wanted {
    pub(crate) anchor: Anchor,
    pub(crate) generation: u64,
}

/// One channel or thread.
#[derive(Clone, Debug)]
pub(crate) struct Conversation {
    /// The root, when it is a thread.
    thread: Option<Offset>,
    stretch: Stretch,
    /// Raised when the stretch begins anew: older pages are not for it.
    generation: u64,
    entries: VecDeque<Entry>,
    before: Option<Offset>,
    after: Option<Offset>,
    fetching_older: bool,
    fetching_newer: bool,
    waiting: Vec<Event>,
    /// The newest event that was heard.
    heard: Offset,
    /// The root of replies that came while we listened.
    replies: BTreeMap<Offset, Offset>,
    pending: Vec<Pending>,
    /// Where members have read up to, other than ourselves.
    reads: BTreeMap<UserId, Offset>,
    /// After this message the new ones begin, as of when it was opened.
    pub(crate) new_after: Option<Offset>,
    /// Up to where the server was told that we have read.
    pub(crate) marked: Offset,
    /// The server is being told, since this time.
    pub(crate) marking: bool,
    pub(crate) marked_at_ms: u64,
}

impl Conversation {
    /// A conversation of which nothing is known; ask for [`Self::load`].
    pub(crate) const fn new(thread: Option<Offset>) -> Self {
        Self {
            thread,
            stretch: Stretch::Loading,
            generation: 0,
            entries: VecDeque::new(),
            before: None,
            after: None,
            fetching_older: false,
            fetching_newer: false,
            waiting: Vec::new(),
            heard: Offset(0),
            replies: BTreeMap::new(),
            pending: Vec::new(),
            reads: BTreeMap::new(),
            new_after: None,
            marked: Offset(0),
            marking: false,
            marked_at_ms: 0,
        }
    }

    pub(crate) const fn entries(&self) -> &VecDeque<Entry> {
        &self.entries
    }

    pub(crate) fn messages(&self) -> impl DoubleEndedIterator<Item = &ShownMessage> {
        self.entries.iter().filter_map(Entry::message)
    }

    pub(crate) fn message(&self, offset: Offset) -> Option<&ShownMessage> {
        self.messages().find(|message| message.offset == offset)
    }

    pub(crate) fn pending(&self) -> &[Pending] {
        &self.pending
    }

    pub(crate) const fn is_loading(&self) -> bool {
        matches!(self.stretch, Stretch::Loading)
    }

    /// Why it could not be loaded.
    pub(crate) fn problem(&self) -> Option<&str> {
        match &self.stretch {
            Stretch::Failed(problem) => Some(problem),
            _ => None,
        }
    }

    pub(crate) const fn is_fetching_older(&self) -> bool {
        self.fetching_older
    }

    /// Whether the stretch reaches back to the first message.
    pub(crate) const fn has_beginning(&self) -> bool {
        matches!(self.stretch, Stretch::Loaded) && self.before.is_none()
    }

    /// Whether the stretch reaches up to the newest message.
    pub(crate) const fn has_end(&self) -> bool {
        matches!(self.stretch, Stretch::Loaded) && self.after.is_none()
    }

    pub(crate) const fn is_thread(&self) -> bool {
        self.thread.is_some()
    }

    /// The first message of others that was new when the conversation was
    /// opened, if the stretch reaches back far enough to know it.
    pub(crate) fn new_from(&self, me: &UserId) -> Option<Offset> {
        let new_after = self.new_after?;
        let first = self.entries.front()?.offset();
        if first > new_after && !self.has_beginning() {
            return None;
        }
        self.messages()
            .find(|message| message.offset > new_after && message.sender != *me)
            .map(|message| message.offset)
    }

    /// Our newest message, when somebody has seen it.
    pub(crate) fn seen_under(&self, me: &UserId) -> Option<Offset> {
        let mut own = self
            .messages()
            .rev()
            .filter(|message| message.sender == *me);
        let newest = own.next()?.offset;
        let seen = self.seen_by(newest).any(|user| user != me);
        seen.then_some(newest)
    }

    /// The newest message.
    pub(crate) fn newest(&self) -> Option<Offset> {
        self.messages().next_back().map(|message| message.offset)
    }

    /// Begins anew with the newest page.
    pub(crate) fn load(&mut self) -> Wanted {
        self.generation += 1;
        self.stretch = Stretch::Loading;
        self.fetching_older = false;
        self.fetching_newer = false;
        self.waiting.clear();
        Wanted {
            anchor: Anchor::Latest,
            generation: self.generation,
        }
    }

    /// The page before the stretch, if there is one and nobody asked for it yet.
    pub(crate) fn older(&mut self) -> Option<Wanted> {
        let before = self.before?;
        if self.fetching_older || self.stretch != Stretch::Loaded {
            return None;
        }
        self.fetching_older = true;
        Some(Wanted {
            anchor: Anchor::Before(before),
            generation: self.generation,
        })
    }

    /// The page after the stretch, if there is one and nobody asked for it yet.
    pub(crate) fn newer(&mut self) -> Option<Wanted> {
        let after = self.after?;
        if self.fetching_newer || self.stretch != Stretch::Loaded {
            return None;
        }
        self.fetching_newer = true;
        Some(Wanted {
            anchor: Anchor::After(after),
            generation: self.generation,
        })
    }

    /// A page came. Answers with what is to be asked next, if anything.
    pub(crate) fn page(
        &mut self,
        wanted: Wanted,
        page: &HistoryPage,
        me: &UserId,
    ) -> Option<Wanted> {
        if wanted.generation != self.generation {
            return None;
        }
        let shown = page
            .messages
            .iter()
            .map(|message| Entry::Message(ShownMessage::new(&message, page.head)));
        match wanted.anchor {
            Anchor::Before(_) => {
                self.fetching_older = false;
                let first = self.entries.front().map_or(Offset(u64::MAX), Entry::offset);
                let older: Vec<_> = shown.filter(|entry| entry.offset() < first).collect();
                for entry in older.into_iter().rev() {
                    self.entries.push_front(entry);
                }
                self.before = page.next_before;
                self.drop_newest();
            }
            Anchor::After(_) => {
                self.fetching_newer = false;
                let last = self.entries.back().map_or(Offset(0), Entry::offset);
                self.entries
                    .extend(shown.filter(|entry| entry.offset() > last));
                self.after = page.next_after;
                self.drop_oldest();
            }
            _ => {
                if self.waiting.len() >= WAITING_MAX {
                    return Some(self.load());
                }
                self.entries = shown.collect();
                self.before = page.next_before;
                self.after = page.next_after;
                self.stretch = Stretch::Loaded;
                self.settle_pending();
                for event in std::mem::take(&mut self.waiting) {
                    if event.offset > page.head {
                        self.apply(&event, me, None);
                    }
                }
            }
        }
        None
    }

    /// A page did not come.
    pub(crate) fn page_failed(&mut self, wanted: Wanted, problem: String) {
        if wanted.generation != self.generation {
            return;
        }
        match wanted.anchor {
            Anchor::Before(_) => self.fetching_older = false,
            Anchor::After(_) => self.fetching_newer = false,
            _ => self.stretch = Stretch::Failed(problem),
        }
    }

    /// The next event of the channel's log, with what to say of it when it is
    /// not about a message. Answers with a message that must be looked at again.
    pub(crate) fn apply(
        &mut self,
        event: &Event,
        me: &UserId,
        notice: Option<String>,
    ) -> Option<Offset> {
        self.heard = self.heard.max(event.offset);
        match self.stretch {
            Stretch::Loading if self.waiting.len() < WAITING_MAX => {
                self.waiting.push(event.clone());
                return None;
            }
            Stretch::Loading | Stretch::Failed(_) => return None,
            Stretch::Loaded => {}
        }
        match &event.change {
            Change::MessagePosted { message } => {
                let belongs = match self.thread {
                    None => message.thread_root.is_none(),
                    Some(root) => message.thread_root == Some(root),
                };
                if belongs {
                    if message.sender == *me {
                        self.settle(message.offset, &message.content);
                    }
                    self.append(Entry::Message(ShownMessage::new(message, event.offset)));
                } else if let Some(root) = message.thread_root
                    && message.deleted_at_ms.is_none()
                {
                    self.remember_reply(message.offset, root);
                    self.with_message(root, |root| root.count_reply(event.offset, true));
                }
            }
            Change::MessageDeleted { message, .. } => {
                if let Some(root) = self.replies.remove(message) {
                    self.with_message(root, |root| root.count_reply(event.offset, false));
                } else if self.with_message(*message, |message| message.apply(event)) {
                } else if self.thread.is_none() && self.spans(*message) {
                    // A reply that came before we listened: its root has one less.
                    return Some(*message);
                }
            }
            Change::MessageEdited { message, .. }
            | Change::ReactionAdded { message, .. }
            | Change::ReactionRemoved { message, .. }
            | Change::MessagePinned { message, .. }
            | Change::MessageUnpinned { message, .. } => {
                self.with_message(*message, |message| message.apply(event));
            }
            Change::MembersChanged { .. } | Change::ChannelUpdated { .. } => {
                if let Some(text) = notice
                    && self.thread.is_none()
                {
                    self.append(Entry::Notice {
                        offset: event.offset,
                        at_ms: event.at_ms,
                        text,
                    });
                }
            }
        }
        None
    }

    /// A message was looked at again. Answers with its root, when it is a reply,
    /// which must be looked at too.
    pub(crate) fn refresh(&mut self, message: &Message) -> Option<Offset> {
        let as_of = self.heard;
        let found = self.with_message(message.offset, |shown| {
            *shown = ShownMessage::new(message, as_of);
        });
        message.thread_root.filter(|_| !found)
    }

    /// A member has read up to an offset.
    pub(crate) fn read_by(&mut self, user: UserId, read: Offset) {
        let known = self.reads.entry(user).or_default();
        *known = read.max(*known);
    }

    /// Who has read a message.
    pub(crate) fn seen_by(&self, message: Offset) -> impl Iterator<Item = &UserId> {
        self.reads
            .iter()
            .filter(move |(_, read)| **read >= message)
            .map(|(user, _)| user)
    }

    /// We sent a message.
    pub(crate) fn add_pending(&mut self, local: u64, content: String) {
        self.pending.push(Pending {
            local,
            content,
            sending: Sending::UnderWay,
        });
    }

    /// What became of a message that we sent.
    pub(crate) fn sent(&mut self, local: u64, sending: Sending) {
        if let Some(pending) = self.pending.iter_mut().find(|one| one.local == local) {
            pending.sending = sending;
        }
        self.settle_pending();
    }

    /// Takes out the messages that could not be sent.
    pub(crate) fn take_failed(&mut self) -> Vec<Pending> {
        let is_failed = |one: &mut Pending| matches!(one.sending, Sending::Failed(_));
        self.pending.extract_if(.., is_failed).collect()
    }

    /// Our message came back as an event: it is no longer pending.
    fn settle(&mut self, offset: Offset, content: &str) {
        let place = self.pending.iter().position(|one| match one.sending {
            Sending::Acknowledged(at) => at == offset,
            Sending::UnderWay => one.content == content,
            Sending::Failed(_) => false,
        });
        if let Some(place) = place {
            self.pending.remove(place);
        }
    }

    fn settle_pending(&mut self) {
        let newest = self.entries.back().map_or(Offset(0), Entry::offset);
        if self.stretch == Stretch::Loaded {
            self.pending.retain(|one| match one.sending {
                Sending::Acknowledged(at) => at > newest,
                _ => true,
            });
        }
    }

    fn append(&mut self, entry: Entry) {
        let last = self.entries.back().map_or(Offset(0), Entry::offset);
        // Where the end is missing, this comes with the pages that are.
        if self.after.is_none() && entry.offset() > last {
            self.entries.push_back(entry);
            self.drop_oldest();
        }
    }

    fn remember_reply(&mut self, reply: Offset, root: Offset) {
        if self.replies.len() >= REPLIES_MAX {
            self.replies.pop_first();
        }
        self.replies.insert(reply, root);
    }

    fn spans(&self, offset: Offset) -> bool {
        let first = self.entries.front().map_or(Offset(u64::MAX), Entry::offset);
        offset > first
    }

    fn with_message(&mut self, offset: Offset, change: impl FnOnce(&mut ShownMessage)) -> bool {
        let place = self
            .entries
            .binary_search_by_key(&offset, Entry::offset)
            .ok();
        match place.and_then(|place| self.entries.get_mut(place)) {
            Some(Entry::Message(message)) => {
                change(message);
                true
            }
            _ => false,
        }
    }

    fn drop_newest(&mut self) {
        while self.entries.len() > ENTRIES_MAX {
            self.entries.pop_back();
            self.after = self.entries.back().map(Entry::offset);
        }
    }

    fn drop_oldest(&mut self) {
        while self.entries.len() > ENTRIES_MAX {
            self.entries.pop_front();
            self.before = self.entries.front().map(Entry::offset);
        }
    }
}
