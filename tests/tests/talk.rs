//! People talk: what two of them see of each other is what chat is for, and
//! every other promise only counts if this is right.
#![allow(clippy::unwrap_used)]

use confab_client::{ClientEvent, RequestError, SendError};
use confab_protocol::message::channel::Anchor;
use confab_protocol::message::event::Change;
use confab_protocol::message::presence::PresenceState;
use confab_protocol::{ChannelId, ChannelKind, Emoji, ErrorCode, Offset};
use confab_tests::{Broker, Setup, Token, Witness, eventually, general, user, within};

/// Who signs in for the first time is in the company's channel and talks there
/// at once, without anybody having set anything up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_users_talk_in_the_companys_channel() {
    let broker = Broker::new().await;
    let (u1, u2) = (broker.client("u1").await, broker.client("u2").await);
    let (hears1, hears2) = (Witness::of(&u1).await, Witness::of(&u2).await);
    for client in [&u1, &u2] {
        let listed = eventually("the channel list", || async {
            client.channels().await.into_iter().next()
        })
        .await;
        assert_eq!(listed.channel, general());
        assert_eq!(listed.kind, ChannelKind::General);
    }
    let asked = u1.channel(general()).send("hello, u2").await.unwrap();
    let message = hears2.reads(&general(), "hello, u2").await;
    assert_eq!(message.sender, user("u1"));
    assert_eq!(message.offset, asked.position.offset);
    let answered = u2.channel(general()).send("hello, u1").await.unwrap();
    assert!(answered.position.offset > asked.position.offset);
    hears1.reads(&general(), "hello, u1").await;
    hears2.reads(&general(), "hello, u1").await;
    assert_eq!(hears1.messages(&general()), hears2.messages(&general()));
}

/// A direct message needs no preparation, and reaches who did not know of the
/// channel.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_direct_message_appears_with_its_first_message() {
    let broker = Broker::new().await;
    let (u1, u2) = (broker.client("u1").await, broker.client("u2").await);
    let hears2 = Witness::of(&u2).await;
    let dm = ChannelId::dm(&user("u1"), &user("u2")).unwrap();
    u1.channel(dm.clone()).send("psst").await.unwrap();
    let summary = hears2
        .hears("the direct messages", |event| match event {
            ClientEvent::ChannelAdded { summary, .. } => Some(summary.clone()),
            _ => None,
        })
        .await;
    assert_eq!(summary.channel, dm);
    assert_eq!(summary.kind, ChannelKind::Dm);
    hears2.reads(&dm, "psst").await;
    let mine = u1.open_dm(user("u2")).await.unwrap();
    assert_eq!(mine.channel, dm, "asking for it finds the same channel");
    let others = broker.client("u3").await;
    let refused = others.channel(dm).history(Anchor::Latest, 0).await;
    assert_not_found(&refused);
}

/// Typing is seen by who has the channel open, ends by itself, and ends when
/// the message comes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn typing_is_seen_and_ends() {
    let broker = Setup::new()
        .set("session.typing_interval_ms", 300)
        .set("session.typing_timeout_ms", 800)
        .start()
        .await;
    let (u1, u2) = (broker.client("u1").await, broker.client("u2").await);
    let hears2 = Witness::of(&u2).await;
    u2.channel(general()).open().await.unwrap();
    let typing = |on| {
        move |event: &ClientEvent| match event {
            ClientEvent::Typing(typing) if typing.on == on => Some(typing.clone()),
            _ => None,
        }
    };
    let mut from = hears2.now();
    // A datagram may be lost, so a person who goes on typing is imitated.
    let begun = async {
        loop {
            u1.channel(general()).typing(None).await;
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    };
    let seen = tokio::select! {
        seen = hears2.after(from, "typing", typing(true)) => seen,
        () = begun => unreachable!("u1 types until it is seen"),
    };
    assert_eq!((seen.user, seen.channel), (user("u1"), general()));
    hears2
        .after(from, "typing's end by itself", typing(false))
        .await;

    from = hears2.now();
    u1.channel(general()).typing(None).await;
    u1.channel(general()).send("done").await.unwrap();
    hears2.reads(&general(), "done").await;
    let after = &hears2.heard()[from..];
    let last = after.iter().rev().find_map(|event| match event {
        ClientEvent::Typing(typing) => Some(typing.on),
        _ => None,
    });
    assert_ne!(last, Some(true), "who has sent does not type: {after:#?}");
}

