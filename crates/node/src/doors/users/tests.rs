use super::*;

fn user(rights: Rights, passwords: &[&str]) -> User {
    User {
        rights,
        passwords: passwords
            .iter()
            .map(|it| Digest::of(it.as_bytes()))
            .collect(),
    }
}

fn users() -> Users {
    Users::new(BTreeMap::from([
        ("alice".to_owned(), user(Rights::READ, &["old", "new"])),
        ("bob".to_owned(), user(Rights::ALL, &["secret"])),
    ]))
}

#[test]
fn a_name_and_any_of_its_passwords_open_and_nothing_else_does() {
    let users = users();
    let rights = |name: &str, password: &str| {
        let entered = users.enter(name.as_bytes(), password.as_bytes());
        entered.map(|(entered, rights)| (entered.name.to_string(), rights))
    };
    let alice = Some(("alice".to_owned(), Rights::READ));
    assert_eq!(rights("alice", "old"), alice);
    assert_eq!(rights("alice", "new"), alice);
    assert_eq!(
        rights("bob", "secret"),
        Some(("bob".to_owned(), Rights::ALL))
    );
    for (name, password) in [
        ("alice", "secret"),
        ("bob", "old"),
        ("alice", ""),
        ("alice", "oldnew"),
        ("alice", "Old"),
        ("Alice", "old"),
        ("", ""),
        ("default", "secret"),
    ] {
        assert_eq!(rights(name, password), None, "{name} {password}");
    }
    assert!(users.enter(b"\xff", b"old").is_none());
    // The digest of a password is no password.
    let digest = Digest::of(b"secret").to_hexadecimal();
    assert_eq!(rights("bob", &digest), None);
}

#[test]
fn who_is_inside_follows_what_is_changed() {
    let (entered, _) = users().enter(b"alice", b"old").unwrap();
    assert_eq!(users().still(&entered), Some(Rights::READ));
    let changed = |passwords| {
        let alice = user(Rights::READ | Rights::WRITE, passwords);
        Users::new(BTreeMap::from([("alice".to_owned(), alice)])).still(&entered)
    };
    assert_eq!(changed(&["old"]), Some(Rights::READ | Rights::WRITE));
    assert_eq!(changed(&["new"]), None);
    assert_eq!(Users::default().still(&entered), None);
}

#[test]
fn digests_are_those_that_others_compute() {
    // From FIPS 180-2, B.1.
    let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(Digest::of(b"abc").to_hexadecimal(), abc);
    assert_eq!(Digest::from_hexadecimal(abc), Some(Digest::of(b"abc")));
    assert_eq!(
        Digest::from_hexadecimal(&abc.to_uppercase()),
        Some(Digest::of(b"abc"))
    );
    for wrong in [
        "",
        "ba",
        &abc[1..],
        &format!("{abc}0"),
        &abc.replace('b', "g"),
    ] {
        assert_eq!(Digest::from_hexadecimal(wrong), None, "{wrong}");
    }
    let umlauts = "ä".repeat(32);
    assert_eq!(Digest::from_hexadecimal(&umlauts), None);
}

#[test]
fn debug_shows_no_password() {
    let shown = format!("{:?}", users());
    assert!(shown.contains("alice") && shown.contains("read"), "{shown}");
    let digest = Digest::of(b"secret");
    assert!(!shown.contains(&digest.to_hexadecimal()[..8]), "{shown}");
    let bytes = format!("{:?}", &digest.0[..2]);
    assert!(!shown.contains(bytes.trim_matches(['[', ']'])), "{shown}");
}

#[test]
fn rights_cover_their_parts() {
    let both = Rights::READ | Rights::WRITE;
    assert!(both.cover(Rights::READ) && both.cover(both) && Rights::ALL.cover(both));
    assert!(!both.cover(Rights::ADMIN) && !Rights::READ.cover(both));
    assert!(Rights::default().cover(Rights::default()));
    assert_eq!(format!("{both:?}"), r#"{"read", "write"}"#);
    assert_eq!(Rights::named("admin"), Some(Rights::ADMIN));
    assert_eq!(Rights::named("all"), None);
}
