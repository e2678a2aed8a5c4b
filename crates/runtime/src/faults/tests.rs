use super::*;
use quorate_abstractions::addressed::Path;
use quorate_sim::testing::p;
use quorate_sim::{Timed, World};

const MS: Duration = Duration::from_millis(1);

/// What leaves an edge with this fault towards p2, and when in milliseconds, of frames that are sent at these
/// times: a frame is its number and so much more.
fn left(stream: bool, fault: Fault, frames: &[(u64, usize)]) -> Vec<(u8, u64)> {
    let mut world = World::new(2, 1, Timed::lock_step()).unwrap();
    let left = Arc::new(Mutex::new(Vec::new()));
    let told = left.clone();
    let out = world.application_with(p(1), move |transmit: Transmit, now: Time| {
        let milliseconds = now.since(Time::ZERO).as_millis() as u64;
        told.lock().unwrap().push((transmit.bytes[0], milliseconds));
    });
    let faults = Faults::default();
    faults.set(p(2), Direction::Outgoing, fault);
    let host = world.host(p(1));
    let (transmit, _) = Injected::attach(&host, faults, stream, out, Addr::nowhere());
    for (number, (at, length)) in frames.iter().enumerate() {
        let mut bytes = vec![0; *length];
        bytes[0] = number as u8;
        let sent = Transmit {
            to: p(2),
            path: Path::Listed,
            bytes: bytes.into(),
            segment: *length,
        };
        world.request(p(1), Time::ZERO + MS * *at as u32, &transmit, sent);
    }
    world.run();
    let left = left.lock().unwrap();
    left.clone()
}

#[test]
fn a_narrow_way_lets_so_many_bytes_through_a_second() {
    let narrow = Fault {
        rate: 100_000,
        ..Fault::default()
    };
    for stream in [false, true] {
        let left = left(stream, narrow, &[(0, 1000), (0, 1000), (100, 2000)]);
        assert_eq!(left, [(0, 10), (1, 20), (2, 120)]);
    }
}

#[test]
fn what_finds_the_queue_full_is_lost_but_over_a_stream() {
    let narrow = Fault {
        rate: 100_000,
        ..Fault::default()
    };
    let frames = [(0, 10_000); 20];
    let over_datagrams = left(false, narrow, &frames);
    // 64 KiB can wait; the last of these frames is only partly within that limit.
    assert_eq!(over_datagrams.len(), 7);
    assert_eq!(over_datagrams.last(), Some(&(6, 700)));
    let over_stream = left(true, narrow, &frames);
    assert_eq!(over_stream.len(), 20);
    assert_eq!(over_stream.last(), Some(&(19, 2000)));
}

#[test]
fn over_a_stream_a_loss_is_a_delay_and_nothing_overtakes() {
    let bad = Fault {
        loss: 0.5,
        duplicate: 0.2,
        jitter: MS * 50,
        ..Fault::default()
    };
    let frames: Vec<_> = (0..100).map(|at| (at, 100)).collect();
    let over_stream = left(true, bad, &frames);
    let numbers: Vec<_> = over_stream.iter().map(|(number, _)| *number).collect();
    assert!(numbers.is_sorted());
    let once: std::collections::BTreeSet<_> = numbers.iter().collect();
    assert_eq!(once.len(), 100, "all of them arrive");
    assert!(numbers.len() > 100, "some twice");
    let late = over_stream
        .iter()
        .filter(|(n, at)| *at >= u64::from(*n) + 200);
    assert!(late.count() > 0, "one that was lost comes 200 ms later");
    let over_datagrams = left(false, bad, &frames);
    let numbers: Vec<_> = over_datagrams.iter().map(|(number, _)| *number).collect();
    let once: std::collections::BTreeSet<_> = numbers.iter().collect();
    assert!(once.len() < 80 && !numbers.is_sorted());
}

#[test]
fn what_is_sent_after_a_fault_over_a_stream_waits_for_what_was_held_back() {
    let mut world = World::new(2, 1, Timed::lock_step()).unwrap();
    let left = Arc::new(Mutex::new(Vec::new()));
    let told = left.clone();
    let out = world.application_with(p(1), move |transmit: Transmit, _| {
        told.lock().unwrap().push(transmit.bytes[0]);
    });
    let faults = Faults::default();
    let slow = Fault {
        delay: MS * 100,
        ..Fault::default()
    };
    faults.set(p(2), Direction::Outgoing, slow);
    faults.set(p(2), Direction::Incoming, slow);
    let (transmit, _) = Injected::attach(
        &world.host(p(1)),
        faults.clone(),
        true,
        out,
        Addr::nowhere(),
    );
    let frame = |number: u8| Transmit {
        to: p(2),
        path: Path::Listed,
        bytes: vec![number].into(),
        segment: 1,
    };
    world.request(p(1), Time::ZERO, &transmit, frame(1));
    let healed = faults.clone();
    world.call(p(1), Time::ZERO + MS * 50, move || {
        healed.set(p(2), Direction::Outgoing, Fault::default());
    });
    world.request(p(1), Time::ZERO + MS * 60, &transmit, frame(2));
    world.run();
    assert_eq!(*left.lock().unwrap(), [1, 2]);
}
