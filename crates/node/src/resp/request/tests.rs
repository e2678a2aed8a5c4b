use super::*;

/// The requests in `bytes`, and the error that ended them, if any.
fn requests(bytes: &[u8]) -> (Vec<Request>, Option<String>) {
    let mut buffer = BytesMut::from(bytes);
    let mut scanner = Scanner::default();
    let mut requests = Vec::new();
    loop {
        match take(&mut buffer, &mut scanner) {
            Ok(Some(request)) => requests.push(request),
            Ok(None) => return (requests, None),
            Err(words) => return (requests, Some(words)),
        }
    }
}

/// The request that is said as a line.
fn line(words: &str) -> Request {
    let (mut requests, error) = requests(format!("{words}\r\n").as_bytes());
    assert_eq!((requests.len(), error), (1, None), "{words}");
    requests.remove(0)
}

fn refusal(words: &str) -> String {
    match line(words) {
        Request::Answered(BytesFrame::Error(error)) => error.to_string(),
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
        ("dbsize", Command::DbSize),
    ] {
        assert_eq!(line(words), Request::Command(command));
    }
    let binary = b"*2\r\n$3\r\nGET\r\n$3\r\n\0\r\n\r\n";
    let key = Bytes::from_static(b"\0\r\n");
    assert_eq!(requests(binary).0, [Request::Command(Command::Get(key))]);
}

#[test]
fn what_is_not_built_is_refused_clearly() {
    assert!(refusal("SET k v EX 10").contains("not supported"));
    assert!(refusal("LPUSH k v").contains("unknown command 'LPUSH'"));
    assert!(refusal("GET").contains("wrong number of arguments for 'get'"));
    assert!(refusal("MSET a 1 b").contains("wrong number"));
    assert!(refusal("INCRBY k x").contains("not an integer"));
    assert!(refusal("DECRBY k -9223372036854775808").contains("out of range"));
    assert!(refusal("HELLO 3").starts_with("NOPROTO"));
    assert!(refusal("SELECT 1").contains("out of range"));
    assert!(refusal("CONFIG SET a b").contains("CONFIG GET"));
}

#[test]
fn questions_about_the_session_need_nobody() {
    assert_eq!(line("PING"), Request::Answered(simple("PONG")));
    assert_eq!(line("QUIT"), Request::Quit);
    assert_eq!(line(""), Request::Nothing);
    assert_eq!(line("INFO server"), Request::Info);
    assert_eq!(
        line("CONFIG GET appendonly"),
        Request::Answered(BytesFrame::Array(vec![bulk("appendonly"), bulk("no")]))
    );
    assert_eq!(line("SELECT 0"), Request::Answered(simple("OK")));
}

#[test]
fn a_protocol_error_ends_it_after_what_came_before() {
    let (before, error) = requests(b"PING\r\n*1\r\n$99999999\r\n");
    assert_eq!(before.len(), 1);
    assert!(error.is_some_and(|words| words.starts_with("ERR Protocol error")));
    assert!(requests(b"POST / HTTP/1.1\r\n").1.is_some());
}
