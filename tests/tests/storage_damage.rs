//! Disks lie and people delete the wrong directory: what can be rebuilt is, what
//! cannot is said, and nothing ever silently starts empty.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use confab_client::Client;
use confab_protocol::message::channel::{Anchor, ReadState};
use confab_protocol::message::event::Message;
use confab_protocol::{ChannelId, Emoji, Offset};
use confab_tests::{Broker, Finished, Setup, general, seed, user, within};
use futures_util::TryStreamExt;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// A broker that makes checkpoints and purges its log often, so that there is
/// something of everything on its disk.
fn setup() -> Setup {
    Setup::new()
        .set("raft.checkpoint_entries_max", 100)
        .set("raft.checkpoint_bytes_min", 65_536)
        .set("raft.entries_kept_max", 0)
        .set("storage.log_file_bytes", 1 << 20)
        .set("storage.log_disk_bytes_target", 1 << 20)
}

/// What a user finds, of everything that there is.
#[derive(Debug, PartialEq)]
struct Portrait {
    channels: BTreeMap<ChannelId, (u32, Offset, ReadState)>,
    messages: BTreeMap<ChannelId, Vec<Message>>,
    members: BTreeMap<ChannelId, Vec<String>>,
}

async fn portrait(client: &Client) -> Portrait {
    let page = client.channel_page(None, 200).await.unwrap();
    let mut portrait = Portrait {
        channels: BTreeMap::new(),
        messages: BTreeMap::new(),
        members: BTreeMap::new(),
    };
    for summary in page.channels.iter() {
        let channel = summary.channel.clone();
        let handle = client.channel(channel.clone());
        let history = handle.history_stream(Anchor::After(Offset(0)));
        let messages = within("the history", history.try_collect()).await.unwrap();
        portrait.messages.insert(channel.clone(), messages);
        let members = handle.members(None, 200).await.unwrap().members;
        let members = members.iter().map(|member| format!("{member:?}")).collect();
        portrait.members.insert(channel.clone(), members);
        let known = (summary.member_count, summary.head, summary.read_state);
        portrait.channels.insert(channel, known);
    }
    portrait
}

/// Fills a broker with some of everything; answers with what `u2` finds.
async fn fill(broker: &Broker) -> Portrait {
    let (u1, u2) = (broker.client("u1").await, broker.client("u2").await);
    let group = u1
        .create_group("Group", "A topic", true, [user("u2")], None)
        .await
        .unwrap();
    let dm = u1.open_dm(user("u2")).await.unwrap();
    let thumb = Emoji::new("👍").unwrap();
    for channel in [general(), group.channel, dm.channel] {
        let handle = u1.channel(channel.clone());
        let mut first = None;
        let mut sent = Vec::new();
        // One after another makes an entry of each, and so checkpoints; the
        // rest makes bytes.
        for number in 0..120 {
            let posted = handle.send(format!("message {number}")).await.unwrap();
            first.get_or_insert(posted.position.offset);
        }
        for number in 0..300 {
            let content = format!("{number} {}", "x".repeat(900));
            sent.push(handle.send(content).enqueue().await.unwrap());
        }
        for sending in sent {
            within("a post", sending).await.unwrap();
        }
        let first = first.unwrap();
        handle.edit(first, "edited").await.unwrap();
        handle.delete(first.next()).await.unwrap();
        handle.react(first, thumb.clone(), true).await.unwrap();
        handle.pin(first, true).await.unwrap();
        handle
            .send("a reply")
            .thread(first)
            .mention(user("u2"))
            .await
            .unwrap();
        let read = u2
            .channel(channel)
            .mark_read(None, Offset(first.0 + 50))
            .await
            .unwrap();
        assert!(read.read_state.unread > 0);
    }
    portrait(&u2).await
}

