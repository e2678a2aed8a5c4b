use super::*;
use quorate_core::Mailbox;
use std::sync::Mutex;

#[test]
fn the_last_mailbox_runs_first_in_batches_and_all_are_idle_at_the_end() {
    let protocol = protocol(1, 1);
    let host = protocol.host();
    let log = Arc::new(Mutex::new(Vec::new()));
    let (done, waits) = mpsc::channel();
    let mailboxes: Vec<_> = (0..3).map(|_| host.mailbox::<Tag>()).collect();
    let addrs: Vec<_> = mailboxes.iter().map(Mailbox::addr).collect();
    for (index, mailbox) in mailboxes.into_iter().enumerate() {
        let (log, idle, done) = (log.clone(), log.clone(), done.clone());
        let algorithm = Scripted(
            move |Tag(tag), _: &mut _| log.lock().unwrap().push((index, Some(tag))),
            move |_: &mut _| {
                let mut log = idle.lock().unwrap();
                log.push((index, None));
                if index == 0 && log.contains(&(0, Some(2))) {
                    let _ = done.send(());
                }
            },
        );
        host.start(mailbox, algorithm, |_| ());
    }
    let fan = start(
        host,
        "fan",
        |tag, ctx| ctx.trigger(tag),
        move |_| {
            for tag in [1, 2] {
                for addr in &addrs {
                    addr.send(Tag(tag));
                }
            }
        },
    );
    fan.send(Tag(0));
    let thread = protocol.start().unwrap();
    waits.recv_timeout(TIMEOUT).unwrap();
    drop(thread);
    // The first idle calls are those at the start.
    let log = log.lock().unwrap();
    let first = log.iter().position(|(_, tag)| tag.is_some()).unwrap();
    let batch = |index| [(index, Some(1)), (index, Some(2))];
    let idle = [(2, None), (1, None), (0, None)];
    let expected = [&batch(2)[..], &batch(1), &batch(0), &idle];
    assert_eq!(log[first..], expected.concat());
}

/// A user sends the next item as soon as the last one was handled, and its handler also gets messages from
/// the layers below: each actor is idle, and the edges have their turn, before more of the user's items are
/// handled.
#[test]
fn who_is_always_sent_more_from_outside_is_idle_in_between() {
    const LAST: u64 = 20;
    let protocol = protocol(1, 1);
    let host = protocol.host();
    let log = Arc::new(Mutex::new(Vec::new()));
    let mailbox = host.mailbox::<Tag>();
    let addr = mailbox.addr();
    let (handled, next) = mpsc::channel();
    let (sent, goes_on) = mpsc::channel();
    let (done, waits) = mpsc::channel();
    let (at_work, idle) = (log.clone(), log.clone());
    let module = Scripted(
        move |Tag(tag), ctx: &mut Context<Tag, Tag>| {
            if tag > 0 {
                at_work.lock().unwrap().push(Some(tag));
                handled.send(tag).unwrap();
                // The user has sent the next item by now.
                let () = goes_on.recv_timeout(TIMEOUT).unwrap();
                ctx.trigger(Tag(0));
            }
        },
        move |_: &mut _| {
            let mut log = idle.lock().unwrap();
            log.push(None);
            if log.contains(&Some(LAST)) {
                let _ = done.send(());
            }
        },
    );
    let to_itself = addr.clone();
    host.start(mailbox, module, move |tag| to_itself.send(tag));
    let user = std::thread::spawn(move || {
        addr.send(Tag(1));
        while let Ok(tag) = next.recv() {
            if tag < LAST {
                addr.send(Tag(tag + 1));
            }
            sent.send(()).unwrap();
        }
    });
    let thread = protocol.start().unwrap();
    waits.recv_timeout(TIMEOUT).unwrap();
    drop(thread);
    user.join().unwrap();
    let mut log = log.lock().unwrap().clone();
    log.dedup();
    let begun = log.iter().position(Option::is_some).unwrap();
    let handled: Vec<_> = log[begun..].chunks(2).map(<[_]>::to_vec).collect();
    let one_at_a_time: Vec<_> = (1..=LAST).map(|tag| vec![Some(tag), None]).collect();
    assert_eq!(handled, one_at_a_time);
}

