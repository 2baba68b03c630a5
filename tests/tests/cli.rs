//! The command line is how people and scripts use Confab first: what it prints,
//! and with which code it ends, is a promise to them.
#![allow(clippy::unwrap_used)]

use confab_protocol::{ChannelId, DepartmentId};
use confab_tests::{Broker, Finished, Running, general, user};
use rustix::process::Signal;
use serde_json::Value;

/// Runs a command as somebody, on a development server's data directory.
async fn run(broker: &Broker, name: &str, arguments: &[&str]) -> Finished {
    let mut all = arguments.to_vec();
    all.extend(["--user", name]);
    broker.command(&all).await
}

fn json(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

/// What is sent can be read, by its sender and by others, and stands where the
/// command said.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn send_and_history_agree() {
    let broker = Broker::new().await;
    let sent = run(&broker, "u1", &["send", "general-company", "hello, all"]).await;
    let (channel, rest) = sent.done()[0].split_once('\t').unwrap();
    let (offset, id) = rest.split_once('\t').unwrap();
    assert_eq!(channel, "general-company");
    let sent = run(&broker, "u1", &["send", "--json", "--dm", "u1x", "psst"]).await;
    assert_eq!(sent.code, Some(1), "u1x does not exist: {sent:?}");
    run(&broker, "u2", &["channels"]).await.done();
    let sent = run(&broker, "u1", &["send", "--json", "--dm", "u2", "psst"]).await;
    let posted = json(sent.done()[0]);
    assert_eq!(posted["channelId"], "dm-u1-u2");

    let history = run(&broker, "u2", &["history", "general-company", "--json"]).await;
    let message = json(history.done()[0]);
    assert_eq!(message["content"], "hello, all");
    assert_eq!(message["sender"], "u1");
    assert_eq!(
        (message["offset"].to_string(), &message["id"]),
        (offset.to_owned(), &id.into())
    );
    let history = run(&broker, "u2", &["history", "dm-u1-u2"]).await;
    assert!(history.done()[0].contains("psst"), "{history:?}");

    // Lines of standard input are messages; escape sequences stay harmless.
    let data_dir = broker.data_dir();
    let arguments = ["send", "general-company", "-", "--user", "u1", "--data-dir"];
    let arguments = [&arguments[..], &[data_dir.to_str().unwrap()]].concat();
    let lines = "one\n\ntwo\r\n\x1b[2Jthree";
    let sent = Finished::run_with(&arguments, &[], lines).await;
    assert_eq!(sent.done().len(), 3);
    let history = run(
        &broker,
        "u2",
        &["history", "general-company", "--limit", "3"],
    )
    .await;
    assert_eq!(history.done().len(), 3);
    assert!(!history.stdout.contains('\x1b'), "{history:?}");
    let before = [
        "history",
        "general-company",
        "--json",
        "--limit",
        "2",
        "--before",
        offset,
    ];
    assert!(run(&broker, "u2", &before).await.done().is_empty());
    let after = [
        "history",
        "general-company",
        "--json",
        "--limit",
        "1",
        "--after",
        offset,
    ];
    assert_eq!(
        json(run(&broker, "u2", &after).await.done()[0])["content"],
        "one"
    );
}

/// A tail that runs over a crash prints every event once, in order, as if
/// nothing had been.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tail_survives_kill_9() {
    let mut broker = Broker::new().await;
    for number in 0..4 {
        let content = format!("before {number}");
        run(&broker, "u1", &["send", "general-company", &content])
            .await
            .done();
    }
    let data_dir = broker.data_dir();
    let data_dir = data_dir.to_str().unwrap();
    let arguments = [
        "tail",
        "general-company",
        "--from",
        "1",
        "--data-dir",
        data_dir,
        "--user",
        "u2",
    ];
    let mut tail = Running::start(&arguments);
    let mut wanted = 1;
    let mut contents = Vec::new();
    let u1 = broker.client("u1").await;
    for round in 0..4 {
        for number in 0..50 {
            u1.channel(general())
                .send(format!("{round} {number}"))
                .await
                .unwrap();
        }
        let head = u1.channel(general()).summary().await.unwrap().head.0;
        while wanted <= head {
            let event = json(&tail.line().await);
            assert_eq!(event["channel"], "general-company");
            assert_eq!(event["event"]["offset"], wanted, "{event}");
            if let Some(content) = event["event"]["change"]["message"]["content"].as_str() {
                contents.push(content.to_owned());
            }
            wanted += 1;
        }
        broker.kill_9();
        broker.start().await;
    }
    let sent = (0..4).flat_map(|round| (0..50).map(move |number| format!("{round} {number}")));
    let sent: Vec<_> = (0..4)
        .map(|number| format!("before {number}"))
        .chain(sent)
        .collect();
    assert_eq!(contents, sent);
    let status = tail.end(Signal::INT).await;
    assert_eq!(status.code(), Some(0), "Ctrl-C is how it ends");

    let once = run(&broker, "u2", &["tail", "general-company", "--once"]).await;
    assert_eq!(once.done().len() as u64, wanted - 1);
    let once = run(&broker, "u2", &["tail", "--all", "--once", "--from", "3"]).await;
    assert_eq!(json(once.done()[0])["event"]["offset"], 3);
}

