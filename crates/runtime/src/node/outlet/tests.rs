use super::*;
use std::task::Waker;

impl Cost for usize {
    fn cost(&self) -> usize {
        *self
    }
}

fn opened(timeout: Duration) -> (Outlet<usize>, Intake<usize>, Arc<Mutex<Vec<Backlog>>>) {
    let (outlet, intake) = Outlet::new(100);
    let said: Arc<Mutex<Vec<Backlog>>> = Arc::default();
    let told = said.clone();
    let link = Addr::new(move |backlog| told.lock().unwrap().push(backlog));
    outlet.open(link, timeout);
    (outlet, intake, said)
}

fn next(intake: &mut Intake<usize>) -> Option<Result<usize, StreamError>> {
    match intake.poll_next(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(next) => next,
        Poll::Pending => panic!("nothing waits"),
    }
}

#[test]
fn a_reader_that_counts_within_its_time_gets_everything() {
    let (outlet, mut intake, said) = opened(Duration::from_mins(1));
    outlet.tell(60);
    outlet.tell(1000);
    assert!(matches!(next(&mut intake), Some(Ok(60))));
    assert!(matches!(next(&mut intake), Some(Ok(1000))));
    assert_eq!(
        *said.lock().unwrap(),
        [Backlog::Full, Backlog::Over, Backlog::Open]
    );
}

#[test]
fn a_reader_without_gets_what_fits_then_the_error_then_the_end() {
    let (outlet, mut intake, said) = opened(Duration::ZERO);
    outlet.tell(60);
    outlet.tell(60);
    outlet.tell(1);
    assert_eq!(
        *said.lock().unwrap(),
        [Backlog::Full, Backlog::Over, Backlog::Open]
    );
    assert!(matches!(next(&mut intake), Some(Ok(60))));
    assert!(matches!(
        next(&mut intake),
        Some(Err(StreamError::Lagged { limit: 100 }))
    ));
    assert!(next(&mut intake).is_none());
}

#[test]
fn who_reads_no_more_slows_nobody() {
    let (outlet, intake, said) = opened(Duration::from_mins(1));
    outlet.tell(60);
    drop(intake);
    outlet.tell(60);
    assert_eq!(*said.lock().unwrap(), [Backlog::Full, Backlog::Open]);
}
