//! A broker and a network in memory, for tests of the session core on virtual time.
//!
//! The server implements what the core relies on: `Hello`, posts that are
//! recognised when they come twice, sync, live events, cursors. The network
//! delivers what is told to be delivered, and forgets the rest when it is cut.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used)] // each test file uses a part

use std::collections::{BTreeMap, VecDeque};

use bytes::{Bytes, BytesMut};
use confab_client::core::{
    ClientEvent, Command, ConnectionId, Core, CoreConfig, DownReason, Input, Lane, Output,
    SavedState, Ticket,
};
use confab_client::{RequestError, SendError};
use confab_protocol::message::channel::*;
use confab_protocol::message::event::*;
use confab_protocol::message::session::*;
use confab_protocol::message::{Answer, CursorMoved, Push, Request};
use confab_protocol::{
    ChannelId, ChannelKind, DeviceId, Epoch, ErrorCode, Frame, Offset, Position, Sequence, UserId,
    WireError,
};

pub const ME: &str = "me";

pub fn user(id: &str) -> UserId {
    UserId::new(id).unwrap()
}

pub fn channel(number: usize) -> ChannelId {
    ChannelId::new(&format!("dept-{number}")).unwrap()
}

pub fn post(channel: ChannelId, text: &str) -> Post {
    Post {
        channel,
        sequence: Sequence(0),
        client_message_id: None,
        content: text.into(),
        thread_root: None,
        attachments: Default::default(),
        mentions: Mentions::default(),
    }
}

#[derive(Default)]
pub struct Log {
    pub epoch: u64,
    pub events: Vec<Event>,
    pub read: u64,
}

impl Log {
    pub fn head(&self) -> Position {
        Position {
            epoch: Epoch(self.epoch),
            offset: Offset(self.events.len() as u64),
        }
    }

    fn append(&mut self, change: Change) -> Event {
        let offset = Offset(self.events.len() as u64 + 1);
        let event = Event {
            offset,
            at_ms: 1_000 + offset.0,
            change,
        };
        self.events.push(event.clone());
        event
    }

    pub fn messages(&self) -> impl Iterator<Item = &Message> {
        self.events.iter().filter_map(|event| match &event.change {
            Change::MessagePosted { message } => Some(message),
            _ => None,
        })
    }

    pub fn read_state(&self) -> ReadState {
        let unread = self
            .messages()
            .filter(|message| {
                message.offset.0 > self.read
                    && message.sender.as_str() != ME
                    && message.deleted_at_ms.is_none()
            })
            .count();
        ReadState {
            read: Offset(self.read),
            delivered: Offset(0),
            unread: unread as u32,
            mentions: 0,
        }
    }
}

/// The broker, with one client.
pub struct Server {
    pub logs: BTreeMap<ChannelId, Log>,
    seen: BTreeMap<u64, (ChannelId, u64)>,
    next_epoch: u64,
    /// Whether the client has a session, and may be pushed to.
    pub open: bool,
    pub no_quorum: bool,
    /// Live events are left out, and how many were.
    pub overflow: bool,
    dropped: u64,
    pub page_max: u64,
    /// Sync answers as if the log had so many events fewer.
    pub lag: u64,
    pub refuse_hello: Option<WireError>,
    /// Of every request but `Hello` and posts.
    pub rate_limited: bool,
    /// Messages a second, and at once.
    pub rate: (u32, u32),
    pub hellos: Vec<Hello>,
    /// What was asked, by name.
    pub asked: Vec<&'static str>,
    pub control: VecDeque<Bytes>,
    pub bulk: VecDeque<Bytes>,
}

