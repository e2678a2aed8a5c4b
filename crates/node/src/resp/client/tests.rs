use super::*;
use crate::resp::request::{Request, interpret};

/// The answer to a client's request, given as a line of words.
fn ask(client: &mut Client, line: &str) -> Answer {
    let words = line.split(' ').map(|word| word.to_owned().into());
    match interpret(words.collect(), client) {
        Request::Answered(answer) => answer,
        request => panic!("{line}: {request:?}"),
    }
}

fn error(client: &mut Client, line: &str) -> String {
    match ask(client, line) {
        Answer::Error(words) => words,
        answer => panic!("{line}: {answer:?}"),
    }
}

fn text(client: &mut Client, line: &str) -> String {
    match ask(client, line) {
        Answer::Text(text) => String::from_utf8(text.to_vec()).unwrap(),
        answer => panic!("{line}: {answer:?}"),
    }
}

const OK: Answer = Answer::Simple("OK");

#[test]
fn hello_is_understood_in_all_its_forms() {
    let clients = Clients::default();
    let client = &mut clients.enter("c", "s", Access::open());
    for (line, protocol, name) in [
        ("HELLO", Protocol::Resp2, ""),
        ("HELLO 3", Protocol::Resp3, ""),
        ("HELLO", Protocol::Resp3, ""),
        ("HELLO 2 SETNAME x", Protocol::Resp2, "x"),
        ("hello 3 auth default any", Protocol::Resp3, "x"),
        ("HELLO 3 SETNAME y AUTH default any", Protocol::Resp3, "y"),
        ("HELLO 2 AUTH default any SETNAME z", Protocol::Resp2, "z"),
    ] {
        let Answer::Map(pairs) = ask(client, line) else {
            panic!("{line}: no map");
        };
        let told = |key| {
            let pair = pairs.iter().find(|(known, _)| *known == Answer::bulk(key));
            pair.map(|(_, value)| value.clone())
        };
        assert_eq!(told("proto"), Some(Answer::Integer(protocol.number())));
        assert_eq!(told("id"), Some(Answer::Integer(1)));
        assert_eq!(client.protocol(), protocol, "{line}");
        let known = match ask(client, "CLIENT GETNAME") {
            Answer::Null => Bytes::new(),
            Answer::Bulk(name) => name,
            answer => panic!("{answer:?}"),
        };
        assert_eq!(known, name, "{line}");
    }
}

#[test]
fn a_hello_that_is_refused_changes_nothing() {
    let clients = Clients::default();
    let client = &mut clients.enter("c", "s", Access::open());
    for (line, words) in [
        ("HELLO 4", "NOPROTO unsupported protocol version"),
        ("HELLO 1 SETNAME x", "NOPROTO unsupported protocol version"),
        (
            "HELLO x",
            "ERR Protocol version is not an integer or out of range",
        ),
        (
            "HELLO 03",
            "ERR Protocol version is not an integer or out of range",
        ),
        (
            "HELLO 3 SETNAME",
            "ERR Syntax error in HELLO option 'SETNAME'",
        ),
        (
            "HELLO 3 SETNAME x AUTH default",
            "ERR Syntax error in HELLO option 'AUTH'",
        ),
        (
            "HELLO 3 SETNAME x NOSUCH",
            "ERR Syntax error in HELLO option 'NOSUCH'",
        ),
        (
            "HELLO 3 SETNAME x AUTH bob any",
            "WRONGPASS invalid username-password pair or user is disabled.",
        ),
        ("HELLO 3 SETNAME \u{e9}", INVALID_NAME),
    ] {
        assert_eq!(error(client, line), words);
        assert_eq!(client.protocol(), Protocol::Resp2);
        assert_eq!(ask(client, "CLIENT GETNAME"), Answer::Null);
    }
}

