#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use confab_protocol::Frame;
use confab_protocol::limits::SERVER_FRAME_BYTES_MAX;
use confab_protocol::message::Push;

use super::*;
use crate::ops::Metrics;
use crate::session::outbox::{Next, OutboxConfig, OutboxMeter, OutboxReader, outbox};

/// A directory that the test writes.
#[derive(Default)]
struct Members(Mutex<BTreeMap<ChannelId, Vec<UserId>>>);

impl Members {
    fn set(&self, channel: &ChannelId, members: &[&str]) {
        let members = members.iter().map(|id| UserId::new(id).unwrap()).collect();
        self.0.lock().insert(channel.clone(), members);
    }
}

impl Directory for Members {
    fn channels_of(&self, user: &UserId) -> Vec<ChannelId> {
        let channels = self.0.lock();
        let of_user = channels
            .iter()
            .filter(|(_, members)| members.contains(user));
        of_user.map(|(channel, _)| channel.clone()).collect()
    }

    fn members(&self, channel: &ChannelId, members_max: usize) -> Option<Vec<UserId>> {
        let members = self.0.lock().get(channel)?.clone();
        (members.len() <= members_max).then_some(members)
    }

    fn is_member(&self, channel: &ChannelId, user: &UserId) -> bool {
        self.0
            .lock()
            .get(channel)
            .is_some_and(|members| members.contains(user))
    }

    /// Guests see whom they share a channel with, as a client of a company does.
    fn may_see(&self, viewer: &UserId, user: &UserId) -> bool {
        let shares = |members: &Vec<UserId>| members.contains(viewer) && members.contains(user);
        !viewer.as_str().starts_with("guest") || self.0.lock().values().any(shares)
    }
}

struct Fixture {
    presence: Presence,
    members: Arc<Members>,
    gossip: Arc<Mutex<Vec<Delta>>>,
    shutdown: CancellationToken,
}

struct Client {
    device: Device,
    reader: OutboxReader,
}

fn start() -> Fixture {
    let members = Arc::new(Members::default());
    members.set(&ChannelId::general(), &["ann", "bob"]);
    let gossip = Arc::new(Mutex::new(Vec::new()));
    let hook: GossipHook = {
        let gossip = Arc::clone(&gossip);
        Arc::new(move |deltas| gossip.lock().extend(deltas))
    };
    let directory: Arc<dyn Directory> = members.clone();
    let presence = Presence::new(Config::default(), directory, Some(hook), 1_700_000_000_000);
    let shutdown = CancellationToken::new();
    tokio::spawn(presence.clone().run(shutdown.clone()));
    Fixture {
        presence,
        members,
        gossip,
        shutdown,
    }
}

impl Fixture {
    fn connect(&self, id: &str) -> Client {
        let meter = OutboxMeter::new(Metrics::new());
        let (outbox, reader) = outbox(OutboxConfig::default(), meter);
        let user = UserId::new(id).unwrap();
        let device = DeviceId::new("laptop").unwrap();
        Client {
            device: self.presence.connect(&user, &device, outbox),
            reader,
        }
    }
}

impl Client {
    /// What came within a second and a bit.
    async fn heard(&mut self) -> Vec<Push> {
        let mut pushes = Vec::new();
        let wait = tokio::time::sleep(Duration::from_millis(1_200));
        tokio::pin!(wait);
        loop {
            let mut batch = Vec::new();
            tokio::select! {
                () = &mut wait => return pushes,
                next = self.reader.next_batch(&mut batch) => assert_eq!(next, Next::Write),
            }
            for mut bytes in batch {
                let frame = Frame::take_whole(&mut bytes, SERVER_FRAME_BYTES_MAX).unwrap();
                pushes.push(Push::from_frame(&frame.unwrap()).unwrap());
            }
        }
    }

    async fn states(&mut self) -> Vec<(String, PresenceState)> {
        let pushes = self.heard().await;
        let shown = pushes.into_iter().filter_map(|push| match push {
            Push::Presence(PresencePushed(changed)) => Some(changed.users.to_vec()),
            _ => None,
        });
        shown
            .flatten()
            .map(|shown| (shown.user.to_string(), shown.state))
            .collect()
    }

