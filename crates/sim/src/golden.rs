//! Golden files for tests: an execution as a page of text beside the tests.
//!
//! A page holds a script, a line `----`, and the result: the space-time diagram and the verdicts. With
//! `UPDATE_GOLDEN=1` in the environment the files are written instead of compared; `./scripts/golden` does
//! that for all of them, and version control shows the changes.
//!
//! This is the only module of the simulator that uses files and the environment. It serves only tests:
//! nothing in a world uses it, and no run depends on it. Paths are relative to the folder of the crate under
//! test, which is where Cargo runs a crate's tests.
use crate::{
    property::Verdict,
    schedule::{
        BadScript, Script, Unplayable,
        script::{Line, Unmet},
    },
    world::World,
};
use std::{env, fmt::Write, fs, path::Path};

/// The line between a script and its result.
const RULE: &str = "----";

/// Why there is no page of this script in this world.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadPage {
    /// The script is not valid.
    #[error(transparent)]
    Script(#[from] BadScript),
    /// The world cannot follow the script.
    #[error(transparent)]
    Unplayable(#[from] Unplayable),
    /// The verdicts are not what the script expects.
    #[error(transparent)]
    Unmet(#[from] Unmet),
}

/// The page of a script in this world, which has not run yet: its steps with notes on what they
/// deliver, the diagram, the verdicts.
///
/// # Errors
/// When the world cannot follow the script, or the verdicts are not what it expects.
pub fn page(script: &Script, world: World) -> Result<String, BadPage> {
    let run = script.run(world.keep_trace())?;
    script.judge(&run.report)?;
    let mut noted = script.clone();
    for (line, taken) in noted.lines.iter_mut().zip(run.named_steps()) {
        *line = Line {
            step: line.step,
            note: taken.note.clone(),
        };
    }
    let mut text = format!("{noted}{RULE}\n{}{RULE}\n", run.world.diagram());
    for (tag, verdict) in &run.report.verdicts {
        let _ = match verdict {
            Verdict::Violated(violation) => writeln!(text, "{violation}"),
            Verdict::Holds | Verdict::Unknown => writeln!(text, "{tag} {verdict}"),
        };
    }
    Ok(text)
}

/// For tests: checks that the rest of the file at `path` is the result of the script at its beginning, run in
/// this world.
///
/// # Panics
/// When the result differs, or there is no such file.
#[track_caller]
pub fn play(path: &str, world: World) {
    let text = read(path);
    let script = text
        .split_inclusive('\n')
        .take_while(|line| line.trim_end() != RULE);
    let script: String = script.collect();
    let page = script
        .parse()
        .map_err(BadPage::from)
        .and_then(|script| page(&script, world));
    match page {
        Ok(page) => check(path, &page),
        Err(error) => panic!("{path}: {error}"),
    }
}

/// For tests: checks that the file at `path` holds this text.
///
/// # Panics
/// When the text differs, or the file cannot be read or, with `UPDATE_GOLDEN` set, written.
#[track_caller]
pub fn check(path: &str, text: &str) {
    if env::var_os("UPDATE_GOLDEN").is_some() {
        let folder = Path::new(path).parent().map_or(Ok(()), fs::create_dir_all);
        if let Err(error) = folder.and_then(|()| fs::write(path, text)) {
            panic!("{path}: {error}");
        }
        return;
    }
    let golden = read(path);
    if golden != text {
        let lines = golden.lines().zip(text.lines());
        let same = lines.take_while(|(kept, new)| kept == new).count();
        panic!(
            "{path} differs from line {}; `./scripts/golden` would write:\n{text}",
            same + 1
        );
    }
}

#[track_caller]
fn read(path: &str) -> String {
    match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => panic!("{path}: {error}"),
    }
}
