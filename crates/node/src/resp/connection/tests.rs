mod limits;
mod strangers;

use super::{
    reading::{ALLOWANCE, BATCH, TOO_MUCH},
    *,
};
use crate::node::{
    registers,
    replica::{Replica, tests::Order},
};
use crate::resp::{access::Access, client::Clients};
use bytes::Bytes;
use quorate_abstractions::register::{Indication, RegisterResponse};
use std::{io::ErrorKind, time::Duration};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

fn session(replica: Replica, deadline: Duration) -> Session<fn() -> String> {
    Session {
        store: Store::Ordered(replica),
        locks: None,
        deadline,
        info: || "# Quorate".into(),
        stall: STALL,
        idle: None,
        together: Together::new(usize::MAX),
    }
}

fn entered() -> Client {
    Clients::default().enter("c", "s", Access::open())
}

/// A client of a replica whose total order delivers everything.
fn connect() -> DuplexStream {
    let replica = Order::new(8).run();
    let (client, server) = duplex(1024);
    let session = session(replica, Duration::from_mins(1));
    tokio::spawn(serve(server, entered(), session, CancellationToken::new()));
    client
}

/// What the server answers to `requests`, until it closes.
async fn answers(requests: &[u8]) -> String {
    let (mut read, mut write) = tokio::io::split(connect());
    let mut answer = Vec::new();
    let writing = async {
        // The server may close before it has read everything.
        let _ = write.write_all(requests).await;
        let _ = write.shutdown().await;
    };
    tokio::join!(writing, read.read_to_end(&mut answer))
        .1
        .unwrap();
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let requests = b"SET k v\r\nGET k\r\nPING\r\nINCR n\r\nGET nothing\r\n\
        *3\r\n$4\r\nMGET\r\n$1\r\nk\r\n$1\r\nx\r\nINCR k\r\nNOSUCH\r\nQUIT\r\nPING\r\n";
    assert_eq!(
        answers(requests).await,
        "+OK\r\n$1\r\nv\r\n+PONG\r\n:1\r\n$-1\r\n*2\r\n$1\r\nv\r\n$-1\r\n\
         -ERR value is not an integer or out of range\r\n-ERR unknown command 'NOSUCH'\r\n+OK\r\n"
    );
}

#[tokio::test]
async fn the_protocol_changes_where_the_client_says_so() {
    let requests = b"GET x\r\nHELLO 3\r\nGET x\r\nMGET x\r\nSET x 1 GET\r\nSET x 2 NX\r\n\
        CLIENT GETNAME\r\nCONFIG GET save\r\nINFO\r\nHELLO 9\r\nGET y\r\nRESET\r\nGET y\r\n\
        HELLO\r\n";
    let version = env!("CARGO_PKG_VERSION");
    let greeting = |proto| {
        format!(
            "$6\r\nserver\r\n$7\r\nquorate\r\n$7\r\nversion\r\n${}\r\n{version}\r\n\
             $5\r\nproto\r\n:{proto}\r\n$2\r\nid\r\n:1\r\n$4\r\nmode\r\n$10\r\nstandalone\r\n\
             $4\r\nrole\r\n$6\r\nmaster\r\n$7\r\nmodules\r\n*0\r\n",
            version.len()
        )
    };
    assert_eq!(
        answers(requests).await,
        format!(
            "$-1\r\n%7\r\n{}_\r\n*1\r\n_\r\n_\r\n_\r\n_\r\n%1\r\n$4\r\nsave\r\n$0\r\n\r\n\
             =13\r\ntxt:# Quorate\r\n-NOPROTO unsupported protocol version\r\n_\r\n+RESET\r\n\
             $-1\r\n*14\r\n{}",
            greeting(3),
            greeting(2)
        )
    );
}

#[tokio::test]
async fn thousands_in_one_write_are_all_answered() {
    let count = 5 * BATCH;
    let answer = answers(&b"INCR n\r\n".repeat(count)).await;
    let numbers = answer
        .lines()
        .map(|line| line[1..].parse::<usize>().unwrap());
    assert!(numbers.eq(1..=count), "{answer}");
}

#[tokio::test]
async fn a_protocol_error_is_answered_behind_what_came_before_and_closes() {
    let answer = answers(b"INCR n\r\n*1\r\n$999999999999\r\nINCR n\r\n").await;
    assert_eq!(answer, ":1\r\n-ERR Protocol error: invalid bulk length\r\n");
}

