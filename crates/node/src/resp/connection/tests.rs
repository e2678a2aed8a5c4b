use super::*;
use crate::node::replica::{Replica, tests::Order};
use tokio::io::{DuplexStream, duplex};

fn session(replica: Replica, deadline: Duration) -> Session<fn() -> String> {
    Session {
        store: Store::Ordered(replica),
        deadline,
        info: || "# Quorate".into(),
    }
}

/// A client of a replica whose total order delivers everything.
fn connect() -> DuplexStream {
    let (replica, _) = Order::new(8).run();
    let (client, server) = duplex(1024);
    let session = session(replica, Duration::from_mins(1));
    tokio::spawn(serve(server, session, CancellationToken::new()));
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
    tokio::spawn(serve(server, session, CancellationToken::new()));
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
    let serving = tokio::spawn(serve(server, session, stop.clone()));
    client.write_all(b"INCR k\r\n").await.unwrap();
    order.deliver_one().await;
    stop.cancel();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert_eq!(answer, ":1\r\n");
    serving.await.unwrap().unwrap();
}