/// Who comes is seen to come, who goes is seen to go, and a status of one's own
/// is shown.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn presence_is_seen() {
    let broker = Setup::new()
        .set("session.reconnect_grace_ms", 200)
        .set("session.presence_interval_ms", 100)
        .start()
        .await;
    let u1 = broker.client("u1").await;
    let hears1 = Witness::of(&u1).await;
    let state_of_u2 = |event: &ClientEvent| match event {
        ClientEvent::Presence(all) => {
            let mut all = all.iter();
            let of_u2 = all.find(|presence| presence.user == user("u2"));
            of_u2.map(|presence| (presence.state, presence.status.to_string()))
        }
        _ => None,
    };
    let becomes = |state, status: &'static str| {
        move |event: &ClientEvent| (state_of_u2(event)? == (state, status.to_owned())).then_some(())
    };
    let u2 = broker.client("u2").await;
    hears1
        .hears("u2 comes", becomes(PresenceState::Online, ""))
        .await;
    u2.set_presence(PresenceState::Dnd, "in a meeting")
        .await
        .unwrap();
    hears1
        .hears("u2 is busy", becomes(PresenceState::Dnd, "in a meeting"))
        .await;
    let here = u1.channel(general()).open().await.unwrap();
    assert!(here.iter().any(|presence| presence.user == user("u2")));
    let from = hears1.now();
    u2.close().await.unwrap();
    hears1
        .after(from, "u2 goes", |event| {
            (state_of_u2(event)?.0 == PresenceState::Offline).then_some(())
        })
        .await;
}

/// Counts are what people look at first: they follow what was read, here and on
/// the user's other devices, and the sender sees how far it was read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unread_and_mention_counts_follow_reading() {
    let broker = Broker::new().await;
    let (u1, u2) = (broker.client("u1").await, broker.client("u2").await);
    let phone = broker.client("u2").await;
    let hears1 = Witness::of(&u1).await;
    let dm = u1.open_dm(user("u2")).await.unwrap().channel;
    u1.channel(dm.clone()).open().await.unwrap();
    let first = u1.channel(dm.clone()).send("one").await.unwrap();
    u1.channel(dm.clone())
        .send("two")
        .mention(user("u2"))
        .await
        .unwrap();
    let last = u1.channel(dm.clone()).send("three").await.unwrap();
    for device in [&u2, &phone] {
        counts(device, &dm, 3, 1).await;
    }
    counts(&u1, &dm, 0, 0).await;

    let state = u2
        .channel(dm.clone())
        .mark_read(None, first.position.offset)
        .await;
    let state = state.unwrap().read_state;
    assert_eq!((state.unread, state.mentions), (2, 1));
    for device in [&u2, &phone] {
        counts(device, &dm, 2, 1).await;
    }
    let read_by_u2 = |offset| {
        move |event: &ClientEvent| match event {
            ClientEvent::Receipt(receipt) if receipt.user == user("u2") => {
                (receipt.read == offset).then_some(())
            }
            _ => None,
        }
    };
    hears1
        .hears("a receipt", read_by_u2(first.position.offset))
        .await;

    // A mention that is deleted leaves no phantom behind.
    let second = Offset(first.position.offset.0 + 1);
    u1.channel(dm.clone()).delete(second).await.unwrap();
    for device in [&u2, &phone] {
        counts(device, &dm, 1, 0).await;
    }
    u2.channel(dm.clone())
        .mark_read(None, last.position.offset)
        .await
        .unwrap();
    for device in [&u2, &phone] {
        counts(device, &dm, 0, 0).await;
        assert_eq!(device.totals().await.unread, 0);
    }
    hears1
        .hears("a receipt", read_by_u2(last.position.offset))
        .await;

    // Sending reads what came before it.
    u1.channel(dm.clone()).send("four").await.unwrap();
    counts(&u2, &dm, 1, 0).await;
    u2.channel(dm.clone()).send("five").await.unwrap();
    counts(&u2, &dm, 0, 0).await;
    counts(&u1, &dm, 1, 0).await;
    u1.channel(dm.clone())
        .mark_unread(first.position.offset)
        .await
        .unwrap();
    counts(&u1, &dm, 1, 0).await;
}