#[tokio::test]
async fn a_large_value_comes_back_whole() {
    let value = "x".repeat(3_000_000);
    let request = format!(
        "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n${}\r\n{value}\r\nGET k\r\n",
        value.len()
    );
    let answer = answers(request.as_bytes()).await;
    assert_eq!(answer, format!("+OK\r\n${}\r\n{value}\r\n", value.len()));
}

#[tokio::test(start_paused = true)]
async fn without_a_quorum_the_outcome_is_unknown() {
    let order = Order::new(8);
    let (mut client, server) = duplex(1024);
    let session = session(order.replica.clone(), Duration::from_secs(2));
    tokio::spawn(serve(server, entered(), session, CancellationToken::new()));
    client
        .write_all(b"GET k\r\nPING\r\nQUIT\r\n")
        .await
        .unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert_eq!(
        answer,
        "-NOQUORUM no majority answered within 2s; outcome unknown\r\n+PONG\r\n+OK\r\n"
    );
}

#[tokio::test]
async fn at_the_stop_what_was_read_is_answered() {
    let mut order = Order::new(8);
    let (mut client, server) = duplex(1024);
    let session = session(order.replica.clone(), Duration::from_mins(1));
    let stop = CancellationToken::new();
    let serving = tokio::spawn(serve(server, entered(), session, stop.clone()));
    client.write_all(b"INCR k\r\n").await.unwrap();
    order.deliver_one().await;
    stop.cancel();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert_eq!(answer, ":1\r\n");
    serving.await.unwrap().unwrap();
}

/// The values have 700,000 bytes, so that the second does not fit beside the first until the client has read
/// that.
#[tokio::test]
async fn what_a_client_does_not_read_is_not_asked_of_registers() {
    const LENGTH: usize = 700_000;
    let mut below = registers::tests::below(registers::tests::ROOMY);
    let names = ["a", "b", "c", "d"].map(Bytes::from);
    let tag = registers::tests::tag(1);
    for name in &names {
        below.lengths.learn(name, tag, LENGTH);
    }
    let (mut client, server) = duplex(1024);
    let session = Session {
        store: Store::Registers(below.registers.clone()),
        locks: None,
        deadline: Duration::from_mins(1),
        info: || String::new(),
        stall: STALL,
        idle: None,
        together: Together::new(usize::MAX),
    };
    tokio::spawn(serve(server, entered(), session, CancellationToken::new()));
    client
        .write_all(b"PING\r\nGET a\r\nGET b\r\nGET c\r\nPING\r\nGET d\r\nQUIT\r\n")
        .await
        .unwrap();
    let mut line = [0; 7];
    client.read_exact(&mut line).await.unwrap();
    assert_eq!(&line, b"+PONG\r\n");
    for (number, name) in (1..).zip(names) {
        let request = below.requests.recv().await.unwrap();
        assert_eq!((request.operation, &request.register), (number, &name));
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        let next = below.requests.try_recv();
        assert!(
            next.is_err(),
            "asked for before the first is read: {next:?}"
        );
        below.up.send(Indication {
            register: name.clone(),
            operation: number,
            outcome: RegisterResponse::Read {
                tag,
                value: Some(vec![b'x'; LENGTH].into()),
            },
        });
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        let next = below.requests.try_recv();
        assert!(
            next.is_err(),
            "asked for before the first is read: {next:?}"
        );
        let mut reply = vec![0; LENGTH + "$700000\r\n\r\n".len()];
        client.read_exact(&mut reply).await.unwrap();
        if name == "c" {
            client.read_exact(&mut line).await.unwrap();
            assert_eq!(&line, b"+PONG\r\n");
        }
    }
    let mut rest = String::new();
    client.read_to_string(&mut rest).await.unwrap();
    assert_eq!(rest, "+OK\r\n");
}

/// Stores a value of this length; returns the length of the reply that has it.
async fn store_a_value(client: &mut DuplexStream, length: usize) -> usize {
    let head = format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n${length}\r\n");
    client.write_all(head.as_bytes()).await.unwrap();
    client.write_all(&vec![b'x'; length]).await.unwrap();
    client.write_all(b"\r\n").await.unwrap();
    let mut done = [0; 5];
    client.read_exact(&mut done).await.unwrap();
    assert_eq!(&done, b"+OK\r\n");
    format!("${length}\r\n\r\n").len() + length
}

/// Lets all tasks run until they wait.
async fn settle() {
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
}

