//! The files with secrets: who can read them, and what is printed.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
mod common;

use common::run;
use std::{
    fs::{self, Permissions},
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
};

/// Runs `quorate keys`; gives whether it succeeded, and what it printed.
fn keys(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = run(&[&["keys"], arguments].concat());
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
    (
        output.status.code(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// The digits of the secret in a file.
fn digits(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    text.split(':').nth(1).unwrap().to_owned()
}

#[test]
fn a_new_secret_is_its_owners_alone_and_prints_only_the_identity() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("one");
    let path = file.to_str().unwrap();
    let (code, identity, error) = keys(&["new", path]);
    assert_eq!((code, error.as_str()), (Some(0), ""));
    assert_eq!(mode(&file), 0o600);
    assert!(
        identity.starts_with("quorate-identity-1:") && !identity.contains('\n'),
        "{identity}"
    );
    assert_eq!(digits(&file).len(), 64);
    assert!(!identity.contains(&digits(&file)));
    // Nothing else stays in the directory.
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    assert_eq!(
        keys(&["show", path]),
        (Some(0), identity.clone(), String::new())
    );
    let (code, shown, _) = keys(&["check", path, &identity]);
    assert_eq!(code, Some(0));
    let fingerprints: Vec<&str> = shown.lines().map(|line| &line[..16]).collect();
    assert_eq!(fingerprints[0], fingerprints[1]);
    let other = folder.path().join("two");
    let (_, second, _) = keys(&["new", other.to_str().unwrap()]);
    assert_ne!(identity, second);
    let (code, listed, _) = keys(&["list", folder.path().to_str().unwrap()]);
    assert_eq!((code, listed.lines().count()), (Some(0), 2));
    assert!(listed.lines().next().unwrap().starts_with(fingerprints[0]));
    for printed in [listed, shown, second] {
        assert!(!printed.contains(&digits(&file)) && !printed.contains(&digits(&other)));
    }
}

#[test]
fn an_existing_file_is_never_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("one");
    fs::write(&file, "precious").unwrap();
    let dangling = folder.path().join("dangling");
    symlink(folder.path().join("nowhere"), &dangling).unwrap();
    for path in [&file, &dangling] {
        let (code, printed, error) = keys(&["new", path.to_str().unwrap()]);
        assert_eq!((code, printed.as_str()), (Some(1), ""));
        assert!(
            error.contains("move it away first") && !error.contains('\n'),
            "{error}"
        );
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
    let (code, _, error) = keys(&["new", "/nowhere/at/all"]);
    assert!(
        code == Some(1) && error.contains("/nowhere/at/all"),
        "{error}"
    );
}

#[test]
fn what_others_can_read_is_refused_with_how_to_mend_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("one");
    let path = file.to_str().unwrap();
    keys(&["new", path]);
    for (mode, is_good) in [
        (0o600, true),
        (0o400, true),
        (0o640, false),
        (0o604, false),
        (0o620, false),
        (0o700, false),
    ] {
        set_mode(&file, mode);
        for verb in ["show", "check"] {
            let (code, printed, error) = keys(&[verb, path]);
            assert_eq!(code, Some(i32::from(!is_good)), "{mode:o} {verb}");
            assert_eq!(printed.is_empty(), !is_good);
            let line = format!("run `chmod 600 {path}`");
            assert!(
                is_good || error.contains(&line) && !error.contains('\n'),
                "{error}"
            );
            assert!(!error.contains(&digits(&file)));
        }
    }
    let (code, printed, error) = keys(&["list", folder.path().to_str().unwrap()]);
    assert_eq!((code, printed.as_str()), (Some(1), ""));
    assert!(error.contains("chmod 600"), "{error}");
}

#[test]
fn damaged_files_and_identities_are_refused_without_their_content() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("one");
    let path = file.to_str().unwrap();
    let (_, identity, _) = keys(&["new", path]);
    let good = fs::read_to_string(&file).unwrap();
    let secret = digits(&file);
    let flipped = if secret.starts_with('0') { "1" } else { "0" };
    let damaged = good.replacen(&secret[..1], flipped, 2);
    let (cut, long) = (&good[..40], format!("{good}{good}{good}{good}"));
    for bad in [
        damaged.as_str(),
        cut,
        "",
        "\u{0}\u{1}",
        &long,
        &good.to_uppercase(),
    ] {
        fs::write(&file, bad).unwrap();
        let (code, printed, error) = keys(&["check", path]);
        assert_eq!((code, printed.as_str()), (Some(1), ""), "{bad:?}");
        assert!(
            error.starts_with("quorate: ") && error.contains(path) && !error.contains('\n'),
            "{error}"
        );
        assert!(!error.contains(&secret[8..40]), "{error}");
    }
    fs::write(&file, b"\xff\xfe").unwrap();
    assert_eq!(keys(&["show", path]).0, Some(1));
    let swapped = identity.replace(':', "-");
    let (code, _, error) = keys(&["check", &swapped[..], &identity[..60]]);
    assert_eq!(code, Some(1));
    assert_eq!(error.lines().count(), 2, "{error}");
    let (code, _, error) = keys(&["show", folder.path().to_str().unwrap()]);
    assert!(code == Some(1) && error.contains("not a file"), "{error}");
    let (code, _, _) = keys(&["show"]);
    assert_eq!(code, Some(2));
}
