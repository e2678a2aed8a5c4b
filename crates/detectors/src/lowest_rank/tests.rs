use super::*;
use quorate_abstractions::eventually_perfect::Indication::{Restore, Suspect};
use quorate_core::Time;
use quorate_sim::{Timed, World};
use std::sync::{Arc, Mutex};

fn p(rank: usize) -> ProcessId {
    ProcessId::from_rank(rank).unwrap()
}

/// What p2 of four trusts, one after the other, while ◇P says this.
fn trusted(said: &[eventually_perfect::Indication]) -> Vec<usize> {
    let mut world = World::new(4, 1, Timed::lock_step()).unwrap();
    let suspicions = Arc::new(Mutex::new(None));
    let keep = suspicions.clone();
    let detector = Addr::new(move |subscriber| *keep.lock().unwrap() = Some(subscriber));
    let trusted = Arc::new(Mutex::new(Vec::new()));
    let log = trusted.clone();
    let leader = spawn(&world.host(p(2)).at("leader"), &detector);
    leader.send(world.application_with(p(2), move |Trust(leader), _| {
        log.lock().unwrap().push(leader.rank());
    }));
    let suspicions = suspicions.lock().unwrap().clone().unwrap();
    for (i, indication) in (1..).zip(said) {
        world.request(p(2), Time::from_nanos(i), &suspicions, *indication);
    }
    world.run();
    trusted.lock().unwrap().clone()
}

#[test]
fn eld1_eventual_accuracy_the_lowest_unsuspected_rank_is_trusted() {
    assert_eq!(trusted(&[]), [1]);
    assert_eq!(trusted(&[Suspect(p(1))]), [1, 2]);
    assert_eq!(
        trusted(&[Suspect(p(3)), Suspect(p(1)), Restore(p(1))]),
        [1, 2, 1]
    );
}

#[test]
fn a_process_never_gives_itself_up() {
    assert_eq!(
        trusted(&[Suspect(p(2)), Suspect(p(1)), Suspect(p(3)), Suspect(p(4))]),
        [1, 2]
    );
}
