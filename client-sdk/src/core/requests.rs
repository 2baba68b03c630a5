//! Requests of the application that wait for their answer.
//!
//! Pure. What only reads, or only moves a cursor forward, is asked again after a
//! lost connection and after an answer that says 'later'; all else fails with
//! an error that says so, for the application alone knows whether to repeat it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use confab_protocol::message::Request;

use super::io::{Lane, Ticket};

/// How a request travels: what may be large goes beside the live traffic.
pub(super) const fn lane(request: &Request) -> Lane {
    match request {
        Request::Typing(_) => Lane::Ephemeral,
        // Allowed on a stream of their own, but they gain nothing by one.
        Request::Resume(_)
        | Request::GetChannel(_)
        | Request::GetThread(_)
        | Request::UpdateDirectory(_) => Lane::Control,
        long if long.may_be_bulk() => Lane::Bulk,
        _ => Lane::Control,
    }
}

/// Whether asking twice does the same as asking once, whenever that is.
pub(super) const fn is_repeatable(request: &Request) -> bool {
    matches!(
        request,
        Request::ListChannels(_)
            | Request::GetChannel(_)
            | Request::OpenDm(_)
            | Request::ListMembers(_)
            | Request::MarkRead(_)
            | Request::MarkDelivered(_)
            | Request::ListCursors(_)
            | Request::History(_)
            | Request::GetMessage(_)
            | Request::ListPins(_)
            | Request::Sync(_)
            | Request::GetThread(_)
            | Request::GetUsers(_)
            | Request::ListUsers(_)
    )
}

/// One request that has no answer yet.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) request: Request,
    pub(super) sent: bool,
    pub(super) attempts: u32,
    in_flight: bool,
    deadline_ms: u64,
}

/// All requests of the application.
///
/// Invariant: a waiting request is in exactly one of: a queue, `later`, in flight.
#[derive(Debug, Default)]
pub(super) struct Requests {
    waiting: BTreeMap<Ticket, Waiting>,
    deadlines: BTreeSet<(u64, Ticket)>,
    later: BTreeSet<(u64, Ticket)>,
    control: VecDeque<Ticket>,
    bulk: VecDeque<Ticket>,
}

impl Requests {
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn push(&mut self, ticket: Ticket, request: Request, deadline_ms: u64) {
        self.queue(lane(&request)).push_back(ticket);
        self.deadlines.insert((deadline_ms, ticket));
        let waiting = Waiting {
            request,
            sent: false,
            attempts: 0,
            in_flight: false,
            deadline_ms,
        };
        self.waiting.insert(ticket, waiting);
    }

    fn queue(&mut self, lane: Lane) -> &mut VecDeque<Ticket> {
        match lane {
            Lane::Bulk => &mut self.bulk,
            Lane::Control | Lane::Ephemeral => &mut self.control,
        }
    }

    /// The next to be sent on a lane, marked as on its way.
    pub(super) fn take(&mut self, lane: Lane) -> Option<(Ticket, &Request)> {
        loop {
            let ticket = self.queue(lane).pop_front()?;
            // Those that timed out are still in the queue.
            if self.waiting.contains_key(&ticket) {
                let waiting = self.waiting.get_mut(&ticket)?;
                waiting.in_flight = true;
                waiting.sent = true;
                return Some((ticket, &waiting.request));
            }
        }
    }

    pub(super) fn get(&self, ticket: Ticket) -> Option<&Waiting> {
        self.waiting.get(&ticket)
    }

    /// The request is done with.
    pub(super) fn settle(&mut self, ticket: Ticket) -> Option<Waiting> {
        let waiting = self.waiting.remove(&ticket)?;
        self.deadlines.remove(&(waiting.deadline_ms, ticket));
        Some(waiting)
    }

    /// Ask again, not before `at_ms`.
    pub(super) fn retry_at(&mut self, ticket: Ticket, at_ms: u64) {
        if let Some(waiting) = self.waiting.get_mut(&ticket) {
            waiting.in_flight = false;
            waiting.attempts = waiting.attempts.saturating_add(1);
            self.later.insert((at_ms, ticket));
        }
    }

    /// Moves those whose time has come to their queues.
    pub(super) fn wake(&mut self, now_ms: u64) {
        while let Some((at_ms, ticket)) = self.later.first().copied() {
            if at_ms > now_ms {
                break;
            }
            self.later.pop_first();
            if let Some(waiting) = self.waiting.get(&ticket) {
                let lane = lane(&waiting.request);
                self.queue(lane).push_back(ticket);
            }
        }
    }

    /// Takes out one whose time is over; answers whether it had been sent.
    pub(super) fn expire(&mut self, now_ms: u64) -> Option<(Ticket, bool)> {
        let (deadline_ms, ticket) = *self.deadlines.first()?;
        if deadline_ms > now_ms {
            return None;
        }
        self.settle(ticket).map(|waiting| (ticket, waiting.sent))
    }

    /// Takes out any one.
    pub(super) fn pop(&mut self) -> Option<Ticket> {
        let ticket = *self.waiting.first_key_value()?.0;
        self.settle(ticket)?;
        Some(ticket)
    }

    /// Queues again what may be repeated; answers with those that must fail.
    pub(super) fn connection_lost(&mut self) -> Vec<Ticket> {
        let in_flight: Vec<Ticket> = self
            .waiting
            .iter()
            .filter(|(_, waiting)| waiting.in_flight)
            .map(|(ticket, _)| *ticket)
            .collect();
        let mut failed = Vec::new();
        for ticket in in_flight.into_iter().rev() {
            let Some(waiting) = self.waiting.get_mut(&ticket) else {
                continue;
            };
            if is_repeatable(&waiting.request) {
                waiting.in_flight = false;
                let lane = lane(&waiting.request);
                self.queue(lane).push_front(ticket);
            } else {
                self.settle(ticket);
                failed.push(ticket);
            }
        }
        failed.reverse();
        failed
    }

    pub(super) fn deadline(&self) -> Option<u64> {
        let first = |set: &BTreeSet<(u64, Ticket)>| set.first().map(|(at_ms, _)| *at_ms);
        first(&self.deadlines)
            .into_iter()
            .chain(first(&self.later))
            .min()
    }
}