#[test]
fn timers_fire_in_order_unless_cancelled() {
    let protocol = protocol(1, 1);
    let (seen, waits) = mpsc::channel();
    let mut cancelled: Option<TimerId> = None;
    let addr = start(
        protocol.host(),
        "timers",
        move |Tag(tag), ctx| {
            if tag == 0 {
                let delay = |ms| Duration::from_millis(ms);
                ctx.after(delay(30), Tag(4));
                cancelled = Some(ctx.after(delay(20), Tag(3)));
                ctx.after(delay(10), Tag(1));
                ctx.after(delay(10), Tag(2));
            }
            if tag == 1 {
                ctx.cancel(cancelled.unwrap());
            }
            ctx.trigger(Tag(tag));
        },
        move |tag| seen.send((tag.0, Instant::now())).unwrap(),
    );
    let _thread = protocol.start().unwrap();
    addr.send(Tag(0));
    let seen: Vec<_> = (0..4)
        .map(|_| waits.recv_timeout(TIMEOUT).unwrap())
        .collect();
    let tags: Vec<_> = seen.iter().map(|(tag, _)| *tag).collect();
    assert_eq!(tags, [0, 1, 2, 4]);
    assert!(seen[1].1 - seen[0].1 >= Duration::from_millis(9));
    assert!(seen[3].1 - seen[0].1 >= Duration::from_millis(29));
}

#[tokio::test]
async fn a_timer_that_is_always_due_starves_neither_others_nor_the_end() {
    let protocol = protocol(1, 1);
    let (seen, waits) = mpsc::channel();
    let (fired, firings) = mpsc::sync_channel(0);
    let restless = start(
        protocol.host(),
        "restless",
        |Tag(tag), ctx| {
            ctx.after(Duration::ZERO, Tag(tag + 1));
            ctx.trigger(Tag(tag));
        },
        move |tag| {
            let _ = fired.try_send(tag);
        },
    );
    let other = start(
        protocol.host(),
        "other",
        |Tag(tag), ctx| {
            if tag == 0 {
                ctx.after(Duration::from_millis(1), Tag(1));
            }
            ctx.trigger(Tag(tag));
        },
        move |tag| seen.send(tag).unwrap(),
    );
    let thread = protocol.start().unwrap();
    restless.send(Tag(0));
    while firings.recv_timeout(TIMEOUT).unwrap().0 < 10 {}
    other.send(Tag(0));
    for tag in [0, 1] {
        assert_eq!(waits.recv_timeout(TIMEOUT), Ok(Tag(tag)));
    }
    thread.stop();
    assert_eq!(ending(&thread).await, Ending::Stopped);
}

#[test]
fn cancelled_timers_do_not_pile_up() {
    use crate::timers::Timers;
    let mut timers = Timers::default();
    let mut ctx: Context<Tag, Tag> = Context::new("x".into(), 0, quorate_core::Counters::default());
    for _ in 0..100_000 {
        let id = ctx.after(Duration::from_secs(1), Tag(0));
        ctx.cancel(id);
        for alarm in ctx.take_alarms() {
            timers.push(alarm.at, 0, alarm.id);
        }
        if timers.wants_sweep() {
            timers.sweep(|_, id| ctx.is_waiting(id));
        }
    }
    assert!(timers.len() <= 1024, "{}", timers.len());
}

#[test]
fn posts_of_many_threads_all_arrive_in_each_ones_order() {
    const POSTS: u64 = 20_000;
    let protocol = protocol(1, 1);
    let (seen, waits) = mpsc::channel();
    let mut last = [0; 4];
    let addr = start(
        protocol.host(),
        "sink",
        move |Tag(tag), ctx| {
            let (thread, number) = ((tag >> 32) as usize, tag & 0xffff_ffff);
            assert_eq!(number, last[thread] + 1);
            last[thread] = number;
            if last == [POSTS; 4] {
                ctx.trigger(Tag(0));
            }
        },
        move |_| seen.send(()).unwrap(),
    );
    let thread = protocol.start().unwrap();
    let barrier = Arc::new(Barrier::new(4));
    for poster in 0..4_u64 {
        let (addr, barrier) = (addr.clone(), barrier.clone());
        std::thread::spawn(move || {
            barrier.wait();
            for number in 1..=POSTS {
                addr.send(Tag(poster << 32 | number));
            }
        });
    }
    waits.recv_timeout(TIMEOUT).unwrap();
    drop(thread);
}

