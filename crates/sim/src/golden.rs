//! Golden files, for tests: an execution as a page of text that is kept beside the tests.
//!
//! A page holds a script, a line `----`, and what came of it: the space-time diagram and the
//! verdicts. With `UPDATE_GOLDEN=1` in the environment the files are written instead of compared;
//! `./scripts/golden` does that for all of them, and version control shows what has changed.
//!
//! This is the one module of the simulator that touches files and the environment. It serves tests
//! alone: nothing in a world reaches it, and no run depends on it. Paths are relative to the folder of
//! the crate under test, which is where Cargo runs a crate's tests.
use crate::{
    property::Verdict,
    schedule::{
        BadScript, Script, Unplayable,
        script::{Line, Unmet},
    },
    world::World,
};
use std::{env, fmt::Write, fs, path::Path};

/// What stands between a script and what came of it.
const RULE: &str = "----";

/// There is no page of this script in this world.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BadPage {
    /// The script is none.
    #[error(transparent)]
    Script(#[from] BadScript),
    /// The world does not follow it.
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

/// For tests: the script that begins the file at `path`, followed in this world, gives the rest of
/// the file.
///
/// # Panics
/// When it does not, or there is no such file.
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

/// For tests: the file at `path` holds this text.
///
/// # Panics
/// When it does not, or cannot be read, or, with `UPDATE_GOLDEN` set, written.
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
