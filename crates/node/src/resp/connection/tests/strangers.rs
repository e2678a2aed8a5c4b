//! What a connection costs on which nobody has shown a password, and how it ends.
use super::*;
use crate::doors::{
    hall::Hall,
    users::{ClientDoor, Digest, Rights, User, Users},
};
use crate::resp::access::PATIENCE;
use std::{collections::BTreeMap, sync::Arc};

fn users() -> Users {
    let alice = User {
        rights: Rights::READ | Rights::WRITE,
        passwords: vec![Digest::of(b"secret")],
    };
    Users::new(BTreeMap::from([("alice".to_owned(), alice)]))
}

struct Guarded {
    client: DuplexStream,
    door: Arc<ClientDoor>,
    together: Together,
    serving: tokio::task::JoinHandle<io::Result<()>>,
}

impl Guarded {
    fn new() -> Self {
        let door = ClientDoor::new(users());
        let access = Access::new(&door, Hall::new(1, 1).enter(), "c").unwrap();
        let client = Clients::default().enter("c", "s", access);
        let together = Together::new(1024 * 1024);
        let session = Session {
            together: together.clone(),
            ..session(Order::new(8).run(), Duration::from_mins(1))
        };
        let (stream, server) = duplex(1024);
        let serving = tokio::spawn(serve(server, client, session, CancellationToken::new()));
        Guarded {
            client: stream,
            door,
            together,
            serving,
        }
    }

    async fn line(&mut self) -> String {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            let mut byte = [0];
            self.client.read_exact(&mut byte).await.unwrap();
            line.push(byte[0]);
        }
        String::from_utf8(line).unwrap().trim_end().to_owned()
    }
}

#[tokio::test(start_paused = true)]
async fn a_password_opens_and_what_stands_behind_it_is_served() {
    let mut it = Guarded::new();
    let requests = b"PING\r\nAUTH alice secret\r\nSET k v\r\nINCR n\r\nFLUSHALL\r\n";
    it.client.write_all(requests).await.unwrap();
    let begin = Instant::now();
    for expected in [
        "-NOAUTH Authentication required.",
        "+OK",
        "+OK",
        ":1",
        "-NOPERM this user has no permissions to run the 'flushall' command",
    ] {
        assert_eq!(it.line().await, expected);
    }
    assert!(
        begin.elapsed() < Duration::from_millis(100),
        "nothing is late"
    );
}

#[tokio::test(start_paused = true)]
async fn guesses_in_one_write_are_answered_later_and_later() {
    let mut it = Guarded::new();
    let guesses = b"AUTH alice wrong\r\n".repeat(4);
    it.client.write_all(&guesses).await.unwrap();
    let begin = Instant::now();
    let mut last = Duration::ZERO;
    for _ in 0..4 {
        assert!(it.line().await.starts_with("-WRONGPASS"));
        let pause = begin.elapsed().saturating_sub(last);
        assert!(
            pause >= last.max(Duration::from_millis(250)),
            "{pause:?} after {last:?}"
        );
        last = begin.elapsed();
    }
    assert_eq!(it.door.refused.count(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_stranger_who_reads_nothing_keeps_little_here() {
    let mut it = Guarded::new();
    let writing = tokio::time::timeout(STALL / 2, async {
        // Each is answered with more than it has.
        let pings = b"PING\r\n".repeat(1000);
        for _ in 0..1000 {
            it.client.write_all(&pings).await.unwrap();
        }
    });
    assert!(writing.await.is_err(), "all was read");
    assert!(it.together.held() < 1024, "{} bytes", it.together.held());
}

#[tokio::test(start_paused = true)]
async fn a_stranger_who_says_nothing_is_given_up() {
    let mut it = Guarded::new();
    let begin = Instant::now();
    let mut rest = String::new();
    let ended = tokio::time::timeout(2 * PATIENCE, it.client.read_to_string(&mut rest));
    assert_eq!(ended.await.map(Result::unwrap), Ok(0));
    assert_eq!(begin.elapsed(), PATIENCE);
    it.serving.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_idle_session_ends_when_its_user_is_removed() {
    let mut it = Guarded::new();
    it.client.write_all(b"AUTH alice secret\r\n").await.unwrap();
    assert_eq!(it.line().await, "+OK");
    it.door.replace(users());
    it.client.write_all(b"GET k\r\n").await.unwrap();
    assert_eq!(it.line().await, "$-1", "it is the same user");
    tokio::time::sleep(10 * PATIENCE).await;
    it.door.replace(Users::default());
    let mut rest = String::new();
    let ended = tokio::time::timeout(PATIENCE, it.client.read_to_string(&mut rest));
    assert_eq!(ended.await.map(Result::unwrap), Ok(0));
    it.serving.await.unwrap().unwrap();
}
