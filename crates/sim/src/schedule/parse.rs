//! Reading a script.
use super::{
    script::{Expectation, Expected, Line, Script},
    step::{Act, Passage, Step},
};
use quorate_core::ProcessId;
use std::str::FromStr;

/// A line that is not valid in a script.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("line {line}: expected {expected}, found `{found}`")]
pub struct BadScript {
    /// The number of the line, from 1.
    pub line: usize,
    /// What could stand in that place.
    pub expected: &'static str,
    /// What stands in that place.
    pub found: String,
}

/// What was expected, and what was found in its place.
type Bad = (&'static str, String);

const DIRECTIVE: &str = "`processes`, `request`, `deliver`, `lose`, `omit`, `report`, `suspect`, `restore`, \
                         `fire`, `advance`, `crash`, `end`, `gap`, `begin`, `no more requests`, `stop` or `expect`";
const VERDICT: &str = "`all hold`, or a tag and `holds`, `violated` or `unknown`";

impl FromStr for Script {
    type Err = BadScript;

    fn from_str(text: &str) -> Result<Self, BadScript> {
        let mut script = Script::default();
        for (index, line) in text.lines().enumerate() {
            let (code, comment) = split(line);
            script
                .take(code, comment)
                .map_err(|(expected, found)| BadScript {
                    line: index + 1,
                    expected,
                    found,
                })?;
        }
        Ok(script)
    }
}

impl FromStr for Step {
    type Err = BadScript;

    fn from_str(text: &str) -> Result<Self, BadScript> {
        let words: Vec<_> = text.split_whitespace().collect();
        step(&words).map_err(|(expected, found)| BadScript {
            line: 1,
            expected,
            found,
        })
    }
}

/// A line without its comment, and the comment. `#1` is a number.
fn split(line: &str) -> (&str, Option<&str>) {
    let is_comment = |at: &usize| {
        let rest = &line[at + 1..];
        rest.is_empty() || rest.starts_with(char::is_whitespace)
    };
    let mut signs = line.match_indices('#').map(|(at, _)| at);
    match signs.find(is_comment) {
        Some(at) => (line[..at].trim(), Some(line[at + 1..].trim())),
        None => (line.trim(), None),
    }
}

impl Script {
    fn take(&mut self, code: &str, comment: Option<&str>) -> Result<(), Bad> {
        let words: Vec<_> = code.split_whitespace().collect();
        match words[..] {
            [] => {
                if let Some(text) = comment.filter(|_| self.is_blank()) {
                    self.heading.push(text.to_owned());
                }
            }
            ["processes", n] => self.processes = Some(number(n, "a number of processes")?),
            ["no", "more", "requests"] => self.no_more_requests = true,
            ["stop"] => self.stop = true,
            ["expect", ref verdict @ ..] => self.expectations.push(expectation(verdict)?),
            _ if self.stop || self.no_more_requests || !self.expectations.is_empty() => {
                return Err(("no step after the last one", code.to_owned()));
            }
            _ => self.lines.push(Line {
                step: step(&words)?,
                note: comment.unwrap_or_default().to_owned(),
            }),
        }
        Ok(())
    }

    fn is_blank(&self) -> bool {
        self.processes.is_none() && self.lines.is_empty() && self.expectations.is_empty()
    }
}

fn expectation(words: &[&str]) -> Result<Expectation, Bad> {
    let of = |tag: &str, expected| Ok(Expectation::Of(tag.to_owned(), expected));
    match words {
        ["all", "hold"] => Ok(Expectation::AllHold),
        [tag, "holds"] => of(tag, Expected::Holds),
        [tag, "violated"] => of(tag, Expected::Violated),
        [tag, "unknown"] => of(tag, Expected::Unknown),
        _ => Err((VERDICT, words.join(" "))),
    }
}

fn step(words: &[&str]) -> Result<Step, Bad> {
    if let [rest @ .., "crashing", "before", "output", k] = words {
        let act = act(rest)?;
        if act.process().is_none() || matches!(act, Act::Crash(_)) {
            return Err(("a step in which a process reacts", rest.join(" ")));
        }
        return Ok(Step::from(act).crashing_before(number(k, "a number of an output")?));
    }
    act(words).map(Step::from)
}

fn act(words: &[&str]) -> Result<Act, Bad> {
    Ok(match words {
        ["request", p] => Act::Request(process(p)?),
        ["report", of, "to", to] => {
            let (of, to) = (process(of)?, process(to)?);
            Act::Report { of, to }
        }
        ["suspect", of, "by", by] => {
            let (of, by) = (process(of)?, process(by)?);
            Act::Suspect { of, by }
        }
        ["restore", of, "by", by] => {
            let (of, by) = (process(of)?, process(by)?);
            Act::Restore { of, by }
        }
        ["deliver", way, k] => Act::Deliver(passage(way, k)?),
        ["lose", way, k] => Act::Lose(passage(way, k)?),
        ["omit", way, k, "by", by] => {
            let (copy, by) = (passage(way, k)?, process(by)?);
            if by != copy.from && by != copy.to {
                return Err(("the sender or the receiver of the copy", by.to_string()));
            }
            Act::Omit { copy, by }
        }
        ["fire", p, k] => Act::Fire(process(p)?, ordinal(k)?),
        ["advance"] => Act::Advance,
        ["crash", p] => Act::Crash(process(p)?),
        ["end", way] => {
            let (from, to) = ends(way)?;
            Act::End { from, to }
        }
        ["gap", way] => {
            let (from, to) = ends(way)?;
            Act::Gap { from, to }
        }
        ["begin", way] => {
            let (from, to) = ends(way)?;
            Act::Begin { from, to }
        }
        _ => return Err((expected(words), words.join(" "))),
    })
}

/// The words that could follow the first word.
fn expected(words: &[&str]) -> &'static str {
    match words.first() {
        Some(&"request") => "`request p1`",
        Some(&"report") => "`report p1 to p2`",
        Some(&"suspect") => "`suspect p1 by p2`",
        Some(&"restore") => "`restore p1 by p2`",
        Some(&"deliver") => "`deliver p1>p2 #1`",
        Some(&"lose") => "`lose p1>p2 #1`",
        Some(&"omit") => "`omit p1>p2 #1 by p1`",
        Some(&"end") => "`end p1>p2`",
        Some(&"gap") => "`gap p1>p2`",
        Some(&"begin") => "`begin p1>p2`",
        Some(&"fire") => "`fire p1 #1`",
        Some(&"crash") => "`crash p1`, or a step and `crashing before output 2`",
        _ => DIRECTIVE,
    }
}

fn passage(way: &str, k: &str) -> Result<Passage, Bad> {
    let (from, to) = ends(way)?;
    let number = ordinal(k)?;
    Ok(Passage { from, to, number })
}

fn ends(way: &str) -> Result<(ProcessId, ProcessId), Bad> {
    let Some((from, to)) = way.split_once('>') else {
        return Err(("a sender and a receiver, such as `p1>p2`", way.to_owned()));
    };
    Ok((process(from)?, process(to)?))
}

fn process(word: &str) -> Result<ProcessId, Bad> {
    let rank = word.strip_prefix('p').and_then(|rank| rank.parse().ok());
    let p = rank.and_then(ProcessId::from_rank);
    p.ok_or(("a process, such as `p1`", word.to_owned()))
}

fn ordinal(word: &str) -> Result<u32, Bad> {
    let k = word.strip_prefix('#').and_then(|k| k.parse().ok());
    k.filter(|k| *k > 0)
        .ok_or(("a number, such as `#1`", word.to_owned()))
}

fn number<T: FromStr>(word: &str, expected: &'static str) -> Result<T, Bad> {
    word.parse().map_err(|_| (expected, word.to_owned()))
}
