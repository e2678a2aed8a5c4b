use super::*;
use std::sync::Arc;

const MINUTE: Duration = Duration::from_mins(1);

type Said = Arc<Mutex<Vec<Backlog>>>;

fn opened(at_the_limit: AtTheLimit) -> (Meter, Said) {
    let meter = Meter::new(100);
    let said = Said::default();
    let told = said.clone();
    let link = Addr::new(move |backlog| told.lock().unwrap().push(backlog));
    meter.open(link, at_the_limit);
    (meter, said)
}

fn take(said: &Said) -> Vec<Backlog> {
    std::mem::take(&mut said.lock().unwrap())
}

fn wait(meter: &Meter, time: Duration) {
    meter.told().as_mut().unwrap().at -= time;
}

#[test]
fn a_user_is_behind_from_half_of_the_limit_until_a_quarter_is_left() {
    let (meter, said) = opened(AtTheLimit::CutOff(MINUTE));
    assert!(meter.grow(50));
    assert_eq!(take(&said), []);
    assert!(meter.grow(1) && meter.grow(1));
    assert_eq!(take(&said), [Backlog::Full], "said once");
    meter.shrink(27);
    assert_eq!(take(&said), []);
    meter.shrink(1);
    assert_eq!(take(&said), [Backlog::Open]);
    assert!(meter.grow(60));
    assert_eq!(take(&said), [Backlog::Full]);
}

/// A user that is held up may read nothing for just that reason, so in the end it may go on sending.
#[test]
fn a_user_is_held_up_at_the_limit_and_again_when_half_of_it_has_come_on_top() {
    let (meter, said) = opened(AtTheLimit::CutOff(MINUTE));
    assert!(meter.grow(100));
    assert_eq!(take(&said), [Backlog::Full]);
    assert!(meter.grow(1) && meter.grow(1));
    assert_eq!(take(&said), [Backlog::Over], "said once");
    for _ in 0..10 {
        wait(&meter, SAID_AGAIN);
        meter.shrink(1);
        assert!(meter.grow(1));
        assert_eq!(take(&said), [Backlog::Full], "as much comes as is read");
    }
    assert!(meter.grow(49));
    assert_eq!(take(&said), []);
    wait(&meter, MINUTE / 2);
    assert!(meter.grow(1));
    assert_eq!(take(&said), [Backlog::Over]);
    wait(&meter, MINUTE / 2);
    assert!(!meter.grow(1), "the time has run on: nothing was read");
    meter.shrink(129);
    assert_eq!(take(&said), [Backlog::Open]);
    assert!(meter.grow(80));
    assert_eq!(take(&said), [Backlog::Full, Backlog::Over], "as at first");
}

#[test]
fn a_user_that_goes_on_slowly_is_said_to_do_so() {
    let (meter, said) = opened(AtTheLimit::CutOff(MINUTE));
    meter.grow(90);
    take(&said);
    meter.shrink(1);
    assert_eq!(take(&said), [], "not each time");
    wait(&meter, SAID_AGAIN);
    meter.shrink(1);
    assert_eq!(take(&said), [Backlog::Full]);
}

#[test]
fn a_user_gets_what_was_on_its_way_and_is_cut_off_once_it_stands_still_for_too_long() {
    let (meter, _) = opened(AtTheLimit::CutOff(MINUTE));
    wait(&meter, MINUTE);
    assert!(meter.grow(101), "it falls behind only now");
    assert!(meter.grow(1000));
    wait(&meter, MINUTE);
    assert!(!meter.grow(1));
    let unread = Meter::new(100);
    assert!(unread.grow(100) && !unread.grow(1), "nobody waits for it");
}

#[test]
fn of_a_user_that_is_never_cut_off_nothing_more_is_taken_than_the_limit() {
    let (meter, said) = opened(AtTheLimit::TakeNothing);
    assert!(meter.grow(60) && meter.grow(15));
    assert_eq!(take(&said), [Backlog::Full]);
    assert!(meter.grow(1));
    assert_eq!(take(&said), [Backlog::Over]);
    assert!(meter.grow(25) && meter.grow(10));
    assert_eq!(take(&said), [Backlog::Stuck]);
    wait(&meter, MINUTE);
    meter.shrink(60);
    assert_eq!(take(&said), [], "still more than half");
    meter.shrink(1);
    assert_eq!(take(&said), [Backlog::Full]);
    meter.shrink(26);
    assert_eq!(take(&said), [Backlog::Open]);
    assert!(meter.grow(90));
    take(&said);
    meter.end();
    assert_eq!(take(&said), [Backlog::Open], "nobody is behind any more");
    meter.end();
    assert_eq!(take(&said), []);
}
