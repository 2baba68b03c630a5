#![allow(clippy::unwrap_used)]

use super::*;

const NODE: NodeId = NodeId(2);
const START_MS: u64 = 1_000_000;

use PresenceState::{Away, Dnd, Offline, Online};

fn user(id: &str) -> UserId {
    UserId::new(id).unwrap()
}

fn device(id: &str) -> DeviceId {
    DeviceId::new(id).unwrap()
}

/// A machine on a clock that stands where the test puts it.
struct Fixture {
    machine: Machine,
    now_ms: u64,
}

impl Fixture {
    fn new() -> Self {
        Self::with(Config::default())
    }

    fn with(config: Config) -> Self {
        Self {
            machine: Machine::new(config),
            now_ms: START_MS,
        }
    }

    fn connect(&mut self, session: SessionId, id: &str, device_id: &str) {
        self.machine
            .connect(self.now_ms, session, &user(id), &device(device_id));
    }

    fn general(&mut self, members: &[&str]) {
        let members = members.iter().map(|id| user(id)).collect();
        let general = ChannelId::general();
        self.machine
            .set_members(self.now_ms, &general, Some(members));
    }

    fn choose(&mut self, session: SessionId, state: PresenceState, status: &str) {
        self.machine
            .choose(self.now_ms, session, state, status.into());
    }

    /// Lets time pass to `now_ms`, as the shell does: tick by tick.
    fn pass_to(&mut self, now_ms: u64) -> Told {
        let mut told = Told::default();
        while let Some(due_ms) = self.machine.deadline()
            && due_ms <= now_ms
        {
            self.now_ms = due_ms.max(self.now_ms);
            let more = self.machine.tick(self.now_ms);
            told.notices.extend(more.notices);
            told.deltas.extend(more.deltas);
        }
        self.now_ms = now_ms;
        told
    }

    fn pass(&mut self, by_ms: u64) -> Told {
        self.pass_to(self.now_ms + by_ms)
    }

    /// Lets time pass while the sessions show that they live.
    fn pass_alive(&mut self, by_ms: u64, sessions: &[SessionId], active: bool) -> Told {
        let end_ms = self.now_ms + by_ms;
        let mut told = Told::default();
        while self.now_ms < end_ms {
            let more = self.pass_to((self.now_ms + 25_000).min(end_ms));
            told.notices.extend(more.notices);
            for session in sessions {
                self.machine.heartbeat(self.now_ms, *session, active);
            }
        }
        told
    }

    fn state(&self, id: &str) -> PresenceState {
        self.machine.of(self.now_ms, [&user(id)])[0].state
    }
}

/// What `session` was told, in order.
fn heard(told: &Told, session: SessionId) -> Vec<(String, PresenceState)> {
    told.notices
        .iter()
        .filter(|(sessions, _)| sessions.contains(&session))
        .flat_map(|(_, users)| users)
        .map(|shown| (shown.user.to_string(), shown.state))
        .collect()
}

fn says(id: &str, state: PresenceState) -> (String, PresenceState) {
    (id.to_owned(), state)
}

/// Two users share a channel: each learns that the other is there, whoever
/// came first.
#[test]
fn users_of_a_channel_hear_of_each_other() {
    let mut fixture = Fixture::new();
    fixture.connect(1, "ann", "laptop");
    fixture.general(&["ann", "bob", "cem"]);
    assert_eq!(heard(&fixture.pass(1_000), 1), [says("ann", Online)]);
    fixture.connect(2, "bob", "laptop");
    fixture.connect(9, "eve", "laptop");
    let told = fixture.pass(1_000);
    assert_eq!(heard(&told, 1), [says("bob", Online)]);
    let mut second = heard(&told, 2);
    second.sort();
    assert_eq!(second, [says("ann", Online), says("bob", Online)]);
    assert_eq!(
        heard(&told, 9),
        [says("eve", Online)],
        "who shares nothing hears nothing"
    );
}