/// The list of channels has what a person wants to know first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn channels_are_listed_with_their_counts() {
    let broker = Broker::new().await;
    run(&broker, "u2", &["channels"]).await.done();
    let mention = ["send", "general-company", "hello", "--mention", "u2"];
    run(&broker, "u1", &mention).await.done();
    run(&broker, "u1", &["send", "--dm", "u2", "psst"])
        .await
        .done();
    let listed = run(&broker, "u2", &["channels", "--json"]).await;
    let mut listed: Vec<_> = listed.done().into_iter().map(json).collect();
    listed.sort_by_key(|it| it["channel"].to_string());
    assert_eq!(listed[0]["channel"], "dm-u1-u2");
    assert_eq!(listed[0]["readState"]["unread"], 1);
    assert_eq!(listed[1]["channel"], "general-company");
    assert_eq!(listed[1]["readState"]["mentions"], 1);
    let table = run(&broker, "u2", &["channels"]).await;
    assert_eq!(table.done().len(), 3);
    let unread = run(&broker, "u1", &["channels", "--unread", "--json"]).await;
    assert!(unread.done().is_empty(), "one has read what one says");
}

/// An import is checked before it is sent, done in steps, and can be repeated.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_directory_is_imported() {
    let broker = Broker::new().await;
    let file = broker.scratch().join("company.jsonl");
    let lines = [
        r#"{"change":"put_user","id":"ann","name":"Ann","kind":"internal"}"#,
        r#"{"change":"put_user","id":"cleo","name":"Cleo","kind":"client"}"#,
        r#"{"change":"put_department","id":"sales","name":"Sales"}"#,
        r#"{"change":"add_department_member","department":"sales","user":"ann"}"#,
        r#"{"change":"put_project","id":"p","name":"P","team":["ann"],"clients":["cleo"]}"#,
    ];
    std::fs::write(&file, lines.join("\n")).unwrap();
    let path = file.to_str().unwrap();
    let dry = Finished::run(&["directory", "import", path, "--dry-run"]).await;
    assert!(dry.done()[0].contains('5'), "{dry:?}");
    let import = ["directory", "import", path, "--json", "--batch", "2"];
    let imported = json(run(&broker, "root", &import).await.done()[0]);
    assert_eq!(
        (&imported["changes"], &imported["changed"]),
        (&5.into(), &5.into())
    );
    assert_eq!(imported["steps"], 3);
    let again = json(run(&broker, "root", &import).await.done()[0]);
    assert_eq!(again["changed"], 0);
    let ann = broker.client("ann").await;
    let sales = ChannelId::department(&DepartmentId::new("sales").unwrap());
    assert_eq!(ann.channel(sales).summary().await.unwrap().member_count, 1);
    assert_eq!(ann.users([user("cleo")]).await.unwrap().len(), 1);

    std::fs::write(
        &file,
        format!("{}\nnonsense\n{{\"change\":\"fly\"}}\n", lines[0]),
    )
    .unwrap();
    let wrong = run(&broker, "root", &["directory", "import", path]).await;
    assert_eq!(wrong.code, Some(1));
    assert!(
        wrong.stderr.contains("line 2") && wrong.stderr.contains("line 3"),
        "{wrong:?}"
    );
    let nowhere = r#"{"change":"add_department_member","department":"nowhere","user":"ann"}"#;
    std::fs::write(&file, format!("{}\n{nowhere}\n", lines[0])).unwrap();
    let wrong = run(&broker, "root", &["directory", "import", path]).await;
    assert_eq!(wrong.code, Some(1));
    assert!(wrong.stderr.contains("line 2"), "{wrong:?}");
}

