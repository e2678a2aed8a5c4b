//! The texts that are generated from the entries: for the terminal, README.md and `docs/`.
pub mod checkers;
pub mod gaps;

use crate::{
    algorithm::{Algorithm, Cost, Dead, Property},
    algorithms, rounds,
};
use std::fmt::{Result, Write};

/// A list of algorithms, one per line.
pub fn list<'a>(chosen: impl IntoIterator<Item = &'a Algorithm>) -> String {
    let mut text = String::new();
    let _ = write_list(&mut text, chosen);
    text
}

fn write_list<'a>(text: &mut String, chosen: impl IntoIterator<Item = &'a Algorithm>) -> Result {
    let head = [
        "name",
        "abstraction",
        "survives",
        "judged under",
        "detector",
        "messages",
        "properties",
    ];
    let mut rows = vec![head.map(str::to_owned)];
    rows.extend(chosen.into_iter().map(|a| {
        [
            a.name.to_owned(),
            a.abstraction.to_owned(),
            a.bound.to_string(),
            a.models.brief(),
            a.detector.to_string(),
            messages(a).to_owned(),
            tags(a.properties),
        ]
    }));
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: Vec<usize> = (0..head.len()).filter_map(width).collect();
    for row in &rows {
        let cells = row.iter().zip(&widths);
        let cells: Vec<String> = cells
            .map(|(cell, width)| format!("{cell:width$}"))
            .collect();
        writeln!(text, "{}", cells.join("  ").trim_end())?;
    }
    Ok(())
}

/// The name of a mutant, its algorithm, the property that it breaks, and the change.
type MutantRow = (&'static str, &'static str, &'static str, &'static str);

/// The mutants of these algorithms, and of these in rounds, one a line. A rule that stands in a source is followed by its
/// erratum.
pub fn mutants(chosen: &[&Algorithm], in_rounds: &[rounds::Entry]) -> String {
    let events = algorithms::mutants().filter(|(of, _)| chosen.iter().any(|it| it.name == of.name));
    let events = events.map(|(of, it)| (it.name, of.name, it.breaks, it.change));
    let rounds = rounds::mutants().filter(|(of, _)| in_rounds.iter().any(|it| it.name == of.name));
    let rounds = rounds.map(|(of, it)| (it.name, of.name, it.breaks, it.change));
    let head = ("mutant", "of", "breaks", "change");
    let rows: Vec<_> = std::iter::once(head).chain(events).chain(rounds).collect();
    let width = |cell: fn(&MutantRow) -> &'static str| {
        rows.iter()
            .map(|row| cell(row).chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths = (width(|row| row.0), width(|row| row.1), width(|row| row.2));
    let mut text = String::new();
    for (name, of, breaks, change) in &rows {
        let published = algorithms::erratum(name).map(|erratum| format!(" (published: {erratum})"));
        let published = published.unwrap_or_default();
        let (first, second, third) = widths;
        let _ = writeln!(
            text,
            "{name:first$}  {of:second$}  {breaks:third$}  {change}{published}"
        );
    }
    text
}

/// One algorithm in full, for a terminal.
pub fn describe(algorithm: &Algorithm) -> String {
    let mut text = String::new();
    let _ = write_description(&mut text, algorithm);
    text
}

fn write_description(text: &mut String, a: &Algorithm) -> Result {
    writeln!(text, "{} — {}", a.name, a.abstraction)?;
    let mut line = |name: &str, value: &str| match value {
        "" | "none" | "–" => Ok(()),
        _ => writeln!(text, "  {name:<10} {value}"),
    };
    line("also", &a.aliases.join(", "))?;
    line("model", &model(a))?;
    line("judged", &a.models.to_string())?;
    for fall in a.falls() {
        line("falls", &fall.to_string())?;
    }
    line("over", &a.over.join(", "))?;
    line("detector", &a.detector.to_string())?;
    for (what, messages, steps) in costs(a) {
        line("cost", &format!("{what}: {}", cost(&messages, &steps)))?;
    }
    line("rate", a.rate)?;
    line("memory", a.memory)?;
    line("handle", &a.reached())?;
    line("source", a.source)?;
    line("file", a.file)?;
    for Property {
        tag, kind, says, ..
    } in a.properties
    {
        line(tag, &format!("{says} ({kind})"))?;
    }
    for mutant in a.mutants {
        let shows = format!("{}; breaks {}", mutant.change, mutant.breaks);
        line("mutant", &format!("{}: {shows}", mutant.name))?;
    }
    Ok(())
}

fn model(a: &Algorithm) -> String {
    format!("{}, crash-stop; survives {}", a.timing, a.bound)
}

/// The circumstances, messages and steps of every specified cost.
fn costs(a: &Algorithm) -> Vec<(String, String, String)> {
    let of = |cost: Option<Cost>| cost.map(circumstances).unwrap_or_default();
    if a.reads.is_none() {
        let plain = |(when, messages, steps): (&str, _, _)| (when.to_owned(), messages, steps);
        return of(a.cost).into_iter().map(plain).collect();
    }
    let named = |what: &'static str| {
        move |(when, messages, steps): (&str, _, _)| (format!("{what}, {when}"), messages, steps)
    };
    let (write, read) = a.verbs();
    let writes = of(a.cost).into_iter().map(named(write));
    writes
        .chain(of(a.reads).into_iter().map(named(read.unwrap_or(write))))
        .collect()
}

