//! Registers, snapshots, lattice agreement and quorum access.
use super::*;
use quorate_core::ProcessSet;

fn all() -> ProcessSet {
    three().set()
}

fn begins(by: usize, number: u64, label: &'static str, digest: u64) -> (usize, Kind) {
    let observation = Observation::request(label).instance(number).object(7);
    event(by, observation.digest(digest))
}

fn returns(by: usize, number: u64, label: &'static str, digest: u64) -> (usize, Kind) {
    let observation = Observation::indication(label).instance(number).object(7);
    effect(by, observation.digest(digest))
}

fn write(by: usize, number: u64, value: u64) -> [(usize, Kind); 2] {
    [
        begins(by, number, "Write", value),
        returns(by, number, "WriteReturn", 0),
    ]
}

fn read(by: usize, number: u64, value: u64) -> [(usize, Kind); 2] {
    [
        begins(by, number, "Read", 0),
        returns(by, number, "ReadReturn", value),
    ]
}

fn regular(trace: &[(usize, Kind)]) -> Vec<String> {
    broken(regular_register("m", all()), trace)
}

fn atomic(trace: &[(usize, Kind)]) -> Vec<String> {
    broken(atomic_register("m", all()), trace)
}

fn shared(trace: &[(usize, Kind)]) -> Vec<String> {
    broken(shared_register("m", all()), trace)
}

#[test]
fn good_registers_are_accepted() {
    let one = [
        read(2, 1, 0),
        write(1, 1, 10),
        read(2, 2, 10),
        write(1, 2, 20),
        read(3, 1, 20),
    ]
    .concat();
    assert!(regular(&one).is_empty());
    assert!(atomic(&one).is_empty());
    assert!(shared(&one).is_empty());
    let many = [one, write(2, 9, 30).to_vec(), read(1, 9, 30).to_vec()].concat();
    assert!(shared(&many).is_empty());
}

#[test]
fn termination_is_promised_where_it_is_said() {
    let stuck = [begins(2, 1, "Read", 0)];
    assert_eq!(regular(&stuck), ["ONRR1"]);
    assert_eq!(atomic(&stuck), ["ONAR1"]);
    assert_eq!(shared(&stuck), ["NNAR1"]);
    assert!(shared(&[begins(2, 1, "Read", 0), crash(2)]).is_empty());
    assert!(shared(&[begins(2, 1, "Read", 0), returns(2, 1, "Refused", 0)]).is_empty());
    let elsewhere: ProcessSet = [p(1), p(3)].into_iter().collect();
    let properties = || shared_register("m", elsewhere);
    assert!(broken(properties(), &stuck).is_empty());
    assert_eq!(broken(properties(), &[begins(3, 1, "Read", 0)]), ["NNAR1"]);
}

#[test]
fn an_operation_that_runs_alone_returns_and_one_that_does_not_may_wait() {
    let properties = |returning| obstruction_free_snapshot("m", returning);
    let free = |trace: &[(usize, Kind)]| broken(properties(all()), trace);
    let (scan, update) = (begins(2, 1, "Scan", 0), begins(3, 1, "Update", 7));
    assert_eq!(free(&[scan]), ["SN1-O"]);
    assert_eq!(free(&[update]), ["SN1-O"]);
    // Two that are in flight for ever run beside each other, unless one of them is of a process that crashes.
    assert!(free(&[scan, update]).is_empty());
    assert_eq!(free(&[scan, update, crash(3)]), ["SN1-O"]);
    assert!(free(&[scan, crash(2)]).is_empty());
    // The other has returned, or was refused: from then on the scan runs alone.
    assert_eq!(
        free(&[scan, update, returns(3, 1, "UpdateReturn", 0)]),
        ["SN1-O"]
    );
    assert_eq!(
        free(&[scan, update, returns(3, 1, "Refused", 0)]),
        ["SN1-O"]
    );
    assert!(free(&[scan, returns(2, 1, "ScanReturn", 0)]).is_empty());
    // It is promised where it is said.
    let elsewhere = ProcessSet::from_iter([p(1), p(3)]);
    assert!(broken(properties(elsewhere), &[scan]).is_empty());
    assert_eq!(broken(properties(elsewhere), &[update]), ["SN1-O"]);
}

#[test]
fn a_read_of_an_old_value_is_found() {
    let stale = [write(1, 1, 10), write(1, 2, 20), read(2, 1, 10)].concat();
    assert_eq!(regular(&stale), ["ONRR2"]);
    assert_eq!(atomic(&stale), ["ONAR2"]);
    assert_eq!(shared(&stale), ["NNAR2"]);
    let invented = read(2, 1, 10);
    assert_eq!(regular(&invented), ["ONRR2"]);
    assert_eq!(shared(&invented), ["NNAR2"]);
}

