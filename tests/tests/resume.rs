//! Who was away gets exactly what it lacks, nothing twice and nothing left out,
//! whatever the reason and however much there is: nobody reloads.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use confab_client::{Client, ClientEvent, DownReason, SavedState, TokenError};
use confab_protocol::message::channel::ChannelSummary;
use confab_protocol::message::event::{Change, Event};
use confab_protocol::{ChannelId, Emoji, ErrorCode, Offset};
use confab_tests::{Broker, Path, Setup, Token, Witness, eventually, general, user, within};
use parking_lot::Mutex;

/// More than a page of 200 events, so that the gap is paged.
const MANY: u32 = 450;

/// A broker that notices within seconds that a client is gone, and whose
/// clients notice the same of it.
async fn alert_broker() -> Broker {
    Setup::new()
        .set("session.heartbeat_interval_ms", 1_000)
        .set("session.offline_after_ms", 3_000)
        .set("quic.idle_timeout_ms", 5_000)
        .start()
        .await
}

/// A client behind a path that can be cut.
async fn behind(broker: &Broker, path: &Path, name: &str) -> Client {
    let builder = broker.builder_at(path.address());
    let builder = builder.token(broker.sign(&Token::of(name)));
    let client = builder.configure(|config| {
        config.backoff_max_ms = 300;
        config.liveness_timeout_ms = 1_000;
        config.dial_timeout_ms = 1_000;
    });
    client.connect().await.unwrap()
}

/// Does everything that can be done in a channel, many times; answers with the
/// last event's offset.
async fn much_happens(client: &Client, channel: &ChannelId) -> Offset {
    let handle = client.channel(channel.clone());
    let mut sent = Vec::new();
    for number in 0..MANY {
        sent.push(
            handle
                .send(format!("message {number}"))
                .enqueue()
                .await
                .unwrap(),
        );
    }
    let mut offsets = Vec::new();
    for sending in sent {
        offsets.push(within("a post", sending).await.unwrap().position.offset);
    }
    let thumb = Emoji::new("👍").unwrap();
    handle.edit(offsets[3], "edited").await.unwrap();
    handle.edit(offsets[3], "edited again").await.unwrap();
    handle.delete(offsets[7]).await.unwrap();
    handle.react(offsets[3], thumb.clone(), true).await.unwrap();
    handle.react(offsets[9], thumb.clone(), true).await.unwrap();
    handle.react(offsets[9], thumb, false).await.unwrap();
    handle.pin(offsets[3], true).await.unwrap();
    let reply = handle.send("a reply").thread(offsets[3]).await.unwrap();
    reply.position.offset
}

/// What an event did, without what later events make of a message: who reads an
/// old event sees the message as it stands.
fn deed(event: &Event) -> (Offset, String) {
    let what = match &event.change {
        Change::MessagePosted { message } => format!("posted by {}", message.sender),
        Change::MessageEdited {
            message, version, ..
        } => format!("{message} edited to {version}"),
        other => format!("{other:?}"),
    };
    (event.offset, what)
}

/// Both heard the same from the offset on at which the later one began.
fn assert_same_log(channel: &ChannelId, one: &Witness, other: &Witness) {
    let deeds =
        |witness: &Witness| -> Vec<_> { witness.dense_log(channel).iter().map(deed).collect() };
    let (one, other) = (deeds(one), deeds(other));
    let from = one[0].0.max(other[0].0);
    let tail = |all: Vec<(Offset, String)>| -> Vec<_> {
        all.into_iter()
            .filter(|(offset, _)| *offset >= from)
            .collect()
    };
    let (one, other) = (tail(one), tail(other));
    assert!(one.len() as u32 >= MANY, "{}", one.len());
    assert_eq!(one, other);
}

/// The client's own idea of a channel is the server's.
async fn assert_cache_is_right(client: &Client, channel: &ChannelId) {
    let handle = client.channel(channel.clone());
    let pick = |summary: ChannelSummary| (summary.head, summary.last_message, summary.read_state);
    eventually("the cached summary is the server's", || async {
        let served = pick(handle.summary().await.unwrap());
        (pick(handle.cached().await?) == served).then_some(())
    })
    .await;
}

/// The network goes away without a word and comes back: what happened meanwhile
/// comes, what was said meanwhile is sent, once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_connection_resumes() {
    let broker = alert_broker().await;
    let path = Path::to(broker.quic()).await;
    let away = behind(&broker, &path, "away").await;
    let (hears_away, stays) = (Witness::of(&away).await, broker.client("stays").await);
    let hears = Witness::of(&stays).await;
    stays.channel(general()).send("before").await.unwrap();
    hears_away.reads(&general(), "before").await;

    for round in 0..2 {
        let from = hears_away.now();
        path.cut();
        let last = much_happens(&stays, &general()).await;
        hears_away
            .after(from, "the loss", |event| {
                matches!(event, ClientEvent::Disconnected { .. }).then_some(())
            })
            .await;
        let said = format!("said while away {round}");
        let queued = away
            .channel(general())
            .send(said.as_str())
            .enqueue()
            .await
            .unwrap();
        path.mend();
        let posted = within("the queued message", queued).await.unwrap();
        assert!(posted.position.offset > last);
        hears_away.reaches(&general(), posted.position.offset).await;
        hears.reaches(&general(), posted.position.offset).await;
        assert_same_log(&general(), &hears, &hears_away);
        assert_cache_is_right(&away, &general()).await;
    }
}

