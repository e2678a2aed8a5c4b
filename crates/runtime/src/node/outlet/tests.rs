use super::*;
use std::task::Waker;

impl Cost for usize {
    fn cost(&self) -> usize {
        *self
    }
}

type Said = Arc<Mutex<Vec<Backlog>>>;

fn opened() -> (Outlet<usize>, Intake<usize>, Said) {
    let (outlet, intake) = Outlet::new(100);
    let said = Said::default();
    let told = said.clone();
    let link = Addr::new(move |backlog| told.lock().unwrap().push(backlog));
    outlet.open(link, Duration::from_mins(1));
    (outlet, intake, said)
}

fn next(intake: &mut Intake<usize>) -> Option<Result<usize, Error>> {
    match intake.poll_next(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(next) => next,
        Poll::Pending => panic!("nothing waits"),
    }
}

fn take(said: &Said) -> Vec<Backlog> {
    std::mem::take(&mut said.lock().unwrap())
}

#[test]
fn a_reader_is_behind_from_half_of_the_limit_until_a_quarter_is_left() {
    let (outlet, mut intake, said) = opened();
    outlet.tell(30);
    outlet.tell(20);
    assert_eq!(take(&said), []);
    outlet.tell(1);
    outlet.tell(1);
    assert_eq!(take(&said), [Backlog::Full], "said once");
    assert!(matches!(next(&mut intake), Some(Ok(30))));
    assert!(matches!(next(&mut intake), Some(Ok(20))));
    assert_eq!(take(&said), [Backlog::Open]);
    outlet.tell(60);
    assert_eq!(take(&said), [Backlog::Full]);
}

#[test]
fn a_reader_that_goes_on_slowly_is_said_to_do_so() {
    let (outlet, mut intake, said) = opened();
    for _ in 0..80 {
        outlet.tell(1);
    }
    take(&said);
    assert!(next(&mut intake).is_some());
    assert_eq!(take(&said), [], "not with every item");
    outlet.lag.told().as_mut().unwrap().at -= SAID_AGAIN;
    assert!(next(&mut intake).is_some());
    assert_eq!(take(&said), [Backlog::Full]);
}

#[test]
fn a_reader_that_goes_on_gets_what_was_on_its_way_and_one_that_stands_still_is_cut_off() {
    let (outlet, mut intake, said) = opened();
    outlet.tell(60);
    outlet.tell(1000);
    assert_eq!(take(&said), [Backlog::Full]);
    assert!(matches!(next(&mut intake), Some(Ok(60))));
    outlet.lag.told().as_mut().unwrap().at -= Duration::from_mins(1);
    outlet.tell(60);
    assert_eq!(take(&said), [Backlog::Open]);
    assert!(matches!(next(&mut intake), Some(Ok(1000))));
    assert!(matches!(
        next(&mut intake),
        Some(Err(Error::Lagged { limit: 100 }))
    ));
    let (outlet, mut intake, _) = opened();
    // Nobody has read, and nobody is late: it falls behind only now.
    outlet.lag.told().as_mut().unwrap().at -= Duration::from_mins(1);
    outlet.tell(101);
    assert!(matches!(next(&mut intake), Some(Ok(101))));
}

#[test]
fn who_reads_no_more_slows_nobody() {
    let (outlet, intake, said) = opened();
    outlet.tell(60);
    drop(intake);
    assert_eq!(take(&said), [Backlog::Full, Backlog::Open]);
    outlet.tell(60);
    assert_eq!(take(&said), []);

    let (outlet, mut intake, said) = opened();
    outlet.tell(60);
    outlet.lag.told().as_mut().unwrap().at -= Duration::from_mins(1);
    outlet.tell(60);
    assert_eq!(take(&said), [Backlog::Full, Backlog::Open], "it has lagged");
    assert!(matches!(next(&mut intake), Some(Ok(60))));
    assert!(matches!(
        next(&mut intake),
        Some(Err(Error::Lagged { limit: 100 }))
    ));
    assert!(next(&mut intake).is_none());
    assert_eq!(take(&said), []);
}
