//! The session core on virtual time: connecting, coming back, tokens, the
//! offline queue, deadlines, heartbeats, typing, the cache.

#![allow(clippy::unwrap_used)]

mod model;

use confab_client::core::{ClientEvent, CloseReason, Command, DownReason, Input};
use confab_client::{HandshakeFault, RequestError, SendError};
use confab_protocol::message::channel::{Edit, GetChannel, History, MarkRead};
use confab_protocol::message::presence::{PresenceState, SetPresence, TypingChanged};
use confab_protocol::message::session::{
    ChannelAdded, ChannelRemoved, GoingAway, SessionClosed, TokenExpiring,
};
use confab_protocol::{Epoch, ErrorCode, Offset, WireError};
use model::{World, channel, config, user};

fn refused(code: ErrorCode) -> DownReason {
    DownReason::Server(WireError::new(code, "because"))
}

fn retry_in(world: &World) -> u64 {
    let last = world.events.iter().rev().find_map(|event| match event {
        ClientEvent::Disconnected { retry_in_ms, .. } => Some(*retry_in_ms),
        _ => None,
    });
    last.unwrap()
}

fn closed(world: &World) -> Option<&CloseReason> {
    match world.events.last() {
        Some(ClientEvent::Closed(reason)) => Some(reason),
        _ => None,
    }
}

/// Attempts are spread and grow apart up to the limit, and a session that held
/// starts the backoff anew.
#[test]
fn reconnecting_backs_off_with_full_jitter() {
    let mut world = World::new(1);
    let mut longest = 0;
    for attempt in 0..40 {
        assert!(world.dialled.is_some(), "attempt {attempt}");
        world.cut(DownReason::Lost);
        longest = longest.max(retry_in(&world));
        assert!(retry_in(&world) <= 250 << attempt.min(7));
        world.advance(retry_in(&world));
    }
    assert!((10_000..=30_000).contains(&longest), "{longest}");
    world.flow();
    world.advance(11_000);
    world.cut(DownReason::Lost);
    assert!(retry_in(&world) <= 250);
}

/// A server that goes away says when to come back; nobody comes earlier.
#[test]
fn the_reconnect_hint_is_kept() {
    let mut world = World::new(1);
    world.flow();
    world.server.push(GoingAway {
        reconnect_after_ms: 7_000,
    });
    world.flow();
    world.advance(1_000);
    world.cut(refused(ErrorCode::ShuttingDown));
    assert!(retry_in(&world) >= 6_000, "{}", retry_in(&world));
    world.advance(5_900);
    assert!(world.dialled.is_none());
    world.advance(1_000);
    assert!(world.dialled.is_some());
}

/// What an old connection still delivers is not taken for an answer.
#[test]
fn a_stale_connection_is_not_heard() {
    let mut world = World::new(1);
    world.flow();
    let old = world.up.unwrap();
    world.post(channel(0), "once");
    world.deliver_up(false, 0);
    let late = world.server.control.clone();
    world.cut(DownReason::Lost);
    world.advance(1_000);
    world.connect();
    for mut bytes in late {
        let frame = confab_protocol::Frame::take_whole(&mut bytes, 1 << 20)
            .unwrap()
            .unwrap();
        world.input(Input::Frame {
            connection: old,
            lane: confab_client::core::Lane::Control,
            frame,
        });
    }
    assert!(world.posted.is_empty());
    world.flow();
    let (_, posted) = world.posted.pop().unwrap();
    assert!(posted.unwrap().duplicate, "the server recognised it");
}

/// Posts made offline are sent in order, and the queue has a limit that is told.
#[test]
fn the_offline_queue_is_bounded_and_in_order() {
    let mut config = config();
    config.posts_max = 3;
    let mut world = World::with(1, config, Some("token"));
    for text in ["a", "b", "c", "d"] {
        world.post(channel(0), text);
    }
    assert!(matches!(
        &world.posted[..],
        [(_, Err(SendError::QueueFull))]
    ));
    world.flow();
    let texts: Vec<String> = world.server.logs[&channel(0)]
        .messages()
        .map(|message| message.content.to_string())
        .collect();
    assert_eq!(texts, ["a", "b", "c"]);
    assert_eq!(world.posted.len(), 4);
    world.post(channel(0), &"x".repeat(200_000));
    assert!(matches!(
        world.posted.last(),
        Some((_, Err(SendError::TooLarge { .. })))
    ));
}

