//! `quorate keys`: the secret of a process in a file, and the identity that others list; tokens, and certificates.
mod certificate;
pub mod cluster;

use crate::{
    doors::users::{Digest, append_hexadecimal},
    secret_file,
};
use anyhow::{Context, Result};
use certificate::Certificate;
use clap::{Args, Subcommand};
use quorate_sealed::{Identity, Secret};
use std::{
    fs::{self, File},
    io::Read,
    path::{Path, PathBuf},
    process::ExitCode,
};
use zeroize::Zeroizing;

/// Makes and shows what processes, clients and operators are known by. Secrets are never printed.
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
    /// Writes a random token or password into a file that only its owner can read, and prints its SHA-256, as
    /// `password_sha256` has it. An existing file is left as it is.
    Token {
        /// The file.
        file: PathBuf,
    },
    /// Makes a certificate for a server or a client, for tests and small clusters, and prints the files.
    Certificate(Certificate),
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
            Command::Token { file } => println!("{}", create_token(file)?.to_hexadecimal()),
            Command::Certificate(certificate) => {
                for file in certificate.make()? {
                    println!("{}", file.display());
                }
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Draws a secret, and writes it where there is no file.
fn create(path: &Path) -> Result<Identity> {
    let mut bytes = Zeroizing::new([0; 32]);
    secret_file::draw(&mut *bytes)?;
    let secret = Secret::new(*bytes);
    let others = "another secret makes another process";
    secret_file::create(path, secret.to_text().as_bytes(), others)?;
    Ok(secret.identity())
}

/// Draws a token, and writes it where there is no file. Returns its digest.
fn create_token(path: &Path) -> Result<Digest> {
    let mut bytes = Zeroizing::new([0; 32]);
    secret_file::draw(&mut *bytes)?;
    let mut text = Zeroizing::new(String::with_capacity(2 * bytes.len() + 1));
    append_hexadecimal(&*bytes, &mut text);
    let digest = Digest::of(text.as_bytes());
    text.push('\n');
    secret_file::create(
        path,
        text.as_bytes(),
        "whoever has its token would be kept out",
    )?;
    Ok(digest)
}

/// Reads a file with a secret. It must be its owner's alone.
///
/// # Errors
/// When it cannot be read, or others can, or it has no secret; the error says how to mend it.
pub fn read(path: &Path) -> Result<Secret> {
    let name = path.display();
    let text = secret_file::read(path, LONGEST)?;
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