/// The circumstances, messages and steps of one operation.
fn circumstances(cost: Cost) -> Vec<(&'static str, String, String)> {
    let Cost {
        messages,
        steps,
        one_dead,
        sender_crashes,
    } = cost;
    let mut all = vec![(
        "failure-free",
        messages.text.to_owned(),
        steps.text.to_owned(),
    )];
    if let Some(dead) = one_dead {
        let which = match dead.which {
            Dead::Last => "another process dead",
            Dead::First => "p1 dead",
        };
        all.push((
            which,
            dead.messages.text.to_owned(),
            dead.steps.text.to_owned(),
        ));
    }
    if let Some(crash) = sender_crashes {
        let steps = crash.steps.map_or("–", |steps| steps.text);
        all.push((
            "sender crashes after k sends",
            crash.messages.text.to_owned(),
            steps.to_owned(),
        ));
    }
    all
}

fn cost(messages: &str, steps: &str) -> String {
    let plural = |count: &str, thing: &str| match count {
        "1" => format!("1 {thing}"),
        _ => format!("{count} {thing}s"),
    };
    match steps {
        "–" => plural(messages, "message"),
        _ => format!("{}, {}", plural(messages, "message"), plural(steps, "step")),
    }
}

fn messages(a: &Algorithm) -> &'static str {
    match &a.cost {
        Some(cost) => cost.messages.text,
        None => "–",
    }
}

/// Whether the second number is the one after the first.
fn is_next(last: &str, number: &str) -> bool {
    let number = number.parse::<u64>().ok();
    number.is_some_and(|number| last.parse() == Ok(number.wrapping_sub(1)))
}

/// The tags, with runs of the same prefix combined: `TOB1–5, FRB5`.
fn tags(properties: &[Property]) -> String {
    let mut groups: Vec<(&str, &str, &str)> = Vec::new();
    for Property { tag, .. } in properties {
        let (prefix, number) = tag.split_at(tag.trim_end_matches(char::is_numeric).len());
        match groups.last_mut() {
            Some((known, _, last)) if *known == prefix && is_next(last, number) => *last = number,
            _ => groups.push((prefix, number, number)),
        }
    }
    let group = |(prefix, first, last): &(&str, &str, &str)| {
        let rest = if first == last { "" } else { last };
        let dash = if rest.is_empty() { "" } else { "–" };
        format!("{prefix}{first}{dash}{rest}")
    };
    groups.iter().map(group).collect::<Vec<_>>().join(", ")
}

/// Writes the table, one line per algorithm.
fn write_table(text: &mut String) -> Result {
    writeln!(
        text,
        "| abstraction | algorithm | survives | detector | messages, failure-free | steps | \
         properties checked |\n|---|---|---|---|---|---|---|"
    )?;
    for a in algorithms::all() {
        let steps = a.cost.map_or("–", |cost| cost.steps.text);
        writeln!(
            text,
            "| {} | [{}](../{}) | {} | {} | {} | {steps} | {} |",
            a.abstraction,
            a.title,
            a.file,
            a.bound,
            a.detector,
            a.cost.map_or(a.rate, |cost| cost.messages.text),
            tags(a.properties)
        )?;
    }
    Ok(())
}

/// `docs/algorithms.md`.
pub fn page() -> String {
    let mut text = String::from(
        "# Algorithms\n\n\
         <!-- Generated from the laboratory: UPDATE_GOLDEN=1 cargo test -p quorate-laboratory --test documents -->\n\n\
         Every algorithm: its model, what it stands on, what it promises, what it costs, and what it looks\n\
         like when one rule of it is changed. `quorate sim NAME` runs it against an adversary, mutants too.\n\n\
         Costs are exact, of one operation on ideal lower layers: messages that a process sends to itself\n\
         are not counted, those to crashed processes are; a step is the time of one message, and D the\n\
         steps after which the failure detector reports a crash. Tests assert them for n = 2 … 8.\n\n\
         *Judged under* names the failure models ([what they are](failure-models.md)); a property that is *known\n\
         to fall* outside them has a seed that shows it, and a test that it still does.\n",
    );
    text.push('\n');
    let _ = write_table(&mut text);
    let _ = write_table_of_rounds(&mut text);
    for algorithm in algorithms::all() {
        let _ = write_section(&mut text, algorithm);
    }
    for entry in &rounds::ENTRIES {
        let _ = write_section_of_rounds(&mut text, entry);
    }
    text
}

