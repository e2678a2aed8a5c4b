use super::*;
use bytes::Bytes;
use quorate_core::{Incarnation, ProcessId};
use quorate_services::kv::Command;
use std::time::Duration;
use tokio::time::timeout;

/// A total order of one process, that delivers what the test lets through.
pub(crate) struct Order {
    pub replica: Replica,
    pub standing: watch::Sender<Standing>,
    broadcasts: mpsc::UnboundedReceiver<Bytes>,
    deliveries: mpsc::UnboundedSender<Delivery>,
    delivered: u64,
}

fn origin() -> Origin {
    Origin {
        process: ProcessId::from_rank(1).unwrap(),
        incarnation: Incarnation(1),
    }
}

impl Order {
    /// Must be made inside a runtime.
    pub fn new(window: usize) -> Self {
        let standing = watch::Sender::new(Standing::Voter);
        let (out, broadcasts) = mpsc::unbounded_channel();
        let (deliveries, delivered) = mpsc::unbounded_channel();
        let out = Addr::new(move |broadcast| out.send(broadcast).unwrap());
        let replica = Replica::new(origin(), out, window, standing.subscribe());
        let (sender, applier) = (replica.clone(), replica.clone());
        tokio::spawn(async move { sender.send_parcels().await });
        tokio::spawn(async move { applier.apply_deliveries(delivered).await });
        Order {
            replica,
            standing,
            broadcasts,
            deliveries,
            delivered: 0,
        }
    }

    /// Waits for the next message and delivers it; says how many bytes it was.
    pub async fn deliver_one(&mut self) -> usize {
        let payload = self.broadcasts.recv().await.unwrap();
        self.delivered += 1;
        let length = payload.len();
        let delivery = Delivery {
            origin: origin(),
            first: self.delivered,
            payloads: vec![payload],
        };
        self.deliveries.send(delivery).unwrap();
        length
    }

    /// Delivers everything, for ever.
    pub fn run(mut self) -> (Replica, watch::Sender<Standing>) {
        let handles = (self.replica.clone(), self.standing.clone());
        tokio::spawn(async move {
            loop {
                self.deliver_one().await;
            }
        });
        handles
    }
}

fn encoded(command: &Command) -> BytesMut {
    let mut out = BytesMut::new();
    command.encode(&mut out);
    out
}

fn incr() -> BytesMut {
    encoded(&Command::IncrBy(Bytes::from_static(b"k"), 1))
}

fn soon() -> Instant {
    Instant::now() + Duration::from_millis(20)
}

fn late() -> Instant {
    Instant::now() + Duration::from_mins(1)
}

#[tokio::test]
async fn what_waits_together_travels_together_and_is_answered_in_order() {
    let mut order = Order::new(1);
    let mut answers = Vec::new();
    for _ in 0..5 {
        let answer = order.replica.submit(1, &incr(), late()).await.unwrap();
        answers.push(answer);
    }
    let length = order.deliver_one().await;
    assert_eq!(length, 5 * incr().len(), "one message carries all five");
    for (count, answer) in (1..).zip(answers) {
        assert_eq!(answer.await, Ok(vec![Reply::Integer(count)]));
    }
    assert_eq!(order.replica.progress().applied, 5);
}

#[tokio::test]
async fn a_client_that_gave_up_does_not_shift_the_replies_of_others() {
    let mut order = Order::new(4);
    let two = [incr(), incr()].concat();
    drop(order.replica.submit(2, &two, late()).await);
    let second = order.replica.submit(1, &incr(), late()).await.unwrap();
    order.deliver_one().await;
    assert_eq!(second.await, Ok(vec![Reply::Integer(3)]));
}

#[tokio::test]
async fn the_window_limits_what_is_under_way() {
    let mut order = Order::new(2);
    let large = encoded(&Command::Set(
        Bytes::from_static(b"k"),
        vec![0; PARCEL].into(),
    ));
    let mut answers = Vec::new();
    for _ in 0..4 {
        answers.push(order.replica.submit(1, &large, late()).await.unwrap());
    }
    let two = async { (order.broadcasts.recv().await, order.broadcasts.recv().await) };
    let (Some(first), Some(_)) = two.await else {
        panic!("the window has room for two")
    };
    let third = timeout(Duration::from_millis(50), order.broadcasts.recv()).await;
    assert!(third.is_err(), "a third is under way");
    let delivery = Delivery {
        origin: origin(),
        first: 1,
        payloads: vec![first],
    };
    order.deliveries.send(delivery).unwrap();
    assert!(order.broadcasts.recv().await.is_some());
}

#[tokio::test]
async fn without_room_the_deadline_refuses_and_nothing_is_executed() {
    let order = Order::new(1);
    let large = vec![0; MAXIMUM_BYTES];
    let mut answers = Vec::new();
    for _ in 0..ROOM / large.len() {
        answers.push(order.replica.submit(1, &large, late()).await.unwrap());
    }
    let refused = order.replica.submit(1, &incr(), soon()).await;
    assert_eq!(refused.err(), Some(Refusal::NoQuorum));
}

#[tokio::test]
async fn only_a_voter_takes_commands() {
    let order = Order::new(1);
    order.standing.send_replace(Standing::Joining);
    let refused = order.replica.submit(1, &incr(), soon()).await;
    assert!(matches!(refused, Err(Refusal::NotVoter(_))));
    order
        .standing
        .send_replace(Standing::Excluded("restarted".into()));
    let refused = order.replica.submit(1, &incr(), late()).await;
    assert_eq!(refused.err(), Some(Refusal::NotVoter("restarted".into())));
}

#[tokio::test]
async fn who_is_still_joining_takes_commands_as_soon_as_it_is_admitted() {
    let order = Order::new(1);
    order.standing.send_replace(Standing::Joining);
    let (replica, standing) = order.run();
    let submitted = tokio::spawn(async move { replica.submit(1, &incr(), late()).await });
    tokio::task::yield_now().await;
    standing.send_replace(Standing::Voter);
    let answer = submitted.await.unwrap().unwrap();
    assert_eq!(answer.await, Ok(vec![Reply::Integer(1)]));
}