/// A gap too short to lose the connection is filled by it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_short_gap_is_not_noticed() {
    let broker = Broker::new().await;
    let path = Path::to(broker.quic()).await;
    let away = behind(&broker, &path, "away").await;
    let (hears_away, stays) = (Witness::of(&away).await, broker.client("stays").await);
    let hears = Witness::of(&stays).await;
    stays.channel(general()).send("before").await.unwrap();
    hears_away.reads(&general(), "before").await;
    path.cut();
    let last = much_happens(&stays, &general()).await;
    path.mend();
    hears_away.reaches(&general(), last).await;
    assert_same_log(&general(), &hears, &hears_away);
    let lost = hears_away
        .heard()
        .iter()
        .any(|event| matches!(event, ClientEvent::Disconnected { .. }));
    assert!(!lost, "the connection was not to be lost");
}

/// A process that ends hands on where it was; the next goes on from there, and
/// sends what the first could not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_process_resumes_from_its_saved_state() {
    let mut broker = Broker::new().await;
    let away = broker.client("away").await;
    let (hears_away, stays) = (Witness::of(&away).await, broker.client("stays").await);
    let hears = Witness::of(&stays).await;
    let before = stays.channel(general()).send("before").await.unwrap();
    hears_away.reads(&general(), "before").await;

    // Its last words are said to a broker that is down.
    broker.stop().await;
    let words = away
        .channel(general())
        .send("last words")
        .enqueue()
        .await
        .unwrap();
    let state = away.close_within(Duration::from_millis(50)).await.unwrap();
    assert!(within("the outcome", words).await.is_err());
    assert_eq!(state.posts().len(), 1);
    let bytes = state.to_bytes();
    broker.start().await;

    let last = much_happens(&stays, &general()).await;
    let state = SavedState::from_bytes(&bytes).unwrap();
    let positions: Vec<_> = state.positions().map(|(id, at)| (id.clone(), at)).collect();
    let again = broker.builder("away").state(state).start().unwrap();
    let hears_again = Witness::hearing(again.subscribe_from(positions).await);
    hears_again.reaches(&general(), last).await;
    let settled = hears_again
        .hears("the last words' outcome", |event| match event {
            ClientEvent::PostSettled { result, .. } => Some(result.clone().unwrap()),
            _ => None,
        })
        .await;
    let posted = hears.reads(&general(), "last words").await;
    assert_eq!(posted.offset, settled.position.offset);
    hears_again.reaches(&general(), posted.offset).await;
    let first = hears_again.dense_log(&general())[0].offset;
    assert_eq!(
        first,
        before.position.offset.next(),
        "nothing twice, nothing left out"
    );
    assert_same_log(&general(), &hears, &hears_again);
    let words = hears.messages(&general());
    let times = words
        .iter()
        .filter(|(_, _, content)| content == "last words")
        .count();
    assert_eq!(times, 1);
}

/// A process that dies has only what it saved last: what it had sent meanwhile
/// is sent again by the next, and stands once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_process_posts_nothing_twice() {
    let broker = Broker::new().await;
    let saved = Arc::new(Mutex::new(Vec::new()));
    let into = Arc::clone(&saved);
    let builder = broker.builder("away");
    let builder = builder.save_state(Duration::from_millis(1), move |state| {
        into.lock().push(state.to_bytes());
    });
    let away = builder.connect().await.unwrap();
    let mut sent = Vec::new();
    for number in 0..100 {
        let message = away.channel(general()).send(format!("{number}"));
        sent.push(message.enqueue().await.unwrap());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    for sending in sent {
        within("a post", sending).await.unwrap();
    }
    drop(away);
    // The state of a moment at which most was unacknowledged, as if the process
    // had died then.
    let states = saved.lock().clone();
    let states = states
        .iter()
        .map(|bytes| SavedState::from_bytes(bytes).unwrap());
    let state = states.max_by_key(|state| state.posts().len()).unwrap();
    let unacknowledged = state.posts().len();
    assert!(unacknowledged > 0);
    let again = broker.builder("away").state(state).start().unwrap();
    let hears = Witness::of(&again).await;
    eventually("all outcomes", || async {
        let heard = hears.heard();
        let settled = heard.iter().filter_map(|event| match event {
            ClientEvent::PostSettled { result, .. } => Some(result.clone().unwrap()),
            _ => None,
        });
        let settled: Vec<_> = settled.collect();
        assert!(settled.iter().all(|posted| posted.duplicate));
        (settled.len() == unacknowledged).then_some(())
    })
    .await;
    let head = again.channel(general()).summary().await.unwrap().head;
    let last = again.channel(general()).send("the next").await.unwrap();
    assert_eq!(last.position.offset, head.next(), "no resend was posted");
    let page = again.channel(general()).message(head, false).await.unwrap();
    assert_eq!(&*page.message.content, "99");
}

