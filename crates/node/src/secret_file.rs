//! Files that hold secrets: only their owner may use them.
use anyhow::{Context, Result, bail, ensure};
use nix::unistd::{Uid, geteuid};
use rand::{TryRng, rngs::SysRng};
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::Path,
};
use zeroize::Zeroizing;

/// Fills `bytes` with random numbers of the operating system.
pub fn draw(bytes: &mut [u8]) -> Result<()> {
    SysRng
        .try_fill_bytes(bytes)
        .context("the system gives no random numbers")
}

/// Writes `content` where there is no file. The file appears whole, or not at all, and is its owner's alone. `others`
/// says what it would mean if an existing file were replaced.
pub fn create(path: &Path, content: &[u8], others: &str) -> Result<()> {
    let name = || path.display().to_string();
    let is_there = || {
        format!(
            "{}: there is a file already, and {others}: move it away first",
            name()
        )
    };
    ensure!(fs::symlink_metadata(path).is_err(), is_there());
    let directory = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        Some(_) | None => Path::new("."),
    };
    let last = path
        .file_name()
        .with_context(|| format!("{}: not the name of a file", name()))?;
    let mut suffix = [0; 8];
    draw(&mut suffix)?;
    let suffix = u64::from_le_bytes(suffix);
    let beside = directory.join(format!(".{}.{suffix:x}", last.to_string_lossy()));
    let written = write(&beside, content).with_context(name);
    // A link, unlike a renaming, never replaces what somebody else has put there meanwhile.
    let linked = written.and_then(|()| {
        let linked = fs::hard_link(&beside, path);
        linked.map_err(|error| {
            let says = match error.kind() {
                io::ErrorKind::AlreadyExists => is_there(),
                _ => format!("{}: no hard link can be made there", name()),
            };
            anyhow::Error::new(error).context(says)
        })
    });
    let _ = fs::remove_file(&beside);
    linked?;
    File::open(directory)
        .and_then(|it| it.sync_all())
        .with_context(name)
}

fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(content)?;
    file.sync_all()
}

/// Reads a file that must be its owner's alone, and have at most `longest` bytes.
///
/// # Errors
/// When it cannot be read, or others can use it, or it is longer; the error says how to mend it, and repeats nothing of
/// what is in the file.
pub fn read(path: &Path, longest: usize) -> Result<Zeroizing<Vec<u8>>> {
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
    // The content is never longer than its first allocation, so that no copy stays behind.
    let mut content = Zeroizing::new(Vec::with_capacity(longest + 1));
    let mut limited = file.take(longest as u64 + 1);
    let mut chunk = Zeroizing::new([0; 256]);
    loop {
        let count = limited
            .read(&mut *chunk)
            .with_context(|| name.to_string())?;
        if count == 0 {
            break;
        }
        content.extend_from_slice(&chunk[..count]);
    }
    ensure!(
        content.len() <= longest,
        "{name}: it has more than {longest} bytes"
    );
    Ok(content)
}

/// Reads a file with a secret a line. Spaces around a secret and empty lines do not count. There is at least one secret.
///
/// # Errors
/// As of [`read`], or when there is no secret, or one has other characters than visible ones of ASCII.
pub fn read_lines(path: &Path) -> Result<Vec<Zeroizing<String>>> {
    const LONGEST: usize = 16 * 1024;
    let content = read(path, LONGEST)?;
    let name = path.display();
    let mut secrets = Vec::new();
    for line in content.split(|byte| *byte == b'\n') {
        let line = line.trim_ascii();
        if line.is_empty() {
            continue;
        }
        ensure!(
            line.iter().all(u8::is_ascii_graphic),
            "{name}: a secret has only visible characters of ASCII, and no space"
        );
        secrets.push(Zeroizing::new(String::from_utf8_lossy(line).into_owned()));
    }
    ensure!(!secrets.is_empty(), "{name}: there is no secret in it");
    Ok(secrets)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs::Permissions, os::unix::fs::PermissionsExt};

    #[test]
    fn a_secret_a_line_is_read_and_nothing_of_it_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secrets");
        create(&path, b"one-secret\n\n  another \r\n", "x").unwrap();
        let secrets = read_lines(&path).unwrap();
        assert_eq!(
            secrets,
            ["one-secret", "another"].map(|s| Zeroizing::new(s.to_owned()))
        );

        let refusals = [
            &b""[..],
            b" \n\n",
            b"two words\n",
            b"\xff\xfe\n",
            &vec![b'x'; 20_000],
        ];
        for (number, content) in refusals.into_iter().enumerate() {
            let path = folder.path().join(number.to_string());
            create(&path, content, "x").unwrap();
            let words = format!("{:#}", read_lines(&path).unwrap_err());
            assert!(words.contains(path.to_str().unwrap()), "{words}");
            assert!(!words.contains("two") && !words.contains("xxx"), "{words}");
        }
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        let words = format!("{:#}", read_lines(&path).unwrap_err());
        assert!(
            words.contains("mode 0640") && !words.contains("another"),
            "{words}"
        );
    }
}
