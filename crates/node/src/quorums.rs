//! `quorate quorums`: fail-prone systems, and whether there are quorums for them.
use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use quorate_quorums::{decision::BUDGET, draw, file, report};
use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

/// Tells where operations can return, although processes crash and channels fail in one direction.
#[derive(Args, Debug)]
pub struct Quorums {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Decides whether a file's patterns of failures have quorums: exit 0, they have; 1, impossible; 2,
    /// unknown, or a file that cannot be used.
    Check(Check),
}

/// Decides whether there are quorums for what may fail.
#[derive(Args, Debug)]
struct Check {
    /// Quorum-system files (TOML).
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Draws the processes and channels that stay under each pattern, and the quorums, into this file; `-` is
    /// the standard output, which then has nothing else. For one file only.
    #[arg(long, value_name = "FILE.svg")]
    svg: Option<PathBuf>,
    /// How many choices are tried before the answer is `unknown`.
    #[arg(long, default_value_t = BUDGET)]
    budget: u64,
}

/// The exit code if there can be no quorums.
const IMPOSSIBLE: u8 = 1;
/// The exit code if the answer is unknown or a file cannot be used.
const UNKNOWN: u8 = 2;

impl Quorums {
    /// Prints the answers; the exit code is the worst of them.
    pub fn run(&self) -> ExitCode {
        let Command::Check(check) = &self.command;
        check.run()
    }
}

impl Check {
    fn run(&self) -> ExitCode {
        if self.svg.is_some() && self.files.len() > 1 {
            eprintln!("quorate: --svg draws one file");
            return ExitCode::from(UNKNOWN);
        }
        let mut worst = 0;
        for (index, file) in self.files.iter().enumerate() {
            if self.files.len() > 1 {
                let gap = if index > 0 { "\n" } else { "" };
                println!("{gap}{}", file.display());
            }
            let code = self.check(file).unwrap_or_else(|error| {
                eprintln!("quorate: {error:#}");
                UNKNOWN
            });
            worst = worst.max(code);
        }
        ExitCode::from(worst)
    }

    fn check(&self, path: &Path) -> Result<u8> {
        let described = read(path)?;
        let report = report::report(&described, self.budget);
        let drawn = || draw::svg(&described.system, report.witness.as_ref());
        match &self.svg {
            Some(picture) if picture == Path::new("-") => print!("{}", drawn()),
            Some(picture) => {
                print!("{}", report.text);
                fs::write(picture, drawn()).with_context(|| picture.display().to_string())?;
            }
            None => print!("{}", report.text),
        }
        Ok(match report.holds {
            Some(true) => 0,
            Some(false) => IMPOSSIBLE,
            None => UNKNOWN,
        })
    }
}

/// What a quorum-system file says.
///
/// # Errors
/// When it cannot be read, or makes no sense.
pub fn read(path: &Path) -> Result<file::Described> {
    let name = || path.display().to_string();
    let text = fs::read_to_string(path).with_context(name)?;
    file::parse(&text).with_context(name)
}
