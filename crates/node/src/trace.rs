//! `quorate trace`: draws the traces of several replicas as one picture.
pub mod line;
mod merge;

use crate::{credentials::ForOperators, http, sim::pictures::save, status::reachable};
use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use merge::Recorded;
use quorate_sim::{Diagram, ShiViz, Svg, Trace as Records};
use std::{collections::BTreeSet, net::SocketAddr};

/// Collects what replicas have recorded, and draws it.
///
/// They record where their settings say `trace_records = N`.
#[derive(Args, Debug)]
pub struct Trace {
    /// The replicas' admin addresses, separated by commas, or repeated.
    #[arg(
        long,
        visible_alias = "nodes",
        required = true,
        value_delimiter = ',',
        value_name = "ADDRESS:PORT,…"
    )]
    admin: Vec<SocketAddr>,
    #[command(flatten)]
    door: ForOperators,
    /// Draws only the last so many milliseconds.
    #[arg(long, value_name = "MILLISECONDS")]
    last: Option<u64>,
    /// Draws the requests and indications of all modules, not only of those on top.
    #[arg(long)]
    modules: bool,
    /// Draws the space-time diagram as SVG into a file (`-`: the standard output).
    #[arg(long, value_name = "FILE")]
    svg: Option<String>,
    /// Writes a log for ShiViz, with vector clocks (`-`: the standard output).
    #[arg(long, value_name = "FILE")]
    shiviz: Option<String>,
}

impl Trace {
    /// Collects and draws. A replica that does not answer is left out, and named.
    pub fn run(self) -> Result<()> {
        let mut traces = Vec::new();
        for admin in &self.admin {
            match self.collect(reachable(*admin)) {
                Ok(trace) => traces.push(trace),
                Err(error) => eprintln!("quorate: left out: {error:#}"),
            }
        }
        let n = check(&traces)?;
        let latest = traces.iter().filter_map(|t| Some(t.lines.last()?.at)).max();
        let span = self
            .last
            .map_or(u64::MAX, |last| last.saturating_mul(1_000_000));
        let since = latest.unwrap_or(0).saturating_sub(span);
        let records = Records::of(merge::merge(&traces, since)?);
        if let Some(path) = &self.svg {
            save(path, &self.picture(&traces).draw(&records, n))?;
        }
        if let Some(path) = &self.shiviz {
            let mut log = ShiViz::default();
            if self.modules {
                log = log.modules();
            }
            save(path, &log.write(&records, n))?;
        }
        if self.svg.is_none() && self.shiviz.is_none() {
            println!("{}", Diagram::default().draw(&records, n));
        }
        Ok(())
    }

    fn collect(&self, admin: SocketAddr) -> Result<Recorded> {
        let (code, body) = http::ask(self.door.server(admin)?, "GET", "/trace", "")?;
        if code != 200 {
            bail!("{admin} answered {code}: {}", body.trim());
        }
        let (head, lines) = line::read(&body).with_context(|| format!("{admin} sent no trace"))?;
        Ok(Recorded { head, lines })
    }

    fn picture(&self, traces: &[Recorded]) -> Svg {
        let names: Vec<_> = traces
            .iter()
            .map(|trace| format!("p{}", trace.head.process))
            .collect();
        let cluster = traces.first().map_or("", |trace| &trace.head.cluster);
        let svg = Svg::default()
            .title(format!("The cluster `{cluster}`"))
            .note(format!(
                "Recorded by {}. Times are by each one's own clock.",
                names.join(", ")
            ));
        if self.modules { svg.modules() } else { svg }
    }
}

/// Checks that these are traces of different processes of one cluster; returns how many processes that has.
fn check(traces: &[Recorded]) -> Result<usize> {
    let first = traces.first().context("no replica has sent a trace")?;
    let n = first.head.processes;
    let mut seen = BTreeSet::new();
    for Recorded { head, .. } in traces {
        let same = head.cluster == first.head.cluster && head.processes == n;
        ensure!(same, "the replicas are not of one cluster");
        ensure!(
            seen.insert(head.process),
            "process {} has sent two traces",
            head.process
        );
        ensure!(
            (1..=n).contains(&head.process),
            "there is no process {} of {n}",
            head.process
        );
    }
    Ok(n)
}
