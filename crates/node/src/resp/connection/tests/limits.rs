//! How a connection ends, and what clients may hold.
use super::*;

/// What a client is answered that sends everything before it reads anything, as most clients do.
async fn answer_to_all_of(request: &[u8]) -> String {
    let mut client = connect();
    client.write_all(request).await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn what_is_too_much_is_told_to_who_is_still_sending_it() {
    let mut many = b"*65537\r\n".to_vec();
    many.extend(b"$1\r\nx\r\n".repeat(65_537));
    let answer = answer_to_all_of(&many).await;
    assert_eq!(answer, "-ERR Protocol error: invalid multibulk length\r\n");

    let length = 9 * 1024 * 1024;
    let mut long = format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n${length}\r\n").into_bytes();
    long.resize(long.len() + length, b'x');
    long.extend_from_slice(b"\r\n");
    let answer = answer_to_all_of(&long).await;
    assert_eq!(answer, "-ERR Protocol error: invalid bulk length\r\n");

    let unbalanced = b"PING\r\nSET k \"v\r\nPING\r\n";
    let answer = answer_to_all_of(unbalanced).await;
    assert_eq!(
        answer,
        "+PONG\r\n-ERR Protocol error: unbalanced quotes in request\r\n"
    );
}

/// A client cannot keep a connection for ever by sending garbage, or nothing, after its end.
#[tokio::test(start_paused = true)]
async fn after_the_last_reply_a_connection_soon_ends() {
    let replica = Order::new(8).run();
    let (mut client, server) = duplex(1024);
    let session = session(replica, Duration::from_mins(1));
    let serving = tokio::spawn(serve(server, entered(), session, CancellationToken::new()));
    client.write_all(b"*-x\r\n").await.unwrap();
    let begin = Instant::now();
    serving.await.unwrap().unwrap();
    assert!(begin.elapsed() <= Duration::from_secs(5));
}

#[tokio::test(start_paused = true)]
async fn who_is_idle_is_given_up_where_the_settings_say_so() {
    let idle = Duration::from_secs(10);
    let order = Order::new(8);
    let (mut client, server) = duplex(1024);
    let session = Session {
        idle: Some(idle),
        ..session(order.replica.clone(), 10 * idle)
    };
    let serving = tokio::spawn(serve(server, entered(), session, CancellationToken::new()));
    for _ in 0..3 {
        tokio::time::sleep(idle * 9 / 10).await;
        client.write_all(b"PING\r\n").await.unwrap();
    }
    // A client that waits for a reply is not idle.
    let begin = Instant::now();
    client.write_all(b"GET k\r\n").await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert!(answer.ends_with("-NOQUORUM no majority answered within 100s; outcome unknown\r\n"));
    let waited = begin.elapsed();
    assert!(
        waited >= 11 * idle && waited < 12 * idle,
        "idle from the reply on: {waited:?}"
    );
    serving.await.unwrap().unwrap();
}

#[tokio::test]
async fn what_all_clients_keep_together_is_limited() {
    let replica = Order::new(8).run();
    let together = Together::new(300_000);
    let connect = || {
        let (client, server) = duplex(1024);
        let session = Session {
            together: together.clone(),
            ..session(replica.clone(), Duration::from_mins(1))
        };
        tokio::spawn(serve(server, entered(), session, CancellationToken::new()));
        client
    };
    let begin = |length: usize| {
        let mut request = b"*2\r\n$4\r\nECHO\r\n$1000000\r\n".to_vec();
        request.resize(request.len() + length, b'x');
        request
    };
    let mut first = connect();
    first.write_all(&begin(200_000)).await.unwrap();
    settle().await;
    assert!(together.held() > 100_000 && together.held() <= 300_000);

    let mut second = connect();
    second.write_all(&begin(900_000)).await.unwrap();
    let mut answer = String::new();
    second.read_to_string(&mut answer).await.unwrap();
    assert_eq!(answer, format!("-{TOO_MUCH}\r\n"));

    // A client that keeps little is served all the same.
    let mut third = connect();
    let mut echo = format!("*2\r\n$4\r\nECHO\r\n${}\r\n", ALLOWANCE / 4).into_bytes();
    echo.resize(echo.len() + ALLOWANCE / 4, b'y');
    echo.extend_from_slice(b"\r\n");
    for _ in 0..3 {
        third.write_all(&echo).await.unwrap();
        third
            .read_exact(&mut vec![0; echo.len() - "*2\r\n$4\r\nECHO\r\n".len()])
            .await
            .unwrap();
    }
    drop(first);
    settle().await;
    assert_eq!(together.held(), 0);
}
