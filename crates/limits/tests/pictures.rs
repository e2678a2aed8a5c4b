//! The pictures and outputs in the documentation are those that are drawn. `UPDATE_GOLDEN=1` writes them anew.
use quorate_limits::{
    critical_section, flp, rounds, two_components, two_servers,
    undecided::{self, Rotating, Size, Tossing},
};
use std::{fs, path::Path};

#[test]
fn the_pictures_of_the_page_on_limits_are_those_that_are_drawn() {
    let shown = rounds::show().unwrap();
    let protocols = two_servers::Protocol::ALL.map(|it| two_servers::show(it, 2).unwrap());
    let texts = protocols.each_ref().map(two_servers::Shown::text);
    let flp = flp::show(40).unwrap();
    let section = critical_section::show(100);
    let components = two_components::show().unwrap();
    let size = Size {
        processes: 3,
        seed: 1,
        bound: 4,
        rounds: 50,
    };
    let undecided = undecided::show(&Rotating, &Tossing, size).unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for (name, drawn) in [
        ("flp.svg", flp.svg()),
        ("flp.txt", flp.text()),
        ("undecided.svg", undecided.svg()),
        ("undecided.txt", undecided.text()),
        ("critical-section.svg", section.svg()),
        ("critical-section.txt", section.text()),
        ("rounds.svg", shown.svg()),
        ("rounds.txt", shown.text()),
        ("two-components.svg", components.svg()),
        ("two-components.txt", components.text()),
        ("two-servers.svg", protocols[0].svg()),
        ("two-servers.txt", texts.join("\n")),
    ] {
        let path = root.join("docs/diagrams").join(name);
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&path, &drawn).unwrap();
        }
        let kept = fs::read_to_string(&path).unwrap_or_default();
        assert!(kept == drawn, "{name} is stale: run with UPDATE_GOLDEN=1");
    }
}
