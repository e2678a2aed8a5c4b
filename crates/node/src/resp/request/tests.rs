use super::*;
use crate::resp::{access::Access, client::Clients};
use quorate_services::kv::{SetCondition, SetReply};

/// The requests in `bytes`, and the error that ended them, if any.
fn requests(bytes: &[u8]) -> (Vec<Request>, Option<String>) {
    let mut buffer = BytesMut::from(bytes);
    let mut scanner = Scanner::default();
    let mut client = Clients::default().enter("c", "s", Access::open());
    let mut requests = Vec::new();
    loop {
        match take(&mut buffer, &mut scanner, &mut client) {
            Ok(Some(request)) => requests.push(request),
            Ok(None) => return (requests, None),
            Err(words) => return (requests, Some(words)),
        }
    }
}

/// The request that is given as a line.
fn line(words: &str) -> Request {
    let (mut requests, error) = requests(format!("{words}\r\n").as_bytes());
    assert_eq!((requests.len(), error), (1, None), "{words}");
    requests.remove(0)
}

fn refusal(words: &str) -> String {
    match line(words) {
        Request::Answered(Answer::Error(error)) => error,
        request => panic!("{words}: {request:?}"),
    }
}

#[test]
fn commands_are_understood_in_any_case() {
    let b = |text: &'static str| Bytes::from_static(text.as_bytes());
    for (words, command) in [
        ("get k", Command::Get(b("k"))),
        ("SET k v", Command::Set(b("k"), b("v"))),
        ("Del a b", Command::Del(vec![b("a"), b("b")])),
        ("INCR k", Command::IncrBy(b("k"), 1)),
        ("DECRBY k -5", Command::IncrBy(b("k"), 5)),
        ("MSET a 1", Command::MSet(vec![(b("a"), b("1"))])),
        ("MSETNX a 1", Command::MSetNx(vec![(b("a"), b("1"))])),
        ("GETDEL k", Command::GetDel(b("k"))),
        ("FLUSHALL async", Command::FlushAll),
        ("dbsize", Command::DbSize),
    ] {
        assert_eq!(line(words), Request::Command(command));
    }
    let binary = b"*2\r\n$3\r\nGET\r\n$3\r\n\0\r\n\r\n";
    let key = Bytes::from_static(b"\0\r\n");
    assert_eq!(requests(binary).0, [Request::Command(Command::Get(key))]);
}

#[test]
fn the_options_of_set_that_need_no_clock_are_understood() {
    let set = |condition, wanted| {
        Request::Command(Command::SetIf {
            key: "k".into(),
            value: "v".into(),
            condition,
            wanted,
        })
    };
    for (words, request) in [
        ("SET k v NX", set(SetCondition::Absent, SetReply::Done)),
        ("SET k v xx", set(SetCondition::Present, SetReply::Done)),
        ("SET k v GET", set(SetCondition::Always, SetReply::Before)),
        (
            "SET k v nx get",
            set(SetCondition::Absent, SetReply::Before),
        ),
        (
            "SET k v GET XX",
            set(SetCondition::Present, SetReply::Before),
        ),
        ("SETNX k v", set(SetCondition::Absent, SetReply::Count)),
        ("GETSET k v", set(SetCondition::Always, SetReply::Before)),
    ] {
        assert_eq!(line(words), request, "{words}");
    }
    for option in ["EX 10", "px 10", "EXAT 1", "PXAT 1", "KEEPTTL", "NX EX 10"] {
        let words = refusal(&format!("SET k v {option}"));
        assert!(words.contains("do not expire"), "{words}");
    }
    for options in ["NX XX", "XX NX", "x", "10"] {
        assert_eq!(refusal(&format!("SET k v {options}")), "ERR syntax error");
    }
}

#[test]
fn integers_are_as_strict_as_those_of_redis() {
    for amount in [
        "+5",
        "007",
        "-0",
        "",
        " 5",
        "5 ",
        "1.0",
        "9223372036854775808",
        "x",
    ] {
        for name in ["INCRBY", "DECRBY", "SELECT"] {
            let words = match name {
                "SELECT" => format!("SELECT \"{amount}\""),
                _ => format!("{name} k \"{amount}\""),
            };
            assert_eq!(
                refusal(&words),
                "ERR value is not an integer or out of range",
                "{words}"
            );
        }
    }
    for (words, amount) in [("0", 0), ("-5", -5), ("-9223372036854775808", i64::MIN)] {
        let command = Command::IncrBy("k".into(), amount);
        assert_eq!(
            line(&format!("INCRBY k {words}")),
            Request::Command(command)
        );
    }
    assert_eq!(
        refusal("DECRBY k -9223372036854775808"),
        "ERR decrement would overflow"
    );
}

#[test]
fn what_is_not_built_is_refused_clearly() {
    assert!(refusal("LPUSH k v").contains("unknown command 'LPUSH'"));
    assert!(refusal("GET").contains("wrong number of arguments for 'get'"));
    assert!(refusal("MSET a 1 b").contains("wrong number of arguments for 'mset'"));
    assert!(refusal("MSETNX a 1 b").contains("wrong number of arguments for 'msetnx'"));
    assert!(refusal("PING a b").contains("wrong number of arguments for 'ping'"));
    assert!(refusal("ECHO").contains("wrong number of arguments for 'echo'"));
    assert!(refusal("SELECT 1").contains("out of range"));
    assert!(refusal("CONFIG SET a b").contains("CONFIG GET"));
    assert!(refusal("FLUSHALL NOW").contains("syntax error"));
}

#[test]
fn questions_about_the_session_need_nobody() {
    assert_eq!(line("PING"), Request::Answered(Answer::Simple("PONG")));
    let echo = Request::Answered(Answer::bulk("a b"));
    assert_eq!(line("PING 'a b'"), echo);
    assert_eq!(line("ECHO \"a b\""), echo);
    assert_eq!(line("QUIT"), Request::Quit);
    assert_eq!(line("QUIT now"), Request::Quit);
    assert_eq!(line(""), Request::Nothing);
    assert_eq!(line("INFO server"), Request::Info);
    let pair = |key, value| (Answer::bulk(key), Answer::bulk(value));
    for (words, told) in [
        ("CONFIG GET appendonly", vec![pair("appendonly", "no")]),
        ("CONFIG GET nosuch", vec![]),
    ] {
        assert_eq!(line(words), Request::Answered(Answer::Map(told)));
    }
    assert_eq!(line("SELECT 0"), Request::Answered(Answer::Simple("OK")));
}

#[test]
fn a_protocol_error_ends_it_after_what_came_before() {
    let (before, error) = requests(b"PING\r\n*1\r\n$99999999\r\n");
    assert_eq!(before.len(), 1);
    assert!(error.is_some_and(|words| words.starts_with("ERR Protocol error")));
    assert!(requests(b"POST / HTTP/1.1\r\n").1.is_some());
    let (before, error) = requests(b"PING\r\nSET k \"v\r\n");
    assert_eq!(before.len(), 1);
    assert_eq!(
        error.as_deref(),
        Some("ERR Protocol error: unbalanced quotes in request")
    );
}
