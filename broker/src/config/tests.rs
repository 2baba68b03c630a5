#![allow(clippy::unwrap_used)]

use std::io::Write;

use super::*;
use crate::auth::{KeyMaterial, Secret};

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

fn load_all(
    text: &str,
    environment: &[(&str, &str)],
    overrides: &Overrides,
) -> Result<Loaded, Error> {
    let file = file(text);
    let environment = environment
        .iter()
        .map(|(name, value)| ((*name).into(), (*value).into()));
    load(Some(file.path()), environment, overrides)
}

fn load_text(text: &str) -> Result<Loaded, Error> {
    load_all(text, &[], &Overrides::default())
}

/// The sentences of everything that is wrong.
#[track_caller]
fn wrong(loaded: Result<Loaded, Error>) -> Vec<String> {
    match loaded {
        Err(Error::Invalid(problems)) => problems.into_iter().map(|p| p.sentence).collect(),
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn wrong_text(text: &str) -> String {
    let sentences = wrong(load_text(text));
    assert_eq!(sentences.len(), 1, "{sentences:?}");
    sentences.into_iter().next().unwrap()
}

#[test]
fn nothing_set_means_defaults() {
    let loaded = load(None, [], &Overrides::default()).unwrap();
    assert_eq!(loaded.config, Config::default());
    assert!(loaded.explain().iter().all(|one| one.source == "default"));
}

/// The reference must stay what the program reads.
#[test]
fn the_reference_is_a_file_with_all_defaults() {
    let reference = reference();
    let loaded = load_text(&reference).unwrap();
    assert_eq!(loaded.config, Config::default());
    let set: String = reference
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(setting) if setting.split(" = ").next().is_some_and(is_key) => setting,
            _ => line,
        })
        .collect::<Vec<_>>()
        .join("\n");
    let loaded = load_text(&set).unwrap();
    assert_eq!(loaded.config, Config::default());
    let explained = loaded.explain();
    let unset: Vec<_> = explained
        .iter()
        .filter(|one| one.source == "default")
        .collect();
    assert!(unset.is_empty(), "{unset:?}");
    assert!(explained.iter().all(|one| !one.doc.is_empty()));
}

fn is_key(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b == b'_' || b.is_ascii_digit())
}

#[test]
fn environment_goes_over_the_file_and_flags_over_both() {
    let text = "[listen]\nquic = \"10.0.0.1:1\"\nops = \"10.0.0.1:2\"\nhttp = \"10.0.0.1:3\"\n";
    let environment = [
        ("CONFAB_LISTEN_OPS", "10.0.0.2:2"),
        ("CONFAB_LISTEN_HTTP", "10.0.0.2:3"),
        ("CONFAB_LIMITS_MESSAGES_PER_SECOND", "1_000"),
        ("CONFAB_AUTH_AUDIENCE", "chat, confab"),
    ];
    let overrides = Overrides {
        http: Some("10.0.0.3:3".parse().unwrap()),
        data_dir: Some("/srv/confab".into()),
        settings: vec!["log.level = debug".into()],
        ..Overrides::default()
    };
    let loaded = load_all(text, &environment, &overrides).unwrap();
    let config = &loaded.config;
    assert_eq!(config.listen.quic, "10.0.0.1:1".parse().unwrap());
    assert_eq!(config.listen.ops, "10.0.0.2:2".parse().unwrap());
    assert_eq!(config.listen.http, "10.0.0.3:3".parse().unwrap());
    assert_eq!(config.limits.messages_per_second, 1_000);
    assert_eq!(config.auth.audience, ["chat", "confab"]);
    assert_eq!(config.server.data_dir, PathBuf::from("/srv/confab"));
    assert_eq!(config.log.level, "debug");
    assert!(matches!(
        loaded.source("listen", "quic"),
        Source::File { line: 2, .. }
    ));
    let ops = Source::Environment("CONFAB_LISTEN_OPS".into());
    assert_eq!(loaded.source("listen", "ops"), ops);
    assert_eq!(loaded.source("listen", "http"), Source::Flag("--http"));
    assert!(loaded.to_lines().contains("listen.http = \"10.0.0.3:3\""));
}