/// The first reply, which the client does not read, may be short and leave room for more.
#[tokio::test]
async fn who_does_not_read_keeps_one_version_of_the_store_whatever_the_first_reply_is() {
    let replica = Order::new(8).run();
    let (mut reader, server) = duplex(1024);
    let slow = session(replica.clone(), Duration::from_mins(1));
    tokio::spawn(serve(server, entered(), slow, CancellationToken::new()));
    let (mut writer, server) = duplex(64 * 1024);
    let other = session(replica.clone(), Duration::from_mins(1));
    tokio::spawn(serve(server, entered(), other, CancellationToken::new()));

    store_a_value(&mut writer, UNWRITTEN / 10).await;
    reader.write_all(b"GET k\r\n").await.unwrap();
    settle().await;
    let mut reply = store_a_value(&mut writer, 2 * UNWRITTEN).await;
    let before = replica.progress().applied;
    for _ in 0..16 {
        reader.write_all(b"MGET k\r\n").await.unwrap();
        settle().await;
        reply = store_a_value(&mut writer, 2 * UNWRITTEN).await;
    }
    let done = replica.progress().applied - before - 16;
    assert_eq!(done, 1, "the reply to it is there, and not read");
    let first = format!("${}\r\n\r\n", UNWRITTEN / 10).len() + UNWRITTEN / 10;
    let length = first + 16 * ("*1\r\n".len() + reply);
    reader.read_exact(&mut vec![0; length]).await.unwrap();
    settle().await;
    assert_eq!(replica.progress().applied - before, 32);
}

/// Replies that a replica gives by itself count like all others.
#[tokio::test]
async fn who_does_not_read_is_not_read_from_though_nobody_else_is_asked() {
    let replica = Order::new(8).run();
    let registers = registers::tests::below(registers::tests::ROOMY).registers;
    for store in [Store::Ordered(replica), Store::Registers(registers)] {
        let (mut client, server) = duplex(1024);
        let session = Session {
            store,
            locks: None,
            deadline: Duration::from_mins(1),
            info: || String::new(),
            stall: STALL,
            idle: None,
            together: Together::new(usize::MAX),
        };
        tokio::spawn(serve(server, entered(), session, CancellationToken::new()));
        let length = UNWRITTEN / 4;
        let mut echo = format!("*2\r\n$4\r\nECHO\r\n${length}\r\n").into_bytes();
        echo.resize(echo.len() + length, b'x');
        echo.extend_from_slice(b"\r\n");
        let mut taken = 0;
        while taken < 16
            && let Some(written) = settled(client.write_all(&echo)).await
        {
            written.unwrap();
            taken += 1;
        }
        assert!((4..8).contains(&taken), "{taken} were taken");
    }
}

/// The replica learns the length of a value that others have written only from the reply.
#[tokio::test]
async fn values_of_registers_count_when_they_are_there() {
    let mut below = registers::tests::below(registers::tests::ROOMY);
    let (mut client, server) = duplex(1024);
    let session = Session {
        store: Store::Registers(below.registers.clone()),
        locks: None,
        deadline: Duration::from_mins(1),
        info: || String::new(),
        stall: STALL,
        idle: None,
        together: Together::new(usize::MAX),
    };
    tokio::spawn(serve(server, entered(), session, CancellationToken::new()));
    for number in 1..=3 {
        client
            .write_all(format!("GET {number}\r\n").as_bytes())
            .await
            .unwrap();
        settle().await;
        // The second one's reply is there before the first one's.
        if number == 2 {
            read_returns(&mut below, 2, 2 * UNWRITTEN);
        } else if number == 3 {
            let asked = std::iter::from_fn(|| below.requests.try_recv().ok());
            let asked: Vec<u64> = asked.map(|request| request.operation).collect();
            assert_eq!(asked, [1, 2], "and nothing behind the second");
        }
    }
    read_returns(&mut below, 1, 1);
    let length = "$1\r\nx\r\n".len() + "$2097152\r\n\r\n".len() + 2 * UNWRITTEN;
    client.read_exact(&mut vec![0; length]).await.unwrap();
    settle().await;
    let next = below.requests.try_recv().map(|request| request.operation);
    assert_eq!(next, Ok(3));
}

/// Nothing is kept for an operation that was given up, so that its client is served again.
#[tokio::test(start_paused = true)]
async fn an_operation_that_does_not_return_takes_no_room_from_who_has_given_up() {
    let mut below = registers::tests::below(registers::tests::ROOMY);
    let (silent, tag) = (Bytes::from("silent"), registers::tests::tag(1));
    below.lengths.learn(&silent, tag, 2 * UNWRITTEN);
    let (mut client, server) = duplex(1024);
    let session = Session {
        store: Store::Registers(below.registers.clone()),
        locks: None,
        deadline: Duration::from_secs(2),
        info: || String::new(),
        stall: STALL,
        idle: None,
        together: Together::new(usize::MAX),
    };
    tokio::spawn(serve(server, entered(), session, CancellationToken::new()));
    client.write_all(b"GET silent\r\nGET 2\r\n").await.unwrap();
    let refused = b"-NOQUORUM no quorum answered within 2s; outcome unknown\r\n";
    let mut answer = vec![0; refused.len()];
    client.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, refused);
    settle().await;
    read_returns(&mut below, 2, 1);
    let mut answer = [0; 7];
    client.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"$1\r\nx\r\n");
}