impl Server {
    pub fn new(channels: usize) -> Self {
        let mut server = Self {
            logs: BTreeMap::new(),
            seen: BTreeMap::new(),
            next_epoch: 1,
            open: false,
            no_quorum: false,
            overflow: false,
            dropped: 0,
            page_max: 200,
            lag: 0,
            refuse_hello: None,
            rate_limited: false,
            rate: (1_000_000, 1_000),
            hellos: Vec::new(),
            asked: Vec::new(),
            control: VecDeque::new(),
            bulk: VecDeque::new(),
        };
        for number in 0..channels {
            server.create(channel(number));
        }
        server
    }

    pub fn create(&mut self, id: ChannelId) {
        let log = Log {
            epoch: self.next_epoch,
            ..Log::default()
        };
        self.next_epoch += 1;
        self.logs.insert(id, log);
    }

    pub fn push(&mut self, push: impl Into<Push>) {
        if self.open {
            self.control.push_back(push.into().to_frame(0));
        }
    }

    fn append(&mut self, id: &ChannelId, change: Change) -> Event {
        let log = self.logs.get_mut(id).unwrap();
        let event = log.append(change);
        let epoch = Epoch(log.epoch);
        if self.overflow && self.open {
            self.dropped += 1;
        } else {
            self.push(ChannelEvent {
                channel: id.clone(),
                epoch,
                event: event.clone(),
            });
        }
        event
    }

    pub fn say(&mut self, id: &ChannelId, sender: &str, text: &str) -> u64 {
        let offset = Offset(self.logs[id].events.len() as u64 + 1);
        let message = Message {
            offset,
            sender: user(sender),
            content: text.into(),
            thread_root: None,
            attachments: Default::default(),
            mentions: Mentions::default(),
            client_message_id: None,
            created_at_ms: 0,
            edited_at_ms: None,
            deleted_at_ms: None,
            version: 1,
            pinned: false,
            reply_count: 0,
            last_reply: None,
            reactions: Default::default(),
        };
        if sender == ME {
            self.logs.get_mut(id).unwrap().read = offset.0;
        }
        self.append(id, Change::MessagePosted { message });
        offset.0
    }

    pub fn delete(&mut self, id: &ChannelId, number: usize) {
        let log = self.logs.get_mut(id).unwrap();
        let live: Vec<usize> = (0..log.events.len())
            .filter(|place| {
                matches!(&log.events[*place].change,
                    Change::MessagePosted { message } if message.deleted_at_ms.is_none())
            })
            .collect();
        if live.is_empty() {
            return;
        }
        let place = live[number % live.len()];
        if let Change::MessagePosted { message } = &mut log.events[place].change {
            message.deleted_at_ms = Some(1);
            message.content = "".into();
        }
        let message = Offset(place as u64 + 1);
        let by = user("other");
        self.append(id, Change::MessageDeleted { message, by });
    }

    pub fn read(&mut self, id: &ChannelId, offset: u64) {
        let log = self.logs.get_mut(id).unwrap();
        log.read = log.read.max(offset.min(log.events.len() as u64));
        let state = self.cursor(id);
        self.push(CursorMoved(state));
    }

    fn cursor(&self, id: &ChannelId) -> CursorState {
        CursorState {
            channel: id.clone(),
            thread: None,
            read_state: self.logs[id].read_state(),
        }
    }

    /// The channel is deleted and made again.
    pub fn recreate(&mut self, id: &ChannelId) {
        self.create(id.clone());
        self.say(id, "other", "the first of a new life");
    }

    pub fn repeat(&mut self, id: &ChannelId, number: usize) {
        let log = &self.logs[id];
        if !log.events.is_empty() {
            let event = log.events[number % log.events.len()].clone();
            let epoch = Epoch(log.epoch);
            self.push(ChannelEvent {
                channel: id.clone(),
                epoch,
                event,
            });
        }
    }

    /// Ends an overflow as a session does: it says so.
    pub fn behind(&mut self) {
        self.overflow = false;
        if std::mem::take(&mut self.dropped) > 0 {
            self.push(Behind { events_dropped: 1 });
        }
    }