/// A leader change is invisible: posts refused for now are sent again, in
/// order, until they are taken; one that never is, is given up in the end.
#[test]
fn refusals_for_now_are_retried_up_to_a_deadline() {
    let mut world = World::new(2);
    world.flow();
    world.server.no_quorum = true;
    for text in ["a", "b", "c"] {
        world.post(channel(0), text);
    }
    for _ in 0..20 {
        world.flow();
        world.advance(200);
    }
    assert!(world.posted.is_empty());
    world.server.no_quorum = false;
    world.advance(6_000);
    world.flow();
    let texts: Vec<String> = world.server.logs[&channel(0)]
        .messages()
        .map(|message| message.content.to_string())
        .collect();
    assert_eq!(texts, ["a", "b", "c"]);
    world.server.no_quorum = true;
    world.post(channel(1), "never");
    for _ in 0..130 {
        world.flow();
        world.advance(5_000);
    }
    assert!(matches!(
        world.posted.last(),
        Some((_, Err(SendError::Expired { maybe_posted: true })))
    ));
}

/// A queue that was filled offline goes out no faster than the server takes it.
#[test]
fn messages_are_paced() {
    let mut world = World::new(1);
    world.server.rate = (10, 20);
    for _ in 0..40 {
        world.post(channel(0), "hi");
    }
    world.flow();
    assert_eq!(world.posted.len(), 20);
    world.advance(1_000);
    world.flow();
    assert_eq!(world.posted.len(), 30);
    world.advance(1_000);
    world.flow();
    assert_eq!(world.posted.len(), 40);
}

/// What the server is too busy for just now is asked again, the core's own
/// questions too, without leaving the connection.
#[test]
fn too_fast_is_asked_again() {
    let mut world = World::new(5);
    world.flow();
    world.request(SetPresence {
        state: PresenceState::Away,
        status: "".into(),
    });
    world.flow();
    world.cut(DownReason::Lost);
    world.server.say(&channel(0), "other", "missed");
    world.server.rate_limited = true;
    world.server.asked.clear();
    world.advance(1_000);
    world.flow();
    let edit = world.request(Edit {
        channel: channel(0),
        message: Offset(1),
        content: "x".into(),
        mentions: Default::default(),
        if_version: None,
    });
    world.flow();
    world.server.overflow = true;
    world.server.say(&channel(1), "other", "left out");
    world.server.behind();
    world.flow();
    assert!(world.heard(&channel(0)).is_empty() && world.heard(&channel(1)).is_empty());
    world.server.rate_limited = false;
    world.settle();
    assert_eq!(world.heard(&channel(0)), [1]);
    assert_eq!(world.heard(&channel(1)), [1]);
    assert!(matches!(&world.answers[1..], [(ticket, Ok(_))] if *ticket == edit));
    let told = |name| {
        world
            .server
            .asked
            .iter()
            .filter(|asked| **asked == name)
            .count()
    };
    assert!(told("SetPresence") >= 2);
    assert_eq!(told("Hello"), 1);
}

/// Only the application knows whether to repeat an edit; a read is asked again.
#[test]
fn lost_requests_fail_unless_they_only_read() {
    let mut world = World::new(1);
    world.flow();
    let edit = world.request(Edit {
        channel: channel(0),
        message: Offset(1),
        content: "x".into(),
        mentions: Default::default(),
        if_version: None,
    });
    let get = world.request(GetChannel {
        channel: channel(0),
    });
    let unsent = {
        world.cut(DownReason::Lost);
        world.request(MarkRead {
            channel: channel(0),
            thread: None,
            offset: Offset(0),
        })
    };
    assert!(
        matches!(&world.answers[..], [(ticket, Err(RequestError::Disconnected))] if *ticket == edit)
    );
    world.advance(1_000);
    world.flow();
    let answered: Vec<_> = world.answers[1..]
        .iter()
        .map(|(ticket, result)| (*ticket, result.is_ok()))
        .collect();
    assert_eq!(answered, [(get, true), (unsent, true)]);
}