/// A token that runs out is replaced in place: nobody notices.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_refreshed_in_place() {
    let broker = Setup::new().set("auth.leeway_s", 0).start().await;
    let secret = broker.secret();
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let builder = broker.builder_at(broker.quic()).token_provider(move || {
        count.fetch_add(1, Ordering::SeqCst);
        let token = Token::of("u1").ttl_s(2).sign(&secret);
        async move { Ok(token) }
    });
    let u1 = builder.connect().await.unwrap();
    let hears = Witness::of(&u1).await;
    let until = tokio::time::Instant::now() + Duration::from_secs(5);
    let mut number = 0;
    while tokio::time::Instant::now() < until {
        u1.channel(general())
            .send(format!("{number}"))
            .await
            .unwrap();
        number += 1;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let heard = hears.heard();
    let lost = heard
        .iter()
        .find(|event| matches!(event, ClientEvent::Disconnected { .. }));
    assert_eq!(lost.map(|event| format!("{event:?}")), None);
    let asked = asked.load(Ordering::SeqCst);
    assert!(
        (3..=8).contains(&asked),
        "{asked} tokens in 5 s of 2 s each"
    );
}

/// A token that runs out while there is no other ends the session; with the
/// next token the client goes on where it was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expired_token_resumes_with_the_next() {
    let broker = Setup::new().set("auth.leeway_s", 0).start().await;
    let secret = broker.secret();
    let has_token = Arc::new(AtomicBool::new(true));
    let has = Arc::clone(&has_token);
    let provider = move || {
        let token = Token::of("away").ttl_s(2).sign(&secret);
        // Only the first one, until there are some again.
        let has = has.swap(false, Ordering::SeqCst);
        async move {
            if has {
                Ok(token)
            } else {
                Err(TokenError::Retry)
            }
        }
    };
    let builder = broker.builder_at(broker.quic()).token_provider(provider);
    let away = builder.connect().await.unwrap();
    let (hears_away, stays) = (Witness::of(&away).await, broker.client("stays").await);
    let hears = Witness::of(&stays).await;
    stays.channel(general()).send("before").await.unwrap();
    hears_away.reads(&general(), "before").await;
    let code = hears_away
        .hears("the session's end", |event| match event {
            ClientEvent::Disconnected { reason, .. } => Some(reason.clone()),
            _ => None,
        })
        .await;
    match code {
        DownReason::Server(error) => assert_eq!(error.code(), ErrorCode::TokenExpired),
        other => panic!("{other}"),
    }
    let last = much_happens(&stays, &general()).await;
    let queued = away
        .channel(general())
        .send("I am back")
        .enqueue()
        .await
        .unwrap();
    has_token.store(true, Ordering::SeqCst);
    let back = within("the queued message", queued).await.unwrap();
    assert!(back.position.offset > last);
    hears_away.reaches(&general(), back.position.offset).await;
    hears.reaches(&general(), back.position.offset).await;
    assert_same_log(&general(), &hears, &hears_away);
}

/// What became of a user's channels meanwhile is resumed as well: one is new,
/// one is lost, one was made anew under the same id.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn channels_that_came_and_went_meanwhile_are_known() {
    let broker = alert_broker().await;
    let path = Path::to(broker.quic()).await;
    let stays = broker.client("stays").await;
    let away = behind(&broker, &path, "away").await;
    let hears = Witness::of(&away).await;
    let invited = [user("away")];
    let lost = stays
        .create_group("Lost", "", true, invited.clone(), None)
        .await
        .unwrap();
    hears
        .hears("the group", |event| match event {
            ClientEvent::ChannelAdded { summary, .. } => {
                (summary.channel == lost.channel).then_some(())
            }
            _ => None,
        })
        .await;
    path.cut();
    let from = hears.now();
    let lost_channel = stays.channel(lost.channel.clone());
    lost_channel.remove_members(invited.clone()).await.unwrap();
    lost_channel.send("not for you").await.unwrap();
    let new = stays
        .create_group("New", "", true, invited, None)
        .await
        .unwrap();
    stays
        .channel(new.channel.clone())
        .send("welcome")
        .await
        .unwrap();
    hears
        .after(from, "the loss", |event| {
            matches!(event, ClientEvent::Disconnected { .. }).then_some(())
        })
        .await;
    path.mend();
    hears.reads(&new.channel, "welcome").await;
    hears
        .hears("the lost group", |event| match event {
            ClientEvent::ChannelRemoved { channel } => (*channel == lost.channel).then_some(()),
            _ => None,
        })
        .await;
    let known = away.channels().await;
    let known: Vec<_> = known.into_iter().map(|it| it.channel).collect();
    assert!(
        known.contains(&new.channel) && !known.contains(&lost.channel),
        "{known:?}"
    );
    let after = hears.log(&lost.channel);
    let posted = after
        .iter()
        .any(|it| matches!(it.change, Change::MessagePosted { .. }));
    assert!(!posted, "{after:?}");
}
