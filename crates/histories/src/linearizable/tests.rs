use super::*;
use proptest::prelude::*;
use stateright::semantics::{
    ConsistencyTester, LinearizabilityTester,
    register::{Register, RegisterOp, RegisterRet},
};

fn operation(
    process: u64,
    action: Action<u64>,
    invoked: u64,
    returned: Option<u64>,
) -> Operation<u64> {
    Operation {
        process,
        action,
        invoked,
        returned,
        tag: None,
    }
}

fn write(process: u64, value: u64, invoked: u64, returned: u64) -> Operation<u64> {
    operation(process, Action::Write(value), invoked, Some(returned))
}

fn read(process: u64, value: Option<u64>, invoked: u64, returned: u64) -> Operation<u64> {
    operation(process, Action::Read(value), invoked, Some(returned))
}

#[test]
fn a_stale_read_is_rejected_and_named() {
    let good = [
        write(1, 1, 0, 1),
        write(2, 2, 2, 5),
        read(3, Some(1), 3, 4),
        read(3, Some(2), 6, 7),
    ];
    assert_eq!(check_register(&good), Ok(()));
    let stale = [good.to_vec(), vec![read(4, Some(1), 8, 9)]].concat();
    let stuck = check_register(&stale).unwrap_err();
    assert_eq!(stuck.operation, 4);
    let mut history = History::default();
    for operation in stale {
        history.push("x", operation);
    }
    let words = check(&history).unwrap_err().to_string();
    assert!(words.contains("p4 read 1 [8, 9]"), "{words}");
}

#[test]
fn an_operation_that_never_returned_takes_effect_once_or_never() {
    let pending = operation(1, Action::Write(1), 0, None);
    let history = |reads: &[Operation<u64>]| [vec![pending.clone()], reads.to_vec()].concat();
    let nothing = read(2, None, 5, 6);
    let something = read(2, Some(1), 7, 8);
    assert!(check_register(&history(std::slice::from_ref(&nothing))).is_ok());
    assert!(check_register(&history(&[nothing, something.clone()])).is_ok());
    assert!(check_register(&history(&[something.clone(), read(2, None, 9, 10)])).is_err());
    let overwritten = [something, write(3, 2, 9, 10), read(2, Some(1), 11, 12)];
    assert!(check_register(&history(&overwritten)).is_err(), "not twice");
}

#[test]
fn all_that_a_register_may_hold_is_known_after_a_prefix() {
    let prefix = [write(1, 1, 0, 5), write(2, 2, 0, 5)];
    let held = states_after(&prefix, &BTreeSet::from([None]));
    assert_eq!(held, BTreeSet::from([Some(1), Some(2)]));
    let rest = |value| vec![read(3, Some(value), 6, 7)];
    assert!(check_from(&rest(1), &held).is_ok());
    assert!(check_from(&rest(3), &held).is_err());
    assert!(states_after(&rest(1), &BTreeSet::from([None])).is_empty());
}

/// Histories of a register whose atomic operations overlap; some reads are then changed.
fn histories(most: usize) -> impl Strategy<Value = Vec<Operation<u64>>> {
    let one = (0..3_u64, 0..4_u64, 1..9_u64, 0..9_u64, 0..6_u8, 0..8_u8);
    prop::collection::vec(one, 1..=most).prop_map(|drawn| {
        let mut clocks = [0_u64; 3];
        // Each operation with the moment at which it takes effect.
        let mut operations: Vec<(u64, bool, Operation<u64>)> = Vec::new();
        for (process, value, length, effect, fate, lie) in drawn {
            let invoked = clocks[process as usize] + 1;
            let end = invoked + length;
            // Odd and even: no two moments of different kinds are the same.
            let effect = invoked + effect.min(length);
            let returned = (fate > 0).then_some(end);
            clocks[process as usize] = if fate > 0 { end + 1 } else { u64::MAX / 2 };
            let action = match value {
                0 => Action::Read(None),
                value => Action::Write(value),
            };
            operations.push((
                effect,
                lie == 0,
                operation(process, action, invoked, returned),
            ));
        }
        operations.sort_by_key(|(effect, _, o)| (*effect, o.process));
        let mut held = None;
        for (_, lies, operation) in &mut operations {
            match &mut operation.action {
                Action::Write(value) => held = Some(*value),
                Action::Read(value) => {
                    *value = held;
                    if *lies {
                        *value = value.map_or(Some(1), |value| Some(value % 3 + 1));
                    }
                }
            }
        }
        operations.into_iter().map(|(_, _, o)| o).collect()
    })
}