/// A caller does not wait for ever for a server that does not answer.
#[test]
fn requests_have_deadlines() {
    let mut world = World::new(1);
    world.flow();
    let history = History {
        channel: channel(0),
        thread: None,
        anchor: confab_protocol::message::channel::Anchor::Latest,
        limit: 0,
    };
    world.request(history.clone());
    world.advance(30_000);
    assert!(matches!(
        world.answers.pop(),
        Some((_, Err(RequestError::TimedOut { sent: true })))
    ));
    world.cut(DownReason::Lost);
    world.request(history);
    world.cut(DownReason::Lost);
    world.advance(29_000);
    assert!(world.answers.is_empty());
    world.advance(2_000);
    assert!(matches!(
        world.answers.pop(),
        Some((_, Err(RequestError::TimedOut { sent: false })))
    ));
}

/// An expiring token is replaced in place; a refused one before connecting.
#[test]
fn tokens_come_from_the_provider() {
    let mut config = config();
    config.token_provider = true;
    let mut world = World::with(1, config, None);
    assert_eq!((world.needs_token, world.dialled), (1, None));
    world.command(Command::NoToken { retry: true });
    world.advance(1_000);
    assert_eq!(world.needs_token, 2);
    world.command(Command::Token("first".into()));
    world.flow();
    assert_eq!(world.server.hellos.last().unwrap().token, "first");

    world.server.push(TokenExpiring {
        token_expires_at_ms: 5,
    });
    world.flow();
    assert_eq!(
        world.needs_token, 2,
        "a token that has just come is kept a while"
    );
    world.advance(1_000);
    assert_eq!(world.needs_token, 3);
    world.command(Command::Token("second".into()));
    world.flow();
    assert!(world.server.asked.contains(&"RefreshToken"));

    world.cut(refused(ErrorCode::TokenExpired));
    world.advance(1_000);
    assert_eq!(world.needs_token, 4);
    world.command(Command::Token("third".into()));
    world.flow();
    assert_eq!(world.server.hellos.last().unwrap().token, "third");
    assert!(world.core.is_online());

    // Tokens that are refused again and again: it is not the token.
    world.server.refuse_hello = Some(WireError::new(ErrorCode::TokenInvalid, "no"));
    world.cut(DownReason::Lost);
    for _ in 0..10 {
        world.advance(30_000);
        world.command(Command::Token("bad".into()));
        world.flow();
    }
    assert!(matches!(closed(&world), Some(CloseReason::Refused(_))));
}

/// Without a provider a refused token ends the client, and says why.
#[test]
fn what_no_retry_mends_ends_the_client() {
    for reason in [
        refused(ErrorCode::TokenInvalid),
        refused(ErrorCode::UserDeactivated),
        refused(ErrorCode::UnsupportedVersion),
        DownReason::Handshake(HandshakeFault::Protocol),
    ] {
        let mut world = World::new(1);
        let ticket = world.post(channel(0), "kept");
        world.cut(reason);
        assert!(closed(&world).is_some());
        assert!(matches!(
            &world.posted[..],
            [(posted, Err(SendError::Closed(_)))] if *posted == ticket
        ));
        assert_eq!(world.saved.last().unwrap().posts().len(), 1);
        assert_eq!(world.core.deadline(), None);
    }
    // A certificate that changed later may change again.
    let mut world = World::new(1);
    world.flow();
    world.cut(DownReason::Handshake(HandshakeFault::Protocol));
    assert!(closed(&world).is_none());
}

/// The server's last words count, and its wait is kept.
#[test]
fn a_closed_session_says_why() {
    let mut world = World::new(1);
    world.flow();
    let error = WireError::new(ErrorCode::TooManySessions, "full").retry_after(9_000);
    world.server.push(SessionClosed { error });
    world.flow();
    assert_eq!(world.hangups, 1);
    assert!(retry_in(&world) >= 9_000);
}

