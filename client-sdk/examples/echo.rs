//! Answers every message that mentions it with its own words.
//!
//! Start a development broker (`cargo xtask run`), then
//!
//! ```text
//! export CONFAB_TOKEN=$(confab token --data-dir DIR --user echo)
//! cargo run -p confab-client --example echo -- 127.0.0.1:4433 DIR/dev-ca.pem echo.state
//! ```
//! and write `@echo` to it, or to `dm-…-echo`. It keeps its state in the last
//! file, so it answers what came while it was stopped.

use std::error::Error;
use std::time::Duration;

use confab_client::{Client, ClientEvent, SavedState};
use confab_protocol::ChannelKind;
use confab_protocol::message::event::Change;
use futures_util::StreamExt;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [server, ca, state] = &arguments[..] else {
        return Err("usage: echo HOST:PORT CA_FILE STATE_FILE, with CONFAB_TOKEN set".into());
    };
    let name = std::env::var("CONFAB_SERVER_NAME").unwrap_or_else(|_| "localhost".to_owned());
    let state_file = state.clone();
    let mut builder = Client::builder(server, name)
        .ca_pem(std::fs::read(ca)?)
        .token(std::env::var("CONFAB_TOKEN")?)
        .agent("echo/0.1")
        .save_state(Duration::from_secs(1), move |state| {
            if let Err(error) = std::fs::write(&state_file, state.to_bytes()) {
                eprintln!("the state is not saved: {error}");
            }
        });
    if let Ok(bytes) = std::fs::read(state) {
        builder = builder.state(SavedState::from_bytes(&bytes)?);
    }
    let (client, mut events) = builder.start_subscribed()?;
    while let Some(event) = events.next().await {
        match event {
            ClientEvent::Connected { user, .. } => println!("connected as {}", user.id),
            ClientEvent::Disconnected {
                reason,
                retry_in_ms,
            } => println!("{reason}; again in {retry_in_ms} ms"),
            ClientEvent::Closed(reason) => return Err(reason.into()),
            ClientEvent::Channel(event) => {
                let Change::MessagePosted { message } = event.event.change else {
                    continue;
                };
                let Some(me) = client.user().await else {
                    continue;
                };
                let meant = event.channel.kind() == ChannelKind::Dm
                    || message.mentions.users.iter().any(|user| user == me.id);
                if message.sender == me.id || !meant || message.content.is_empty() {
                    continue;
                }
                println!(
                    "{} in {}: {}",
                    message.sender, event.channel, message.content
                );
                let answer = client
                    .channel(event.channel)
                    .send(message.content.into_string())
                    .enqueue();
                // The outcome is the queue's business: it is resent until posted.
                drop(answer.await?);
            }
            _ => {}
        }
    }
    Ok(())
}
