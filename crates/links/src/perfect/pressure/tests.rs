use super::*;
use bytes::Bytes;
use quorate_abstractions::lanes::LaneTable;
use quorate_core::Counters;
use quorate_sim::testing::p;

const SECOND: Duration = Duration::from_secs(1);
/// What a peer may owe a module, in bytes.
const MOST: usize = 8 << 20;

fn at(seconds: u64) -> Time {
    Time::ZERO + SECOND * seconds as u32
}

/// The accounts of p1, one of `n` processes, over the lanes `news/beb` (0), `news/rb` (1) and `orders` (2).
fn accounts(n: usize) -> Pressure {
    let table = LaneTable::default();
    for lane in ["news/rb", "orders", "news/beb"] {
        let (counters, nowhere) = (Counters::default(), Addr::nowhere());
        table.open::<Bytes>(Name::from(lane), &counters, Addr::nowhere(), nowhere);
    }
    let lanes = table.close().unwrap();
    Pressure::new(p(1), &Membership::of_size(n).unwrap(), &lanes, 64 << 20)
}

fn watched(n: usize, wait: Wait) -> Pressure {
    let mut accounts = accounts(n);
    for module in ["news", "orders"] {
        let told = accounts.watch(&Name::from(module), wait, Addr::nowhere());
        assert_eq!(told, Some(Room::Open));
    }
    accounts
}

fn everybody() -> Wait {
    Wait::default()
}

/// Accounts for these bytes that wait for `peer` in the lane, and nothing in the others.
fn owes(accounts: &mut Pressure, peer: usize, lane: u16, bytes: usize, now: Time) {
    let queued = |at: LaneId| {
        if at.0 == lane {
            (bytes, usize::from(bytes > 0))
        } else {
            (0, 0)
        }
    };
    accounts.upon_account(p(peer), Owes::Packets(0), queued, now);
}

/// The modules that may not send, each with the process that slows it.
fn slowed(accounts: &mut Pressure, now: Time) -> Vec<(String, ProcessId)> {
    accounts.judge(now);
    let modules = accounts.modules.iter();
    modules
        .filter_map(|module| match module.room {
            Room::Open => None,
            Room::Full(hindrance) => Some((module.name.to_string(), hindrance.by)),
        })
        .collect()
}

#[test]
fn a_module_that_is_owed_too_much_waits_and_others_go_on() {
    let mut accounts = watched(3, everybody());
    owes(&mut accounts, 2, 0, MOST, at(0));
    assert!(slowed(&mut accounts, at(0)).is_empty(), "not above");
    owes(&mut accounts, 2, 0, MOST + 1, at(0));
    assert_eq!(
        slowed(&mut accounts, at(0)),
        [("news".to_owned(), p(2))],
        "both of its lanes count, and nobody else's"
    );
    owes(&mut accounts, 2, 0, MOST / 4 * 3 + 1, at(0));
    assert_eq!(slowed(&mut accounts, at(0)).len(), 1, "not yet");
    owes(&mut accounts, 2, 0, MOST / 4 * 3, at(0));
    assert!(slowed(&mut accounts, at(0)).is_empty());
}

#[test]
fn packets_count_for_everybody_and_messages_count_beside_bytes() {
    let mut accounts = watched(3, everybody());
    let nothing = |_| (0, 0);
    accounts.upon_account(p(3), Owes::Packets(MOST + 1), nothing, at(0));
    assert_eq!(slowed(&mut accounts, at(0)).len(), 2);
    let many = |lane: LaneId| {
        (
            usize::from(lane.0 == 2),
            (MESSAGES + 1) * usize::from(lane.0 == 2),
        )
    };
    accounts.upon_account(p(3), Owes::Packets(0), many, at(0));
    assert_eq!(slowed(&mut accounts, at(0)), [("orders".to_owned(), p(3))]);
}

#[test]
fn a_silence_slows_for_a_time_and_then_the_others_go_on() {
    let mut accounts = watched(3, everybody());
    owes(&mut accounts, 2, 0, 1, at(100));
    owes(&mut accounts, 2, 0, MOST + 1, at(200));
    assert_eq!(slowed(&mut accounts, at(219)).len(), 1);
    assert!(
        slowed(&mut accounts, at(220)).is_empty(),
        "it owes since 100"
    );
    // A peer that resumes is waited for again.
    accounts.acknowledged(p(2), at(300));
    assert_eq!(slowed(&mut accounts, at(301)).len(), 1);
    // A peer that owed nothing was not silent.
    owes(&mut accounts, 2, 0, 0, at(302));
    owes(&mut accounts, 2, 0, MOST + 1, at(1000));
    assert_eq!(slowed(&mut accounts, at(1001)).len(), 1);
}