/// A typing error must not leave the default in force without a word.
#[test]
fn unknown_names_are_told_with_the_line_and_the_nearest_known() {
    let text = "[server]\n\n[listen]\nquik = \"0.0.0.0:1\"\n";
    let sentence = wrong_text(text);
    assert!(
        sentence.contains("line 4) is not a setting; did you mean listen.quic?"),
        "{sentence}"
    );
    let sentence = wrong_text("[limit]\nmessages_burst = 1\n");
    assert!(
        sentence.contains("[limit]") && sentence.contains("did you mean [limits]?"),
        "{sentence}"
    );
    let sentence = wrong_text("[server]\nheartbeat_interval_ms = 1000\n");
    assert!(
        sentence.contains("did you mean session.heartbeat_interval_ms?"),
        "{sentence}"
    );
    let sentence = wrong_text("quic = 1\n");
    assert!(sentence.contains("did you mean listen.quic?"), "{sentence}");
    let sentence = wrong_text("[tls]\nzzzzzzzzzz = 1\n");
    assert!(sentence.contains("confab check"), "{sentence}");
    let environment = [("CONFAB_LISTEN_QUICK", "0.0.0.0:1")];
    let sentences = wrong(load_all("", &environment, &Overrides::default()));
    assert!(
        sentences[0].contains("CONFAB_LISTEN_QUICK"),
        "{sentences:?}"
    );
    let overrides = Overrides {
        settings: vec!["session.outbox=1".into(), "nonsense".into()],
        ..Overrides::default()
    };
    assert_eq!(wrong(load_all("", &[], &overrides)).len(), 2);
}

#[test]
fn a_jwks_url_is_refused_with_a_way_out() {
    let sentence = wrong_text("[auth]\njwks_url = \"https://id.example/jwks\"\n");
    assert!(sentence.contains("auth.jwks_file"), "{sentence}");
}

/// Client commands and orchestrators use the same prefix.
#[test]
fn foreign_variables_are_left_alone() {
    let environment = [
        ("CONFAB_TOKEN", "x"),
        ("CONFAB_LOG", "debug"),
        ("CONFAB_SERVER", "localhost:4433"),
        ("CONFAB_DATA_DIR", "/x"),
        ("CONFAB_SERVICE_HOST", "10.0.0.1"),
        ("CONFAB_SERVER_SERVICE_HOST", "10.0.0.1"),
        ("CONFAB_SERVER_PORT", "tcp://10.0.0.1:8080"),
        ("CONFAB_SERVER_PORT_8080_TCP_ADDR", "10.0.0.1"),
        ("PATH", "/bin"),
    ];
    let loaded = load_all("", &environment, &Overrides::default()).unwrap();
    assert_eq!(loaded.config, Config::default());
    assert_eq!(loaded.notices.len(), 3);
}

#[test]
fn values_that_cannot_work_are_told_all_at_once() {
    let text = "
[listen]
quic = \"somewhere\"
ops = 9464
[limits]
messages_per_second = 0
messages_burst = -5
channel_messages_burst = 2.5
[session]
outbox_bytes_max = 1
[log]
level = \"inof\"
format = \"xml\"
[auth]
leeway_s = 100000
audience = [1]
";
    let sentences = wrong(load_text(text));
    let all = sentences.join("\n");
    assert_eq!(sentences.len(), 10, "{all}");
    assert!(
        all.contains("line 3) is \"somewhere\", but must be an IP address with a port"),
        "{all}"
    );
    assert!(
        all.contains("line 6) is 0, but must be from 1 to 1,000,000"),
        "{all}"
    );
    assert!(all.contains("is -5, but must be a whole number"), "{all}");
    assert!(all.contains("is 1, but must be from 65,536 to"), "{all}");
    assert!(all.contains("\"inof\", which is not a log filter"), "{all}");
}

#[test]
fn settings_that_do_not_fit_together_are_told() {
    let text = "
[listen]
quic = \"0.0.0.0:5000\"
peer = \"127.0.0.1:5000\"
[tls]
cert = \"cert.pem\"
[session]
heartbeat_interval_ms = 40000
typing_interval_ms = 3000
[raft]
heartbeat_interval_ms = 300
election_timeout_max_ms = 400
[storage]
log_disk_bytes_target = 1048576
";
    let all = wrong(load_text(text)).join("\n");
    for key in [
        "listen.quic and listen.peer",
        "tls.cert and tls.key",
        "session.offline_after_ms",
        "session.typing_timeout_ms",
        "raft.election_timeout_min_ms",
        "raft.election_timeout_max_ms",
        "storage.log_disk_bytes_target",
    ] {
        assert!(all.contains(key), "{key} is not in\n{all}");
    }
}

#[test]
fn what_is_not_toml_is_told_with_its_line() {
    let error = load_text("[server]\ndev = maybe\n").unwrap_err();
    assert!(matches!(error, Error::Syntax { line: 2, .. }), "{error}");
    let error = load_text("[server]\ndev = true\ndev = false\n").unwrap_err();
    assert!(matches!(error, Error::Syntax { .. }), "{error}");
    let missing = load(
        Some("/nowhere/confab.toml".as_ref()),
        [],
        &Overrides::default(),
    );
    assert!(matches!(missing, Err(Error::Read { .. })));
}