#[test]
fn silence_makes_offline_after_a_minute() {
    let mut fixture = Fixture::new();
    fixture.connect(1, "ann", "laptop");
    fixture.connect(2, "bob", "laptop");
    fixture.general(&["ann", "bob"]);
    let _ = fixture.pass_alive(50_000, &[1, 2], true);
    let told = fixture.pass_alive(59_999, &[1], true);
    assert_eq!(heard(&told, 1), []);
    let told = fixture.pass_alive(200, &[1], true);
    assert_eq!(heard(&told, 1), [says("bob", Offline)]);
    let bob = &fixture.machine.of(fixture.now_ms, [&user("bob")])[0];
    assert_eq!(
        bob.last_seen_ms,
        START_MS + 50_000,
        "when it was last heard of"
    );
    fixture.machine.heartbeat(fixture.now_ms, 2, false);
    let told = fixture.pass(2_000);
    assert_eq!(heard(&told, 1), [says("bob", Online)], "it was only asleep");
}

#[test]
fn idleness_makes_away_and_activity_ends_it() {
    let mut fixture = Fixture::new();
    fixture.connect(1, "ann", "laptop");
    fixture.connect(2, "bob", "laptop");
    fixture.general(&["ann", "bob"]);
    let _ = fixture.pass(200);
    let told = fixture.pass_alive(301_000, &[2], false);
    assert_eq!(heard(&told, 2), [says("ann", Offline), says("bob", Away)]);
    fixture.machine.heartbeat(fixture.now_ms, 2, true);
    assert_eq!(heard(&fixture.pass(1_100), 2), [says("bob", Online)]);
}

/// A page is loaded again, a phone changes networks: nobody sees it flicker.
#[test]
fn a_quick_reconnect_is_not_seen() {
    let mut fixture = Fixture::new();
    fixture.connect(1, "ann", "laptop");
    fixture.connect(2, "bob", "laptop");
    fixture.general(&["ann", "bob"]);
    let _ = fixture.pass(10_000);
    fixture.machine.disconnect(fixture.now_ms, 2, true);
    assert_eq!(heard(&fixture.pass(4_000), 1), []);
    assert_eq!(fixture.state("bob"), Online);
    fixture.connect(3, "bob", "laptop");
    assert_eq!(heard(&fixture.pass(20_000), 1), []);
    fixture.machine.disconnect(fixture.now_ms, 3, true);
    assert_eq!(heard(&fixture.pass(5_200), 1), [says("bob", Offline)]);
}

#[test]
fn a_session_that_ends_for_good_is_gone_at_once() {
    let mut fixture = Fixture::new();
    fixture.connect(1, "ann", "laptop");
    fixture.connect(2, "bob", "laptop");
    fixture.general(&["ann", "bob"]);
    let _ = fixture.pass(10_000);
    fixture.machine.disconnect(fixture.now_ms, 2, false);
    assert_eq!(fixture.state("bob"), Offline);
    assert_eq!(heard(&fixture.pass(100), 1), [says("bob", Offline)]);
}

#[test]
fn the_greatest_over_the_devices_is_shown() {
    let mut fixture = Fixture::new();
    fixture.connect(1, "ann", "laptop");
    fixture.connect(2, "ann", "phone");
    fixture.choose(1, Dnd, "");
    assert_eq!(fixture.state("ann"), Online);
    fixture.choose(2, Away, "");
    assert_eq!(fixture.state("ann"), Dnd);
    fixture.machine.disconnect(fixture.now_ms, 1, false);
    assert_eq!(fixture.state("ann"), Away);
}

/// Who hides is offline for everybody, text included, and stays hidden when
/// its connection comes back.
#[test]
fn an_invisible_user_does_not_show_by_reconnecting() {
    let mut fixture = Fixture::new();
    fixture.connect(1, "ann", "laptop");
    fixture.connect(2, "bob", "laptop");
    fixture.general(&["ann", "bob"]);
    let _ = fixture.pass(10_000);
    fixture.choose(2, Offline, "secretly here");
    let told = fixture.pass(200);
    assert_eq!(heard(&told, 1), [says("bob", Offline)]);
    let hidden_at_ms = fixture.now_ms - 200;
    let _ = fixture.pass_alive(100_000, &[1, 2], true);
    fixture.choose(2, Offline, "another text");
    fixture.machine.disconnect(fixture.now_ms, 2, true);
    fixture.connect(3, "bob", "laptop");
    assert_eq!(heard(&fixture.pass(5_000), 1), []);
    let bob = &fixture.machine.of(fixture.now_ms, [&user("bob")])[0];
    assert_eq!((bob.state, &*bob.status), (Offline, ""));
    assert_eq!(
        bob.last_seen_ms, hidden_at_ms,
        "nor does its last seen time move"
    );
    fixture.choose(3, Online, "back");
    let told = fixture.pass(2_000);
    assert_eq!(heard(&told, 1), [says("bob", Online)]);
}

