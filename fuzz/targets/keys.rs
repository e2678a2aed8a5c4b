//! Identities and secrets as texts: what is parsed is what it prints as, and nothing else is.
#![no_main]
use libfuzzer_sys::fuzz_target;
use quorate_sealed::{Identity, Secret};

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if let Ok(identity) = text.parse::<Identity>() {
        assert_eq!(identity.to_string(), text);
    }
    if let Ok(secret) = Secret::parse(text) {
        assert_eq!(secret.to_text().trim_end(), text.trim_end_matches('\n'));
    }
});