#[test]
fn keys_become_what_the_verifier_takes() {
    let text = "
[auth]
secret_file = \"/run/secrets/hs256\"
issuer = \"crm\"
[[auth.keys]]
algorithm = \"RS256\"
kid = \"2026\"
file = \"rsa.pem\"
[[auth.keys]]
algorithm = \"HS256\"
secret = \"a secret of the tests, long enough for HS256\"
";
    let loaded = load_text(text).unwrap();
    let auth = loaded.config.auth();
    let materials: Vec<_> = auth.keys.into_iter().map(|key| key.material).collect();
    assert_eq!(
        materials,
        [
            KeyMaterial::SecretFile("/run/secrets/hs256".into()),
            KeyMaterial::PublicKeyFile("rsa.pem".into()),
            KeyMaterial::Secret(Secret::new("a secret of the tests, long enough for HS256")),
        ]
    );
    assert_eq!((auth.issuer, auth.leeway_s), (vec!["crm".to_owned()], 5));
    for table in [
        "algorithm = \"HS256\"\nfile = \"x\"",
        "algorithm = \"RS256\"\nsecret = \"x\"",
        "algorithm = \"ES256\"",
        "algorithm = \"HS256\"\nsecret = \"x\"\nsecret_file = \"y\"",
        "algorithm = \"none\"",
        "algorithm = \"HS256\"\nsecrte = \"x\"",
    ] {
        let sentence = wrong_text(&format!("[[auth.keys]]\n{table}\n"));
        assert!(sentence.contains("[[auth.keys]]"), "{sentence}");
    }
}

/// What is shown, logged or printed must never hold a secret.
#[test]
fn secrets_are_masked_wherever_they_are_shown() {
    let secret = "hunter2-hunter2-hunter2-hunter2-hunter2";
    let text = format!(
        "[auth]\nsecret = \"{secret}\"\n[[auth.keys]]\nalgorithm = \"HS256\"\nsecret = \"{secret}\"\n"
    );
    let loaded = load_text(&text).unwrap();
    let shown = format!("{:?} {} {:?}", loaded, loaded.to_lines(), loaded.explain());
    assert!(!shown.contains("hunter2"), "{shown}");
    assert!(loaded.to_lines().contains("auth.secret = ***"));
    let environment = [("CONFAB_AUTH_KEYS", secret)];
    let all = wrong(load_all("", &environment, &Overrides::default())).join("\n");
    assert!(!all.contains("hunter2"), "{all}");
    let all = wrong(load_text("[auth]\nsecret = [\"hunter2\"]\n")).join("\n");
    assert!(!all.contains("hunter2"), "{all}");
}

#[test]
fn a_server_needs_a_certificate_and_a_key() {
    let loaded = load_text("").unwrap();
    let error = loaded.require_serving().unwrap_err().to_string();
    assert!(
        error.contains("tls.cert") && error.contains("auth.secret_file"),
        "{error}"
    );
    let text = "[tls]\ncert = \"c\"\nkey = \"k\"\n[auth]\njwks_file = \"j\"\n";
    assert!(load_text(text).unwrap().require_serving().is_ok());
    assert!(
        load_text("[server]\ndev = true\n")
            .unwrap()
            .require_serving()
            .is_ok()
    );
}

/// A development server lets anybody in, so nobody else may reach it.
#[test]
fn a_development_server_binds_to_loopback_only() {
    let dev = Overrides {
        dev: true,
        ..Overrides::default()
    };
    let loaded = load_all("", &[], &dev).unwrap();
    let listen = &loaded.config.listen;
    for address in [listen.quic, listen.http, listen.peer, listen.ops] {
        assert!(address.ip().is_loopback(), "{address}");
    }
    assert_eq!(listen.quic.port(), 4433);
    assert_eq!(loaded.source("listen", "quic"), Source::Development);
    let own = Overrides {
        quic: Some("[::1]:0".parse().unwrap()),
        ..dev.clone()
    };
    assert_eq!(
        load_all("", &[], &own).unwrap().config.listen.quic,
        "[::1]:0".parse().unwrap()
    );
    let all = wrong(load_all("[listen]\nquic = \"0.0.0.0:4433\"\n", &[], &dev)).join("\n");
    assert!(all.contains("use 127.0.0.1:4433"), "{all}");
}

/// The services' own defaults and those of the settings must not drift apart.
#[test]
fn defaults_are_the_services_own() {
    let config = Config::default();
    assert_eq!(config.rates(), crate::limits::RateConfig::default());
    assert_eq!(
        config.connections(),
        crate::limits::ConnectionConfig::default()
    );
    assert_eq!(config.presence(), crate::presence::Config::default());
    assert_eq!(
        config.telemetry(),
        crate::ops::telemetry::LogConfig::default()
    );
    assert_eq!(config.auth(), crate::auth::Config::default());
    let group = confab_replication::GroupConfig::new(confab_replication::NodeId(1));
    assert_eq!(config.group(), group);
    assert_eq!(config.group().check(), Ok(()));
    let session = format!("{:?}", config.session());
    assert!(session.starts_with("SessionConfig"));
    let default = crate::session::SessionConfig::default();
    let ours = crate::session::SessionConfig {
        // The server's own setting rules, for gateways and sessions alike.
        drain_timeout: default.drain_timeout,
        ..config.session()
    };
    assert_eq!(format!("{ours:?}"), format!("{default:?}"));
}
