//! Whatever the network, the server and the process do: each channel's events
//! come dense, once and in order, each acknowledged message is in its log once,
//! and the unread counts are those of the log.

#![allow(clippy::unwrap_used)]

mod model;

use std::collections::BTreeMap;

use confab_client::core::{ClientEvent, DownReason, Input};
use confab_protocol::ChannelId;
use model::{World, channel};
use proptest::prelude::*;

const CHANNELS: usize = 5;

#[derive(Clone, Debug)]
enum Step {
    Connect,
    Up(bool, usize),
    Down(bool, usize),
    BreakBulk(usize),
    Cut,
    Restart,
    Say(usize),
    Post(usize),
    Delete(usize, usize),
    Read(usize, u64),
    Recreate(usize),
    Repeat(usize, usize),
    Overflow,
    Behind,
    Congested(bool),
    NoQuorum(bool),
    Lag(u64),
    Advance(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let id = 0..CHANNELS;
    prop_oneof![
        4 => Just(Step::Connect),
        12 => (any::<bool>(), 0usize..9).prop_map(|(bulk, at)| Step::Up(bulk, at)),
        16 => (any::<bool>(), 0usize..9).prop_map(|(bulk, at)| Step::Down(bulk, at)),
        1 => (0usize..9).prop_map(Step::BreakBulk),
        2 => Just(Step::Cut),
        1 => Just(Step::Restart),
        10 => id.clone().prop_map(Step::Say),
        8 => id.clone().prop_map(Step::Post),
        3 => (id.clone(), 0usize..9).prop_map(|(id, at)| Step::Delete(id, at)),
        3 => (id.clone(), 0u64..30).prop_map(|(id, at)| Step::Read(id, at)),
        1 => id.clone().prop_map(Step::Recreate),
        3 => (id, 0usize..9).prop_map(|(id, at)| Step::Repeat(id, at)),
        1 => Just(Step::Overflow),
        2 => Just(Step::Behind),
        2 => any::<bool>().prop_map(Step::Congested),
        2 => any::<bool>().prop_map(Step::NoQuorum),
        1 => (0u64..3).prop_map(Step::Lag),
        6 => (0u64..2_000).prop_map(Step::Advance),
    ]
}

/// Checks what the application hears against one rule: the next offset.
#[derive(Default)]
struct Reader {
    /// The last position of each channel, once anything was heard of it.
    at: BTreeMap<ChannelId, (u64, u64)>,
    checked: usize,
}

impl Reader {
    fn check(&mut self, events: &[ClientEvent]) {
        for event in &events[self.checked..] {
            match event {
                ClientEvent::Reset { channel, epoch } => {
                    let last = self.at.insert(channel.clone(), (epoch.0, 0));
                    assert!(last.is_none_or(|(before, _)| before < epoch.0));
                }
                ClientEvent::Channel(event) => {
                    let offset = event.event.offset.0;
                    let at = self.at.entry(event.channel.clone());
                    let at = at.or_insert((event.epoch.0, offset - 1));
                    assert_eq!((event.epoch.0, offset), (at.0, at.1 + 1));
                    *at = (event.epoch.0, offset);
                }
                _ => {}
            }
        }
        self.checked = events.len();
    }
}

fn run(steps: Vec<Step>) {
    let mut world = World::new(CHANNELS);
    world.server.page_max = 3;
    let mut reader = Reader::default();
    let mut texts = BTreeMap::new();
    for (number, step) in steps.into_iter().enumerate() {
        match step {
            Step::Connect => world.connect(),
            Step::Up(bulk, at) => world.deliver_up(bulk, at),
            Step::Down(bulk, at) => world.deliver_down(bulk, at),
            Step::BreakBulk(at) => world.break_bulk(at),
            Step::Cut => world.cut(DownReason::Lost),
            Step::Restart => world.restart(),
            Step::Say(id) => drop(world.server.say(&channel(id), "other", "hi")),
            Step::Post(id) => {
                let text = format!("post {number}");
                let ticket = world.post(channel(id), &text);
                texts.insert(ticket, (channel(id), text));
            }
            Step::Delete(id, at) => world.server.delete(&channel(id), at),
            Step::Read(id, at) => world.server.read(&channel(id), at),
            Step::Recreate(id) => world.server.recreate(&channel(id)),
            Step::Repeat(id, at) => world.server.repeat(&channel(id), at),
            Step::Overflow => world.server.overflow = true,
            Step::Behind => world.server.behind(),
            Step::Congested(congested) => world.input(Input::Congested(congested)),
            Step::NoQuorum(no_quorum) => world.server.no_quorum = no_quorum,
            Step::Lag(lag) => world.server.lag = lag,
            Step::Advance(ms) => world.advance(ms),
        }
        reader.check(&world.events);
    }
    world.server.behind();
    (world.server.no_quorum, world.server.lag) = (false, 0);
    world.input(Input::Congested(false));
    world.settle();
    reader.check(&world.events);
    check_end(&world, &reader);
}

fn check_end(world: &World, reader: &Reader) {
    assert!(world.core.is_online(), "it comes back by itself");
    let mut times: BTreeMap<String, u32> = BTreeMap::new();
    for (id, log) in &world.server.logs {
        let head = (log.epoch, log.events.len() as u64);
        if let Some(at) = reader.at.get(id) {
            assert_eq!(*at, head, "{id} was heard up to its head");
        }
        let known = world.core.channel(id).unwrap();
        assert_eq!(known.head.0, head.1, "the cache of {id} has the head");
        assert_eq!(known.read_state, log.read_state(), "the counts of {id}");
        for message in log.messages() {
            *times.entry(message.content.to_string()).or_default() += 1;
        }
    }
    assert!(world.core.saved_state().posts().is_empty(), "all is sent");
    for (text, times) in times {
        assert!(times == 1 || !text.starts_with("post"), "{text}: {times}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None,
        ..ProptestConfig::default() })]
    #[test]
    fn events_and_posts_are_exact(steps in prop::collection::vec(step(), 1..250)) {
        run(steps);
    }
}
