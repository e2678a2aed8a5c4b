use super::*;
use crate::{
    doors::{
        hall::Hall,
        users::{Digest, User},
    },
    resp::{
        client::{Client, Clients},
        request::{Request, interpret},
        table,
    },
};
use bytes::Bytes;
use futures::FutureExt;
use std::collections::BTreeMap;

fn user(rights: Rights, password: &str) -> User {
    User {
        rights,
        passwords: vec![Digest::of(password.as_bytes())],
    }
}

fn users(list: &[(&str, Rights, &str)]) -> Users {
    let users = list.iter().map(|(name, rights, password)| {
        let user = user(*rights, password);
        ((*name).to_owned(), user)
    });
    Users::new(users.collect::<BTreeMap<_, _>>())
}

const READ_ONLY: &[(&str, Rights, &str)] = &[("alice", Rights::READ, "secret")];

fn door(list: &[(&str, Rights, &str)]) -> Arc<ClientDoor> {
    ClientDoor::new(users(list))
}

fn client(door: &Arc<ClientDoor>) -> Client {
    let access = Access::new(door, Hall::new(8, 8).enter(), "c").unwrap();
    Clients::default().enter("c", "s", access)
}

fn ask(client: &mut Client, line: &str) -> Request {
    let words = line.split(' ').map(|word| Bytes::from(word.to_owned()));
    interpret(words.collect(), client)
}

fn answer(client: &mut Client, line: &str) -> Answer {
    match ask(client, line) {
        Request::Answered(answer) => answer,
        request => panic!("{line}: {request:?}"),
    }
}

fn error(client: &mut Client, line: &str) -> String {
    match answer(client, line) {
        Answer::Error(words) => words,
        answer => panic!("{line}: {answer:?}"),
    }
}

/// A request of each command, with as many words as it needs.
fn every_command() -> Vec<(&'static str, String)> {
    let Answer::Array(names) = table::answer(&["LIST".into()]) else {
        panic!("no list");
    };
    let line = |name: Answer| {
        let Answer::Bulk(name) = name else {
            panic!("no name");
        };
        let entry = table::find(&name).unwrap();
        let words = (1..9).find(|words| entry.takes(*words)).unwrap();
        // These are words that each command understands.
        let words = vec!["1"; words - 1].join(" ");
        (
            entry.name,
            format!("{} {words}", entry.name).trim_end().to_owned(),
        )
    };
    names.into_iter().map(line).collect()
}

#[test]
fn before_a_password_nothing_is_served_but_what_shows_one() {
    let door = door(READ_ONLY);
    let mut refused = 0;
    for (name, line) in every_command() {
        let mut client = client(&door);
        let request = ask(&mut client, &line);
        let noauth = Request::Answered(Answer::error("NOAUTH Authentication required."));
        let is_free = ["auth", "hello", "quit", "reset"].contains(&name);
        assert_eq!(request != noauth, is_free, "{line}: {request:?}");
        refused += usize::from(!is_free);
    }
    assert!(refused > 25, "{refused}");
    let mut client = client(&door);
    assert!(error(&mut client, "HELLO 3").starts_with("NOAUTH HELLO must be called"));
    assert_eq!(client.protocol().number(), 2);
}

#[test]
fn rights_are_asked_for_command_by_command() {
    let sets = [
        Rights::READ,
        Rights::WRITE,
        Rights::ADMIN,
        Rights::READ | Rights::WRITE,
        Rights::ALL,
    ];
    for rights in sets {
        let door = door(&[("alice", rights, "secret")]);
        for (name, line) in every_command() {
            let mut client = client(&door);
            assert_eq!(
                answer(&mut client, "AUTH alice secret"),
                Answer::Simple("OK")
            );
            let (needs, _) = table::find(name.as_bytes()).unwrap().needs(&[]);
            let may = match needs {
                Needs::Nothing | Needs::AnyUser => true,
                Needs::Rights(needed) => rights.cover(needed),
            };
            let words = format!("NOPERM this user has no permissions to run the '{name}' command");
            let refused = ask(&mut client, &line) == Request::Answered(Answer::Error(words));
            assert_eq!(refused, !may, "{rights:?} {line}");
        }
    }
    let door = door(READ_ONLY);
    let mut client = client(&door);
    answer(&mut client, "AUTH alice secret");
    assert!(matches!(ask(&mut client, "GET k"), Request::Command(_)));
    assert!(error(&mut client, "CLIENT LIST").ends_with("run the 'client|list' command"));
    assert!(error(&mut client, "SET k v GET").ends_with("run the 'set' command"));
}

