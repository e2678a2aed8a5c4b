//! Runs cases one after the other, round by round, and compares them within each round: a disturbance of the
//! machine affects all of them alike.
use crate::Error;
use std::fmt::Write;

/// The case by whose figure a case's figure is divided.
pub enum Base {
    /// None: other cases are compared with this one.
    Own,
    /// The case with this index.
    Case(usize),
}

/// One measurement, which gives one figure in each round.
pub struct Case<'a> {
    pub name: String,
    /// The unit of the figure.
    pub unit: &'static str,
    /// The case that this one is compared with.
    pub base: Base,
    /// Measures the figure of a round.
    pub run: Box<dyn FnMut() -> Result<f64, Error> + 'a>,
}

/// The figures of a case, one for each round; `None` if the round failed.
#[derive(Clone, Debug, Default)]
pub struct Figures(Vec<Option<f64>>);

impl Figures {
    /// The median of the rounds that did not fail.
    pub fn median(&self) -> f64 {
        median(self.0.iter().flatten().copied().collect())
    }

    /// The ratios to the same rounds of `base`.
    pub fn ratios(&self, base: &Figures) -> Vec<f64> {
        let pairs = self.0.iter().zip(&base.0);
        pairs
            .filter_map(|(own, base)| Some((*own)? / (*base)?))
            .collect()
    }

    /// How many rounds failed.
    pub fn failures(&self) -> usize {
        self.0.iter().filter(|figure| figure.is_none()).count()
    }
}

/// The median; not a number if there are no values.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match (values.len(), values.get(middle)) {
        (length, Some(upper)) if length % 2 == 0 => f64::midpoint(values[middle - 1], *upper),
        (_, Some(value)) => *value,
        (_, None) => f64::NAN,
    }
}

/// Runs all cases `rounds` times, interleaved.
pub fn interleave(cases: &mut [Case<'_>], rounds: usize) -> Vec<Figures> {
    let mut figures = vec![Figures::default(); cases.len()];
    for round in 1..=rounds {
        eprintln!("round {round} of {rounds}");
        for (case, figures) in cases.iter_mut().zip(&mut figures) {
            figures.0.push(match (case.run)() {
                Ok(figure) => Some(figure),
                Err(error) => {
                    eprintln!("{}: {error}", case.name);
                    None
                }
            });
        }
    }
    figures
}

/// The results of [`interleave`] as a Markdown table.
pub fn table(cases: &[Case<'_>], figures: &[Figures]) -> String {
    let mut out =
        "| case | median | unit | ratio | lowest … highest |\n|---|--:|---|--:|---|\n".to_owned();
    for (case, own) in cases.iter().zip(figures) {
        let ratios = match case.base {
            Base::Own => Vec::new(),
            Base::Case(base) => figures
                .get(base)
                .map_or(Vec::new(), |base| own.ratios(base)),
        };
        let lowest = ratios.iter().copied().fold(f64::INFINITY, f64::min);
        let highest = ratios.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let _ = write!(
            out,
            "| {} | {} | {} |",
            case.name,
            number(own.median()),
            case.unit
        );
        if ratios.is_empty() {
            out.push_str(" 1 | |");
        } else {
            let ratio = median(ratios);
            let _ = write!(out, " {ratio:.3} | {lowest:.3} … {highest:.3} |");
        }
        if own.failures() > 0 {
            let _ = write!(out, " failed {} times", own.failures());
        }
        out.push('\n');
    }
    out
}

/// Formats a figure with a fitting number of digits, and with its thousands separated.
fn number(value: f64) -> String {
    if !value.is_finite() {
        return "–".to_owned();
    }
    if value < 1000.0 {
        return format!("{value:.1}");
    }
    let digits = format!("{value:.0}");
    let mut out = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case<'a>(name: &str, base: Base, mut figures: Vec<Option<f64>>) -> Case<'a> {
        figures.reverse();
        Case {
            name: name.to_owned(),
            unit: "things/s",
            base,
            run: Box::new(move || figures.pop().flatten().ok_or(Error::Unusable("no figure"))),
        }
    }

    #[test]
    fn ratios_are_taken_within_a_round_and_rounds_that_failed_are_left_out() {
        let mut cases = [
            case(
                "slow",
                Base::Own,
                vec![Some(1000.0), Some(10.0), Some(100.0)],
            ),
            case("fast", Base::Case(0), vec![Some(2_000.0), Some(30.0), None]),
        ];
        let figures = interleave(&mut cases, 3);
        assert_eq!(figures[1].ratios(&figures[0]), [2.0, 3.0]);
        let table = table(&cases, &figures);
        let rows: Vec<&str> = table.lines().skip(2).collect();
        assert_eq!(rows[0], "| slow | 100.0 | things/s | 1 | |");
        assert_eq!(
            rows[1],
            "| fast | 1,015 | things/s | 2.500 | 2.000 … 3.000 | failed 1 times"
        );
    }

    #[test]
    fn a_median_lies_in_the_middle() {
        assert!((median(vec![3.0, 1.0, 2.0]) - 2.0).abs() < f64::EPSILON);
        assert!((median(vec![4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < f64::EPSILON);
        assert!(median(Vec::new()).is_nan());
    }
}
