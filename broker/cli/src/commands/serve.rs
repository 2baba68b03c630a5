//! `confab serve`: the broker.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use confab_broker::config::development::{self, Addresses};
use confab_broker::node::{self, NodeError};
use confab_broker::ops::telemetry;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::check;
use crate::arguments::ServeArguments;
use crate::failure::Failure;
use crate::output::{Output, signals};

/// Where the broker listens, for `--json`.
#[derive(Serialize)]
struct Listening {
    quic: String,
    http: Option<String>,
    ops: Option<String>,
}

pub(crate) fn run(arguments: &ServeArguments, json: bool) -> Result<(), Failure> {
    let mut loaded = check::load(&arguments.server)?;
    loaded.require_serving().map_err(check::failure)?;
    telemetry::init(&loaded.config.telemetry())
        .map_err(|error| Failure::new("configuration", error.to_string()))?;
    for notice in &loaded.notices {
        tracing::warn!("{notice}");
    }
    let data_dir = loaded.config.server.data_dir.clone();
    let dev = loaded.config.server.dev;
    if dev {
        let files = development::prepare(&data_dir, SystemTime::now())
            .map_err(|error| Failure::new("development", error.to_string()))?;
        development::apply(&mut loaded, &files);
    }
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.enable_all();
    // 0 leaves it to the runtime: one for each core.
    if let Ok(threads @ 1..) = usize::try_from(loaded.config.server.worker_threads) {
        runtime.worker_threads(threads);
    }
    let runtime = runtime
        .build()
        .map_err(|error| Failure::new("system", format!("cannot start: {error}")))?;
    let result = runtime.block_on(async {
        let shutdown = CancellationToken::new();
        watch_signals(shutdown.clone())?;
        let ready = |addresses: Addresses| {
            if dev && let Err(error) = development::announce(&data_dir, &addresses) {
                tracing::error!(%error, "client commands will not find this server");
            }
            announce(&addresses, dev.then_some(&*data_dir), json);
        };
        node::run(loaded.config, ready, shutdown)
            .await
            .map_err(|error| failure(&error))
    });
    runtime.shutdown_timeout(std::time::Duration::from_secs(5));
    result
}

/// The first signal drains, the second ends at once.
fn watch_signals(shutdown: CancellationToken) -> Result<(), Failure> {
    let mut signals = signals()
        .map_err(|error| Failure::new("system", format!("cannot listen for signals: {error}")))?;
    tokio::spawn(async move {
        let signal = signals.next().await;
        tracing::info!(signal, "shutting down; a second signal ends at once");
        shutdown.cancel();
        let signal = signals.next().await;
        tracing::warn!(signal, "ending at once");
        std::process::exit(1);
    });
    Ok(())
}

/// Says where the broker listens, and in development what to type next. That
/// nobody reads it is no reason to stop.
fn announce(addresses: &Addresses, data_dir: Option<&Path>, json: bool) {
    let mut output = Output::new();
    let said = if json {
        let text = |address: std::net::SocketAddr| address.to_string();
        output.json(&Listening {
            quic: text(addresses.quic),
            http: addresses.http.map(text),
            ops: addresses.ops.map(text),
        })
    } else {
        output.text(&listening_text(addresses, data_dir))
    };
    let _ = said.and_then(|()| output.flush());
}

fn listening_text(addresses: &Addresses, data_dir: Option<&Path>) -> String {
    let mut text = format!("Confab is ready.\n  clients   {} (QUIC)\n", addresses.quic);
    if let Some(http) = addresses.http {
        text.push_str(&format!("  web       http://{http}\n"));
    }
    if let Some(ops) = addresses.ops {
        text.push_str(&format!("  metrics   http://{ops}/metrics\n"));
    }
    if let Some(data_dir) = data_dir {
        let data_dir = data_dir.display();
        let confab = std::env::args_os().next().map_or_else(
            || "confab".to_owned(),
            |program| PathBuf::from(program).display().to_string(),
        );
        text.push_str(&format!(
            "\nIn another terminal:\n  {confab} chat --data-dir {data_dir} --user u1\n"
        ));
    }
    text
}

fn failure(error: &NodeError) -> Failure {
    let code = match error {
        NodeError::DataDir(_) => "data_dir",
        NodeError::Log(_) | NodeError::State(_) | NodeError::StorageFailed(_) => "storage",
        NodeError::Start(_) | NodeError::Initialize(_) | NodeError::GroupStopped(_) => {
            "replication"
        }
        NodeError::Keys(_) | NodeError::NoCertificate => "configuration",
        NodeError::Quic(_) | NodeError::Ops(_) => "listen",
        NodeError::Directory(error) => error.code().name(),
        _ => "internal",
    };
    Failure::new(code, error.to_string())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{Addresses, listening_text};

    /// Who just started it must not have to look for what to do next.
    #[test]
    fn a_development_server_says_what_to_type() {
        let addresses = Addresses {
            quic: "127.0.0.1:4433".parse().unwrap(),
            http: None,
            ops: Some("127.0.0.1:9464".parse().unwrap()),
        };
        let text = listening_text(&addresses, Some("dev-data".as_ref()));
        assert!(text.contains("127.0.0.1:4433 (QUIC)"));
        assert!(text.contains("http://127.0.0.1:9464/metrics"));
        assert!(text.contains("chat --data-dir dev-data --user u1"));
        assert!(!listening_text(&addresses, None).contains("chat"));
    }
}