#[test]
fn changes_are_told_once_a_second_and_only_if_they_last() {
    let mut fixture = Fixture::new();
    fixture.connect(1, "ann", "laptop");
    fixture.connect(2, "bob", "laptop");
    fixture.general(&["ann", "bob"]);
    let _ = fixture.pass(2_000);
    let mut times = Vec::new();
    for round in 0..40_u64 {
        let state = if round % 2 == 0 { Dnd } else { Online };
        fixture.choose(2, state, &format!("text {round}"));
        let told = fixture.pass(100);
        if !heard(&told, 1).is_empty() {
            times.push(fixture.now_ms);
        }
    }
    assert!((4..=5).contains(&times.len()), "{times:?}");
    assert!(
        times.windows(2).all(|pair| pair[1] - pair[0] >= 1_000),
        "{times:?}"
    );
    let _ = fixture.pass(2_000);
    fixture.choose(2, Dnd, "text 39");
    fixture.choose(2, Online, "text 39");
    assert_eq!(
        heard(&fixture.pass(2_000), 1),
        [],
        "what flips back is not told"
    );
}

#[test]
fn watched_users_are_heard_of_without_a_channel() {
    let mut fixture = Fixture::new();
    fixture.connect(1, "ann", "laptop");
    fixture
        .machine
        .watch(1, vec![user("bob"), user("bob"), user("cem")]);
    fixture.machine.watch(1, vec![user("bob")]);
    fixture.connect(2, "bob", "laptop");
    fixture.connect(3, "cem", "laptop");
    assert_eq!(
        heard(&fixture.pass(200), 1),
        [says("ann", Online), says("bob", Online)]
    );
    fixture.machine.watch(1, Vec::new());
    fixture.machine.disconnect(fixture.now_ms, 2, false);
    assert_eq!(heard(&fixture.pass(2_000), 1), []);
    assert!(fixture.machine.watchers.is_empty());
}

/// Who leaves a channel hears no more of its members; who joins is introduced.
#[test]
fn members_that_come_and_go_are_followed() {
    let mut fixture = Fixture::new();
    fixture.connect(1, "ann", "laptop");
    fixture.connect(2, "bob", "laptop");
    fixture.connect(3, "cem", "laptop");
    fixture.general(&["ann", "bob"]);
    let _ = fixture.pass(2_000);
    fixture.general(&["ann", "cem"]);
    let told = fixture.pass(2_000);
    assert_eq!(heard(&told, 1), [says("cem", Online)]);
    let mut third = heard(&told, 3);
    third.sort();
    assert_eq!(third, [says("ann", Online), says("cem", Online)]);
    fixture.choose(1, Dnd, "");
    let told = fixture.pass(2_000);
    assert_eq!(heard(&told, 2), []);
    assert_eq!(heard(&told, 3), [says("ann", Dnd)]);
}

#[test]
fn a_channel_that_grows_too_large_is_silent() {
    let mut fixture = Fixture::with(Config {
        channel_members_max: 2,
        ..Config::default()
    });
    fixture.connect(1, "ann", "laptop");
    fixture.connect(2, "bob", "laptop");
    fixture.general(&["ann", "bob"]);
    let _ = fixture.pass(2_000);
    fixture.general(&["ann", "bob", "cem"]);
    fixture.choose(1, Dnd, "");
    let told = fixture.pass(2_000);
    assert_eq!(heard(&told, 2), []);
    assert!(fixture.machine.channels.is_empty() && fixture.machine.memberships.is_empty());
}