#[test]
fn what_returns_twice_or_was_never_requested_is_found() {
    let again = [
        write(1, 1, 10).to_vec(),
        vec![returns(1, 1, "WriteReturn", 0)],
    ]
    .concat();
    assert_eq!(regular(&again), ["ONRR2"]);
    assert_eq!(atomic(&again), ["ONAR2"]);
    assert_eq!(shared(&again), ["NNAR2"]);
    let unasked = [returns(2, 1, "ReadReturn", 0)];
    assert_eq!(regular(&unasked), ["ONRR2"]);
    assert_eq!(atomic(&unasked), ["ONAR2"]);
    assert_eq!(shared(&unasked), ["NNAR2"]);
}

/// A write of 10 is in flight while these processes read these values, one after the other.
fn during_a_write(reads: &[(usize, u64)]) -> Vec<(usize, Kind)> {
    let mut trace = vec![begins(1, 1, "Write", 10)];
    for (number, (by, value)) in (1..).zip(reads) {
        trace.extend(read(*by, number, *value));
    }
    trace.push(returns(1, 1, "WriteReturn", 0));
    trace
}

#[test]
fn an_older_value_counts_for_one_reader_where_it_reads_both_itself() {
    let one_reader = |trace: &[(usize, Kind)]| broken(ordered_for_one_reader("m", all()), trace);
    // Two readers, between which the value is older: each of them by itself sees an atomic register.
    let two = during_a_write(&[(2, 10), (3, 0), (2, 10)]);
    assert!(one_reader(&two).is_empty());
    assert_eq!(atomic(&two), ["ONAR3"]);
    // The same values, read by one.
    let one = during_a_write(&[(2, 10), (2, 0)]);
    assert_eq!(one_reader(&one), ["OOAR3"]);
    assert!(regular(&one).is_empty());
    // A reader may be the writer, between its writes.
    let own = [
        during_a_write(&[(2, 10)]),
        read(1, 2, 10).to_vec(),
        read(1, 3, 10).to_vec(),
    ]
    .concat();
    assert!(one_reader(&own).is_empty());
}

#[test]
fn the_new_value_and_then_the_old_one_is_regular_only() {
    let inversion = [
        vec![begins(1, 1, "Write", 10)],
        read(2, 1, 10).to_vec(),
        read(3, 1, 0).to_vec(),
        vec![returns(1, 1, "WriteReturn", 0)],
    ]
    .concat();
    assert!(regular(&inversion).is_empty());
    assert_eq!(atomic(&inversion), ["ONAR3"]);
    assert_eq!(shared(&inversion), ["NNAR2"]);
}

#[test]
fn a_write_that_never_returns_takes_effect_once_or_never() {
    let begun = vec![begins(1, 1, "Write", 10), crash(1)];
    let with = |reads: &[[(usize, Kind); 2]]| [begun.clone(), reads.concat()].concat();
    assert!(shared(&with(&[read(2, 1, 0), read(3, 1, 10)])).is_empty());
    assert!(atomic(&with(&[read(2, 1, 0), read(3, 1, 10)])).is_empty());
    assert_eq!(shared(&with(&[read(2, 1, 10), read(3, 1, 0)])), ["NNAR2"]);
}

#[test]
fn tags_that_do_not_follow_real_time_are_found() {
    let tagged = |by, number, label, digest, origin, sequence| {
        let observation = Observation::indication(label).instance(number).object(7);
        let observation = observation.digest(digest).message(id(origin, sequence));
        effect(by, observation)
    };
    let trace = |second| {
        [
            begins(1, 1, "Write", 10),
            tagged(1, 1, "WriteReturn", 0, 1, 2),
            begins(2, 1, "Write", 20),
            tagged(2, 1, "WriteReturn", 0, 2, second),
        ]
    };
    assert!(shared(&trace(3)).is_empty());
    assert_eq!(shared(&trace(1)), ["NNAR2"]);
}

#[test]
fn what_is_forgotten_still_counts() {
    let long: Vec<_> = (1..=300)
        .flat_map(|k| [write(1, k, k), read(2, k, k)])
        .collect();
    let stale = [long.concat(), read(3, 1, 299).to_vec()].concat();
    assert!(shared(&long.concat()).is_empty());
    assert!(atomic(&long.concat()).is_empty());
    assert_eq!(shared(&stale), ["NNAR2"]);
    assert_eq!(regular(&stale), ["ONRR2"]);
}

fn packed(counts: [u8; 3]) -> u64 {
    u64::from_le_bytes([counts[0], counts[1], counts[2], 0, 0, 0, 0, 0])
}

fn update(by: usize, number: u64) -> [(usize, Kind); 2] {
    [
        begins(by, number, "Update", 1),
        returns(by, number, "UpdateReturn", 0),
    ]
}

fn scan(by: usize, number: u64, counts: [u8; 3]) -> [(usize, Kind); 2] {
    [
        begins(by, number, "Scan", 0),
        returns(by, number, "ScanReturn", packed(counts)),
    ]
}

fn snapshot(trace: &[(usize, Kind)]) -> Vec<String> {
    broken(atomic_snapshot("m", all()), trace)
}

