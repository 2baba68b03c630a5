//! What a connection costs that does nothing.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use crate::broker::Broker;
use crate::report::Report;

pub(crate) async fn run(binary: &Path, connections: usize, report: &mut Report) -> Result<()> {
    let broker = Broker::start(binary)?;
    let dialer = broker.dialer()?;
    // What is made once for all is not a connection's cost.
    let first = broker.connect(&dialer, "user-first").await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let before = broker.resident_bytes()?;
    let mut open = vec![first];
    for number in 0..connections {
        open.push(broker.connect(&dialer, &format!("user-{number}")).await?);
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    let bytes = (broker.resident_bytes()? - before) / connections as f64;
    let cpu = broker.cpu_s()?;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let idle_cores = (broker.cpu_s()? - cpu) / 5.0;
    report
        .line(format!("idle, {connections} connections"))
        .number("kb_per_connection", bytes / 1_000.0)
        .number("broker_cores", idle_cores)
        .print();
    Ok(())
}