/// All files below a directory.
fn files(path: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut directories = vec![path.to_path_buf()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// The whole content of a directory, to put it back or to compare it.
fn content(path: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let files = files(path).into_iter();
    files
        .map(|file| (file.clone(), fs::read(file).unwrap()))
        .collect()
}

fn put_back(path: &Path, content: &[(PathBuf, Vec<u8>)]) {
    fs::remove_dir_all(path).unwrap();
    for (file, bytes) in content {
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, bytes).unwrap();
    }
}

fn scribble(file: &Path, random: &mut StdRng) {
    let length = fs::metadata(file).unwrap().len();
    let file = fs::File::options().write(true).open(file).unwrap();
    for _ in 0..=(length / 4_096).min(64) {
        let noise: [u8; 64] = random.random();
        file.write_all_at(&noise, random.random_range(0..=length))
            .unwrap();
    }
}

/// sled's files are deleted, emptied, cut and overwritten: the next start moves
/// them aside, says so, and everything is there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_state_is_rebuilt() {
    let mut random = StdRng::seed_from_u64(seed());
    let mut broker = setup().start().await;
    let wanted = fill(&broker).await;
    broker.stop().await;
    let state = broker.data_dir().join("state");
    let whole = content(&broker.data_dir());
    assert!(files(&broker.data_dir().join("checkpoints")).len() > 1);
    type Harm = fn(&Path, &mut StdRng);
    let harms: [(&str, Harm); 6] = [
        ("deleted", |state, _| fs::remove_dir_all(state).unwrap()),
        ("emptied", |state, _| {
            for file in files(state) {
                fs::write(file, b"").unwrap();
            }
        }),
        ("cut in half", |state, _| {
            for file in files(state) {
                let length = fs::metadata(&file).unwrap().len();
                fs::File::options()
                    .write(true)
                    .open(file)
                    .unwrap()
                    .set_len(length / 2)
                    .unwrap();
            }
        }),
        ("overwritten here and there", |state, random| {
            for file in files(state) {
                scribble(&file, random);
            }
        }),
        ("replaced by noise", |state, random| {
            for file in files(state) {
                let noise: Vec<u8> = (0..20_000).map(|_| random.random()).collect();
                fs::write(file, noise).unwrap();
            }
        }),
        ("half of its files deleted", |state, random| {
            for file in files(state) {
                if random.random() {
                    fs::remove_file(file).unwrap();
                }
            }
        }),
    ];
    for (name, harm) in harms {
        put_back(&broker.data_dir(), &whole);
        harm(&state, &mut random);
        let before = broker.log().len();
        broker.start().await;
        let log = broker.log().split_off(before);
        let found = portrait(&broker.client("u2").await).await;
        assert_eq!(found, wanted, "{name}");
        if name != "half of its files deleted" {
            assert!(log.contains("rebuilt"), "{name}: {log}");
        }
        // It is whole again, and goes on.
        let posted = broker
            .client("u1")
            .await
            .channel(general())
            .send("after")
            .await
            .unwrap();
        broker.kill_9();
        broker.start().await;
        let u2 = broker.client("u2").await;
        let message = u2
            .channel(general())
            .message(posted.position.offset, false)
            .await;
        assert_eq!(&*message.unwrap().message.content, "after", "{name}");
        broker.stop().await;
        let verified = broker.command(&["verify"]).await;
        assert_eq!(verified.code, Some(0), "{name}: {verified:?}");
    }
}

fn log_files(broker: &Broker) -> Vec<PathBuf> {
    let files = files(&broker.data_dir().join("log"));
    let is_log = |file: &PathBuf| file.extension().is_some_and(|kind| kind == "raftlog");
    files.into_iter().filter(is_log).collect()
}

fn name_of(file: &Path) -> &str {
    file.file_name().unwrap().to_str().unwrap()
}

/// The log is damaged before its end: the broker does not start, says where and
/// what to do; `verify` says the same; the way out works.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_log_is_refused_and_can_be_repaired() {
    // Without checkpoints, so that what the log loses is lost.
    let mut broker = Broker::new().await;
    let wanted = fill(&broker).await;
    broker.stop().await;
    let fine = broker.command(&["verify"]).await;
    assert_eq!(fine.code, Some(0), "{fine:?}");
    let damaged = log_files(&broker).pop().unwrap();
    // The engine may give a file more room than it has written.
    let written = fs::read(&damaged).unwrap();
    let end = written.iter().rposition(|byte| *byte != 0).unwrap();
    let middle = (end / 2) as u64;
    let file = fs::File::options().write(true).open(&damaged).unwrap();
    file.write_all_at(b"damaged!", middle).unwrap();
    drop(file);
    let before = content(&broker.data_dir());

    let refused = broker.refuses().await;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    for part in [name_of(&damaged), "damaged at byte", "confab verify"] {
        assert!(refused.stderr.contains(part), "{part}: {}", refused.stderr);
    }
    let verified = broker.command(&["verify"]).await;
    assert_eq!(verified.code, Some(1));
    assert!(verified.stdout.contains(name_of(&damaged)), "{verified:?}");
    let json = broker.command(&["verify", "--json"]).await;
    let report: serde_json::Value = serde_json::from_str(json.stdout.trim()).unwrap();
    assert_eq!(report["severity"], "refused");
    let would = broker.command(&["verify", "--repair"]).await;
    assert_eq!(would.code, Some(1), "{would:?}");
    assert!(would.stderr.contains("--accept-loss"), "{would:?}");
    assert_unchanged(&broker, &before);

    let repaired = broker
        .command(&["verify", "--repair", "--accept-loss"])
        .await;
    assert_eq!(repaired.code, Some(0), "{repaired:?}");
    broker.start().await;
    let u2 = broker.client("u2").await;
    let found = portrait(&u2).await;
    for (channel, found) in &found.messages {
        let offsets = |messages: &[Message]| -> Vec<_> {
            messages
                .iter()
                .map(|it| (it.offset, it.created_at_ms))
                .collect()
        };
        let (found, wanted) = (offsets(found), offsets(&wanted.messages[channel]));
        assert!(
            wanted.starts_with(&found),
            "what is kept of {channel} is what was before"
        );
    }
    // It goes on from there, over another crash.
    let posted = u2
        .channel(general())
        .send("after the repair")
        .await
        .unwrap();
    broker.kill_9();
    broker.start().await;
    let again = broker.client("u2").await;
    let message = again
        .channel(general())
        .message(posted.position.offset, false)
        .await
        .unwrap();
    assert_eq!(&*message.message.content, "after the repair");
}