#[test]
fn a_stream_that_has_ended_owes_nothing() {
    let mut accounts = watched(3, everybody());
    owes(&mut accounts, 2, 0, MOST + 1, at(0));
    assert_eq!(slowed(&mut accounts, at(0)).len(), 1);
    accounts.upon_account(p(2), Owes::Gone, |_| (MOST + 1, 1), at(0));
    assert!(slowed(&mut accounts, at(0)).is_empty());
}

#[test]
fn a_relay_s_room_counts_while_it_says_so_and_lives() {
    let mut accounts = watched(3, everybody());
    let mut news = Modules::default();
    news.insert(0);
    accounts.announced(p(3), news, at(0));
    assert_eq!(slowed(&mut accounts, at(1)), [("news".to_owned(), p(3))]);
    assert_eq!(accounts.take_due(), None, "nobody waits in a circle");
    accounts.announced(p(3), Modules::default(), at(2));
    assert!(slowed(&mut accounts, at(2)).is_empty());
    accounts.announced(p(3), news, at(3));
    assert_eq!(slowed(&mut accounts, at(12)).len(), 1);
    assert!(slowed(&mut accounts, at(13)).is_empty(), "it is silent");
}

#[test]
fn what_a_process_says_of_itself_is_what_its_queues_and_its_user_allow() {
    let mut accounts = watched(3, everybody());
    owes(&mut accounts, 2, 2, MOST + 1, at(0));
    assert_eq!(accounts.judge(at(0)).len(), 1);
    assert_eq!(accounts.take_due(), Some(Modules(2)));
    assert!(accounts.judge(at(0)).is_empty(), "told once");
    assert_eq!(accounts.take_due(), None, "said once,");
    for _ in 0..10 {
        accounts.say_again();
        assert_eq!(
            accounts.take_due(),
            Some(Modules(2)),
            "and with every heartbeat"
        );
    }
    owes(&mut accounts, 2, 2, 0, at(0));
    accounts.judge(at(0));
    assert_eq!(accounts.take_due(), Some(Modules(0)));
    for beat in 0..5 {
        accounts.say_again();
        assert_eq!(accounts.take_due(), (beat < SAID).then_some(Modules(0)));
    }
    let orders = Name::from("orders");
    accounts.upon_backlog(&orders, Backlog::Full, at(5));
    accounts.judge(at(14));
    assert_eq!(accounts.take_due(), Some(Modules(2)));
    accounts.judge(at(15));
    assert_eq!(accounts.take_due(), Some(Modules(0)), "it reads nothing");
    // The user reads slowly.
    accounts.upon_backlog(&orders, Backlog::Full, at(20));
    accounts.judge(at(21));
    assert_eq!(accounts.take_due(), Some(Modules(2)));
    accounts.upon_backlog(&orders, Backlog::Open, at(22));
    accounts.judge(at(22));
    assert_eq!(accounts.take_due(), Some(Modules(0)));
}

#[test]
fn whose_user_is_behind_sends_on_itself_until_far_too_much_is_there() {
    for (wait, allowed) in [(everybody(), 10), (Wait::for_majority(), 1)] {
        let mut accounts = watched(3, wait);
        let orders = Name::from("orders");
        let by_me = [("orders".to_owned(), p(1))];
        accounts.upon_backlog(&orders, Backlog::Full, at(100));
        assert!(slowed(&mut accounts, at(100)).is_empty());
        assert_eq!(accounts.take_due(), Some(Modules(2)), "the others wait");
        accounts.upon_backlog(&orders, Backlog::Over, at(100));
        assert_eq!(slowed(&mut accounts, at(100)), by_me);
        // While the user reads, this lasts, though its backlog is smaller.
        for second in 101..200 {
            accounts.upon_backlog(&orders, Backlog::Full, at(second));
            assert_eq!(slowed(&mut accounts, at(second)), by_me);
        }
        accounts.upon_backlog(&orders, Backlog::Open, at(200));
        assert!(slowed(&mut accounts, at(200)).is_empty());
        // The user was not held up before: however long it has read nothing, it is held up only now.
        accounts.upon_backlog(&orders, Backlog::Full, at(300));
        accounts.upon_backlog(&orders, Backlog::Over, at(300 + allowed));
        assert_eq!(slowed(&mut accounts, at(300 + allowed)), by_me);
        assert!(slowed(&mut accounts, at(301 + allowed + allowed / 2)).is_empty());
    }
}

/// A user that sends a message for each one that it reads reads nothing while it may not send.
#[test]
fn who_was_waited_for_in_vain_may_send_until_much_more_is_there() {
    let mut accounts = watched(3, everybody());
    let orders = Name::from("orders");
    let by_me = [("orders".to_owned(), p(1))];
    accounts.upon_backlog(&orders, Backlog::Full, at(100));
    accounts.upon_backlog(&orders, Backlog::Over, at(100));
    assert_eq!(slowed(&mut accounts, at(104)), by_me);
    assert!(
        slowed(&mut accounts, at(105)).is_empty(),
        "it reads nothing"
    );
    assert!(accounts.lacking.contains(1), "and is waited for");
    for second in 105..200 {
        accounts.upon_backlog(&orders, Backlog::Full, at(second));
        assert!(slowed(&mut accounts, at(second)).is_empty(), "it does now");
        assert!(accounts.lacking.contains(1), "and the others still wait");
    }
    accounts.upon_backlog(&orders, Backlog::Over, at(200));
    assert_eq!(slowed(&mut accounts, at(204)), by_me);
}

