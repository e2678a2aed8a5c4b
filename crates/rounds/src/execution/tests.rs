//! Lock step: who is reached, what is counted.
use super::*;
use crate::one_round::OneRound;

/// Says its rank in each of three rounds; tells what it heard.
struct Speaks(ProcessId, u64);

impl RoundAlgorithm for Speaks {
    type Message = usize;
    type Output = Vec<usize>;

    fn send(&mut self, _: u64) -> Vec<(To, usize)> {
        vec![(To::All, self.0.rank())]
    }

    fn receive(&mut self, round: u64, received: &[(ProcessId, usize)]) -> Option<Vec<usize>> {
        self.1 = round;
        Some(received.iter().map(|(_, rank)| *rank).collect())
    }

    fn is_halted(&self) -> bool {
        self.1 == 3
    }
}

#[test]
fn who_crashes_reaches_only_some_and_computes_no_more() {
    let processes = Membership::of_size(3).unwrap();
    let [p, q, r] = [1, 2, 3].map(|round| processes.coordinator(round));
    let pattern = Pattern::failure_free().crash(p, 2, [q].into_iter().collect());
    let pattern = pattern.omit(r, 3, r, q);
    let execution = run(&processes, &pattern, 9, |p| Speaks(p, 0));
    let outputs = |p| -> Vec<Vec<usize>> {
        let outputs = execution.outputs[&p].iter();
        outputs.map(|(_, heard)| heard.clone()).collect()
    };
    assert_eq!(outputs(p), [vec![1, 2, 3]]);
    assert_eq!(outputs(q), [vec![1, 2, 3], vec![1, 2, 3], vec![2]]);
    assert_eq!(outputs(r), [vec![1, 2, 3], vec![2, 3], vec![2, 3]]);
    // Of p: two in the first round, one in the second. Of q and r: two a round.
    assert_eq!((execution.sent(), execution.to_oneself), (3 + 12, 2 + 6));
    assert_eq!(
        (execution.rounds, &execution.halted),
        (3, &[(q, 3), (r, 3)].into())
    );
    assert_eq!(execution.correct(), [q].into_iter().collect());
}

#[test]
fn an_execution_is_over_when_everybody_has_halted() {
    let processes = Membership::of_size(4).unwrap();
    let execution = run(&processes, &Pattern::failure_free(), 9, |p| {
        OneRound::new(p.rank())
    });
    assert_eq!((execution.rounds, execution.sent()), (1, 12));
    assert_eq!(execution.outputs_of(processes.set()), [1].into());
}