/// What is done to a message is seen by everybody, in one order, and found
/// again later.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn edits_deletes_reactions_threads_and_pins_are_seen() {
    let broker = Broker::new().await;
    let (u1, u2) = (broker.client("u1").await, broker.client("u2").await);
    let (hears1, hears2) = (Witness::of(&u1).await, Witness::of(&u2).await);
    let (mine, theirs) = (u1.channel(general()), u2.channel(general()));
    let root = mine.send("a questoin").await.unwrap().position.offset;
    let gone = mine.send("never mind").await.unwrap().position.offset;

    let edited = mine.edit(root, "a question").if_version(1).await.unwrap();
    assert_eq!(edited.version, 2);
    let stale = mine.edit(root, "again").if_version(1).await;
    assert_refused(&stale, ErrorCode::Conflict);
    assert_refused(&theirs.edit(root, "not yours").await, ErrorCode::Forbidden);
    mine.delete(gone).await.unwrap();
    let tada = Emoji::new("🎉").unwrap();
    theirs.react(root, tada.clone(), true).await.unwrap();
    mine.react(root, tada.clone(), true).await.unwrap();
    mine.react(root, tada.clone(), false).await.unwrap();
    let reply = theirs.send("an answer").thread(root).await.unwrap();
    let last = theirs.pin(root, true).await.unwrap().position.offset;

    hears1.reaches(&general(), last).await;
    hears2.reaches(&general(), last).await;
    let log = hears2.dense_log(&general());
    assert_eq!(log, hears1.dense_log(&general()));
    let seen: Vec<_> = log
        .iter()
        .filter(|event| event.offset >= root)
        .map(|event| match &event.change {
            Change::MessagePosted { .. } => "posted",
            Change::MessageEdited { .. } => "edited",
            Change::MessageDeleted { .. } => "deleted",
            Change::ReactionAdded { .. } => "reaction added",
            Change::ReactionRemoved { .. } => "reaction removed",
            Change::MessagePinned { .. } => "pinned",
            other => panic!("{other:?}"),
        })
        .collect();
    let wanted = [
        "posted",
        "posted",
        "edited",
        "deleted",
        "reaction added",
        "reaction added",
        "reaction removed",
        "posted",
        "pinned",
    ];
    assert_eq!(seen, wanted);

    let found = theirs.message(root, true).await.unwrap();
    assert_eq!(&*found.message.content, "a question");
    let versions: Vec<_> = found
        .versions
        .iter()
        .map(|it| it.content.to_string())
        .collect();
    assert!(versions.contains(&"a questoin".to_owned()), "{versions:?}");
    assert_eq!(found.message.reply_count, 1);
    assert!(found.message.pinned);
    let reactions = found.message.reactions.to_vec();
    assert_eq!(reactions.len(), 1);
    assert_eq!(reactions[0].users.to_vec(), [user("u2")]);
    let tombstone = theirs.message(gone, true).await.unwrap();
    assert_eq!(&*tombstone.message.content, "");
    assert!(tombstone.versions.iter().all(|it| it.content.is_empty()));
    assert!(tombstone.message.deleted_at_ms.is_some());

    let thread = mine.thread_history(root, Anchor::Latest, 0).await.unwrap();
    let thread: Vec<_> = thread.messages.iter().map(|it| it.offset).collect();
    assert_eq!(thread, [root, reply.position.offset]);
    let info = mine.thread(root).await.unwrap();
    assert!(info.following, "who started a thread follows it");
    assert_eq!(info.read_state.unread, 1);
    let read = mine
        .mark_read(Some(root), reply.position.offset)
        .await
        .unwrap();
    assert_eq!(read.read_state.unread, 0);
    let pins: Vec<_> = mine
        .pins()
        .await
        .unwrap()
        .messages
        .iter()
        .map(|it| it.offset)
        .collect();
    assert_eq!(pins, [root]);
}

