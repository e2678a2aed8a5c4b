//! `quorate keys cluster`: the keys of a whole cluster, for trying things out and for containers.
use super::{create, read};
use anyhow::{Context, Result, ensure};
use quorate_core::process::MAXIMUM_PROCESSES;
use std::{
    fs,
    io::Write,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

/// Where the secret of a process is, below the directory: each has a directory of its own, so that it can be given away
/// alone.
pub fn secret(directory: &Path, rank: usize) -> PathBuf {
    directory.join(format!("p{rank}")).join("secret")
}

/// Where the identities of all are, below the directory.
fn identities(directory: &Path) -> PathBuf {
    directory.join("members").join("identities")
}

/// Makes the keys of a cluster of so many processes, or finds that all of them are there. Returns the file with the
/// identities.
///
/// # Errors
/// When some of the files are there and others are not, or do not fit together, or cannot be written.
pub fn make(directory: &Path, members: usize) -> Result<PathBuf> {
    ensure!(
        (1..=MAXIMUM_PROCESSES).contains(&members),
        "a cluster has 1 to {MAXIMUM_PROCESSES} members"
    );
    let secrets: Vec<_> = (1..=members).map(|rank| secret(directory, rank)).collect();
    let list = identities(directory);
    let there = secrets.iter().filter(|file| file.exists()).count();
    if there == 0 && !list.exists() {
        for file in &secrets {
            make_directory(file, 0o700)?;
            create(file)?;
        }
        make_directory(&list, 0o755)?;
        write(&list, &lines(&secrets)?)?;
        return Ok(list);
    }
    ensure!(
        there == members && list.exists(),
        "{}: the keys of some members are there, and others are missing: remove all of them, or make the missing ones by \
         `quorate keys new`",
        directory.display()
    );
    let found = fs::read_to_string(&list).with_context(|| list.display().to_string())?;
    ensure!(
        found == lines(&secrets)?,
        "{}: these are not the identities of the secrets beside it",
        list.display()
    );
    Ok(list)
}

/// The identities of these secrets, one line each.
fn lines(secrets: &[PathBuf]) -> Result<String> {
    let mut lines = String::new();
    for file in secrets {
        lines.push_str(&read(file)?.identity().to_string());
        lines.push('\n');
    }
    Ok(lines)
}

/// Makes the directory of a file.
fn make_directory(file: &Path, mode: u32) -> Result<()> {
    let directory = file.parent().unwrap_or(Path::new("."));
    let made = fs::DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(directory);
    made.with_context(|| format!("cannot make {}", directory.display()))
}

/// The file appears whole, or not at all. Everybody may read identities.
fn write(path: &Path, text: &str) -> Result<()> {
    let name = || path.display().to_string();
    let beside = path.with_extension("new");
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o644)
        .open(&beside)
        .with_context(name)?;
    file.write_all(text.as_bytes()).with_context(name)?;
    file.sync_all().with_context(name)?;
    fs::rename(&beside, path).with_context(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn keys_are_made_once_and_what_is_half_there_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path();
        let list = make(at, 3).unwrap();
        let made = fs::read_to_string(&list).unwrap();
        assert_eq!(made.lines().count(), 3);
        for rank in 1..=3 {
            let mode = fs::metadata(secret(at, rank)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        // A second time nothing changes.
        assert_eq!(make(at, 3).unwrap(), list);
        assert_eq!(fs::read_to_string(&list).unwrap(), made);
        // More members, fewer secrets, other identities: refused, and nothing is written.
        assert!(make(at, 4).is_err());
        fs::write(&list, made.replacen('a', "b", 1)).unwrap();
        assert!(make(at, 3).is_err());
        fs::write(&list, &made).unwrap();
        fs::remove_file(secret(at, 2)).unwrap();
        let error = make(at, 3).unwrap_err();
        assert!(error.to_string().contains("missing"), "{error:#}");
        assert!(!secret(at, 2).exists());
        assert!(make(at, 0).is_err());
    }
}