#[test]
fn a_password_opens_in_each_form_that_redis_has() {
    let door = door(&[
        ("default", Rights::READ, "one"),
        ("bob", Rights::ALL, "two"),
    ]);
    for (line, name) in [
        ("AUTH one", "default"),
        ("AUTH default one", "default"),
        ("AUTH bob two", "bob"),
        ("HELLO 3 AUTH bob two", "bob"),
        ("HELLO 2 SETNAME x AUTH default one", "default"),
    ] {
        let mut client = client(&door);
        let opened = answer(&mut client, line);
        assert!(!matches!(opened, Answer::Error(_)), "{line}: {opened:?}");
        let who = Answer::Bulk(Bytes::copy_from_slice(name.as_bytes()));
        assert_eq!(answer(&mut client, "ACL WHOAMI"), who, "{line}");
        let Answer::Text(info) = answer(&mut client, "CLIENT INFO") else {
            panic!("no text");
        };
        let info = String::from_utf8(info.to_vec()).unwrap();
        assert!(info.contains(&format!(" user={name} ")), "{info}");
        assert_eq!(answer(&mut client, "RESET"), Answer::Simple("RESET"));
        assert!(error(&mut client, "PING").starts_with("NOAUTH"));
    }
    for line in [
        "AUTH two",
        "AUTH bob one",
        "AUTH nobody one",
        "HELLO 3 AUTH bob one",
        "AUTH bob two two",
    ] {
        let mut client = client(&door);
        let words = error(&mut client, line);
        let wrong = if line.ends_with("two two") {
            "ERR syntax"
        } else {
            "WRONGPASS invalid"
        };
        assert!(words.starts_with(wrong), "{line}: {words}");
        assert!(error(&mut client, "PING").starts_with("NOAUTH"), "{line}");
        assert_eq!(client.protocol().number(), 2);
    }
    // A wrong password changes nothing for who is inside.
    let mut client = client(&door);
    answer(&mut client, "AUTH bob two");
    assert!(error(&mut client, "AUTH default two").starts_with("WRONGPASS"));
    assert_eq!(answer(&mut client, "ACL WHOAMI"), Answer::bulk("bob"));
}

#[test]
fn wrong_passwords_are_counted_and_each_is_answered_later() {
    let door = door(READ_ONLY);
    let mut client = client(&door);
    let penalties: Vec<_> = (0..40)
        .map(|_| {
            error(&mut client, "AUTH alice wrong");
            client.access.take_penalty().unwrap()
        })
        .collect();
    assert_eq!(penalties[..3], [PENALTY, 2 * PENALTY, 4 * PENALTY]);
    assert!(penalties.iter().all(|it| *it <= LONGEST_PENALTY));
    assert_eq!(penalties[39], LONGEST_PENALTY);
    assert_eq!(door.refused.count(), 40);
    answer(&mut client, "AUTH alice secret");
    assert_eq!(
        client.access.take_penalty(),
        None,
        "a right one is not late"
    );
}

#[tokio::test(start_paused = true)]
async fn a_session_ends_with_its_user_or_its_password() {
    let door = door(&[
        ("alice", Rights::READ, "secret"),
        ("bob", Rights::ALL, "two"),
    ]);
    let mut alice = client(&door);
    answer(&mut alice, "AUTH alice secret");
    let mut stranger = client(&door);
    let mut ended = Box::pin(alice.access.dismissal());
    assert!(ended.as_mut().now_or_never().is_none());

    // Others are removed, and she may do more.
    door.replace(users(&[("alice", Rights::ALL, "secret")]));
    assert!(ended.as_mut().now_or_never().is_none());
    assert!(error(&mut alice, "SET k v").starts_with("NOPERM"));
    assert!(alice.access.is_welcome() && stranger.access.is_welcome());
    assert!(matches!(ask(&mut alice, "SET k v"), Request::Command(_)));

    door.replace(users(&[("alice", Rights::ALL, "another")]));
    assert!(ended.now_or_never().is_some());
    assert!(!alice.access.is_welcome());
    assert!(error(&mut alice, "GET k").starts_with("NOAUTH"));

    // Who came in when nobody was asked goes when somebody is.
    let door = ClientDoor::new(Users::default());
    let mut anybody = client(&door);
    assert!(matches!(ask(&mut anybody, "SET k v"), Request::Command(_)));
    let ended = Box::pin(anybody.access.dismissal());
    door.replace(users(READ_ONLY));
    assert!(ended.now_or_never().is_some());
    assert!(!anybody.access.is_welcome());
    assert!(error(&mut anybody, "GET k").starts_with("NOAUTH"));
}

#[tokio::test(start_paused = true)]
async fn a_stranger_has_a_while_and_a_user_has_for_ever() {
    let door = door(READ_ONLY);
    let stranger = client(&door);
    let begin = Instant::now();
    stranger.access.dismissal().await;
    assert_eq!(begin.elapsed(), PATIENCE);
    let mut alice = client(&door);
    answer(&mut alice, "AUTH alice secret");
    let ended = tokio::time::timeout(100 * PATIENCE, alice.access.dismissal());
    assert!(ended.await.is_err());
}

#[test]
fn places_inside_are_not_those_of_strangers() {
    let door = door(READ_ONLY);
    let hall = Hall::new(2, 1);
    let enter = || {
        let access = Access::new(&door, hall.enter(), "c").unwrap();
        Clients::default().enter("c", "s", access)
    };
    let mut alice = enter();
    assert_eq!(
        answer(&mut alice, "AUTH alice secret"),
        Answer::Simple("OK")
    );
    let [mut oldest, mut second, _third] = [enter(), enter(), enter()];
    // The one had to make room for the third, and there is one place inside.
    for client in [&mut oldest, &mut second] {
        assert_eq!(error(client, "AUTH alice secret"), NO_ROOM);
        assert!(!client.access.is_welcome());
    }
    assert!(alice.access.is_welcome());
    drop(alice);
    let mut fourth = enter();
    assert_eq!(
        answer(&mut fourth, "AUTH alice secret"),
        Answer::Simple("OK")
    );
    // Where nobody is asked, a place inside is needed at once.
    let open = ClientDoor::new(Users::default());
    assert!(Access::new(&open, hall.enter(), "c").is_none());
    drop(fourth);
    assert!(Access::new(&open, hall.enter(), "c").is_some());
}
