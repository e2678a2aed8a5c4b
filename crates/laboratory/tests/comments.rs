//! Checks documentation: every public item has some, and no comment only repeats a name.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// Words without a meaning of their own.
const FILLERS: &str = "the a an of its this that it is are was were be for to what which why who whom whose when \
                       how one by in at from where whether these those they them and or so as with he";

/// The sources of the crates. Examples and tests are left out, unless they are wanted.
fn sources(tests: bool) -> Vec<(PathBuf, Vec<String>)> {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut folders = vec![fs::canonicalize(crates).unwrap()];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            let is_test = [
                "tests",
                "tests.rs",
                "testing",
                "testing.rs",
                "examples",
                "benches",
            ];
            if name == "target" || !tests && is_test.contains(&name.as_str()) {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                found.push((
                    path,
                    text.lines().map(|line| line.trim().to_owned()).collect(),
                ));
            }
        }
    }
    found.sort();
    assert!(found.len() > 100, "the search finds what there is");
    found
}

/// Whether this line declares a public item, which needs documentation.
fn is_public_item(line: &str) -> bool {
    let Some(rest) = line.strip_prefix("pub ") else {
        return false;
    };
    let rest = ["const ", "async "].iter().fold(rest, |rest, word| {
        let after = rest.strip_prefix(word);
        after
            .filter(|after| after.starts_with("fn "))
            .unwrap_or(rest)
    });
    let kinds = [
        "fn ", "struct ", "enum ", "trait ", "type ", "const ", "static ",
    ];
    kinds.iter().any(|kind| rest.starts_with(kind)) && !rest.contains('$')
}

/// Whether a comment or `#[doc]` stands above the line of this number.
fn is_documented(lines: &[String], at: usize) -> bool {
    let above = lines[..at].iter().rev();
    let mut above = above.take_while(|l| !l.is_empty() && !l.ends_with(['{', '}', ';']));
    above.any(|line| line.starts_with("///") || line.starts_with("#[doc"))
}

#[test]
fn every_public_item_is_documented() {
    let mut bare = Vec::new();
    let binary = fs::canonicalize(Path::new(env!("CARGO_MANIFEST_DIR")).join("../node")).unwrap();
    for (path, lines) in sources(false) {
        // A program has no public items.
        if path.starts_with(&binary) {
            continue;
        }
        for (at, line) in lines.iter().enumerate() {
            if is_public_item(line) && !is_documented(&lines, at) {
                bare.push(format!("{}:{}: {line}", path.display(), at + 1));
            }
        }
    }
    assert!(bare.is_empty(), "without a comment:\n{}", bare.join("\n"));
}

/// The words of a text or a name, without their endings.
fn words(text: &str) -> BTreeSet<String> {
    let mut apart = String::new();
    for c in text.replace("'s", "").chars() {
        if c.is_uppercase() {
            apart.push(' ');
        }
        apart.push(if c.is_ascii_alphabetic() {
            c.to_ascii_lowercase()
        } else {
            ' '
        });
    }
    let stem = |word: &str| {
        let endings = ["ing", "ed", "es", "s"]
            .iter()
            .filter(|e| word.len() >= 3 + e.len());
        let mut endings = endings;
        let shorter = endings.find_map(|ending| word.strip_suffix(ending));
        shorter.unwrap_or(word).trim_end_matches('e').to_owned()
    };
    let fillers: BTreeSet<&str> = FILLERS.split_whitespace().collect();
    let telling = apart
        .split_whitespace()
        .filter(|word| !fillers.contains(word));
    telling.map(stem).collect()
}

/// Whether a comment says no more than the declaration of the field or variant.
fn repeats(comment: &str, declaration: &str) -> bool {
    let is_plain = comment.ends_with('.') && comment.is_ascii() && comment.len() <= 40;
    let is_plain = is_plain && !comment.contains(|c: char| "[`".contains(c) || c.is_ascii_digit());
    is_plain && words(comment).is_subset(&words(declaration))
}

/// Whether this line declares a field or a variant.
fn is_field_or_variant(line: &str) -> bool {
    let keywords = [
        "fn", "struct", "enum", "trait", "type", "mod", "const", "static", "use", "impl", "let",
    ];
    let line = line.strip_prefix("pub ").unwrap_or(line);
    let name: String = line
        .chars()
        .take_while(|c| c.is_alphanumeric() || *c == '_')
        .collect();
    let rest = &line[name.len()..];
    let is_field = rest.starts_with(": ");
    let is_variant = name.starts_with(char::is_uppercase)
        && (rest.is_empty() || rest.starts_with([',', '(', '{', ' ']));
    !keywords.contains(&name.as_str()) && (is_field || is_variant)
}

#[test]
fn no_comment_repeats_the_name_below_it() {
    let mut empty = Vec::new();
    for (path, lines) in sources(true) {
        // In these files comments are the help texts of the program.
        if lines.iter().any(|line| line.contains("clap::")) {
            continue;
        }
        for (at, line) in lines.iter().enumerate() {
            let Some(comment) = line.strip_prefix("/// ") else {
                continue;
            };
            let is_one_line = !lines[at.saturating_sub(1)].starts_with("///") || at == 0;
            let mut below = lines[at + 1..]
                .iter()
                .skip_while(|line| line.starts_with("#["));
            let below = below.next().map_or("", String::as_str);
            if is_one_line && is_field_or_variant(below) && repeats(comment, below) {
                empty.push(format!("{}:{}: {comment} {below}", path.display(), at + 1));
            }
        }
    }
    assert!(empty.is_empty(), "says nothing:\n{}", empty.join("\n"));
}

#[test]
fn comments_that_repeat_names_are_told_from_others() {
    assert!(is_field_or_variant("pub view: u64,") && repeats("The view.", "pub view: u64,"));
    assert!(repeats("Why.", "reason: String,") && repeats("Which write it is of.", "write: Tag,"));
    assert!(!repeats("The view, counted from 1.", "view: u64,"));
    assert!(!repeats("All do it.", "Commit,") && !repeats("◇P.", "detector: Detector,"));
    assert!(
        is_public_item("pub const fn new() -> Self {") && !is_public_item("pub(crate) fn new()")
    );
    let bare = ["}", "", "#[derive(Debug)]", "pub struct Bare;"].map(str::to_owned);
    let told = ["/// Told.", "#[derive(Debug)]", "pub struct Told;"].map(str::to_owned);
    assert!(!is_documented(&bare, 3) && is_documented(&told, 2));
}
