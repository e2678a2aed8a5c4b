//! The quorums that algorithms use: those that a file gives, or those found for the failures that it
//! describes.
use crate::{Quorums, decision::BUDGET, file::Described, report};

/// A file from which no quorums can be used.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Unusable {
    /// It is for another number of processes.
    #[error("it is for {own} processes, and there are {n} peers")]
    Size {
        /// The number of processes in the file.
        own: usize,
        /// The number of processes that run.
        n: usize,
    },
    /// The file's quorums are not valid, or none were found; the text says why.
    #[error("{0}")]
    NoQuorums(String),
}

/// The quorums of the file, for `n` processes.
///
/// # Errors
/// When the file is for another number of processes, when its quorums are not valid for the failures that it
/// describes, or when it gives no quorums and there are none, or none were found.
pub fn quorums(described: &Described, n: usize) -> Result<Quorums, Unusable> {
    let own = described.system.processes.n();
    if own != n {
        return Err(Unusable::Size { own, n });
    }
    let report = report::report(described, BUDGET);
    let tells = |line: &&str| {
        let words = ["Impossible: ", "The quorums of the file are no "];
        words.iter().any(|words| line.starts_with(words))
    };
    let last = || report.text.lines().rfind(|line| !line.is_empty());
    let words = report.text.lines().find(tells).or_else(last);
    match (&described.quorums, report.witness) {
        (Some(quorums), Some(_)) => Ok(quorums.clone()),
        (None, Some(found)) => Ok(found.quorums()),
        _ => Err(Unusable::NoQuorums(words.unwrap_or_default().to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::parse;

    #[test]
    fn quorums_are_taken_from_the_file_or_found_or_missing_in_words() {
        let given = "processes = 3\ncrashes = 1\n[quorums]\nreads = 2\nwrites = 2\n";
        let given = parse(given).unwrap();
        assert_eq!(quorums(&given, 3), Ok(given.quorums.clone().unwrap()));
        let other = quorums(&given, 5).unwrap_err();
        assert_eq!(other, Unusable::Size { own: 3, n: 5 });
        let found = parse(include_str!("../../../config/quorums/five.toml")).unwrap();
        assert!(quorums(&found, 5).is_ok());
        let none = parse("processes = 2\ncrashes = 1\n").unwrap();
        let none = quorums(&none, 2).unwrap_err().to_string();
        assert!(none.starts_with("Impossible: "), "{none}");
    }
}