    async fn typing(&mut self) -> Vec<bool> {
        let pushes = self.heard().await;
        let changes = pushes.into_iter().filter_map(|push| match push {
            Push::Typing(changed) => Some(changed.on),
            _ => None,
        });
        changes.collect()
    }

    fn types(&self, on: bool, member_count: u32) {
        let body = Typing {
            channel: ChannelId::general(),
            thread: None,
            on,
        };
        self.device.typing(&body, &"Ann".into(), member_count);
    }
}

fn says(id: &str, state: PresenceState) -> (String, PresenceState) {
    (id.to_owned(), state)
}

#[tokio::test(start_paused = true)]
async fn sessions_see_each_other_come_and_go() {
    let fixture = start();
    let mut ann = fixture.connect("ann");
    assert_eq!(ann.states().await, [says("ann", PresenceState::Online)]);
    let bob = fixture.connect("bob");
    assert_eq!(ann.states().await, [says("bob", PresenceState::Online)]);
    let now = ann.device.open_channel(&ChannelId::general());
    assert_eq!(now.users.len(), 2);
    drop(bob);
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(ann.states().await, [says("bob", PresenceState::Offline)]);
    let deltas: Vec<_> = fixture
        .gossip
        .lock()
        .iter()
        .map(|delta| delta.state)
        .collect();
    let (online, offline) = (PresenceState::Online, PresenceState::Offline);
    assert_eq!(deltas, [online, online, offline]);
    fixture.shutdown.cancel();
}

#[tokio::test(start_paused = true)]
async fn typing_reaches_open_sessions_and_ends() {
    let fixture = start();
    let (ann, mut bob) = (fixture.connect("ann"), fixture.connect("bob"));
    ann.types(true, 2);
    assert!(bob.typing().await.is_empty(), "the channel is not open");
    tokio::time::sleep(Duration::from_secs(3)).await;
    let _ = bob.device.open_channel(&ChannelId::general());
    ann.types(true, 501);
    assert!(bob.typing().await.is_empty(), "too many members");
    ann.types(true, 2);
    assert_eq!(bob.typing().await, [true]);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(bob.typing().await, [false], "by itself after three seconds");
    ann.types(true, 2);
    ann.device.posted(&ChannelId::general(), None);
    assert_eq!(bob.typing().await, [true, false], "a post ends it");
    ann.device.posted(&ChannelId::general(), None);
    ann.types(true, 2);
    ann.types(false, 2);
    assert_eq!(bob.typing().await, [true, false]);
    drop(ann);
}