/// After a restart everybody comes at once: one notice for each session, and
/// the same notice for all of them.
#[test]
fn mass_changes_travel_together() {
    let mut fixture = Fixture::new();
    let ids: Vec<String> = (0..200).map(|number| format!("u{number:03}")).collect();
    for (session, id) in ids.iter().enumerate() {
        fixture.connect(session as SessionId, id, "laptop");
    }
    fixture.general(&ids.iter().map(String::as_str).collect::<Vec<_>>());
    let told = fixture.pass(100);
    let everybody: Vec<_> = told
        .notices
        .iter()
        .filter(|(to, _)| to.len() == 200)
        .collect();
    assert_eq!(everybody.len(), 1);
    assert_eq!(everybody[0].1.len(), 200);
    assert_eq!(
        told.notices.len(),
        1 + 200,
        "and the first notice of each session"
    );
}

/// Nodes tell each other; a node that dies takes its sessions along.
#[test]
fn other_nodes_count_until_they_are_lost() {
    let mut fixture = Fixture::new();
    fixture.connect(1, "ann", "laptop");
    fixture.general(&["ann", "bob"]);
    assert_eq!(heard(&fixture.pass(200), 1), [says("ann", Online)]);
    let delta = |state| Delta {
        user: user("bob"),
        state,
        status: "on a train".into(),
        status_set_ms: START_MS,
        last_seen_ms: START_MS,
    };
    fixture
        .machine
        .apply_remote(fixture.now_ms, NODE, vec![delta(Away)]);
    assert_eq!(heard(&fixture.pass(200), 1), [says("bob", Away)]);
    fixture.connect(2, "bob", "phone");
    fixture.choose(2, Dnd, "on a train");
    assert_eq!(fixture.state("bob"), Dnd, "the greatest over all nodes");
    fixture.machine.disconnect(fixture.now_ms, 2, false);
    let _ = fixture.pass(3_000);
    fixture.machine.node_lost(fixture.now_ms, NODE);
    assert_eq!(heard(&fixture.pass(2_000), 1), [says("bob", Offline)]);
    fixture
        .machine
        .apply_remote(fixture.now_ms, NODE, vec![delta(Online)]);
    fixture
        .machine
        .apply_remote(fixture.now_ms, NODE, vec![delta(Offline)]);
    assert_eq!(fixture.state("bob"), Offline);
}

#[test]
fn other_nodes_are_told_of_local_sessions_only() {
    let mut fixture = Fixture::new();
    fixture.connect(1, "ann", "laptop");
    let told = fixture.pass(200);
    let states = |deltas: &[Delta]| -> Vec<_> {
        deltas
            .iter()
            .map(|delta| (delta.user.to_string(), delta.state))
            .collect()
    };
    assert_eq!(states(&told.deltas), [says("ann", Online)]);
    assert_eq!(
        states(&fixture.machine.local_deltas(fixture.now_ms)),
        [says("ann", Online)]
    );
    let remote = Delta {
        user: user("bob"),
        state: Online,
        status: Text::default(),
        status_set_ms: 0,
        last_seen_ms: 0,
    };
    fixture
        .machine
        .apply_remote(fixture.now_ms, NODE, vec![remote]);
    assert_eq!(fixture.pass(2_000).deltas, []);
    assert_eq!(
        states(&fixture.machine.local_deltas(fixture.now_ms)),
        [says("ann", Online)]
    );
    fixture.machine.disconnect(fixture.now_ms, 1, false);
    assert_eq!(states(&fixture.pass(2_000).deltas), [says("ann", Offline)]);
}

/// Nothing is kept of those who left but when, and of so many only.
#[test]
fn what_is_remembered_is_bounded() {
    let mut fixture = Fixture::with(Config {
        remembered_max: 10,
        ..Config::default()
    });
    for session in 0..100 {
        let id = format!("u{session:03}");
        fixture.connect(session, &id, "laptop");
        fixture.general(&[&id]);
        let _ = fixture.pass(1_000);
        fixture.machine.disconnect(fixture.now_ms, session, true);
    }
    let _ = fixture.pass(60_000);
    let machine = &fixture.machine;
    assert_eq!((machine.users.len(), machine.forgettable.len()), (10, 10));
    assert!(machine.sessions.is_empty() && machine.channels.is_empty());
    assert!(machine.memberships.is_empty() && machine.timers.queue.is_empty());
    assert!(machine.timers.due.is_empty());
    assert_eq!(
        machine.of(0, [&user("u099")])[0].last_seen_ms,
        START_MS + 100_000
    );
    assert_eq!(machine.of(0, [&user("u000")])[0].last_seen_ms, 0);
}