/// A client of the company must learn nothing of the company's channel, by
/// whatever door: not even that it exists.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_does_not_see_the_companys_channel() {
    let broker = Broker::new().await;
    let u1 = broker.client("u1").await;
    u1.channel(general()).send("for us only").await.unwrap();
    let outsider = broker.client_with(&Token::of("c1").client()).await;
    let hears = Witness::of(&outsider).await;
    assert!(
        outsider
            .channel_page(None, 100)
            .await
            .unwrap()
            .channels
            .is_empty()
    );
    let channel = outsider.channel(general());
    assert_not_found(&channel.summary().await);
    assert_not_found(&channel.history(Anchor::Latest, 0).await);
    assert_not_found(&channel.message(Offset(1), true).await);
    assert_not_found(&channel.members(None, 10).await);
    assert_not_found(&channel.cursors(None, 10).await);
    assert_not_found(&channel.pins().await);
    assert_not_found(&channel.thread(Offset(1)).await);
    assert_not_found(&channel.mark_read(None, Offset(1)).await);
    assert_not_found(&channel.join().await);
    assert_not_found(&channel.leave().await);
    assert_not_found(&channel.open().await);
    assert_not_found(&channel.edit(Offset(1), "x").await);
    assert_not_found(&channel.delete(Offset(1)).await);
    assert_not_found(
        &channel
            .react(Offset(1), Emoji::new("👍").unwrap(), true)
            .await,
    );
    assert_not_found(&channel.update(Some("mine".into()), None).await);
    let sync = confab_protocol::message::channel::Sync {
        channel: general(),
        after: confab_protocol::Position::default(),
        limit: 0,
    };
    assert_not_found(&outsider.request(sync).await);
    match channel.send("let me in").await {
        Err(SendError::Refused(error)) => assert_eq!(error.code(), ErrorCode::NotFound),
        other => panic!("{other:?}"),
    }
    // The same goes for a channel that does not exist: nobody can tell them apart.
    let nowhere = ChannelId::new("dept-nowhere").unwrap();
    assert_not_found(&outsider.channel(nowhere).summary().await);

    u1.channel(general()).send("still for us").await.unwrap();
    // Something that the outsider does hear, after all that it must not.
    u1.open_dm(user("c1")).await.unwrap();
    hears
        .hears("the direct messages", |event| {
            matches!(event, ClientEvent::ChannelAdded { .. }).then_some(())
        })
        .await;
    assert_eq!(hears.log(&general()), []);
}

/// What one says is on one's other devices too, and counts as read there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_users_devices_see_the_same() {
    let broker = Broker::new().await;
    let (desk, phone) = (broker.client("u1").await, broker.client("u1").await);
    let hears = Witness::of(&phone).await;
    desk.channel(general()).send("from my desk").await.unwrap();
    hears.reads(&general(), "from my desk").await;
    counts(&phone, &general(), 0, 0).await;
    within("closing", desk.close()).await.unwrap();
    phone
        .channel(general())
        .send("from my phone")
        .await
        .unwrap();
}

/// Waits until a client's own cache and the server agree on these counts.
async fn counts(client: &confab_client::Client, channel: &ChannelId, unread: u32, mentions: u32) {
    let handle = client.channel(channel.clone());
    let state = handle.summary().await.unwrap().read_state;
    assert_eq!((state.unread, state.mentions), (unread, mentions));
    let what = format!("{unread} unread and {mentions} mentions in {channel}");
    eventually(&what, || async {
        let state = handle.cached().await?.read_state;
        (state.unread == unread && state.mentions == mentions).then_some(())
    })
    .await;
}

fn assert_not_found<T: std::fmt::Debug>(result: &Result<T, RequestError>) {
    assert_refused(result, ErrorCode::NotFound);
}

fn assert_refused<T: std::fmt::Debug>(result: &Result<T, RequestError>, code: ErrorCode) {
    match result {
        Err(RequestError::Refused(error)) => assert_eq!(error.code(), code, "{error}"),
        other => panic!("{other:?}, but {code} was expected"),
    }
}