#[test]
fn an_algorithm_may_be_started_and_addressed_while_the_thread_runs() {
    let thread = protocol(1, 1).start().unwrap();
    let (seen, waits) = mpsc::channel();
    let host = thread.host().at("late");
    let mailbox = host.mailbox();
    let addr = mailbox.addr();
    addr.send(Tag(5));
    let upon = |tag, ctx: &mut Context<Tag, Tag>| ctx.trigger(tag);
    host.start(mailbox, Scripted(upon, |_: &mut _| ()), move |tag| {
        seen.send(tag).unwrap();
    });
    assert_eq!(waits.recv_timeout(TIMEOUT), Ok(Tag(5)));
}

async fn ending(thread: &ProtocolThread) -> Ending {
    tokio::time::timeout(TIMEOUT, thread.ended()).await.unwrap()
}

#[tokio::test]
async fn what_was_not_started_may_be_dropped_anywhere() {
    let protocol = protocol(1, 1);
    start(protocol.host(), "never", |_, _| (), |_| ());
    drop(protocol);
}

#[tokio::test]
async fn a_panic_ends_the_thread_and_names_the_module() {
    let protocol = protocol(1, 1);
    let addr = start(
        protocol.host(),
        "faulty",
        |_, _| panic!("on purpose"),
        |_| (),
    );
    let thread = protocol.start().unwrap();
    addr.send(Tag(1));
    let expected = Ending::Panicked("faulty: on purpose".into());
    assert_eq!(ending(&thread).await, expected);
}

#[tokio::test]
async fn everything_is_dropped_when_the_thread_stops() {
    struct Dropped(mpsc::Sender<()>);
    impl Drop for Dropped {
        fn drop(&mut self) {
            self.0.send(()).unwrap();
        }
    }
    let protocol = protocol(1, 1);
    let (dropped, drops) = mpsc::channel();
    let held = Dropped(dropped);
    let myself: Arc<Mutex<Option<Addr<Tag>>>> = Arc::default();
    let cycle = myself.clone();
    let addr = start(
        protocol.host(),
        "cycle",
        move |_, _| {
            let _ = (&held, &cycle);
        },
        |_| (),
    );
    *myself.lock().unwrap() = Some(addr.clone());
    let thread = protocol.start().unwrap();
    thread.stop();
    assert_eq!(ending(&thread).await, Ending::Stopped);
    drops.recv_timeout(TIMEOUT).unwrap();
    addr.send(Tag(1));
}

/// Sends a tag back and forth, and prints the time of one hop. Also a benchmark: `cargo test --release -p
/// quorate-runtime hop -- --nocapture`.
#[test]
fn a_hop_is_cheap() {
    const HOPS: u64 = 2_000_000;
    for together in [1, 64] {
        let protocol = protocol(1, 1);
        let host = protocol.host();
        let (done, waits) = mpsc::channel();
        let (low, high) = (host.at("low"), host.at("high"));
        let (low_box, high_box) = (low.mailbox(), high.mailbox());
        let (to_low, to_high) = (low_box.addr(), high_box.addr());
        let back = |Tag(hops): Tag, ctx: &mut Context<Tag, Tag>| ctx.trigger(Tag(hops + 1));
        low.start(low_box, Scripted(back, |_: &mut _| ()), move |tag| {
            to_high.send(tag);
        });
        let begin = to_low.clone();
        high.start(high_box, Scripted(back, |_: &mut _| ()), move |tag| {
            if tag.0 < HOPS / together {
                to_low.send(tag);
            } else {
                done.send(()).unwrap();
            }
        });
        for _ in 0..together {
            begin.send(Tag(0));
        }
        let begun = Instant::now();
        let _thread = protocol.start().unwrap();
        for _ in 0..together {
            waits.recv_timeout(TIMEOUT).unwrap();
        }
        let hop = begun.elapsed().as_nanos() as u64 / HOPS;
        println!("a hop, {together} together: {hop} ns");
    }
}