    pub fn cut(&mut self) {
        self.open = false;
        self.overflow = false;
        self.dropped = 0;
        self.control.clear();
        self.bulk.clear();
    }

    pub fn summary(&self, id: &ChannelId) -> ChannelSummary {
        let log = &self.logs[id];
        ChannelSummary {
            channel: id.clone(),
            kind: ChannelKind::Department,
            epoch: Epoch(log.epoch),
            name: id.as_str().into(),
            topic: "".into(),
            private: false,
            archived_at_ms: None,
            created_at_ms: 0,
            role: ChannelRole::Member,
            member_count: 2,
            head: log.head().offset,
            last_activity_ms: log.events.last().map_or(0, |event| event.at_ms),
            last_message: None,
            read_state: log.read_state(),
        }
    }

    fn page(&self, after: Option<&ChannelListKey>, limit: usize) -> ChannelPage {
        let mut all: Vec<ChannelSummary> = self.logs.keys().map(|id| self.summary(id)).collect();
        all.sort_by_key(|summary| (u64::MAX - summary.last_activity_ms, summary.channel.clone()));
        let rest: Vec<ChannelSummary> = all
            .into_iter()
            .filter(|summary| {
                after.is_none_or(|after| {
                    (u64::MAX - summary.last_activity_ms, &summary.channel)
                        > (u64::MAX - after.last_activity_ms, &after.channel)
                })
            })
            .collect();
        let next = (rest.len() > limit).then(|| ChannelListKey {
            last_activity_ms: rest[limit - 1].last_activity_ms,
            channel: rest[limit - 1].channel.clone(),
        });
        ChannelPage {
            channels: rest.into_iter().take(limit).collect(),
            next,
        }
    }