/// Nothing but the server's own log of words has changed.
fn assert_unchanged(broker: &Broker, before: &[(PathBuf, Vec<u8>)]) {
    let is_data = |file: &Path| {
        let below = |name| file.starts_with(broker.data_dir().join(name));
        below("log") || below("state") || below("checkpoints") || below("MANIFEST")
    };
    let names = |all: &[(PathBuf, Vec<u8>)]| -> Vec<PathBuf> {
        let all = all.iter().map(|(file, _)| file.clone());
        all.filter(|file| is_data(file)).collect()
    };
    let after = content(&broker.data_dir());
    assert_eq!(names(&after), names(before));
    for ((file, after), (_, before)) in after.iter().zip(before) {
        assert!(
            !is_data(file) || after == before,
            "{} has changed",
            file.display()
        );
    }
}

/// A power cut leaves a batch half written at the log's end: that is no damage,
/// the rest is there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_torn_end_heals() {
    let mut random = StdRng::seed_from_u64(seed());
    let mut broker = setup().start().await;
    let wanted = fill(&broker).await;
    broker.kill_9();
    let last = log_files(&broker).pop().unwrap();
    let bytes = fs::read(&last).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    let torn: Vec<u8> = (0..random.random_range(1..40))
        .map(|_| random.random())
        .collect();
    let file = fs::File::options().write(true).open(&last).unwrap();
    file.write_all_at(&torn, end as u64).unwrap();
    drop(file);
    broker.start().await;
    assert_eq!(portrait(&broker.client("u2").await).await, wanted);
}

/// Parts of the data directory are deleted, in every combination: either all is
/// there, or the broker refuses and says why. It never starts empty.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_silently_starts_empty() {
    const PARTS: [&str; 4] = ["MANIFEST", "log", "state", "checkpoints"];
    let mut broker = setup().start().await;
    let wanted = fill(&broker).await;
    broker.stop().await;
    let whole = content(&broker.data_dir());
    let mut outcomes = Vec::new();
    // All four at once are a new directory, which nobody can tell from an old.
    for which in 1..15u32 {
        put_back(&broker.data_dir(), &whole);
        let parts = (0..4).filter(|place| which & (1 << place) != 0);
        let lost: Vec<_> = parts.map(|place| PARTS[place]).collect();
        for part in &lost {
            let path = broker.data_dir().join(part);
            if path.is_dir() {
                fs::remove_dir_all(path).unwrap();
            } else {
                fs::remove_file(path).unwrap();
            }
        }
        let before = broker.log().len();
        broker.spawn();
        let refused = loop {
            if broker.has_ended() {
                break true;
            }
            if broker
                .get("/readyz")
                .await
                .is_some_and(|it| it.status == 200)
            {
                break false;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        };
        if refused {
            let status = broker.ended().await;
            let log = broker.log().split_off(before);
            assert_eq!(status.code(), Some(1), "{lost:?}: {log}");
            assert!(log.contains("confab: "), "{lost:?}: {log}");
            assert!(!log.contains("panicked"), "{lost:?}: {log}");
            outcomes.push(format!("without {}: refused", lost.join(", ")));
        } else {
            let found = portrait(&broker.client("u2").await).await;
            assert_eq!(found, wanted, "without {lost:?} not all is there");
            outcomes.push(format!("without {}: all is there", lost.join(", ")));
            broker.stop().await;
        }
    }
    eprintln!("{}", outcomes.join("\n"));
    assert!(outcomes.contains(&"without state: all is there".to_owned()));
    assert!(outcomes.contains(&"without log: refused".to_owned()));
}

/// Two brokers on one directory would destroy it: the second does not start.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_serves_one_broker() {
    let broker = Broker::new().await;
    let data_dir = broker.data_dir();
    let arguments = [
        "--quic",
        "127.0.0.1:0",
        "--ops",
        "127.0.0.1:0",
        "--http",
        "127.0.0.1:0",
    ];
    let mut all = vec!["serve", "--dev", "--data-dir", data_dir.to_str().unwrap()];
    all.extend(arguments);
    let second = Finished::run(&all).await;
    assert_eq!(second.code, Some(1), "{second:?}");
    assert!(second.stderr.contains("in use"), "{second:?}");
    let verify = broker.command(&["verify"]).await;
    assert_eq!(verify.code, Some(1), "{verify:?}");
    broker
        .client("u1")
        .await
        .channel(general())
        .send("unharmed")
        .await
        .unwrap();
}
