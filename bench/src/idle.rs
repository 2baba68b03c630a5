//! What a connection costs that does nothing.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use crate::broker::Broker;
use crate::report::Report;

/// Users that the connections are of, each with several devices.
const USERS: usize = 600;

pub(crate) async fn run(binary: &Path, connections: usize, report: &mut Report) -> Result<()> {
    let broker = Broker::start(binary)?;
    let dialer = broker.dialer()?;
    // Users, and what else is made once, are not a connection's cost.
    for number in 0..USERS {
        let connection = broker.connect(&dialer, &format!("user-{number}")).await?;
        connection.connection.close(0u32.into(), b"done");
    }
    tokio::time::sleep(Duration::from_secs(8)).await;
    let before = broker.resident_bytes()?;
    let mut open = Vec::new();
    for number in 0..connections {
        let user = format!("user-{}", number % USERS);
        let token = broker.token(&user, false)?;
        open.push(dialer.connect(&token, &format!("device-{number}")).await?);
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