    fn heads<'a>(
        &'a self,
        positions: &'a confab_protocol::Packed<ChannelPosition>,
    ) -> impl Iterator<Item = ChannelHead> + 'a {
        positions.iter().filter_map(|known| {
            let head = self.logs.get(&known.channel).map(Log::head);
            (head != Some(known.position)).then_some(ChannelHead {
                channel: known.channel,
                head,
            })
        })
    }

    /// Takes a request; the answer, if any, goes out on the same lane.
    pub fn ask(&mut self, lane: Lane, bytes: Bytes) {
        let mut bytes = BytesMut::from(&bytes[..]);
        let frame = Frame::take(&mut bytes, 128 << 10).unwrap().unwrap();
        let request = Request::from_frame(&frame).unwrap();
        self.asked.push(request.name());
        if let Some(answer) = self.answer(request) {
            let bytes = answer.to_frame(frame.request);
            match lane {
                Lane::Bulk => self.bulk.push_back(bytes),
                Lane::Control | Lane::Ephemeral => self.control.push_back(bytes),
            }
        }
    }

    fn answer(&mut self, request: Request) -> Option<Answer> {
        if self.rate_limited && !matches!(request, Request::Hello(_) | Request::Post(_)) {
            let error = WireError::new(ErrorCode::RateLimited, "too fast");
            return Some(error.retry_after(100).into());
        }
        let not_found = || WireError::new(ErrorCode::NotFound, "no such channel").into();
        Some(match request {
            Request::Hello(hello) => self.hello(hello),
            Request::Resume(resume) => Resumed {
                behind: self.heads(&resume.positions).collect(),
                totals: ChannelTotals::default(),
            }
            .into(),
            Request::RefreshToken(_) => Refreshed {
                token_expires_at_ms: 1,
            }
            .into(),
            Request::ListChannels(list) => self.page(list.after.as_ref(), 3).into(),
            Request::GetChannel(get) => match self.logs.contains_key(&get.channel) {
                true => ChannelInfo {
                    summary: self.summary(&get.channel),
                }
                .into(),
                false => not_found(),
            },
            Request::Post(post) => self.posted(post),
            Request::MarkRead(mark) => {
                self.read(&mark.channel, mark.offset.0);
                self.cursor(&mark.channel).into()
            }
            Request::History(history) => self.history(history).into(),
            Request::Sync(sync) => match self.logs.get(&sync.channel) {
                Some(log) => self.synced(log, sync).into(),
                None => not_found(),
            },
            Request::Typing(_) => return None,
            _ => Done {}.into(),
        })
    }

    fn hello(&mut self, hello: Hello) -> Answer {
        self.hellos.push(hello.clone());
        if let Some(error) = self.refuse_hello.clone() {
            return error.into();
        }
        self.open = true;
        Welcome {
            version: 1,
            session: self.hellos.len() as u64,
            server: "model".into(),
            server_time_ms: 0,
            token_expires_at_ms: 1 << 50,
            limits: ServerLimits {
                frame_bytes_max: 128 << 10,
                content_chars_max: 16_384,
                messages_per_second: self.rate.0,
                messages_burst: self.rate.1,
                heartbeat_interval_ms: 25_000,
                typing_interval_ms: 2_000,
                typing_timeout_ms: 3_000,
            },
            user: UserProfile {
                id: user(ME),
                name: "Me".into(),
                kind: UserKind::Internal,
                active: true,
                admin: false,
            },
            channels: self.page(None, 3),
            totals: ChannelTotals::default(),
            behind: self.heads(&hello.positions).collect(),
        }
        .into()
    }

    fn posted(&mut self, post: Post) -> Answer {
        if self.no_quorum {
            return WireError::new(ErrorCode::NoQuorum, "no leader").into();
        }
        let known = self.seen.get(&post.sequence.0).cloned();
        let duplicate = known.is_some();
        let (id, offset) = known.unwrap_or_else(|| {
            let offset = self.say(&post.channel, ME, &post.content);
            self.seen
                .insert(post.sequence.0, (post.channel.clone(), offset));
            (post.channel.clone(), offset)
        });
        Posted {
            position: Position {
                epoch: Epoch(self.logs[&id].epoch),
                offset: Offset(offset),
            },
            created_at_ms: 0,
            duplicate,
        }
        .into()
    }

    fn history(&self, history: History) -> HistoryPage {
        let log = &self.logs[&history.channel];
        let all: Vec<Message> = log.messages().cloned().collect();
        let (first, last) = match history.anchor {
            Anchor::Latest | Anchor::AtTime(_) => (0, u64::MAX),
            Anchor::Before(offset) => (0, offset.0 - 1),
            Anchor::After(offset) => (offset.0 + 1, u64::MAX),
        };
        let forwards = matches!(history.anchor, Anchor::After(_) | Anchor::AtTime(_));
        let mut page: Vec<Message> = all
            .iter()
            .filter(|message| (first..=last).contains(&message.offset.0))
            .cloned()
            .collect();
        let limit = (self.page_max as usize).min(page.len());
        if forwards {
            page.truncate(limit);
        } else {
            page.drain(..page.len() - limit);
        }
        let older = page.first().map(|message| message.offset);
        let newer = page.last().map(|message| message.offset);
        HistoryPage {
            channel: history.channel,
            epoch: Epoch(log.epoch),
            messages: page.into(),
            next_before: older.filter(|offset| all[0].offset < *offset),
            next_after: newer.filter(|offset| all[all.len() - 1].offset > *offset),
            head: log.head().offset,
        }
    }

    fn synced(&self, log: &Log, sync: Sync) -> SyncPage {
        let after = match sync.after.epoch.0 == log.epoch {
            true => sync.after.offset.0,
            false => 0,
        };
        let head = (log.events.len() as u64).saturating_sub(self.lag);
        SyncPage {
            channel: sync.channel,
            epoch: Epoch(log.epoch),
            events: (after..head.min(after + self.page_max))
                .map(|place| log.events[place as usize].clone())
                .collect(),
            head: Offset(head),
        }
    }
}