/// Writes the table of the algorithms in synchronous rounds.
fn write_table_of_rounds(text: &mut String) -> Result {
    writeln!(
        text,
        "\nIn synchronous rounds, where each algorithm is made for f failures; tests assert the costs for\n\
         n = 1 … 8 and each f below n. Over sockets the rounds are made of messages and clocks that keep\n\
         their bounds: [the round synchroniser](../crates/rounds/src/synchroniser.rs). It has no entry of its own:\n\
         what it promises (RS1 to RS4) is about what an algorithm above it is handed in each round, which is no\n\
         indication that a checker could read from a trace; the tests beside it have an algorithm that does.\n\n\
         | abstraction | algorithm | survives | messages, failure-free, f ≥ 1 | rounds | properties checked |\n\
         |---|---|---|---|---|---|"
    )?;
    for entry in &rounds::ENTRIES {
        writeln!(
            text,
            "| {} | [{}](../{}) | {} | {} | {} | {} |",
            entry.abstraction,
            entry.name,
            entry.file,
            entry.survives,
            entry.messages,
            entry.rounds,
            tags(entry.properties)
        )?;
    }
    Ok(())
}

fn write_section_of_rounds(text: &mut String, entry: &rounds::Entry) -> Result {
    writeln!(text, "\n## {}\n", entry.name)?;
    let (abstraction, file) = (entry.abstraction, entry.file);
    writeln!(text, "{abstraction}: [{}](../{file}).\n", entry.name)?;
    if !entry.aliases.is_empty() {
        writeln!(text, "- **also called:** {}", entry.aliases.join(", "))?;
    }
    writeln!(
        text,
        "- **model:** synchronous rounds; survives {}",
        entry.survives
    )?;
    writeln!(text, "- **rounds:** {}", entry.rounds)?;
    writeln!(text, "- **handle:** {}", entry.reached())?;
    writeln!(
        text,
        "\n| cost | messages | last output in round | halt in round |\n|---|---|---|---|"
    )?;
    for cost in entry.costs {
        let (messages, outputs, halts) = (cost.messages.text, cost.outputs.text, cost.halts.text);
        writeln!(text, "| {} | {messages} | {outputs} | {halts} |", cost.when)?;
    }
    write_properties(text, entry.properties)?;
    let mutants = entry.mutants.iter();
    write_mutants(text, mutants.map(|it| (it.name, it.change, it.breaks)))
}

fn write_properties(text: &mut String, properties: &[Property]) -> Result {
    writeln!(text, "\n| property | kind | |\n|---|---|---|")?;
    for Property {
        tag, kind, says, ..
    } in properties
    {
        writeln!(text, "| {tag} | {kind} | {says} |")?;
    }
    Ok(())
}

/// Writes the name of each mutant, its change, and what it breaks.
fn write_mutants<'m>(
    text: &mut String,
    mutants: impl Iterator<Item = (&'m str, &'m str, &'m str)>,
) -> Result {
    for (index, (name, change, breaks)) in mutants.enumerate() {
        if index == 0 {
            writeln!(text, "\n| mutant | change | breaks |\n|---|---|---|")?;
        }
        writeln!(text, "| `{name}` | {change} | {breaks} |")?;
    }
    Ok(())
}

fn write_section(text: &mut String, a: &Algorithm) -> Result {
    writeln!(text, "\n## {}\n", a.name)?;
    writeln!(text, "{}: [{}](../{}).\n", a.abstraction, a.title, a.file)?;
    let mut item = |name: &str, value: &str| match value {
        "" | "none" | "–" => Ok(()),
        _ => writeln!(text, "- **{name}:** {value}"),
    };
    item("also called", &a.aliases.join(", "))?;
    item("model", &model(a))?;
    item("judged under", &a.models.to_string())?;
    for fall in a.falls() {
        item("known to fall", &fall.to_string())?;
    }
    item("stands on", &a.over.join(", "))?;
    item("failure detector", &a.detector.to_string())?;
    item("rate", a.rate)?;
    item("memory", a.memory)?;
    item("handle", &a.reached())?;
    item("source", a.source)?;
    let costs = costs(a);
    if !costs.is_empty() {
        writeln!(text, "\n| cost | messages | steps |\n|---|---|---|")?;
    }
    for (what, messages, steps) in costs {
        writeln!(text, "| {what} | {messages} | {steps} |")?;
    }
    write_properties(text, a.properties)?;
    let mutants = a.mutants.iter();
    write_mutants(text, mutants.map(|it| (it.name, it.change, it.breaks)))
}
