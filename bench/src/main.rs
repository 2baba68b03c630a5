//! Confab's load generator.
//!
//! Starts a broker of its own on loopback with its rate limits out of the way,
//! loads it through real QUIC connections, and prints what was acknowledged,
//! delivered, how long it took and what it cost the broker. Load and broker
//! share the machine, so figures compare within one run only.
//!
//! The client here is as lean as the wire allows, for its own cost is on the
//! same cores: it is no model of the SDK.

mod broker;
mod connect;
mod fanout;
mod idle;
mod report;
mod send;
mod wire;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Loads a Confab broker and reports what it does.
#[derive(Parser)]
#[command(version, about)]
struct Args {
    /// The `confab` binary to load; default: the one beside this program.
    #[arg(long)]
    binary: Option<std::path::PathBuf>,
    /// Seconds that each measurement lasts.
    #[arg(long, default_value_t = 8)]
    seconds: u64,
    /// Print JSON lines instead of a table.
    #[arg(long)]
    json: bool,
    /// What to measure; all of it when not said.
    #[command(subcommand)]
    scenario: Option<Scenario>,
}

#[derive(Subcommand)]
enum Scenario {
    /// Durable sends a second with 1, 64 and 1,024 in flight.
    Send,
    /// Deliveries a second into channels of 2, 10 and 50, in bursts.
    Fanout,
    /// Delivery latency at a fixed rate into channels of 50.
    Latency {
        /// Messages a second, over all channels.
        #[arg(long, default_value_t = 1_000)]
        rate: u64,
    },
    /// Memory of a connection that does nothing.
    Idle {
        /// How many connections.
        #[arg(long, default_value_t = 2_000)]
        connections: usize,
    },
    /// Connections a second, from handshake to `Welcome`.
    Connect,
    /// All of these, one after another.
    All,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    runtime.block_on(run(args))
}

async fn run(args: Args) -> Result<()> {
    let mut report = report::Report::new(args.json);
    let binary = broker::binary(args.binary)?;
    let seconds = std::time::Duration::from_secs(args.seconds);
    let scenario = args.scenario.unwrap_or(Scenario::All);
    let all = matches!(scenario, Scenario::All);
    if all || matches!(scenario, Scenario::Send) {
        send::run(&binary, seconds, &mut report).await?;
    }
    if all || matches!(scenario, Scenario::Fanout) {
        fanout::bursts(&binary, seconds, &mut report).await?;
    }
    match scenario {
        Scenario::Latency { rate } => {
            fanout::latency(&binary, seconds, rate, &mut report).await?;
        }
        Scenario::All => fanout::latency(&binary, seconds, 1_000, &mut report).await?,
        _ => {}
    }
    match scenario {
        Scenario::Idle { connections } => idle::run(&binary, connections, &mut report).await?,
        Scenario::All => idle::run(&binary, 2_000, &mut report).await?,
        _ => {}
    }
    if all || matches!(scenario, Scenario::Connect) {
        connect::run(&binary, seconds, &mut report).await?;
    }
    Ok(())
}