/// The core, the server and what is between them.
pub struct World {
    pub core: Core,
    pub config: CoreConfig,
    pub server: Server,
    pub now_ms: u64,
    pub to_server: VecDeque<(Lane, Bytes)>,
    pub dialled: Option<ConnectionId>,
    pub up: Option<ConnectionId>,
    pub needs_token: u32,
    pub hangups: u32,
    pub events: Vec<ClientEvent>,
    pub posted: Vec<(Ticket, Result<Posted, SendError>)>,
    pub answers: Vec<(Ticket, Result<Frame, RequestError>)>,
    pub saved: Vec<SavedState>,
    next_ticket: u64,
    starts: u64,
}

pub fn config() -> CoreConfig {
    CoreConfig::new(DeviceId::new("laptop").unwrap())
}

impl World {
    pub fn new(channels: usize) -> Self {
        Self::with(channels, config(), Some("token"))
    }

    pub fn with(channels: usize, config: CoreConfig, token: Option<&str>) -> Self {
        let mut world = Self {
            core: Core::new(config.clone(), token.map(Into::into), None),
            config,
            server: Server::new(channels),
            now_ms: 0,
            to_server: VecDeque::new(),
            dialled: None,
            up: None,
            needs_token: 0,
            hangups: 0,
            events: Vec::new(),
            posted: Vec::new(),
            answers: Vec::new(),
            saved: Vec::new(),
            next_ticket: 0,
            starts: 0,
        };
        world.start();
        world
    }

    fn start(&mut self) {
        self.starts += 1;
        let start = Input::Start {
            wall_clock_us: 1_000_000 * self.starts,
            seed: self.starts,
        };
        self.input(start);
    }

    /// The process is killed and starts again with what it saved.
    pub fn restart(&mut self) {
        let saved = SavedState::from_bytes(&self.core.saved_state().to_bytes()).unwrap();
        self.server.cut();
        self.to_server.clear();
        (self.dialled, self.up) = (None, None);
        self.core = Core::new(self.config.clone(), Some("token".into()), Some(saved));
        self.start();
    }

    pub fn input(&mut self, input: Input) {
        self.core.handle(self.now_ms, input);
        while let Some(output) = self.core.poll() {
            match output {
                Output::Dial { connection } => self.dialled = Some(connection),
                Output::Send {
                    connection,
                    lane,
                    bytes,
                    ..
                } => {
                    if self.up == Some(connection) {
                        self.to_server.push_back((lane, bytes));
                    }
                }
                Output::Hangup { .. } => {
                    self.hangups += 1;
                    (self.dialled, self.up) = (None, None);
                    self.to_server.clear();
                    self.server.cut();
                }
                Output::NeedToken => self.needs_token += 1,
                Output::Answer { ticket, result } => self.answers.push((ticket, result)),
                Output::Posted { ticket, result } => self.posted.push((ticket, result)),
                Output::Event(event) => self.events.push(event),
                Output::Persist(state) => self.saved.push(state),
            }
        }
    }

    pub fn command(&mut self, command: Command) {
        self.input(Input::Command(command));
    }

    pub fn post(&mut self, id: ChannelId, text: &str) -> Ticket {
        self.next_ticket += 1;
        let ticket = Ticket(self.next_ticket);
        self.command(Command::Post {
            ticket: Some(ticket),
            post: post(id, text),
        });
        ticket
    }

    pub fn request(&mut self, request: impl Into<Request>) -> Ticket {
        self.next_ticket += 1;
        let ticket = Ticket(self.next_ticket);
        self.command(Command::Request {
            ticket,
            request: request.into(),
            timeout_ms: None,
        });
        ticket
    }

    pub fn connect(&mut self) {
        if let Some(connection) = self.dialled.take() {
            self.up = Some(connection);
            self.input(Input::Up { connection });
        }
    }

