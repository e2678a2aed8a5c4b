//! Registers in the order of the group, over sockets.
use super::{
    codecs::Pretending,
    node::{Kind, builders, within},
    p,
    replicated::{bind, free, kill},
};
use crate::{
    Builder, CompareError, Error, MemoryError, Node, StartError, SubmitError,
    node::{Coded, Compared, OrderedRegisters, Versioned},
};
use bytes::Bytes;
use futures::future::join_all;
use std::net::SocketAddr;

async fn begin(mut builder: Builder) -> (Node, OrderedRegisters<u64>) {
    let registers = builder.ordered_registers("counts").unwrap();
    (within(builder.start()).await.unwrap(), registers)
}

async fn begin_at(rank: usize, peers: &[SocketAddr]) -> (Node, OrderedRegisters<u64>) {
    begin(bind(Kind::Udp, rank, peers)).await
}

/// Adds one, even if other writes come between. Returns how often they did.
async fn add_one(registers: &OrderedRegisters<u64>) -> u64 {
    let mut others = 0;
    let mut now = registers.read("count").await.unwrap();
    loop {
        let next = now.value.unwrap_or(0) + 1;
        let compared = registers.compare_and_set("count", now.version, &next);
        match compared.await.unwrap() {
            Compared::Set(version) => {
                assert!(version > now.version);
                return others;
            }
            Compared::Differs(other) => {
                assert_ne!(other.version, now.version);
                (now, others) = (other, others + 1);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_all_who_compare_at_once_each_sets_in_the_end_and_none_is_lost() {
    let mut all = Vec::new();
    for builder in builders(Kind::Udp, 3) {
        all.push(begin(builder).await);
    }
    let adding = all.iter().map(|(_, registers)| async {
        let mut others = 0;
        for _ in 0..20 {
            others += add_one(registers).await;
        }
        others
    });
    let others: u64 = within(join_all(adding)).await.iter().sum();
    assert!(others > 0, "somebody came between");
    for (_, registers) in &all {
        let now = within(registers.read("count")).await.unwrap();
        assert_eq!(now.value, Some(60));
    }
}

#[tokio::test]
async fn a_version_is_of_a_write_and_not_of_a_value() {
    let (_node, registers) = begin(builders(Kind::Udp, 1).remove(0)).await;
    let nothing = within(registers.read("a")).await.unwrap();
    assert_eq!((nothing.value, nothing.version), (None, 0));
    let first = within(registers.write("a", &7)).await.unwrap();
    // A caller that expects no value is told the present value.
    let compared = within(registers.compare_and_set("a", 0, &8)).await.unwrap();
    let held = Versioned {
        value: Some(7),
        version: first,
    };
    assert_eq!(compared, Compared::Differs(held));
    // The same value, written again, has another version.
    let second = within(registers.write("a", &7)).await.unwrap();
    assert!(second > first);
    let late = within(registers.compare_and_set("a", first, &9)).await;
    assert!(matches!(late, Ok(Compared::Differs(_))), "{late:?}");
    let set = within(registers.compare_and_set("a", second, &9)).await;
    let Ok(Compared::Set(third)) = set else {
        panic!("{set:?}");
    };
    assert_eq!(registers.peek("a").unwrap().version, third);
    // A process that has set a register can clear it only while its own value is there.
    let late = within(registers.compare_and_clear("a", second)).await;
    assert!(matches!(late, Ok(Compared::Differs(_))), "{late:?}");
    let cleared = within(registers.compare_and_clear("a", third)).await;
    assert!(matches!(cleared, Ok(Compared::Set(_))), "{cleared:?}");
    assert_eq!(within(registers.read("a")).await.unwrap(), nothing);
    let fourth = within(registers.write("a", &9)).await.unwrap();
    assert!(fourth > third, "versions grow over what was cleared");
    // A cleared register holds nothing.
    within(registers.clear("a")).await.unwrap();
    assert_eq!(within(registers.read("a")).await.unwrap(), nothing);
    let set = within(registers.compare_and_set("a", 0, &1)).await;
    assert!(matches!(set, Ok(Compared::Set(_))), "{set:?}");
}

#[tokio::test]
async fn who_watches_sees_what_is_there_and_what_comes_in_its_order() {
    let mut all = Vec::new();
    for builder in builders(Kind::Tcp, 3) {
        all.push(begin(builder).await);
    }
    within(all[0].1.write("a", &1)).await.unwrap();
    within(all[2].1.read("a")).await.unwrap();
    let mut watch = all[2].1.watch("a");
    let mut other = all[2].1.watch("b");
    let now = within(watch.changed()).await.unwrap();
    assert_eq!(now.value, Some(1));
    assert_eq!(within(other.changed()).await.unwrap().version, 0);
    let mut last = now.version;
    for value in 2..=50 {
        within(all[value % 3].1.write("a", &(value as u64)))
            .await
            .unwrap();
    }
    loop {
        let now = within(watch.changed()).await.unwrap();
        assert!(now.version > last);
        last = now.version;
        if now.value == Some(50) {
            break;
        }
    }
    within(all[1].1.clear("a")).await.unwrap();
    let cleared = within(watch.changed()).await.unwrap();
    assert_eq!((cleared.value, cleared.version), (None, 0));
    // There is no news of a register that is not written; at the end comes the reason.
    let node = all.remove(2).0;
    let ended = async { tokio::join!(node.shutdown(), other.changed()).1 };
    assert!(matches!(
        within(ended).await,
        Err(MemoryError::Failed(Error::Stopped))
    ));
    assert!(matches!(
        within(watch.changed()).await,
        Err(MemoryError::Failed(Error::Stopped))
    ));
}

#[tokio::test]
async fn registers_outlive_the_restart_of_a_process_and_so_do_versions() {
    let peers = free(Kind::Udp);
    let mut all = Vec::new();
    for rank in 1..=3 {
        all.push(begin_at(rank, &peers).await);
    }
    let version = within(all[0].1.write("a", &5)).await.unwrap();
    let mut watch = all[1].1.watch("a");
    within(watch.changed()).await.unwrap();
    for (node, _) in &all {
        within(node.admitted()).await.unwrap();
    }
    kill(all.remove(2).0).await;
    let (node, again) = begin_at(3, &peers).await;
    // The watch begins before the process has the state, and is told when the state comes.
    let mut late = again.watch("a");
    let now = within(again.read("a")).await.unwrap();
    assert_eq!((now.value, now.version), (Some(5), version));
    while within(late.changed()).await.unwrap().version != version {}
    let set = within(again.compare_and_set("a", version, &6)).await;
    assert!(matches!(set, Ok(Compared::Set(_))), "{set:?}");
    assert_eq!(within(watch.changed()).await.unwrap().value, Some(6));
    assert_eq!(within(late.changed()).await.unwrap().value, Some(6));
    drop(node);
}

#[tokio::test]
async fn what_is_too_long_or_does_not_come_back_is_refused_and_so_is_a_name_twice() {
    let mut builder = builders(Kind::Udp, 1).remove(0);
    let texts = builder.ordered_registers::<String>("texts").unwrap();
    let taken = builder.ordered_registers::<u64>("texts");
    assert!(matches!(taken, Err(StartError::UsedTwice(_))), "{taken:?}");
    let early = texts.write("a", &String::new()).await;
    assert!(matches!(
        early,
        Err(SubmitError::NotSubmitted(Error::NotStarted))
    ));
    let node = within(builder.start()).await.unwrap();
    let long = within(texts.write("a", &"x".repeat(512 << 10))).await;
    assert!(matches!(
        long,
        Err(SubmitError::NotSubmitted(Error::TooLarge { .. }))
    ));
    within(texts.write("a", &"x".repeat(511 << 10)))
        .await
        .unwrap();
    let name = within(texts.clear("x".repeat(513 << 10))).await;
    assert!(matches!(
        name,
        Err(SubmitError::NotSubmitted(Error::TooLarge { .. }))
    ));
    assert_eq!(node.me(), p(1));
}

#[tokio::test]
async fn a_value_of_another_type_is_an_error_wherever_it_is_read_and_the_next_is_none() {
    let mut all = builders(Kind::Udp, 2);
    let (mut other, mut one) = (all.remove(1), all.remove(0));
    let numbers = one.ordered_registers::<u64>("counts").unwrap();
    let bytes = other.ordered_registers(Coded::by::<Pretending>("counts"));
    let bytes = bytes.unwrap();
    let _nodes = [one.start().await.unwrap(), other.start().await.unwrap()];
    let mut watch = numbers.watch("a");
    within(watch.changed()).await.unwrap();
    within(bytes.write("a", &Bytes::new())).await.unwrap();
    let is_undecodable =
        |error: &MemoryError| matches!(error, MemoryError::UndecodableValue(of) if of == "a");
    let read = within(numbers.read("a")).await.unwrap_err();
    assert!(is_undecodable(&read), "{read}");
    assert!(is_undecodable(&numbers.peek("a").unwrap_err()));
    assert!(is_undecodable(&within(watch.changed()).await.unwrap_err()));
    let compared = within(numbers.compare_and_set("a", 0, &1)).await;
    assert!(matches!(compared, Err(CompareError::UndecodableValue(of)) if of == "a"));
    within(numbers.write("a", &7)).await.unwrap();
    assert_eq!(within(watch.changed()).await.unwrap().value, Some(7));
}

#[tokio::test]
async fn of_a_node_that_never_starts_a_watch_ends_with_its_handles() {
    let mut builder = builders(Kind::Udp, 1).remove(0);
    let registers = builder.ordered_registers::<u64>("counts").unwrap();
    let mut watch = registers.watch("a");
    within(watch.changed()).await.unwrap();
    drop((builder, registers));
    assert!(matches!(
        within(watch.changed()).await,
        Err(MemoryError::Failed(Error::Stopped))
    ));
}
