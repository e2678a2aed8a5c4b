use super::*;
use std::convert::Infallible;

type Module = OneShot<u64, &'static str>;
type Decide = Addr<(u64, &'static str)>;
type Requests = Arc<Mutex<Vec<u64>>>;

/// A module that decides what the test says, and counts requests.
fn module() -> (Module, Decide, Requests) {
    let requests = Requests::default();
    let (log, mut decide) = (requests.clone(), None);
    let module = OneShot::start(|up| {
        decide = Some(up);
        let count = move |request| log.lock().unwrap().push(request);
        Ok::<_, Infallible>(Addr::new(count))
    });
    (module.unwrap(), decide.unwrap(), requests)
}

#[test]
fn everybody_who_waits_is_told_and_who_asks_later_too() {
    let (module, decide, requests) = module();
    let first = module.ask(1, 10).unwrap();
    let second = module.ask(1, 11).unwrap();
    decide.send((1, "a"));
    let third = module.ask(1, 12).unwrap();
    for answer in [first, second, third] {
        assert_eq!(answer.blocking_recv(), Ok("a"));
    }
    assert_eq!(
        *requests.lock().unwrap(),
        [10, 11],
        "a decided instance is not asked for"
    );
}

#[test]
fn memory_is_bounded() {
    let (module, decide, _) = module();
    let count = REMEMBERED as u64;
    for instance in 1..=count + 1 {
        decide.send((instance, "a"));
    }
    assert_eq!(module.ask(1, 0).err(), Some(Refusal::Forgotten(1)));
    assert!(module.ask(2, 0).is_ok());

    let waiting: Vec<_> = (count + 2..2 * count + 2)
        .map(|i| module.ask(i, 0).unwrap())
        .collect();
    assert_eq!(module.ask(2 * count + 2, 0).err(), Some(Refusal::TooMany));
    drop(waiting);
    assert!(
        module.ask(2 * count + 2, 0).is_ok(),
        "who has given up is forgotten"
    );
}

#[test]
fn what_the_module_would_drop_is_refused() {
    let (module, decide, _) = module();
    decide.send((1, "a"));
    assert!(module.ask(AHEAD + 1, 0).is_ok());
    let refused = Refusal::TooFar(AHEAD + 2, 2, AHEAD + 1);
    assert_eq!(module.ask(AHEAD + 2, 0).err(), Some(refused));
    assert!(module.ask(u64::MAX, 0).is_err());
}
