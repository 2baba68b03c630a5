//! Nothing acknowledged is lost, nothing stands twice, and all readers see one
//! order, however often the broker is killed: the first promise of all.
#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use confab_protocol::Offset;
use confab_protocol::message::channel::Anchor;
use confab_tests::{Broker, Senders, Setup, Witness, found, general, seed, user, within};
use futures_util::TryStreamExt;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

const SENDERS: usize = 8;
const KILLS: usize = 20;

/// Eight clients send into two channels of different shards while the broker is
/// killed twenty times, also while it recovers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_survives_kill_9() {
    let mut random = StdRng::seed_from_u64(seed());
    let mut broker = Broker::new().await;
    let names: Vec<_> = (0..SENDERS).map(|number| format!("s{number}")).collect();
    let readers = [broker.client("r1").await, broker.client("r2").await];
    let mut clients = Vec::new();
    for name in &names {
        clients.push(broker.client(name).await);
    }
    let members = names.iter().map(|name| user(name)).chain([user("r2")]);
    let group = readers[0]
        .create_group("Busy", "", true, members, None)
        .await;
    let channels = [general(), group.unwrap().channel];
    let witnesses = [
        Witness::of(&readers[0]).await,
        Witness::of(&readers[1]).await,
    ];

    let named = names.iter().map(String::as_str).zip(&clients);
    let senders = Senders::start(named, &channels, &mut random);

    for _ in 0..KILLS {
        let running = Duration::from_millis(random.random_range(20..600));
        tokio::time::sleep(running).await;
        broker.kill_9();
        if random.random_ratio(1, 4) {
            // Once more, while it reads its logs or has just begun to serve.
            broker.spawn();
            let starting = Duration::from_millis(random.random_range(0..400));
            tokio::time::sleep(starting).await;
            broker.kill_9();
        }
        broker.start().await;
    }
    let acknowledged = senders.stop().await;
    assert!(
        acknowledged.len() > KILLS * SENDERS,
        "{}",
        acknowledged.len()
    );

    for channel in &channels {
        let last = within("the head", readers[0].channel(channel.clone()).summary()).await;
        let last = last.unwrap().head;
        for witness in &witnesses {
            witness.reaches(channel, last).await;
        }
        let seen = witnesses[0].messages(channel);
        assert_eq!(seen, witnesses[1].messages(channel), "one order for all");
        let found = found(channel, &seen, &acknowledged);
        let here = acknowledged.iter().filter(|(_, (at, _))| at == channel);
        assert_eq!(
            found.len(),
            here.count(),
            "all in {channel} is acknowledged"
        );
    }

    // The same again from what is stored, by somebody who was not there.
    broker.kill_9();
    broker.start().await;
    let late = broker.client("r2").await;
    for channel in &channels {
        let history = late
            .channel(channel.clone())
            .history_stream(Anchor::After(Offset(0)));
        let stored: Vec<_> = within("the history", history.try_collect()).await.unwrap();
        let stored: Vec<_> = stored
            .iter()
            .map(|it| (it.offset, it.sender.to_string(), it.content.to_string()))
            .collect();
        assert_eq!(
            stored,
            witnesses[0].messages(channel),
            "what is stored is what was seen"
        );
    }
    eprintln!("{} messages over {KILLS} kills", acknowledged.len());
}

/// A crash must not cost minutes: recovery follows the log's tail, not its
/// length.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_broker_is_soon_back() {
    let mut broker = Broker::new().await;
    let u1 = broker.client("u1").await;
    let mut sent = Vec::new();
    for number in 0..2_000 {
        let message = u1.channel(general()).send(format!("message {number}"));
        sent.push(message.enqueue().await.unwrap());
    }
    let mut last = Offset(0);
    for sending in sent {
        last = within("an acknowledgement", sending)
            .await
            .unwrap()
            .position
            .offset;
    }
    broker.kill_9();
    let killed = Instant::now();
    broker.start().await;
    let took = killed.elapsed();
    let head = u1.channel(general()).summary().await.unwrap().head;
    assert_eq!(head, last);
    // Far above what it should take, for the machine may be busy.
    assert!(took < Duration::from_secs(10), "{took:?}");
    eprintln!("back after {took:?}");
}

/// A client that only listens sends next to nothing, and a broker that was
/// killed has said no farewell: it must be missed all the same, as shipped.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_only_listens_comes_back() {
    let mut broker = Setup::as_shipped().start().await;
    let listener = broker.client("listener").await;
    let hears = Witness::of(&listener).await;
    broker.kill_9();
    broker.start().await;
    let killed = Instant::now();
    let u1 = broker.client("u1").await;
    u1.channel(general()).send("are you there?").await.unwrap();
    hears.reads(&general(), "are you there?").await;
    eprintln!("the listener was back after {:?}", killed.elapsed());
}
