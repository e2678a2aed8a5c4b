use super::*;
use proptest::prelude::*;

fn secret(n: u8) -> Secret {
    Secret::new([n; 32])
}

fn statement(bytes: &[u8]) -> Statement<'_> {
    Statement {
        cluster: "c",
        algorithm: "reliable",
        instance: b"1",
        role: "echo",
        bytes,
    }
}

#[test]
fn a_secret_and_an_identity_are_read_as_they_are_written() {
    let one = secret(1);
    let read = Secret::parse(&one.to_text()).unwrap();
    assert_eq!(read.identity(), one.identity());
    assert_ne!(one.identity(), secret(2).identity());
    let line = one.identity().to_string();
    assert!(!line.contains(char::is_whitespace), "{line}");
    assert_eq!(line.parse(), Ok(one.identity()));
    assert_eq!(one.identity().fingerprint().len(), 16);
    assert!(line.ends_with(&one.identity().fingerprint()[..8]));
}

#[test]
fn the_keys_of_a_secret_stay_the_same_in_every_version() {
    // Who changes a domain string makes another process of everybody.
    let line = secret(7).identity().to_string();
    let digest = blake3::hash(line.as_bytes()).to_hex();
    assert_eq!(&digest[..16], KNOWN, "{line}");
}

const KNOWN: &str = "751001f0c62b04e8";

#[test]
fn the_two_keys_are_derived_apart() {
    let one = secret(1);
    let signing = one.signing_key().to_bytes();
    assert_ne!(one.link_key().to_bytes(), signing);
    assert_ne!(*one.ephemeral_key(), signing);
    assert_ne!(one.link_key().to_bytes(), one.0);
}

#[test]
fn a_secret_is_never_shown() {
    let bytes: [u8; 32] = std::array::from_fn(|i| i as u8 + 65);
    let one = Secret::new(bytes);
    assert_eq!(format!("{one:?}"), "Secret(…)");
    let mut hexadecimal = String::new();
    push_hex(&mut hexadecimal, &bytes);
    let broken = one
        .to_text()
        .replace("quorate-secret-1", "quorate-secret-2");
    let error = Secret::parse(&broken).unwrap_err();
    assert!(!format!("{error} {error:?}").contains(&hexadecimal));
    assert!(!format!("{:?}", one.identity()).contains(&hexadecimal));
}

#[test]
fn any_changed_character_is_found() {
    for text in [
        secret(3).to_text().trim_end().to_owned(),
        secret(3).identity().to_string(),
    ] {
        for at in 0..text.len() {
            for to in ["0", "f", "A", ":", " ", "", "é"] {
                let mut changed = text.clone();
                changed.replace_range(at..=at, to);
                if changed == text {
                    continue;
                }
                assert!(changed.parse::<Identity>().is_err(), "{changed}");
                assert!(Secret::parse(&changed).is_err());
            }
        }
        for longer in [
            format!("{text}:"),
            format!(" {text}"),
            format!("{text}\n\n"),
        ] {
            assert!(longer.parse::<Identity>().is_err() && Secret::parse(&longer).is_err());
        }
    }
    let crossed = secret(3).identity().to_string();
    assert_eq!(
        Secret::parse(&crossed).unwrap_err(),
        KeyError::Format(SECRET)
    );
}

#[test]
fn keys_that_no_secret_has_are_refused() {
    let good = secret(1).identity();
    // The point of order one, and a point of order four.
    let mut weak = [0; 32];
    weak[0] = 1;
    let mut beyond = [0xff; 32];
    beyond[31] = 0x7f;
    for link in [[0; 32], weak, beyond] {
        let line = Identity { link, ..good }.to_string();
        assert_eq!(line.parse::<Identity>(), Err(KeyError::Weak("link key")));
    }
    for signing in [weak, beyond] {
        let line = Identity { signing, ..good }.to_string();
        assert_eq!(line.parse::<Identity>(), Err(KeyError::Weak("signing key")));
    }
}

#[test]
fn a_signature_is_of_one_statement_by_one_process() {
    let one = secret(1);
    let signature = one.sign(&statement(b"m"));
    let identity = one.identity();
    assert!(identity.verifies(&statement(b"m"), &signature));
    assert!(!identity.verifies(&statement(b"n"), &signature));
    assert!(!secret(2).identity().verifies(&statement(b"m"), &signature));
    let others = [
        Statement {
            cluster: "d",
            ..statement(b"m")
        },
        Statement {
            algorithm: "x",
            ..statement(b"m")
        },
        Statement {
            instance: b"2",
            ..statement(b"m")
        },
        Statement {
            role: "ready",
            ..statement(b"m")
        },
        // The parts do not run together.
        Statement {
            role: "ech",
            bytes: b"om",
            ..statement(b"")
        },
    ];
    for other in others {
        assert!(!identity.verifies(&other, &signature), "{other:?}");
    }
}

proptest! {
    #[test]
    fn no_text_is_fatal(text in "\\PC{0,200}") {
        prop_assert!(text.parse::<Identity>().is_err());
        prop_assert!(Secret::parse(&text).is_err());
    }

    #[test]
    fn every_secret_gives_an_identity_that_is_read_back(bytes in any::<[u8; 32]>()) {
        let identity = Secret::new(bytes).identity();
        prop_assert_eq!(identity.to_string().parse(), Ok(identity));
    }
}
