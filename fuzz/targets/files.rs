//! The files that people write: quorum systems, patterns of failures, histories.
#![no_main]
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = quorate_quorums::file::parse(text);
        let _ = quorate_quorums::file::failures::parse(text);
        let _ = quorate_histories::text::parse(text);
    }
});