    pub fn cut(&mut self, reason: DownReason) {
        self.server.cut();
        self.to_server.clear();
        if let Some(connection) = self.up.take().or(self.dialled.take()) {
            self.input(Input::Down { connection, reason });
        }
    }

    /// The first frame of a lane reaches the server.
    pub fn deliver_up(&mut self, bulk: bool, place: usize) {
        let of_lane: Vec<usize> = (0..self.to_server.len())
            .filter(|at| (self.to_server[*at].0 == Lane::Bulk) == bulk)
            .collect();
        // Bulk requests overtake each other.
        let at = match (of_lane.is_empty(), bulk) {
            (true, _) => return,
            (false, true) => of_lane[place % of_lane.len()],
            (false, false) => of_lane[0],
        };
        let (lane, bytes) = self.to_server.remove(at).unwrap();
        if let (Lane::Control, Some(connection)) = (lane, self.up) {
            let bytes = bytes.len();
            self.input(Input::Writable { connection, bytes });
        }
        self.server.ask(lane, bytes);
    }

    /// A frame of the server reaches the client.
    pub fn deliver_down(&mut self, bulk: bool, place: usize) {
        let bytes = match bulk {
            true if !self.server.bulk.is_empty() => {
                let at = place % self.server.bulk.len();
                self.server.bulk.remove(at)
            }
            true => None,
            false => self.server.control.pop_front(),
        };
        let (Some(bytes), Some(connection)) = (bytes, self.up) else {
            return;
        };
        let lane = if bulk { Lane::Bulk } else { Lane::Control };
        let frame = Frame::take(&mut BytesMut::from(&bytes[..]), 512 << 10)
            .unwrap()
            .unwrap();
        self.input(Input::Frame {
            connection,
            lane,
            frame,
        });
    }

    /// A bulk lane breaks with the request that it carried.
    pub fn break_bulk(&mut self, place: usize) {
        let Some(connection) = self.up else { return };
        if self.server.bulk.is_empty() {
            return;
        }
        let at = place % self.server.bulk.len();
        let bytes = self.server.bulk.remove(at).unwrap();
        let frame = Frame::take(&mut BytesMut::from(&bytes[..]), 512 << 10)
            .unwrap()
            .unwrap();
        self.input(Input::BulkFailed {
            connection,
            request: frame.request,
        });
    }

    pub fn advance(&mut self, ms: u64) {
        let until = self.now_ms + ms;
        while let Some(deadline) = self.core.deadline().filter(|at| *at <= until) {
            self.now_ms = self.now_ms.max(deadline);
            self.input(Input::Tick);
            if self.core.deadline() == Some(deadline) {
                break;
            }
        }
        self.now_ms = until;
        self.input(Input::Tick);
    }

    /// Everything is delivered until nothing moves.
    pub fn flow(&mut self) {
        self.connect();
        for _ in 0..100_000 {
            if self.to_server.is_empty()
                && self.server.control.is_empty()
                && self.server.bulk.is_empty()
            {
                return;
            }
            self.deliver_up(false, 0);
            self.deliver_up(true, 0);
            self.deliver_down(false, 0);
            self.deliver_down(true, 0);
        }
        panic!("the core and the server talk for ever");
    }

    /// Connects as often as it takes, and lets everything come to rest.
    pub fn settle(&mut self) {
        for _ in 0..200 {
            self.flow();
            if self.core.is_online() && self.to_server.is_empty() {
                self.advance(500);
            } else {
                self.advance(30_000);
            }
        }
        self.flow();
    }

    /// Offsets of a channel's events as the application heard them since its
    /// last reset.
    pub fn heard(&self, id: &ChannelId) -> Vec<u64> {
        let mut heard = Vec::new();
        for event in &self.events {
            match event {
                ClientEvent::Reset { channel, .. } if channel == id => heard.clear(),
                ClientEvent::Channel(event) if event.channel == *id => {
                    heard.push(event.event.offset.0);
                }
                _ => {}
            }
        }
        heard
    }
}
