//! What must hold, each with a checker of its own: the lock service may be safe while the critical section is not
//! (H2-E3).
use super::{
    Horn,
    world::{Client, Happened, History, Order, Reply, Request, Stop},
};
use std::collections::{BTreeMap, BTreeSet};

/// Whether something holds in a history.
type Check = fn(&History) -> bool;

/// The horns that break in a history.
pub fn broken(history: &History) -> BTreeSet<Horn> {
    let checks: [(Horn, Check); 7] = [
        (Horn::Service, service_is_safe),
        (Horn::Safety, critical_section_is_safe),
        (Horn::Liveness, |history| {
            everybody_enters(history, Whom::Correct)
        }),
        (Horn::Agreement, all_agree),
        (Horn::Termination, everybody_decides),
        (Horn::Once, outside_is_told_at_most_once),
        (Horn::Updates, no_update_is_lost),
    ];
    let broken = checks.into_iter().filter(|(_, holds)| !holds(history));
    broken.map(|(horn, _)| horn).collect()
}

/// The service does not grant the lock while, for it, another grant is not over.
pub fn service_is_safe(history: &History) -> bool {
    let mut open = BTreeSet::new();
    history.moments.iter().all(|moment| match moment.what {
        Happened::Does(Order::Grant { token, .. }) => {
            let alone = open.is_empty();
            open.insert(token);
            alone
        }
        Happened::Does(Order::End { token, .. }) => {
            open.remove(&token);
            true
        }
        _ => true,
    })
}

/// CS1: a client does not enter while another one is inside. One that has crashed, or was stopped, is not.
pub fn critical_section_is_safe(history: &History) -> bool {
    let mut inside = BTreeSet::new();
    history.moments.iter().all(|moment| match moment.what {
        Happened::Enters(client, _) => {
            inside.insert(client);
            inside.len() == 1
        }
        Happened::Exits(client)
        | Happened::IsStopped(client)
        | Happened::Stops(client, Stop::Crash) => {
            inside.remove(&client);
            true
        }
        _ => true,
    })
}

/// Of whom something is demanded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Whom {
    /// As CS2 is usually written, which no service can satisfy (H2-E1).
    All,
    /// Who neither crashes nor stalls for ever, and is not stopped.
    Correct,
}

/// The clients of whom something is demanded, among those that ask.
fn demanded(history: &History, of: Whom) -> BTreeSet<Client> {
    let mut clients = BTreeSet::new();
    for moment in &history.moments {
        match moment.what {
            Happened::Asks(client) => {
                clients.insert(client);
            }
            Happened::IsStopped(client)
            | Happened::Stops(client, Stop::Crash | Stop::StallForEver)
                if of == Whom::Correct =>
            {
                clients.remove(&client);
            }
            _ => {}
        }
    }
    clients
}

/// CS2: who asks enters. The history must be of a run to its end.
pub fn everybody_enters(history: &History, of: Whom) -> bool {
    let moments = history.moments.iter();
    let entered = moments.filter_map(|moment| match moment.what {
        Happened::Enters(client, _) => Some(client),
        _ => None,
    });
    demanded(history, of).is_subset(&entered.collect())
}

fn decisions(history: &History) -> BTreeMap<Client, u64> {
    let moments = history.moments.iter();
    let decisions = moments.filter_map(|moment| match moment.what {
        Happened::Decides(client, value) => Some((client, value)),
        _ => None,
    });
    decisions.collect()
}

/// Uniform agreement: no two clients decide differently, whether they crash later or not.
pub fn all_agree(history: &History) -> bool {
    let values: BTreeSet<u64> = decisions(history).into_values().collect();
    values.len() <= 1
}

/// Every correct client decides, if clients are to decide.
pub fn everybody_decides(history: &History) -> bool {
    if !history.decides {
        return true;
    }
    let decided = decisions(history).into_keys().collect();
    demanded(history, Whom::Correct).is_subset(&decided)
}

/// What must happen once outside does not happen twice.
pub fn outside_is_told_at_most_once(history: &History) -> bool {
    let moments = history.moments.iter();
    let told =
        moments.filter(|moment| matches!(moment.what, Happened::Takes(_, _, Request::Tell, _)));
    told.count() <= 1
}

/// Every client whose counting was acknowledged is counted.
pub fn no_update_is_lost(history: &History) -> bool {
    let mut moments = history.moments.iter().rev();
    let last = moments.find_map(|moment| match moment.what {
        Happened::Takes(_, _, Request::Write(value), Reply::Done) => Some(value),
        _ => None,
    });
    let counted = history.moments.iter();
    let counted = counted.filter(|moment| matches!(moment.what, Happened::Counts(_)));
    counted.count() as u64 <= last.unwrap_or(0)
}

/// Whether the writes that the memory takes are in the order of the tokens.
pub fn writes_are_in_order(history: &History) -> bool {
    let moments = history.moments.iter();
    let tokens = moments.filter_map(|moment| match moment.what {
        Happened::Takes(_, token, Request::Write(_), Reply::Done) => Some(token),
        _ => None,
    });
    let tokens: Vec<_> = tokens.collect();
    tokens.is_sorted()
}
