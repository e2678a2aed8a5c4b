//! Mutants whose algorithm is right, and is altered on the way: what a process indicates to its user, or hears,
//! is left out, repeated, held back or changed. There is one for each part of a property that no changed rule
//! of an algorithm violates by itself, so that the checker is seen to judge it.
mod agreement;
mod broadcasts;
mod links;
mod membership;
mod shared;
mod views;

use super::find;
use crate::{
    algorithm::Mutant,
    scenario::Faults,
    wiring::{RequestPort, Wiring},
};
use quorate_core::ProcessId;
use quorate_sim::Alter;
use std::marker::PhantomData;

/// A mutant, its algorithm, and what it is made for.
#[derive(Clone, Copy)]
pub(super) struct Altered {
    of: &'static str,
    /// Words of the verdict on the part of the property that it is made for.
    shows: &'static str,
    mutant: Mutant,
}

fn rows() -> impl Iterator<Item = &'static Altered> {
    let families = [
        links::ALL,
        broadcasts::ALL,
        agreement::ALL,
        membership::ALL,
        views::ALL,
        shared::ALL,
    ];
    families.into_iter().flatten().copied().flatten()
}

/// All of them, each with the name of its algorithm.
pub(super) fn all() -> impl Iterator<Item = (&'static str, &'static Mutant)> {
    rows().map(|row| (row.of, &row.mutant))
}

/// Words of the verdict on the part of a property that the mutant of this name is made for, if it is one of
/// these.
pub(super) fn shows(name: &str) -> Option<&'static str> {
    let row = rows().find(|row| row.mutant.name == name);
    row.map(|row| row.shows)
}

/// The faults under which such a mutant is seen, if they are not [`Faults::NONE`].
const fn under(row: &Altered, faults: Faults) -> Altered {
    Altered {
        mutant: Mutant {
            under: faults,
            ..row.mutant
        },
        ..*row
    }
}

/// Declares one: its algorithm, its name, the change, the property and the words of the verdict, and how it is
/// wired.
const fn altered(
    of: &'static str,
    [name, change]: [&'static str; 2],
    [breaks, shows]: [&'static str; 2],
    wire: fn(&Wiring<'_>) -> RequestPort,
) -> Altered {
    Altered {
        of,
        shows,
        mutant: Mutant {
            name,
            aliases: &[],
            change,
            breaks,
            under: Faults::NONE,
            wire,
        },
    }
}

/// Wires the algorithm of this name.
fn wire(name: &str, wiring: &Wiring<'_>) -> RequestPort {
    find(name).map_or(RequestPort::Nothing, |algorithm| {
        (algorithm.simulation.wire)(wiring)
    })
}

/// What is indicated in place of an indication, at one process.
type Alteration<T> = Box<dyn FnMut(T) -> Vec<T> + Send>;

/// An effect of an algorithm.
enum Said<F, T> {
    Indication(T),
    Other(F),
}

/// Alters the indications among the effects of an algorithm.
struct Indications<E, F, T> {
    alter: Alteration<T>,
    open: fn(F) -> Said<F, T>,
    close: fn(T) -> F,
    event: PhantomData<fn(E)>,
}

impl<E, F, T> Alter<E, F> for Indications<E, F, T> {
    fn say(&mut self, effect: F, said: &mut Vec<F>) {
        match (self.open)(effect) {
            Said::Indication(indication) => {
                said.extend((self.alter)(indication).into_iter().map(self.close));
            }
            Said::Other(other) => said.push(other),
        }
    }
}

/// Declares the function that wires an algorithm with its indications altered: the module of the algorithm,
/// the variant of its `Effect`, and the type of the indications.
macro_rules! indicating {
    ($name:ident, $($module:ident)::+ => $variant:ident($said:ty)) => {
        fn $name(
            wiring: &$crate::wiring::Wiring<'_>,
            of: &str,
            alter: impl Fn(quorate_core::ProcessId) -> super::Alteration<$said> + Send + Sync + 'static,
        ) -> $crate::wiring::RequestPort {
            use $($module)::+::{Effect, Event};
            let altered = wiring.altered(move |me| super::Indications::<Event, Effect, $said> {
                alter: alter(me),
                open: |effect| {
                    if let Effect::$variant(said) = effect {
                        super::Said::Indication(said)
                    } else {
                        super::Said::Other(effect)
                    }
                },
                close: Effect::$variant,
                event: std::marker::PhantomData,
            });
            super::wire(of, &altered)
        }
    };
}
use indicating;

fn unchanged<T: 'static>() -> Alteration<T> {
    Box::new(|indication| vec![indication])
}

/// Each indication comes twice.
fn twice<T: Clone + 'static>(_: ProcessId) -> Alteration<T> {
    Box::new(|indication: T| vec![indication.clone(), indication])
}

/// Only at the process of this rank.
fn at<T: 'static>(
    rank: usize,
    alter: impl Fn(ProcessId) -> Alteration<T> + Send + Sync + 'static,
) -> impl Fn(ProcessId) -> Alteration<T> + Send + Sync + 'static {
    move |me| {
        if me.rank() == rank {
            alter(me)
        } else {
            unchanged()
        }
    }
}

/// After this many indications there are no more.
fn stops_after<T: 'static>(
    most: u64,
) -> impl Fn(ProcessId) -> Alteration<T> + Send + Sync + 'static {
    move |_| {
        let mut count = 0;
        Box::new(move |indication| {
            count += 1;
            if count > most {
                Vec::new()
            } else {
                vec![indication]
            }
        })
    }
}

/// The indication of this number, counted from 1, does not come.
fn without<T: 'static>(number: u64) -> impl Fn(ProcessId) -> Alteration<T> + Send + Sync + 'static {
    move |_| {
        let mut count = 0;
        Box::new(move |indication| {
            count += 1;
            if count == number {
                Vec::new()
            } else {
                vec![indication]
            }
        })
    }
}

/// Each indication is changed.
fn changed<T: 'static>(
    change: fn(&mut T),
) -> impl Fn(ProcessId) -> Alteration<T> + Send + Sync + 'static {
    move |_| {
        Box::new(move |mut indication| {
            change(&mut indication);
            vec![indication]
        })
    }
}

/// The indications do not come for which this holds at the process.
fn not_where<T: 'static>(
    is: fn(ProcessId, &T) -> bool,
) -> impl Fn(ProcessId) -> Alteration<T> + Send + Sync + 'static {
    move |me| {
        Box::new(move |indication| {
            if is(me, &indication) {
                Vec::new()
            } else {
                vec![indication]
            }
        })
    }
}

/// An indication for which this holds comes only together with the next such one, which comes first if
/// `reversed`.
fn held_back<T: Send + 'static>(
    is: fn(&T) -> bool,
    reversed: bool,
) -> impl Fn(ProcessId) -> Alteration<T> + Send + Sync + 'static {
    move |_| {
        let mut held: Option<T> = None;
        Box::new(move |indication| {
            if !is(&indication) {
                return vec![indication];
            }
            if !reversed {
                return held.replace(indication).into_iter().collect();
            }
            if let Some(earlier) = held.take() {
                vec![indication, earlier]
            } else {
                held = Some(indication);
                Vec::new()
            }
        })
    }
}
