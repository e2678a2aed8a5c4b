//! Runs a fair adversary against consensus: shows how long it holds the rotating coordinator undecided, and how
//! long the algorithm with coins takes under the same latencies. `quorate limits undecided` shows the same.
//!
//! ```text
//! cargo run --release -p quorate-limits --example undecided -- [ROUNDS [PROCESSES [BOUND [SEED]]]]
//! ```
use quorate_limits::undecided::{Rotating, Size, Tossing, show};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let given: Vec<u64> = std::env::args()
        .skip(1)
        .map_while(|argument| argument.parse().ok())
        .collect();
    let given = |place: usize, default: u64| given.get(place).copied().unwrap_or(default);
    let size = Size {
        rounds: given(0, 50),
        processes: given(1, 3) as usize,
        bound: given(2, 1) as u32,
        seed: given(3, 1),
    };
    let shown = show(&Rotating, &Tossing, size)?;
    println!("{}", shown.text());
    match &shown.unexpected()[..] {
        [] => Ok(()),
        unexpected => Err(unexpected.join("; ").into()),
    }
}
