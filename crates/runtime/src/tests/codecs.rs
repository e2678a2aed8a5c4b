//! Messages with other codecs than serde's.
use super::{
    node::{Kind, builders, within},
    p,
};
use crate::{
    Builder, Error, MemoryError, ProposeError, SubmitError,
    choice::Consensus,
    node::{ChannelState, Codec, Coded, Raw, Serde, Uncodable},
};
use bytes::Bytes;
use futures::StreamExt;

/// Even numbers as text: odd numbers cannot be decoded again.
enum Even {}

impl Codec<u64> for Even {
    const NAME: &'static str = "even";

    fn encode(value: &u64) -> Result<Bytes, Uncodable> {
        Ok(value.to_string().into())
    }

    fn decode(bytes: Bytes) -> Result<u64, Uncodable> {
        let text = std::str::from_utf8(&bytes).map_err(|_| Uncodable)?;
        let value: u64 = text.parse().map_err(|_| Uncodable)?;
        value.is_multiple_of(2).then_some(value).ok_or(Uncodable)
    }
}

/// Sends any bytes, with the name of serde's codec.
pub(super) enum Pretending {}

impl Codec<Bytes> for Pretending {
    const NAME: &'static str = <Serde as Codec<u64>>::NAME;

    fn encode(value: &Bytes) -> Result<Bytes, Uncodable> {
        Raw::encode(value)
    }

    fn decode(bytes: Bytes) -> Result<Bytes, Uncodable> {
        Raw::decode(bytes)
    }
}

fn builder() -> Builder {
    builders(Kind::Udp, 1).remove(0)
}

#[tokio::test]
async fn every_kind_of_handle_has_the_codec_that_it_is_given() {
    let mut builder = builder();
    let (orders, mut ordered) = builder.total_order(Coded::by::<Even>("orders")).unwrap();
    let (mail, mut letters) = builder.links(Coded::by::<Even>("mail")).unwrap();
    let consensus = Coded::by::<Even>("choice");
    let choice = builder
        .consensus(consensus, Consensus::LeaderDriven)
        .unwrap();
    let registers = builder.registers(Coded::by::<Even>("settings")).unwrap();
    let segments = builder.snapshot(Coded::by::<Even>("accounts")).unwrap();
    let counts = builder.ordered_registers(Coded::by::<Even>("counts"));
    let counts = counts.unwrap();
    let (group, mut events) = builder.views(Coded::raw("views")).unwrap();
    let node = within(builder.start()).await.unwrap();
    within(orders.broadcast(2)).await.unwrap();
    assert_eq!(within(ordered.next()).await.unwrap().unwrap().message, 2);
    within(mail.send(p(1), 4)).await.unwrap();
    assert_eq!(within(letters.next()).await.unwrap().unwrap(), (p(1), 4));
    assert_eq!(within(choice.propose(1, &6)).await.unwrap(), 6);
    within(registers.write("a", &8)).await.unwrap();
    assert_eq!(within(registers.read("a")).await.unwrap(), Some(8));
    within(segments.update(&10)).await.unwrap();
    assert_eq!(within(segments.scan()).await.unwrap(), [Some(10)]);
    within(counts.write("a", &12)).await.unwrap();
    assert_eq!(within(counts.read("a")).await.unwrap().value, Some(12));
    let bytes = Bytes::from_static(b"\xff\0");
    within(group.broadcast(bytes.clone())).await.unwrap();
    let delivered = loop {
        let event = within(events.next()).await.unwrap().unwrap();
        if let crate::Event::Deliver(delivery) = event {
            break delivery.message;
        }
    };
    assert_eq!(delivered, bytes);
    // Each codec refuses, at the sender, a value that cannot be decoded again.
    let refused = |result| matches!(result, Err(Error::Unencodable));
    assert!(refused(within(orders.broadcast(3)).await.map(drop)));
    assert!(refused(within(mail.send(p(1), 3)).await.map(drop)));
    let refused = |result| matches!(result, Err(ProposeError::Failed(Error::Unencodable)));
    assert!(refused(within(choice.propose(2, &3)).await.map(drop)));
    let refused = |result| matches!(result, Err(MemoryError::Failed(Error::Unencodable)));
    assert!(refused(within(registers.write("a", &3)).await));
    assert!(refused(within(segments.update(&3)).await));
    let refused = within(counts.write("a", &3)).await;
    let of = |error| matches!(error, SubmitError::NotSubmitted(Error::Unencodable));
    assert!(refused.is_err_and(of));
    within(orders.broadcast(14)).await.unwrap();
    assert_eq!(within(ordered.next()).await.unwrap().unwrap().message, 14);
    within(node.shutdown()).await.unwrap();
}

/// Both processes have two orders, of which one is encoded as text, but not the same one.
#[tokio::test]
async fn it_matters_which_of_two_like_modules_has_which_codec() {
    let mut nodes = Vec::new();
    let mut handles = Vec::new();
    for (index, mut builder) in builders(Kind::Udp, 2).into_iter().enumerate() {
        let names = if index == 0 { ["a", "b"] } else { ["b", "a"] };
        handles.push(builder.total_order(Coded::by::<Even>(names[0])).unwrap());
        handles.push(builder.total_order(names[1]).unwrap());
        nodes.push(within(builder.start()).await.unwrap());
    }
    let mut status = nodes[1].status();
    let refused = |channel: &ChannelState| matches!(channel, ChannelState::Refused { reason } if reason.contains("coded:"));
    let refused = status.wait_for(|now| now.peers.iter().any(|peer| refused(&peer.channel)));
    within(refused).await.unwrap();
}

#[tokio::test]
async fn processes_whose_codecs_differ_do_not_talk_and_say_so() {
    let mut nodes = Vec::new();
    let mut handles = Vec::new();
    for (index, mut builder) in builders(Kind::Udp, 2).into_iter().enumerate() {
        handles.push(if index == 0 {
            builder.total_order(Coded::by::<Even>("orders")).unwrap()
        } else {
            builder.total_order("orders").unwrap()
        });
        nodes.push(within(builder.start()).await.unwrap());
    }
    assert!(
        nodes[0].stack().contains("coded:orders:even"),
        "{}",
        nodes[0].stack()
    );
    assert!(!nodes[1].stack().contains("coded"), "{}", nodes[1].stack());
    let mut status = nodes[1].status();
    let refused = |channel: &ChannelState| matches!(channel, ChannelState::Refused { reason } if reason.contains("even"));
    let refused = status.wait_for(|now| now.peers.iter().any(|peer| refused(&peer.channel)));
    within(refused).await.unwrap();
}