/// A path that swallows everything is found by the heartbeat.
#[test]
fn a_dead_connection_is_hung_up() {
    let mut world = World::new(1);
    world.flow();
    world.advance(25_000);
    assert_eq!(world.to_server.len(), 1, "a heartbeat is on its way");
    world.flow();
    world.advance(25_000);
    world.to_server.clear();
    world.advance(19_999);
    assert_eq!(world.hangups, 0);
    world.advance(1);
    assert_eq!(world.hangups, 1);
    // A post that nothing answers does not wait for the next heartbeat.
    let mut world = World::new(1);
    world.flow();
    world.post(channel(0), "into the void");
    world.to_server.clear();
    world.advance(19_999);
    assert_eq!(world.hangups, 0);
    world.advance(1);
    assert_eq!(world.hangups, 1);
    // An answered one asks for nothing more.
    let mut world = World::new(1);
    world.flow();
    world.post(channel(0), "heard");
    world.flow();
    world.advance(24_000);
    assert_eq!(world.hangups, 0);
    // A server that never answers Hello is left, too.
    let mut world = World::new(1);
    world.connect();
    world.to_server.clear();
    world.advance(10_000);
    assert_eq!(world.hangups, 1);
}

/// A process that is stopped goes on where it was, its unacknowledged posts
/// included; a device without state never reuses a number.
#[test]
fn a_stopped_process_resumes_exactly() {
    let mut world = World::new(1);
    world.flow();
    world.server.say(&channel(0), "other", "heard");
    world.post(channel(0), "acknowledgement lost");
    world.deliver_up(false, 0);
    world.deliver_down(false, 0);
    world.restart();
    world.server.say(&channel(0), "other", "missed");
    world.flow();
    assert_eq!(world.heard(&channel(0)), [1, 2, 3]);
    assert!(world.events.iter().any(|event| matches!(
        event,
        ClientEvent::PostSettled { result: Ok(posted), .. } if posted.duplicate
    )));
    assert_eq!(world.server.logs[&channel(0)].messages().count(), 3);

    let first = World::new(1).core.saved_state();
    let mut config = config();
    config.persist_interval_ms = Some(1_000);
    let mut later = World::with(1, config, Some("token"));
    later.flow();
    later.post(channel(0), "x");
    later.flow();
    later.advance(2_000);
    let saved = later.saved.last().unwrap();
    assert_ne!(saved.to_bytes(), first.to_bytes());
    assert!(saved.posts().is_empty());
    assert_eq!(saved.positions().next().unwrap().1.offset, Offset(1));
}

/// Presence and open channels belong to a session on the server; a new one is
/// told again.
#[test]
fn a_new_session_is_told_what_the_old_knew() {
    let mut world = World::new(1);
    world.flow();
    world.request(SetPresence {
        state: PresenceState::Dnd,
        status: "busy".into(),
    });
    world.request(confab_protocol::message::presence::OpenChannel {
        channel: channel(0),
    });
    world.flow();
    world.server.asked.clear();
    world.cut(DownReason::Lost);
    world.advance(1_000);
    world.flow();
    assert_eq!(world.server.asked, ["Hello", "SetPresence", "OpenChannel"]);
}

/// Typing goes out seldom, ends by itself, and others' typing ends with it.
#[test]
fn typing_is_short_lived() {
    let mut world = World::new(1);
    world.flow();
    world.server.asked.clear();
    for _ in 0..10 {
        world.command(Command::Typing {
            channel: channel(0),
            thread: None,
        });
        world.advance(100);
    }
    world.flow();
    assert_eq!(world.server.asked, ["Typing"]);
    world.advance(3_000);
    world.flow();
    assert_eq!(world.server.asked, ["Typing", "Typing"]);

    world.server.push(TypingChanged {
        channel: channel(0),
        thread: None,
        user: user("other"),
        name: "Other".into(),
        on: true,
    });
    world.flow();
    world.advance(3_000);
    let heard: Vec<bool> = world
        .events
        .iter()
        .filter_map(|event| match event {
            ClientEvent::Typing(change) => Some(change.on),
            _ => None,
        })
        .collect();
    assert_eq!(heard, [true, false]);
}