#[test]
fn a_user_that_stands_still_is_waited_for_no_longer_than_one_that_reads_nothing() {
    let mut accounts = watched(3, everybody());
    let orders = Name::from("orders");
    accounts.upon_backlog(&orders, Backlog::Full, at(5));
    accounts.upon_backlog(&orders, Backlog::Stuck, at(12));
    assert!(accounts.is_stuck());
    assert_eq!(slowed(&mut accounts, at(14)).len(), 1);
    assert!(accounts.lacking.contains(1));
    assert_eq!(slowed(&mut accounts, at(16)).len(), 1);
    assert!(!accounts.lacking.contains(1), "the others go on");
    assert!(slowed(&mut accounts, at(17)).is_empty(), "so does it");
    accounts.upon_backlog(&orders, Backlog::Full, at(18));
    assert!(!accounts.is_stuck());
    assert!(slowed(&mut accounts, at(19)).is_empty());
    assert!(accounts.lacking.contains(1), "the others wait again");
}

#[test]
fn a_majority_is_waited_for_always_and_a_minority_while_it_keeps_up() {
    let mut accounts = watched(5, Wait::for_majority());
    for slow in [2, 3] {
        owes(&mut accounts, slow, 2, MOST + slow, at(10));
        assert_eq!(
            slowed(&mut accounts, at(10)),
            [("orders".to_owned(), p(slow))]
        );
    }
    accounts.acknowledged(p(3), at(11));
    assert!(
        slowed(&mut accounts, at(11)).is_empty(),
        "three have room: they have waited"
    );
    accounts.acknowledged(p(3), at(12));
    assert_eq!(slowed(&mut accounts, at(12)), [("orders".to_owned(), p(3))]);
    assert!(slowed(&mut accounts, at(14)).is_empty(), "both are silent");
    assert_eq!(
        accounts.take_due(),
        None,
        "what somebody owes slows nobody else"
    );
    owes(&mut accounts, 4, 2, MOST + 1, at(20));
    assert_eq!(
        slowed(&mut accounts, at(1000)),
        [("orders".to_owned(), p(4))]
    );
    accounts.upon_account(p(2), Owes::Gone, |_| (0, 0), at(1000));
    assert_eq!(
        slowed(&mut accounts, at(1000)).len(),
        1,
        "it keeps up no more than before"
    );
    owes(&mut accounts, 2, 2, 0, at(1001));
    assert!(slowed(&mut accounts, at(1001)).is_empty());
}

#[test]
fn a_straggler_slows_those_that_a_majority_is_enough_for_a_tenth_of_the_time() {
    let mut accounts = watched(3, Wait::for_majority());
    let (mut slowed_for, step) = (Duration::ZERO, Duration::from_millis(10));
    for number in 0..6000 {
        let now = at(100) + step * number;
        accounts.acknowledged(p(2), now);
        owes(&mut accounts, 2, 2, MOST + 1, now);
        if !slowed(&mut accounts, now).is_empty() {
            slowed_for += step;
        }
    }
    let part = slowed_for.as_secs_f64() / 60.0;
    assert!((0.05..0.11).contains(&part), "{part}");
    // So does a process whose user does not read.
    let mut news = Modules::default();
    news.insert(0);
    for number in 0..100 {
        accounts.announced(p(2), news, at(200) + step * number);
        slowed(&mut accounts, at(200) + step * number);
    }
    assert!(
        !slowed(&mut accounts, at(201))
            .iter()
            .any(|(module, _)| module == "news")
    );
    // Both are needed.
    accounts.announced(p(3), news, at(201));
    let slows = slowed(&mut accounts, at(201));
    assert_eq!(slows.first(), Some(&("news".to_owned(), p(3))));
}

#[test]
fn what_nobody_asks_for_is_not_judged_and_modules_beyond_the_last_place_share_it() {
    let mut accounts = accounts(3);
    owes(&mut accounts, 2, 0, MOST + 1, at(0));
    assert!(accounts.judge(at(0)).is_empty() && accounts.take_due().is_none());
    let nowhere = accounts.watch(&Name::from("other"), everybody(), Addr::nowhere());
    assert_eq!(nowhere, None);
    let mut many = Modules::default();
    many.insert(1000);
    assert!(many.contains(63) && many.contains(70) && !many.contains(62));
}
