//! `quorate keys`: the secret of a process in a file, and the identity that others list.
pub mod cluster;

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, Subcommand};
use nix::unistd::{Uid, geteuid};
use quorate_sealed::{Identity, Secret};
use rand::{TryRng, rngs::SysRng};
use std::{
    fs::{self, File, OpenOptions},
    io::{Read, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    process::ExitCode,
};
use zeroize::Zeroizing;

/// Makes and shows the keys by which processes know each other. Secrets are never printed.
#[derive(Args, Debug)]
pub struct Keys {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Writes a new secret into a file that only its owner can read, and prints the identity. An existing file is left
    /// as it is.
    New {
        /// The file.
        file: PathBuf,
    },
    /// Writes the secrets of a whole cluster, `DIRECTORY/pN/secret`, and the identities of all,
    /// `DIRECTORY/members/identities`, where there are none, and prints where the identities are. For trying things out, and
    /// for containers: elsewhere each process makes its own secret, which never leaves its machine.
    Cluster {
        /// The directory.
        directory: PathBuf,
        /// How many processes the cluster has.
        #[arg(long)]
        members: usize,
    },
    /// Prints the identities of secrets, one line each, as others list them.
    Show {
        /// The files with the secrets.
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Lists the secrets in a directory: the fingerprints of their identities, and the files.
    List {
        /// The directory.
        #[arg(default_value = ".")]
        directory: PathBuf,
    },
    /// Checks files with secrets, and identities: exit 0, all can be used; 1, some cannot.
    Check {
        /// Files, or identities as `show` prints them.
        #[arg(required = true)]
        items: Vec<String>,
    },
}

/// How an identity begins; no file is called so.
const IDENTITY: &str = "quorate-identity-";
/// How a file with a secret begins.
const SECRET: &str = "quorate-secret-";
/// No file with a secret is longer, in bytes.
const LONGEST: usize = 256;

impl Keys {
    /// Does what is asked for.
    pub fn run(&self) -> Result<ExitCode> {
        match &self.command {
            Command::New { file } => println!("{}", create(file)?),
            Command::Cluster { directory, members } => {
                println!("{}", cluster::make(directory, *members)?.display());
            }
            Command::Show { files } => {
                for file in files {
                    println!("{}", read(file)?.identity());
                }
            }
            Command::List { directory } => return list(directory),
            Command::Check { items } => return Ok(check(items)),
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Draws a secret, and writes it where there is no file. The file appears whole, or not at all.
fn create(path: &Path) -> Result<Identity> {
    let name = || path.display().to_string();
    let is_there = || {
        format!(
            "{}: there is a file already, and another secret makes another process: move it away first",
            name()
        )
    };
    ensure!(fs::symlink_metadata(path).is_err(), is_there());
    let mut bytes = Zeroizing::new([0; 32]);
    SysRng
        .try_fill_bytes(&mut *bytes)
        .context("the system gives no random numbers")?;
    let secret = Secret::new(*bytes);
    let directory = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        Some(_) | None => Path::new("."),
    };
    let last = path
        .file_name()
        .with_context(|| format!("{}: not the name of a file", name()))?;
    let mut suffix = [0; 8];
    SysRng
        .try_fill_bytes(&mut suffix)
        .context("the system gives no random numbers")?;
    let suffix = u64::from_le_bytes(suffix);
    let beside = directory.join(format!(".{}.{suffix:x}", last.to_string_lossy()));
    let written = write(&beside, &secret).with_context(name);
    // A link, unlike a renaming, never replaces what somebody else has put there meanwhile.
    let linked = written.and_then(|()| fs::hard_link(&beside, path).with_context(is_there));
    let _ = fs::remove_file(&beside);
    linked?;
    File::open(directory)
        .and_then(|it| it.sync_all())
        .with_context(name)?;
    Ok(secret.identity())
}

fn write(path: &Path, secret: &Secret) -> std::io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(secret.to_text().as_bytes())?;
    file.sync_all()
}

/// Reads a file with a secret. It must be its owner's alone.
///
/// # Errors
/// When it cannot be read, or others can, or it has no secret; the error says how to mend it.
pub fn read(path: &Path) -> Result<Secret> {
    let name = path.display();
    let is_file = fs::metadata(path)
        .with_context(|| name.to_string())?
        .is_file();
    ensure!(is_file, "{name}: not a file");
    let file = File::open(path).with_context(|| name.to_string())?;
    let found = file.metadata().with_context(|| name.to_string())?;
    let mode = found.mode() & 0o7777;
    if mode & 0o177 != 0 {
        bail!(
            "{name}: others can use it, or it is not a plain file (mode {mode:04o}): run `chmod 600 {name}`, and \
               make a new secret if others could read it"
        );
    }
    let (owner, me) = (Uid::from_raw(found.uid()), geteuid());
    ensure!(
        owner == me,
        "{name}: it belongs to the user {owner}, and this is {me}: run `chown {me} {name}`"
    );
    // The text is never longer than its first allocation, so that no copy stays behind.
    let mut text = Zeroizing::new(Vec::with_capacity(LONGEST));
    let mut limited = file.take(LONGEST as u64);
    let mut chunk = Zeroizing::new([0; LONGEST]);
    loop {
        let count = limited
            .read(&mut *chunk)
            .with_context(|| name.to_string())?;
        if count == 0 {
            break;
        }
        text.extend_from_slice(&chunk[..count]);
    }
    let text = std::str::from_utf8(&text)
        .ok()
        .with_context(|| format!("{name}: not a secret"))?;
    Secret::parse(text).with_context(|| name.to_string())
}

/// Whether a file begins like one with a secret.
fn looks_like_a_secret(path: &Path) -> bool {
    let mut begin = [0; SECRET.len()];
    let is_file = fs::metadata(path).is_ok_and(|it| it.is_file());
    let mut read = || File::open(path)?.read_exact(&mut begin);
    is_file && read().is_ok() && begin == SECRET.as_bytes()
}

fn list(directory: &Path) -> Result<ExitCode> {
    let name = || directory.display().to_string();
    let entries = fs::read_dir(directory).with_context(name)?;
    let mut files = entries
        .map(|entry| Ok(entry?.path()))
        .collect::<std::io::Result<Vec<_>>>()
        .with_context(name)?;
    files.retain(|path| looks_like_a_secret(path));
    files.sort();
    let mut all_good = true;
    for file in files {
        match read(&file) {
            Ok(secret) => println!("{}  {}", secret.identity().fingerprint(), file.display()),
            Err(error) => {
                all_good = false;
                eprintln!("quorate: {error:#}");
            }
        }
    }
    Ok(ExitCode::from(u8::from(!all_good)))
}

fn check(items: &[String]) -> ExitCode {
    let mut all_good = true;
    for item in items {
        let checked = if item.starts_with(IDENTITY) {
            item.parse::<Identity>().context("the identity")
        } else {
            read(Path::new(item)).map(|secret| secret.identity())
        };
        match checked {
            Ok(identity) if item.starts_with(IDENTITY) => {
                println!("{}  an identity that can be listed", identity.fingerprint());
            }
            Ok(identity) => println!("{}  {item}", identity.fingerprint()),
            Err(error) => {
                all_good = false;
                eprintln!("quorate: {error:#}");
            }
        }
    }
    ExitCode::from(u8::from(!all_good))
}