/// A channel that is gained comes with its first events, one that is lost is
/// silent, and one that is gained again goes on where it was.
#[test]
fn channels_come_and_go() {
    let mut world = World::new(1);
    world.flow();
    let new = channel(7);
    world.server.create(new.clone());
    for text in ["one", "two"] {
        world.server.logs.get_mut(&new).unwrap().epoch = 50;
        world.server.open = false;
        world.server.say(&new, "other", text);
        world.server.open = true;
    }
    let summary = world.server.summary(&new);
    world.server.push(ChannelAdded { summary });
    world.flow();
    assert_eq!(world.heard(&new), [1, 2]);
    assert_eq!(world.core.channel(&new).unwrap().read_state.unread, 2);

    world.server.push(ChannelRemoved {
        channel: new.clone(),
        epoch: Epoch(50),
        last_offset: Offset(2),
    });
    world.server.say(&new, "other", "not for me");
    world.flow();
    assert_eq!(world.heard(&new), [1, 2]);
    assert!(world.core.channel(&new).is_none());

    let summary = world.server.summary(&new);
    world.server.push(ChannelAdded { summary });
    world.server.say(&new, "other", "for me");
    world.flow();
    assert_eq!(world.heard(&new), [1, 2, 3, 4]);
}

/// While a channel catches up its live events wait, but not without limit.
#[test]
fn held_events_are_bounded() {
    let mut config = config();
    config.held_events_max = 4;
    let mut world = World::with(1, config, Some("token"));
    world.server.page_max = 2;
    world.flow();
    world.cut(DownReason::Lost);
    for _ in 0..5 {
        world.server.say(&channel(0), "other", "missed");
    }
    world.advance(1_000);
    world.connect();
    world.deliver_up(false, 0);
    for _ in 0..20 {
        world.server.say(&channel(0), "other", "live");
    }
    for _ in 0..30 {
        world.deliver_down(false, 0);
    }
    world.settle();
    assert_eq!(world.heard(&channel(0)), (1..=25).collect::<Vec<_>>());
}

/// What waits is flushed before the end, but only for so long.
#[test]
fn closing_flushes() {
    let mut world = World::new(1);
    world.post(channel(0), "last words");
    world.command(Command::Close {
        flush_timeout_ms: 5_000,
    });
    assert!(closed(&world).is_none());
    world.flow();
    assert_eq!(closed(&world), Some(&CloseReason::ByApplication));
    assert!(matches!(&world.posted[..], [(_, Ok(_))]));

    let mut world = World::new(1);
    world.post(channel(0), "never leaves");
    world.command(Command::Close {
        flush_timeout_ms: 5_000,
    });
    world.advance(5_000);
    assert_eq!(closed(&world), Some(&CloseReason::ByApplication));
    assert!(matches!(
        &world.posted[..],
        [(_, Err(SendError::Closed(CloseReason::ByApplication)))]
    ));
    assert_eq!(world.saved.last().unwrap().posts().len(), 1);
}

/// A server that sends what is not the protocol is left, not trusted, and
/// nothing panics.
#[test]
fn a_broken_server_is_left() {
    for (kind, request) in [(0x8001, 0), (0x8006, 0), (0x4001, 1), (0x4000, 1)] {
        let mut world = World::new(1);
        world.connect();
        let connection = world.up.unwrap();
        let frame = confab_protocol::Frame {
            kind,
            request,
            body: bytes::Bytes::from_static(&[255; 9]),
        };
        world.input(Input::Frame {
            connection,
            lane: confab_client::core::Lane::Control,
            frame,
        });
        assert_eq!(world.hangups, 1, "kind {kind:#x}");
        world.settle();
        assert!(world.core.is_online());
    }
    // A kind that a newer server pushes is skipped.
    let mut world = World::new(1);
    world.flow();
    let connection = world.up.unwrap();
    world.input(Input::Frame {
        connection,
        lane: confab_client::core::Lane::Control,
        frame: confab_protocol::Frame {
            kind: 0x8fff,
            request: 0,
            body: bytes::Bytes::new(),
        },
    });
    assert_eq!(world.hangups, 0);
}