/// The read of the register `number` returns a value of this length.
fn read_returns(below: &mut registers::tests::LowerLayer, number: u64, length: usize) {
    below.up.send(Indication {
        register: number.to_string().into(),
        operation: number,
        outcome: RegisterResponse::Read {
            tag: registers::tests::tag(1),
            value: Some(vec![b'x'; length].into()),
        },
    });
}

/// The result of a future when all tasks have run until they wait; `None` if it still waits.
async fn settled<T>(done: impl Future<Output = T>) -> Option<T> {
    tokio::select! {
        biased;
        done = done => Some(done),
        () = settle() => None,
    }
}

#[tokio::test]
async fn who_does_not_read_is_not_read_from_and_keeps_one_version_of_the_store() {
    let replica = Order::new(8).run();
    let (mut reader, server) = duplex(1024);
    let slow = session(replica.clone(), Duration::from_mins(1));
    tokio::spawn(serve(server, entered(), slow, CancellationToken::new()));
    let (mut writer, server) = duplex(64 * 1024);
    let other = session(replica.clone(), Duration::from_mins(1));
    tokio::spawn(serve(server, entered(), other, CancellationToken::new()));

    let length = 2 * UNWRITTEN;
    let reply = store_a_value(&mut writer, length).await;
    let before = replica.progress().applied;
    for _ in 0..16 {
        // The requests come one at a time, and each reads another version of the value.
        reader.write_all(b"GET k\r\n").await.unwrap();
        settle().await;
        store_a_value(&mut writer, length).await;
    }
    assert_eq!(
        replica.progress().applied - before - 16,
        1,
        "the first reply is not read"
    );
    for _ in 0..16 {
        let mut value = vec![0; reply];
        reader.read_exact(&mut value).await.unwrap();
    }
    settle().await;
    assert_eq!(replica.progress().applied - before, 32);
}

#[tokio::test(start_paused = true)]
async fn who_takes_nothing_of_a_reply_for_long_is_given_up() {
    let replica = Order::new(8).run();
    let (mut client, server) = duplex(1024);
    let session = session(replica, Duration::from_mins(1));
    let serving = tokio::spawn(serve(server, entered(), session, CancellationToken::new()));
    let reply = store_a_value(&mut client, 100_000).await;
    client.write_all(b"GET k\r\nGET k\r\n").await.unwrap();
    // The client is slow, but never stalls for the whole limit.
    let mut piece = vec![0; reply / 10];
    for _ in 0..10 {
        tokio::time::sleep(STALL * 9 / 10).await;
        client.read_exact(&mut piece).await.unwrap();
    }
    tokio::time::sleep(STALL + Duration::from_secs(1)).await;
    let ended = serving.await.unwrap().unwrap_err();
    assert_eq!(ended.kind(), ErrorKind::TimedOut, "{ended}");
}

#[tokio::test(start_paused = true)]
async fn who_leaves_a_request_unfinished_for_long_is_given_up_and_who_is_idle_is_not() {
    let replica = Order::new(8).run();
    let (mut client, server) = duplex(1024);
    let session = session(replica, Duration::from_mins(1));
    let serving = tokio::spawn(serve(server, entered(), session, CancellationToken::new()));
    tokio::time::sleep(100 * STALL).await;
    client
        .write_all(b"*2\r\n$4\r\nECHO\r\n$3\r\n")
        .await
        .unwrap();
    for byte in [b"a", b"b", b"c"] {
        tokio::time::sleep(STALL * 9 / 10).await;
        client.write_all(byte).await.unwrap();
    }
    client.write_all(b"\r\n").await.unwrap();
    let mut echo = [0; 9];
    client.read_exact(&mut echo).await.unwrap();
    assert_eq!(&echo, b"$3\r\nabc\r\n");
    client
        .write_all(b"*2\r\n$4\r\nECHO\r\n$8000000\r\nabc")
        .await
        .unwrap();
    tokio::time::sleep(STALL + Duration::from_secs(1)).await;
    let ended = serving.await.unwrap().unwrap_err();
    assert_eq!(ended.kind(), ErrorKind::TimedOut, "{ended}");
}
