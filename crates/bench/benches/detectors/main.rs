//! Compares failure detectors with foca (SWIM) on loopback: how soon a crash is noticed, and what the
//! watching costs. `cargo bench -p quorate-bench --bench detectors [-- REPETITIONS]` prints the table of
//! docs/benchmarks.md. The cases take turns, so that a disturbance of the machine affects all alike.
mod swim;

use quorate_bench::{
    Error,
    detection::{Detection, Detector, Detectors, measure},
    machine,
    rounds::median,
};
use quorate_detectors::{exclude_on_timeout, increasing_timeout};
use std::{env, thread, time::Duration};

const SIZES: [usize; 2] = [5, 16];
const INTERVAL: Duration = Duration::from_millis(100);
const TIMEOUT: Duration = Duration::from_millis(500);
/// How long a group settles, and then how long its datagrams are counted.
const SETTLE: Duration = Duration::from_millis(1500);
const QUIET: Duration = Duration::from_secs(2);

/// The cases that are measured. The last one is the base of the ratios.
#[derive(Clone, Copy)]
enum Case {
    EventuallyPerfect,
    Perfect,
    Swim,
}

const CASES: [Case; 3] = [Case::EventuallyPerfect, Case::Perfect, Case::Swim];

impl Case {
    fn name(self) -> &'static str {
        match self {
            Case::EventuallyPerfect => "◇P, increasing timeout",
            Case::Perfect => "P, exclude on timeout",
            Case::Swim => "foca",
        }
    }

    fn run(self, n: usize, phase: Duration) -> Result<Detection, Error> {
        let detector = match self {
            Case::EventuallyPerfect => {
                Detector::EventuallyPerfect(increasing_timeout::DetectorSettings {
                    interval: INTERVAL,
                    timeout: TIMEOUT,
                })
            }
            Case::Perfect => {
                let delay = TIMEOUT.saturating_sub(INTERVAL);
                let settings = exclude_on_timeout::SynchronyBounds::new(INTERVAL, delay);
                Detector::Perfect(settings.map_err(|e| Error::Wrong(e.to_string()))?)
            }
            Case::Swim => {
                let group = swim::Swim::start(n)?;
                thread::sleep(SETTLE);
                return measure(group, QUIET, phase);
            }
        };
        let group = Detectors::start(n, detector)?;
        thread::sleep(SETTLE);
        measure(group, QUIET, phase)
    }
}

/// The results of all repetitions of a case.
#[derive(Default)]
struct Figures {
    times: Vec<f64>,
    last: Vec<f64>,
    datagrams: Vec<f64>,
    bytes: Vec<f64>,
    mistakes: usize,
    failures: usize,
}

impl Figures {
    fn add(&mut self, found: Result<Detection, Error>) {
        match found {
            Ok(detection) => {
                let times = detection.times.iter().map(|t| t.as_secs_f64() * 1e3);
                self.times.extend(times);
                let last = detection.times.last().copied().unwrap_or_default();
                self.last.push(last.as_secs_f64() * 1e3);
                self.datagrams.push(detection.datagrams);
                self.bytes.push(detection.bytes);
                self.mistakes += detection.mistakes;
            }
            Err(error) => {
                eprintln!("{error}");
                self.failures += 1;
            }
        }
    }

    fn row(&self, name: &str, n: usize, base: &Figures) -> String {
        let last = median(self.last.clone());
        let longest = self.last.iter().copied().fold(0.0, f64::max);
        let (datagrams, bytes) = (median(self.datagrams.clone()), median(self.bytes.clone()));
        format!(
            "| {name}, n = {n} | {:.0} | {last:.0} | {longest:.0} | {:.2} | {datagrams:.1} | \
             {bytes:.0} | {:.2} | {} | {} |",
            median(self.times.clone()),
            last / median(base.last.clone()),
            bytes / median(base.bytes.clone()),
            self.mistakes,
            self.failures,
        )
    }
}

fn main() {
    let number = env::args().skip(1).find_map(|word| word.parse().ok());
    let repetitions: u32 = number.unwrap_or(10);
    println!("{}. {repetitions} repetitions.\n", machine::description());
    println!(
        "| case | a survivor, median ms | the last survivor, median ms | longest ms | to foca | \
         datagrams/s | bytes/s | to foca | mistakes | failed |\n\
         |---|--:|--:|--:|--:|--:|--:|--:|--:|--:|"
    );
    for n in SIZES {
        let mut figures = CASES.map(|_| Figures::default());
        for repetition in 0..repetitions {
            eprintln!("n = {n}: {} of {repetitions}", repetition + 1);
            // The crashes are spread evenly over the heartbeat period.
            let phase = INTERVAL * repetition / repetitions;
            for (case, figures) in CASES.iter().zip(&mut figures) {
                figures.add(case.run(n, phase));
            }
        }
        for (case, own) in CASES.iter().zip(&figures) {
            println!("{}", own.row(case.name(), n, &figures[CASES.len() - 1]));
        }
    }
}
