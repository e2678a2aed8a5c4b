use super::*;
use crate::resp::{
    access::Access,
    client::Clients,
    request::{self, Request},
    scan::Scanner,
};

fn line(words: &str) -> Request {
    let mut buffer = format!("{words}\r\n").as_bytes().into();
    let mut client = Clients::default().enter("c", "s", Access::open());
    let taken = request::take(&mut buffer, &mut Scanner::default(), &mut client);
    taken.unwrap().unwrap()
}

fn b(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

#[test]
fn requests_about_locks_are_understood_in_any_case() {
    let acquire = |lease: Option<u64>, wait, stay| LockRequest::Acquire {
        lock: b("l"),
        owner: b("o"),
        lease: lease.map(Duration::from_millis),
        wait,
        stay,
    };
    let second = Wait::For(Duration::from_secs(1));
    let (lock, key, token) = (b("l"), b("k"), 7);
    for (words, expected) in [
        ("LOCK.ACQUIRE l o", acquire(None, Wait::No, false)),
        (
            "lock.acquire l o wait 1000 lease 20",
            acquire(Some(20), second, false),
        ),
        (
            "lock.acquire l o LEASE 20 WAIT 1000 STAY",
            acquire(Some(20), second, true),
        ),
        (
            "lock.acquire l o WAIT 0",
            acquire(None, Wait::ForEver, false),
        ),
        (
            "Lock.Renew l 7",
            LockRequest::Renew {
                lock: lock.clone(),
                token,
            },
        ),
        (
            "LOCK.RELEASE l 7",
            LockRequest::Release {
                lock: lock.clone(),
                token,
            },
        ),
        ("LOCK.HOLDER l", LockRequest::Holder { lock: lock.clone() }),
        (
            "LOCK.GET l 7 k",
            LockRequest::Get {
                lock: lock.clone(),
                token,
                key: key.clone(),
            },
        ),
        (
            "LOCK.SET l 7 k v",
            LockRequest::Put {
                lock: lock.clone(),
                token,
                key: key.clone(),
                value: Some(b("v")),
            },
        ),
        (
            "LOCK.DEL l 7 k",
            LockRequest::Put {
                lock,
                token,
                key,
                value: None,
            },
        ),
    ] {
        assert_eq!(line(words), Request::Lock(expected), "{words}");
    }
}

#[test]
fn what_is_no_request_about_a_lock_is_refused() {
    for words in [
        "LOCK.ACQUIRE l",
        "LOCK.ACQUIRE l o WAIT",
        "LOCK.ACQUIRE l o WAIT x",
        "LOCK.ACQUIRE l o WAIT -1",
        "LOCK.ACQUIRE l o LEASE 0",
        "LOCK.ACQUIRE l o STAY",
        "LOCK.ACQUIRE l o NOW",
        "LOCK.RENEW l -7",
        "LOCK.RENEW l x",
        "LOCK.RELEASE l",
        "LOCK.GET l 7",
        "LOCK.SET l 7 k",
        "LOCK.DEL l 7 k v",
        "LOCK.NOSUCH l",
    ] {
        let refused = line(words);
        assert!(
            matches!(refused, Request::Answered(Answer::Error(_))),
            "{words}: {refused:?}"
        );
    }
}
