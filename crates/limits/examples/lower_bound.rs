//! Draws the lower bound: prints both cases, and writes their pictures into the folder given as an argument,
//! if there is one.
use quorate_limits::lower_bound::{Events, Families, run};
use std::{fs, path::Path};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::args().nth(1);
    for (name, families, events) in [
        ("lower-bound-safety", Families::Inconsistent, Events::Merged),
        ("lower-bound-liveness", Families::Unavailable, Events::F),
    ] {
        let shown = run(families, events)?;
        println!("{}", shown.text());
        if let Some(folder) = &folder {
            fs::write(Path::new(folder).join(format!("{name}.svg")), shown.svg())?;
        }
        if shown.broken().is_none() {
            return Err(format!("{name}: nothing broke").into());
        }
    }
    Ok(())
}