#[test]
fn without_passwords_auth_answers_as_redis_does() {
    let clients = Clients::default();
    let client = &mut clients.enter("c", "s", Access::open());
    assert!(error(client, "AUTH x").starts_with("ERR AUTH <password> called without any password"));
    assert_eq!(ask(client, "AUTH default x"), OK);
    assert!(error(client, "AUTH bob x").starts_with("WRONGPASS"));
    assert_eq!(error(client, "AUTH a b c"), "ERR syntax error");
}

#[test]
fn each_connection_has_a_number_and_a_name_of_its_own() {
    let clients = Clients::default();
    let (mut first, mut second) = (
        clients.enter("a:1", "s:1", Access::open()),
        clients.enter("b:2", "s:1", Access::open()),
    );
    assert_eq!(ask(&mut first, "CLIENT ID"), Answer::Integer(1));
    assert_eq!(ask(&mut second, "CLIENT ID"), Answer::Integer(2));
    assert_eq!(ask(&mut first, "CLIENT GETNAME"), Answer::Null);
    assert_eq!(ask(&mut first, "CLIENT SETNAME me"), OK);
    assert_eq!(ask(&mut first, "CLIENT GETNAME"), Answer::Bulk("me".into()));
    assert_eq!(ask(&mut second, "CLIENT GETNAME"), Answer::Null);
    assert_eq!(ask(&mut first, "client setinfo lib-name redis-py"), OK);
    assert_eq!(ask(&mut first, "CLIENT SETINFO LIB-VER 8.1.0"), OK);
    ask(&mut second, "HELLO 3");
    let info = text(&mut first, "CLIENT INFO");
    assert!(
        info.starts_with("id=1 addr=a:1 laddr=s:1 name=me age=0 idle=0 "),
        "{info}"
    );
    assert!(
        info.ends_with(" resp=2 lib-name=redis-py lib-ver=8.1.0\n"),
        "{info}"
    );
    let list = text(&mut second, "CLIENT LIST");
    assert_eq!(list.lines().count(), 2);
    assert!(
        list.starts_with(&info) && list.contains(" resp=3 "),
        "{list}"
    );
    drop(first);
    assert_eq!(text(&mut second, "CLIENT LIST").lines().count(), 1);
    let mut third = clients.enter("c:3", "s:1", Access::open());
    assert_eq!(ask(&mut third, "CLIENT ID"), Answer::Integer(3));
}

#[test]
fn what_would_break_a_line_is_no_name() {
    let clients = Clients::default();
    let client = &mut clients.enter("c", "s", Access::open());
    let mut set = |name: &'static [u8]| {
        let words = [&b"CLIENT"[..], b"SETNAME", name].map(Bytes::from_static);
        interpret(words.into(), client)
    };
    for name in [&b"a b"[..], b"a\n", b"\xff", &[b'x'; MAXIMUM_NAME + 1]] {
        let refused = Request::Answered(Answer::error(INVALID_NAME));
        assert_eq!(set(name), refused);
    }
    assert_eq!(set(b""), Request::Answered(OK));
    assert_eq!(
        error(client, "CLIENT SETINFO lib-name \u{e9}"),
        "ERR lib-name cannot contain spaces, newlines or special characters."
    );
    assert_eq!(
        error(client, "CLIENT SETINFO what x"),
        "ERR Unrecognized option 'what'"
    );
    assert_eq!(
        error(client, "CLIENT KILL x"),
        "ERR unknown subcommand 'KILL'. Try CLIENT HELP."
    );
    assert_eq!(
        error(client, "CLIENT SETNAME"),
        "ERR wrong number of arguments for 'client|setname' command"
    );
}

#[test]
fn reset_forgets_the_name_and_the_protocol() {
    let clients = Clients::default();
    let client = &mut clients.enter("c", "s", Access::open());
    ask(client, "HELLO 3 SETNAME x");
    assert_eq!(ask(client, "RESET"), Answer::Simple("RESET"));
    assert_eq!(client.protocol(), Protocol::Resp2);
    assert_eq!(ask(client, "CLIENT GETNAME"), Answer::Null);
    assert_eq!(ask(client, "CLIENT ID"), Answer::Integer(1));
}
