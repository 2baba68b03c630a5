//! Who is not in a channel can take nothing from it, not even its share of the
//! rate limits: else anybody who knows an id could silence a channel.

use confab_protocol::message::Answer;
use confab_protocol::message::channel::{CreateGroup, Post};
use confab_protocol::message::event::Mentions;
use confab_protocol::{ChannelId, ErrorCode, Packed, Sequence};
use confab_tests::Setup;

fn post(channel: &ChannelId, sequence: u64) -> Post {
    Post {
        channel: channel.clone(),
        sequence: Sequence(sequence),
        client_message_id: None,
        content: "hello".into(),
        thread_root: None,
        attachments: Packed::default(),
        mentions: Mentions::default(),
    }
}

/// The channel allows three messages at once. Twenty of a stranger are refused
/// as if there were no such channel, and its member's three still go through.
#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_does_not_use_up_a_channels_limit() {
    let broker = Setup::new()
        .set("limits.channel_messages_per_second", 1)
        .set("limits.channel_messages_burst", 3)
        .start()
        .await;
    let mut member = broker.session("member").await;
    let mut stranger = broker.session("stranger").await;
    let group = CreateGroup {
        name: "closed".into(),
        topic: "".into(),
        private: true,
        members: Packed::default(),
        client_id: None,
    };
    let Answer::ChannelInfo(made) = member.ask(10, &group).await else {
        panic!("the group was not made");
    };
    let channel = made.summary.channel;
    for sequence in 1..=20_u32 {
        let request = 100 + sequence;
        stranger
            .send(request, &post(&channel, sequence.into()))
            .await;
        let refusal = stranger.refusal(request).await;
        assert_eq!(refusal.code(), ErrorCode::NotFound, "{refusal}");
    }
    for sequence in 1..=3_u32 {
        let answer = member
            .ask(100 + sequence, &post(&channel, sequence.into()))
            .await;
        assert!(matches!(answer, Answer::Posted(_)), "{answer:?}");
    }
    member.send(200, &post(&channel, 4)).await;
    let refusal = member.refusal(200).await;
    assert_eq!(refusal.code(), ErrorCode::RateLimited, "{refusal}");
}
