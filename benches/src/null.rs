//! Null calls (GetSupportedVersion) per second, on one connection and on sixteen: ours, the peer
//! and a canned replier take turns in short slices.

use crate::Result;
use crate::canned::Canned;
use crate::pipe::{Pipe, message};
use crate::report::{Goal, Limit, Report};
use crate::stats::Series;
use fsrvp_idl::Request;
use rustix::buffer::spare_capacity;
use rustix::event::epoll;
use std::path::Path;
use std::time::{Duration, Instant};

/// How often the clock is looked at.
const CALLS_BETWEEN_LOOKS: u64 = 64;

/// What is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    /// Slices for each of the three and each number of connections.
    pub(crate) slices: usize,
    /// Length of one.
    pub(crate) slice: Duration,
}

/// Measures, with the figures of sixteen connections beside those of one.
pub(crate) fn run(
    ours: &Path,
    peer: &Path,
    canned: &Path,
    plan: Plan,
    report: &mut Report,
) -> Result<()> {
    let mut probe = Pipe::open(ours)?;
    let response = probe
        .exchange(&message(&Request::GetSupportedVersion)?)?
        .to_vec();
    let canned = Canned::start(canned, probe.bind_ack(), &response)?;
    let sockets = [ours, peer, canned.socket()];
    let mut rows = Vec::new();
    for (connections, name, least) in [
        (1, "null calls, 1 connection", 1.5),
        (16, "null calls, 16 connections", 1.3),
    ] {
        let mut rates: [Series; 3] = Default::default();
        for _ in 0..plan.slices {
            for (socket, rates) in sockets.iter().zip(&mut rates) {
                rates.push(rate(socket, connections, plan.slice)?);
            }
        }
        let [ours, peer, ceiling] = rates.map(|rates| rates.median());
        rows.push([
            connections.to_string(),
            format!("{ours:.0}"),
            format!("{peer:.0}"),
            format!("{ceiling:.0}"),
            format!("{:.2}", ours / peer),
            format!("{:.2}", ours / ceiling),
        ]);
        report.goal(Goal::new(name, ours / peer, Limit::AtLeast(least)));
    }
    report.table(
        "Null calls per second on the pipe socket",
        [
            "connections",
            "ours",
            "rpcd_fsrvp",
            "canned replier",
            "ours / rpcd_fsrvp",
            "ours / canned",
        ],
        rows,
    );
    report.note(format!(
        "Medians of {} slices of {} ms each, in turns. The canned replier decodes nothing and \
         waits for the next call as the agent does: with one connection it is the ceiling of this client on this \
         machine. It has a thread for every connection, and so is none with many.",
        plan.slices,
        plan.slice.as_millis()
    ));
    Ok(())
}

/// Calls per second that `connections` together get within about `span`.
fn rate(socket: &Path, connections: usize, span: Duration) -> Result<f64> {
    let call = message(&Request::GetSupportedVersion)?;
    let mut pipes = (0..connections)
        .map(|_| Pipe::open(socket))
        .collect::<Result<Vec<_>>>()?;
    match pipes.as_mut_slice() {
        [pipe] => rate_of_one(pipe, &call, span),
        pipes => rate_of_many(pipes, &call, span),
    }
}

fn rate_of_one(pipe: &mut Pipe, call: &[u8], span: Duration) -> Result<f64> {
    let start = Instant::now();
    let mut calls = 0_u64;
    while start.elapsed() < span {
        for _ in 0..CALLS_BETWEEN_LOOKS {
            pipe.exchange(call)?;
        }
        calls += CALLS_BETWEEN_LOOKS;
    }
    Ok(calls as f64 / start.elapsed().as_secs_f64())
}

/// One thread keeps one call in flight on every pipe.
fn rate_of_many(pipes: &mut [Pipe], call: &[u8], span: Duration) -> Result<f64> {
    let ready = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    for (index, pipe) in pipes.iter().enumerate() {
        let data = epoll::EventData::new_u64(u64::try_from(index)?);
        epoll::add(&ready, pipe, data, epoll::EventFlags::IN)?;
    }
    let start = Instant::now();
    for pipe in pipes.iter_mut() {
        pipe.send(call)?;
    }
    let mut calls = 0_u64;
    let mut events = Vec::with_capacity(pipes.len());
    while start.elapsed() < span {
        events.clear();
        epoll::wait(&ready, spare_capacity(&mut events), None)?;
        for event in &events {
            if let Some(pipe) = pipes.get_mut(usize::try_from(event.data.u64())?) {
                pipe.receive()?;
                pipe.send(call)?;
                calls += 1;
            }
        }
    }
    Ok(calls as f64 / start.elapsed().as_secs_f64())
}