/// The fence holds for what is never in a log, too.
#[tokio::test(start_paused = true)]
async fn a_removed_member_hears_and_shows_nothing() {
    let fixture = start();
    let (mut ann, mut bob) = (fixture.connect("ann"), fixture.connect("bob"));
    let general = ChannelId::general();
    let _ = bob.device.open_channel(&general);
    let _ = ann.states().await;
    fixture.members.set(&general, &["ann"]);
    fixture.presence.channel_changed(&general);
    let _ = bob.states().await;
    ann.types(true, 1);
    let dnd = SetPresence {
        state: PresenceState::Dnd,
        status: "busy".into(),
    };
    ann.device.set(dnd.clone()).unwrap();
    bob.device.set(dnd).unwrap();
    assert_eq!(bob.states().await, [says("bob", PresenceState::Dnd)]);
    assert_eq!(ann.states().await, [says("ann", PresenceState::Dnd)]);
    assert!(bob.device.open_channel(&general).users.is_empty());
    ann.types(true, 1);
    assert!(bob.typing().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_user_who_is_added_is_introduced() {
    let fixture = start();
    let (mut ann, mut cem) = (fixture.connect("ann"), fixture.connect("cem"));
    let _ = (ann.states().await, cem.states().await);
    let group = ChannelId::new("group-1700000000000-abcdefg2").unwrap();
    fixture.members.set(&group, &["ann", "cem"]);
    fixture.presence.channel_changed(&group);
    assert!(
        ann.states()
            .await
            .contains(&says("cem", PresenceState::Online))
    );
    assert!(
        cem.states()
            .await
            .contains(&says("ann", PresenceState::Online))
    );
}

#[tokio::test(start_paused = true)]
async fn watching_answers_with_how_things_are() {
    let fixture = start();
    let (mut ann, eve) = (fixture.connect("ann"), fixture.connect("eve"));
    let _ = ann.heard().await;
    let users = ["eve", "nobody"].map(|id| UserId::new(id).unwrap());
    let body = WatchPresence {
        users: users.into_iter().collect(),
    };
    let now = ann.device.watch(&body).unwrap().users.to_vec();
    assert_eq!(now[0].state, PresenceState::Online);
    assert_eq!(
        (now[1].state, now[1].last_seen_ms),
        (PresenceState::Offline, 0)
    );
    eve.device.leave();
    assert_eq!(ann.states().await, [says("eve", PresenceState::Offline)]);
    let many = (0..501).map(|number| UserId::new(&format!("u{number}")).unwrap());
    let body = WatchPresence {
        users: many.collect(),
    };
    assert_eq!(
        ann.device.watch(&body).unwrap_err().code(),
        ErrorCode::TooLarge
    );
}

#[tokio::test(start_paused = true)]
async fn odd_status_texts_are_refused() {
    let fixture = start();
    let ann = fixture.connect("ann");
    for status in ["x".repeat(201), "a\u{7}b".to_owned()] {
        let body = SetPresence {
            state: PresenceState::Online,
            status: status.into(),
        };
        let refused = ann.device.set(body).unwrap_err();
        assert_eq!(refused.code(), ErrorCode::InvalidArgument);
    }
    let body = SetPresence {
        state: PresenceState::Away,
        status: " lunch ".into(),
    };
    ann.device.set(body).unwrap();
    let now = fixture
        .presence
        .of(&[UserId::new("ann").unwrap()])
        .users
        .to_vec();
    assert_eq!(now[0].status, "lunch");
}

fn watch_of(ids: &[&str]) -> WatchPresence {
    WatchPresence {
        users: ids.iter().map(|id| UserId::new(id).unwrap()).collect(),
    }
}

/// A guest learns nothing of whom it shares no channel with, and as much of who
/// does not exist.
#[tokio::test(start_paused = true)]
async fn nobody_watches_whom_it_may_not_see() {
    let fixture = start();
    let (ann, mut guest) = (fixture.connect("ann"), fixture.connect("guest1"));
    let _ = guest.states().await;
    let shown = guest.device.watch(&watch_of(&["ann", "nobody"])).unwrap();
    assert!(shown.users.is_empty());
    let dnd = SetPresence {
        state: PresenceState::Dnd,
        status: "salary talks".into(),
    };
    ann.device.set(dnd).unwrap();
    assert!(guest.states().await.is_empty());
}

/// A watch ends with the channel that allowed it, for both who may leave it,
/// and when the channel is deleted.
#[tokio::test(start_paused = true)]
async fn a_watch_ends_with_what_allowed_it() {
    let fixture = start();
    let (ann, mut guest) = (fixture.connect("ann"), fixture.connect("guest1"));
    let project = ChannelId::new("project-1").unwrap();
    let mut state = PresenceState::Dnd;
    for left in [Some("ann"), Some("guest1"), None] {
        fixture.members.set(&project, &["ann", "guest1"]);
        fixture.presence.channel_changed(&project);
        let shown = guest.device.watch(&watch_of(&["ann"])).unwrap();
        assert_eq!(shown.users.len(), 1);
        match left {
            Some(left) => {
                fixture.members.set(&project, &[]);
                fixture.presence.channel_changed(&project);
                fixture.presence.members_left(&[UserId::new(left).unwrap()]);
            }
            None => {
                fixture.members.0.lock().remove(&project);
                fixture.presence.channel_gone(&project);
            }
        }
        let _ = guest.states().await;
        let chosen = SetPresence {
            state,
            status: "".into(),
        };
        ann.device.set(chosen).unwrap();
        assert!(guest.states().await.is_empty(), "after {left:?} left");
        state = match state {
            PresenceState::Dnd => PresenceState::Online,
            _ => PresenceState::Dnd,
        };
    }
}