#[test]
fn good_scans_are_accepted() {
    let trace = [
        update(1, 1),
        scan(2, 1, [1, 0, 0]),
        update(2, 2),
        scan(1, 2, [1, 1, 0]),
    ]
    .concat();
    assert!(snapshot(&trace).is_empty());
    let refused = [
        vec![begins(1, 1, "Update", 1), begins(1, 2, "Update", 1)],
        vec![
            returns(1, 2, "Refused", 0),
            returns(1, 1, "UpdateReturn", 0),
        ],
        scan(2, 1, [1, 0, 0]).to_vec(),
    ]
    .concat();
    assert!(snapshot(&refused).is_empty());
    assert_eq!(snapshot(&[begins(1, 1, "Scan", 0)]), ["SN1"]);
}

#[test]
fn sn2_a_scan_is_of_one_moment() {
    let missing = [update(1, 1), scan(2, 1, [0, 0, 0])].concat();
    assert_eq!(snapshot(&missing), ["SN2"]);
    let future = [scan(2, 1, [1, 0, 0]), update(1, 1)].concat();
    assert_eq!(snapshot(&future), ["SN2"]);
    let back = [
        vec![begins(1, 1, "Update", 1)],
        scan(2, 1, [1, 0, 0]).to_vec(),
        scan(3, 1, [0, 0, 0]).to_vec(),
        vec![returns(1, 1, "UpdateReturn", 0)],
    ]
    .concat();
    assert_eq!(snapshot(&back), ["SN2"]);
}

#[test]
fn sn2_scans_are_ordered_and_take_what_came_before_along() {
    let apart = [
        begins(1, 1, "Update", 1),
        begins(2, 1, "Update", 1),
        begins(3, 1, "Scan", 0),
        begins(3, 2, "Scan", 0),
        returns(3, 1, "ScanReturn", packed([1, 0, 0])),
        returns(3, 2, "ScanReturn", packed([0, 1, 0])),
        returns(1, 1, "UpdateReturn", 0),
        returns(2, 1, "UpdateReturn", 0),
    ];
    assert_eq!(snapshot(&apart), ["SN2"]);
    // p1's update had returned before p2's was requested.
    let hole = [
        vec![begins(3, 1, "Scan", 0)],
        update(1, 1).to_vec(),
        update(2, 1).to_vec(),
        vec![returns(3, 1, "ScanReturn", packed([0, 1, 0]))],
    ]
    .concat();
    assert_eq!(snapshot(&hole), ["SN2"]);
}

fn agreement(trace: &[(usize, Kind)]) -> Vec<String> {
    broken(lattice_agreement("m", all(), |a, b| a | b), trace)
}

#[test]
fn lattice_agreement_is_checked() {
    let proposals = [
        begins(1, 1, "Propose", 1),
        begins(2, 1, "Propose", 2),
        begins(3, 1, "Propose", 4),
    ];
    let decide = |values: [u64; 3]| {
        let decisions = (1..)
            .zip(values)
            .map(|(by, value)| returns(by, 1, "Decide", value));
        proposals
            .iter()
            .copied()
            .chain(decisions)
            .collect::<Vec<_>>()
    };
    assert!(agreement(&decide([1, 3, 7])).is_empty());
    assert_eq!(agreement(&decide([1, 2, 7])), ["LA1"]);
    assert_eq!(agreement(&decide([3, 1, 7])), ["LA2"]);
    assert_eq!(agreement(&decide([7, 15, 15])), ["LA3"]);
    assert_eq!(agreement(&proposals), ["LA4"]);
}

fn access(trace: &[(usize, Kind)]) -> Vec<String> {
    broken(quorum_access("m", all()), trace)
}

#[test]
fn quorum_access_is_checked() {
    let set = |by, number, update| {
        [
            begins(by, number, "Set", update),
            returns(by, number, "SetReturn", 0),
        ]
    };
    let get = |by, number, states| {
        [
            begins(by, number, "Get", 0),
            returns(by, number, "GetReturn", states),
        ]
    };
    assert!(access(&[set(1, 1, 1), get(2, 1, 1), set(2, 2, 2), get(3, 1, 3)].concat()).is_empty());
    assert_eq!(access(&[set(1, 1, 1), get(2, 1, 0)].concat()), ["QAF2"]);
    assert_eq!(access(&[set(1, 1, 1), get(2, 1, 3)].concat()), ["QAF1"]);
    assert_eq!(access(&[begins(1, 1, "Set", 1)]), ["QAF3"]);
}

#[test]
fn of_other_objects_too_what_returns_twice_or_was_never_requested_is_found() {
    let again = |by, number, begun, returned| {
        let end = returns(by, number, returned, 0);
        [begins(by, number, begun, 0), end, end]
    };
    assert_eq!(snapshot(&again(1, 1, "Scan", "ScanReturn")), ["SN2"]);
    assert_eq!(snapshot(&[returns(2, 1, "UpdateReturn", 0)]), ["SN2"]);
    assert_eq!(agreement(&again(1, 1, "Propose", "Decide")), ["LA3"]);
    assert_eq!(agreement(&[returns(2, 1, "Decide", 0)]), ["LA3"]);
    assert_eq!(access(&again(1, 1, "Get", "GetReturn")), ["QAF1"]);
    assert_eq!(access(&[returns(2, 1, "SetReturn", 0)]), ["QAF1"]);
}
