//! The subject of a scenario: an algorithm of the laboratory, or a mutant of one.
use crate::{
    algorithm::{Algorithm, Mutant, Wire},
    algorithms,
};
use std::{fmt, str::FromStr};

/// An algorithm, or a mutant of it.
#[derive(Clone, Copy, Debug)]
pub struct Subject {
    pub algorithm: &'static Algorithm,
    /// The mutant that runs in its place.
    pub mutant: Option<&'static Mutant>,
}

impl Subject {
    /// Every algorithm, and every mutant.
    pub fn all() -> impl Iterator<Item = Subject> {
        let sound = algorithms::all().map(|algorithm| Subject {
            algorithm,
            mutant: None,
        });
        let broken = algorithms::mutants().map(|(algorithm, mutant)| Subject {
            algorithm,
            mutant: Some(mutant),
        });
        sound.chain(broken)
    }

    /// The name by which commands know it.
    pub fn name(&self) -> &'static str {
        self.mutant
            .map_or(self.algorithm.name, |mutant| mutant.name)
    }

    /// The function that wires it.
    pub fn wire(&self) -> Wire {
        self.mutant
            .map_or(self.algorithm.simulation.wire, |mutant| mutant.wire)
    }
}

impl PartialEq for Subject {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}
impl Eq for Subject {}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// No subject has this name.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("there is no algorithm `{0}`: choose one of {names}", names = names())]
pub struct UnknownSubject(String);

fn names() -> String {
    let names: Vec<_> = Subject::all().map(|subject| subject.name()).collect();
    names.join(", ")
}

impl FromStr for Subject {
    type Err = UnknownSubject;

    fn from_str(name: &str) -> Result<Self, UnknownSubject> {
        let goes_by = |subject: &Subject| match subject.mutant {
            Some(mutant) => mutant.name == name || mutant.aliases.contains(&name),
            None => subject.algorithm.is_called(name),
        };
        Subject::all()
            .find(goes_by)
            .ok_or_else(|| UnknownSubject(name.to_owned()))
    }
}