/// Whatever is asked in whatever order, the indexes agree with what they index.
#[test]
fn random_inputs_keep_the_indexes_exact() {
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};
    for seed in 0..20 {
        let mut random = StdRng::seed_from_u64(seed);
        let mut fixture = Fixture::with(Config {
            remembered_max: 3,
            channel_members_max: 6,
            ..Config::default()
        });
        let ids: Vec<String> = (0..8).map(|number| format!("u{number}")).collect();
        let mut sessions: Vec<SessionId> = Vec::new();
        for step in 0..400_u64 {
            let id = &ids[random.random_range(0..ids.len())];
            let picked = sessions
                .get(random.random_range(0..sessions.len().max(1)))
                .copied();
            match (random.random_range(0..8), picked) {
                (0 | 1, _) => {
                    fixture.connect(step, id, ["laptop", "phone"][random.random_range(0..2)]);
                    sessions.push(step);
                }
                (2, Some(session)) => {
                    sessions.retain(|open| *open != session);
                    let grace = random.random();
                    fixture.machine.disconnect(fixture.now_ms, session, grace);
                }
                (3, Some(session)) => {
                    let state = [Offline, Away, Dnd, Online][random.random_range(0..4)];
                    fixture.choose(session, state, ["", "x"][random.random_range(0..2)]);
                }
                (4, Some(session)) => {
                    let watched = ids.iter().filter(|_| random.random()).map(|id| user(id));
                    let watched = watched.collect();
                    fixture.machine.watch(session, watched);
                }
                (5, _) => {
                    let members: Vec<&str> = ids
                        .iter()
                        .filter(|_| random.random())
                        .map(String::as_str)
                        .collect();
                    fixture.general(&members);
                }
                (6, Some(session)) => {
                    let active = random.random();
                    fixture.machine.heartbeat(fixture.now_ms, session, active);
                }
                _ => {
                    let by_ms = random.random_range(0..40_000);
                    let _ = fixture.pass(by_ms);
                }
            }
            check_indexes(&fixture.machine, seed, step);
        }
        for session in sessions {
            fixture.machine.disconnect(fixture.now_ms, session, false);
        }
        let _ = fixture.pass(10_000);
        let machine = &fixture.machine;
        assert!(
            machine.users.len() <= 3 && machine.timers.due.is_empty(),
            "seed {seed}"
        );
        assert!(
            machine.channels.is_empty() && machine.watchers.is_empty(),
            "seed {seed}"
        );
    }
}

fn check_indexes(machine: &Machine, seed: u64, step: u64) {
    let context = format!("seed {seed}, step {step}");
    for (channel, known) in &machine.channels {
        let present = known
            .members
            .iter()
            .filter(|user| machine.is_present(user))
            .count();
        assert_eq!(known.present, present, "{context}");
        assert!(present > 0, "{context}");
        for member in &known.members {
            assert!(machine.memberships[member].contains(channel), "{context}");
        }
    }
    let memberships: usize = machine.memberships.values().map(Vec::len).sum();
    let members: usize = machine
        .channels
        .values()
        .map(|known| known.members.len())
        .sum();
    assert_eq!(memberships, members, "{context}");
    let watchers: usize = machine.watchers.values().map(Vec::len).sum();
    let watched: usize = machine
        .sessions
        .values()
        .map(|session| session.watched.len())
        .sum();
    assert_eq!(watchers, watched, "{context}");
    let sessions: usize = machine
        .users
        .values()
        .map(|record| record.sessions.len())
        .sum();
    assert_eq!(sessions, machine.sessions.len(), "{context}");
    assert_eq!(
        machine.timers.queue.len(),
        machine.timers.due.len(),
        "{context}"
    );
}
