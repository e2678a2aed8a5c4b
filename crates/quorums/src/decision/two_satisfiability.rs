//! Choices between two: by the strongly connected components of the implications (Aspvall, Plass, Tarjan,
//! 1979).
use super::Agreement;

/// A choice for each pattern, if there is one. No pattern has more than two.
pub(crate) fn solve(agreement: &Agreement) -> Option<Vec<usize>> {
    let n = agreement.widths.len();
    let node = |pattern: usize, choice: usize| 2 * pattern + choice;
    let mut implied = vec![Vec::new(); 2 * n];
    for pattern in 0..n {
        if agreement.widths[pattern] == 1 {
            // There is no second choice, so it is ruled out.
            implied[node(pattern, 1)].push(node(pattern, 0));
        }
        for choice in 0..agreement.widths[pattern] {
            for other in (0..n).filter(|other| *other != pattern) {
                let agrees = agreement.with(pattern, choice, other);
                for refused in (0..agreement.widths[other]).filter(|c| agrees >> c & 1 == 0) {
                    implied[node(pattern, choice)].push(node(other, 1 - refused));
                }
            }
        }
    }
    let component = components(&implied);
    (0..n)
        .map(|pattern| {
            let (first, second) = (component[node(pattern, 0)], component[node(pattern, 1)]);
            // Components are numbered in the reverse order of the implications.
            (first != second).then_some(usize::from(second < first))
        })
        .collect()
}

/// The number of each node's strongly connected component; components that are implied come first (Tarjan,
/// without recursion).
fn components(edges: &[Vec<usize>]) -> Vec<usize> {
    const NONE: usize = usize::MAX;
    let n = edges.len();
    let (mut index, mut low, mut component) = (vec![NONE; n], vec![0; n], vec![NONE; n]);
    let (mut next, mut numbered) = (0, 0);
    let mut stack = Vec::new();
    for root in 0..n {
        if index[root] != NONE {
            continue;
        }
        let mut calls = vec![(root, 0)];
        while let Some((node, edge)) = calls.pop() {
            if edge == 0 {
                (index[node], low[node]) = (next, next);
                next += 1;
                stack.push(node);
            }
            if let Some(to) = edges[node].get(edge) {
                calls.push((node, edge + 1));
                if index[*to] == NONE {
                    calls.push((*to, 0));
                } else if component[*to] == NONE {
                    low[node] = low[node].min(index[*to]);
                }
                continue;
            }
            if low[node] == index[node] {
                while let Some(member) = stack.pop() {
                    component[member] = numbered;
                    if member == node {
                        break;
                    }
                }
                numbered += 1;
            }
            if let Some((caller, _)) = calls.last() {
                low[*caller] = low[*caller].min(low[node]);
            }
        }
    }
    component
}
