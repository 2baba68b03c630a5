//! Connections a second, each from its handshake to its `Welcome`.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::broker::Broker;
use crate::report::{Report, histogram, record};

/// Clients that connect at the same time, one connection after another.
const CLIENTS: usize = 16;

pub(crate) async fn run(binary: &Path, lasting: Duration, report: &mut Report) -> Result<()> {
    let broker = Arc::new(Broker::start(binary)?);
    // Users are made once: what is measured is coming back.
    let dialer = broker.dialer()?;
    for client in 0..CLIENTS {
        broker.connect(&dialer, &format!("user-{client}")).await?;
    }
    let (started, cpu) = (Instant::now(), broker.cpu_s()?);
    let mut clients = Vec::new();
    for client in 0..CLIENTS {
        let broker = Arc::clone(&broker);
        clients.push(tokio::spawn(async move {
            let dialer = broker.dialer()?;
            let mut latencies = histogram();
            while started.elapsed() < lasting {
                let begun = Instant::now();
                let connection = broker.connect(&dialer, &format!("user-{client}")).await?;
                record(&mut latencies, begun.elapsed());
                connection.connection.close(0u32.into(), b"done");
            }
            anyhow::Ok(latencies)
        }));
    }
    let mut latencies = histogram();
    for client in clients {
        latencies.add(client.await??)?;
    }
    let elapsed = started.elapsed().as_secs_f64();
    let cpu = broker.cpu_s()? - cpu;
    let connects = latencies.len() as f64;
    report
        .line(format!("connect, {CLIENTS} at once"))
        .number("connects_per_s", connects / elapsed)
        .number("connects_per_core_s", connects / cpu)
        .latency(&latencies)
        .print();
    Ok(())
}