/// Stateright's verdict.
fn second_opinion(operations: &[Operation<u64>]) -> bool {
    let mut events = Vec::new();
    for (index, o) in operations.iter().enumerate() {
        events.push((o.invoked, 0, index));
        if let Some(end) = o.returned {
            events.push((end, 1, index));
        }
    }
    // At the same time, invocations come before returns: the operations are concurrent.
    events.sort_unstable();
    let mut tester = LinearizabilityTester::new(Register(0_u64));
    for (_, kind, index) in events {
        let o = &operations[index];
        // A process that left an operation open makes no further ones in these histories.
        let thread = o.process;
        let recorded = match (kind, &o.action) {
            (0, Action::Write(value)) => tester.on_invoke(thread, RegisterOp::Write(*value)),
            (0, Action::Read(_)) => tester.on_invoke(thread, RegisterOp::Read),
            (_, Action::Write(_)) => tester.on_return(thread, RegisterRet::WriteOk),
            (_, Action::Read(value)) => {
                tester.on_return(thread, RegisterRet::ReadOk(value.unwrap_or(0)))
            }
        };
        recorded.unwrap();
    }
    tester.is_consistent()
}

/// Tries every order of every set of operations that includes all that have returned.
fn by_force(operations: &[Operation<u64>]) -> bool {
    fn place(left: &[&Operation<u64>], held: Option<u64>) -> bool {
        if left.iter().all(|o| o.returned.is_none()) {
            return true;
        }
        (0..left.len()).any(|index| {
            let next = left[index];
            let mut rest = left.to_vec();
            rest.remove(index);
            if rest.iter().any(|other| other.is_before(next)) {
                return false;
            }
            match &next.action {
                Action::Write(value) => place(&rest, Some(*value)),
                Action::Read(_) if next.returned.is_none() => place(&rest, held),
                Action::Read(value) => *value == held && place(&rest, held),
            }
        })
    }
    place(&operations.iter().collect::<Vec<_>>(), None)
}

fn ended_once(operations: &[Operation<u64>]) -> bool {
    operations.iter().all(|o| o.invoked < u64::MAX / 4)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn the_verdict_is_that_of_stateright(operations in histories(9).prop_filter("each", |o| ended_once(o))) {
        let own = check_register(&operations).is_ok();
        prop_assert_eq!(own, second_opinion(&operations));
    }

    #[test]
    fn the_verdict_is_that_of_brute_force(operations in histories(6).prop_filter("each", |o| ended_once(o))) {
        let own = check_register(&operations).is_ok();
        prop_assert_eq!(own, by_force(&operations));
    }
}

/// A small generator, so that long histories are the same on every machine.
struct Draw(u64);

impl Draw {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// Clients that operate on atomic registers, one operation after the other.
fn recorded(operations: u64, clients: u64, registers: u64) -> History<u64, u64> {
    let mut draw = Draw(0x9e37_79b9_7f4a_7c15);
    let mut history = History::default();
    let mut held = vec![None; registers as usize];
    let mut free = vec![0_u64; clients as usize];
    // Operations take effect one after the other, at even times.
    for number in 1..=operations {
        let effect = number * 10;
        let client = draw.below(clients);
        let free = &mut free[client as usize];
        if *free >= effect {
            continue;
        }
        let invoked = (effect - draw.below(10 * clients).min(effect)).max(*free + 1);
        let end = effect + draw.below(10 * clients);
        *free = end;
        let register = draw.below(registers);
        let action = if draw.below(2) == 0 {
            held[register as usize] = Some(number);
            Action::Write(number)
        } else {
            Action::Read(held[register as usize])
        };
        let returned = (draw.below(500) > 0).then_some(end);
        let process = client;
        history.push(
            register,
            Operation {
                process,
                action,
                invoked,
                returned,
                tag: None,
            },
        );
    }
    history
}

#[test]
fn a_long_recorded_history_is_searched_and_a_planted_stale_read_found() {
    let mut history = recorded(200_000, 32, 50);
    assert!(history.len() > 50_000, "{}", history.len());
    assert_eq!(check(&history), Ok(()));
    let operations = history.operations_mut(&7).unwrap();
    let old = operations
        .iter()
        .find(|o| o.is_write() && o.returned.is_some());
    let Action::Write(old) = old.unwrap().action else {
        panic!("a write");
    };
    let last = operations.last().unwrap().returned.unwrap_or(u64::MAX / 2);
    operations.push(read(99, Some(old), last + 1000, last + 1001));
    let violation = check(&history).unwrap_err();
    assert_eq!(violation.register, "7");
    assert!(violation.operation.starts_with("p99 read"), "{violation}");
}

#[test]
fn a_bad_history_of_one_register_with_many_overlapping_writes_ends() {
    let mut history = recorded(600, 12, 1);
    assert!(history.len() > 300, "{}", history.len());
    assert_eq!(check(&history), Ok(()));
    let operations = history.operations_mut(&0).unwrap();
    let middle = operations.len() / 2;
    let target = operations[middle..]
        .iter_mut()
        .find(|o| !o.is_write() && o.returned.is_some());
    target.unwrap().action = Action::Read(None);
    assert!(check(&history).is_err());
}