/// A token comes out alone, so that `$(confab token …)` works, and lets in.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_lets_in_from_elsewhere() {
    let broker = Broker::new().await;
    let signed = broker
        .command(&["token", "--user", "u1", "--kind", "internal", "--ttl", "5m"])
        .await;
    let [token] = signed.done()[..] else {
        panic!("{signed:?}");
    };
    let ca = broker.data_dir().join("dev-ca.pem");
    let server = broker.quic().to_string();
    let arguments = [
        "channels",
        "--json",
        "--server",
        &server,
        "--ca",
        ca.to_str().unwrap(),
    ];
    let home = broker.scratch().to_str().unwrap();
    let environment = [("CONFAB_TOKEN", token), ("XDG_STATE_HOME", home)];
    let listed = Finished::run_with(&arguments, &environment, "").await;
    assert_eq!(json(listed.done()[0])["channel"], "general-company");
    let environment = [("CONFAB_TOKEN", "no token"), ("XDG_STATE_HOME", home)];
    let refused = Finished::run_with(&arguments, &environment, "").await;
    assert_eq!(refused.code, Some(1));
    assert_eq!(
        json(refused.stderr.trim())["error"]["code"],
        "token_invalid"
    );
    let client = broker
        .command(&["token", "--user", "c1", "--kind", "client"])
        .await;
    let environment = [("CONFAB_TOKEN", client.done()[0]), ("XDG_STATE_HOME", home)];
    let listed = Finished::run_with(&arguments, &environment, "").await;
    assert!(listed.done().is_empty(), "{listed:?}");
}

/// 0 done, 1 refused or failed, 2 wrong usage; errors go to standard error, in
/// words or as JSON, and say what to do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exit_codes_tell_what_happened() {
    let mut broker = Broker::new().await;
    run(&broker, "u1", &["channels"]).await.done();
    let version = Finished::run(&["version", "--json"]).await;
    assert_eq!(json(version.done()[0])["protocolMax"], 1);
    Finished::run(&["--help"]).await.done();

    for wrong in [
        &["fly"][..],
        &[],
        &["send"],
        &["history"],
        &["history", "no channel"],
        &["channels", "--user", "a b"],
        &["channels", "--server", "nowhere", "--data-dir", "x"],
        &["token", "--data-dir", "x", "--user", "u1", "--ttl", "5"],
        &["verify"],
        &["verify", "--data-dir", "x", "--accept-loss"],
        &["channels"],
    ] {
        let finished = Finished::run(wrong).await;
        assert_eq!(finished.code, Some(2), "{wrong:?}: {finished:?}");
        assert!(
            finished.stdout.is_empty() && !finished.stderr.is_empty(),
            "{finished:?}"
        );
    }
    let usage = Finished::run(&["fly", "--json"]).await;
    assert_eq!(
        (usage.code, &json(usage.stderr.trim())["error"]["code"]),
        (Some(2), &"usage".into())
    );

    let missing = run(&broker, "u1", &["history", "dept-nowhere", "--json"]).await;
    assert_eq!(missing.code, Some(1));
    assert_eq!(json(missing.stderr.trim())["error"]["code"], "not_found");
    let missing = run(&broker, "u1", &["history", "dept-nowhere"]).await;
    assert_eq!(missing.code, Some(1));
    assert_eq!(missing.stderr.lines().count(), 1, "{missing:?}");
    assert!(missing.stderr.starts_with("confab: "), "{missing:?}");
    let nowhere = broker.scratch().join("nowhere");
    let nowhere = nowhere.to_str().unwrap();
    let absent = Finished::run(&["channels", "--data-dir", nowhere, "--user", "u1"]).await;
    assert_eq!(absent.code, Some(1));
    assert!(absent.stderr.contains("confab serve --dev"), "{absent:?}");
    let absent = Finished::run(&["verify", "--data-dir", nowhere]).await;
    assert_eq!(absent.code, Some(1));

    // A server that is not there is waited for only as long as is said.
    broker.stop().await;
    let down = run(&broker, "u1", &["channels", "--timeout", "1s", "--json"]).await;
    assert_eq!(down.code, Some(1));
    assert_eq!(json(down.stderr.trim())["error"]["code"], "unreachable");
    // Nobody could connect to a server without keys, so it does not start.
    let bare = Finished::run(&["serve", "--data-dir", nowhere]).await;
    assert_eq!(bare.code, Some(1), "{bare:?}");
    assert!(bare.stderr.contains("--dev"), "{bare:?}");
    let open = [
        "serve",
        "--dev",
        "--data-dir",
        nowhere,
        "--quic",
        "0.0.0.0:0",
    ];
    let open = Finished::run(&open).await;
    assert_eq!(open.code, Some(1), "{open:?}");
    assert!(open.stderr.contains("loopback"), "{open:?}");
    let config = broker.scratch().join("confab.toml");
    std::fs::write(&config, "[server]\ndata_dri = \"x\"\n").unwrap();
    let check = Finished::run(&["check", "--config", config.to_str().unwrap()]).await;
    assert_eq!(check.code, Some(1), "{check:?}");
    assert!(
        check.stderr.contains("data_dir"),
        "the nearest name is told: {check:?}"
    );
}
