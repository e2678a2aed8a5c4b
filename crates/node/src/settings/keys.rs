//! The keys of `secret`, `identities` and `identities_file`: who this process is, and who the others are.
use crate::keys;
use anyhow::{Context, Result, bail, ensure};
use quorate_core::ProcessId;
use quorate_sealed::{Identity, Secret};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// No file of identities is longer, in bytes.
const LONGEST: u64 = 1 << 20;

/// Who this process is, and who the others are.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Keys {
    /// The file with the own secret.
    pub secret: PathBuf,
    /// The identities of each process.
    pub identities: Vec<(ProcessId, Identity)>,
}

impl Keys {
    /// Reads the own secret.
    ///
    /// # Errors
    /// When the file cannot be read, or others can read it, or it has no secret.
    pub fn read(&self) -> Result<Secret> {
        keys::read(&self.secret).context("`secret`")
    }
}

/// A path that a configuration file names: relative ones begin at its folder.
pub(super) fn beside(file: &Path, path: &Path) -> PathBuf {
    file.parent().unwrap_or(Path::new("")).join(path)
}

/// Checks the settings of this many processes, and reads the identities. `None`: the links are not sealed.
pub(super) fn complete(
    secret: Option<PathBuf>,
    identities: Option<Vec<String>>,
    file: Option<PathBuf>,
    processes: usize,
) -> Result<Option<Keys>> {
    ensure!(
        identities.is_none() || file.is_none(),
        "`identities` and `identities_file` are both set: say the identities once"
    );
    let (name, lines) = match (identities, file) {
        (Some(identities), _) => ("`identities`".to_owned(), Some(identities)),
        (None, Some(file)) => {
            let name = format!("`identities_file`: {}", file.display());
            let lines = lines_of(&file).with_context(|| name.clone())?;
            (name, Some(lines))
        }
        (None, None) => (String::new(), None),
    };
    let (secret, lines) = match (secret, lines) {
        (None, None) => return Ok(None),
        (Some(secret), Some(lines)) => (secret, lines),
        (Some(_), None) => bail!(
            "`secret` is set, and no identities: set `identities` or `identities_file`, which `quorate keys show` prints"
        ),
        (None, Some(_)) => bail!(
            "identities are set, and no `secret`: name the file with the secret of this process, which `quorate keys new` \
             writes"
        ),
    };
    ensure!(
        lines.len() == processes,
        "{name}: there are {} lines of identities, and `peers` names {processes} processes",
        lines.len()
    );
    let mut identities = Vec::new();
    for (rank, line) in (1..).zip(&lines) {
        let Some(process) = ProcessId::from_rank(rank) else {
            break;
        };
        let before = identities.len();
        for word in line.split_whitespace() {
            let identity: Identity = word
                .parse()
                .with_context(|| format!("{name}: process {rank}"))?;
            identities.push((process, identity));
        }
        ensure!(
            identities.len() > before,
            "{name}: process {rank} has no identity"
        );
    }
    Ok(Some(Keys { secret, identities }))
}

/// The lines of a file that say something.
fn lines_of(path: &Path) -> Result<Vec<String>> {
    let length = fs::metadata(path)?.len();
    ensure!(length <= LONGEST, "the file is longer than {LONGEST} bytes");
    let text = fs::read_to_string(path)?;
    let lines = text.lines().map(|line| {
        let (said, _) = line.split_once('#').unwrap_or((line, ""));
        said.trim().to_owned()
    });
    Ok(lines.filter(|line| !line.is_empty()).collect())
}
