//! The shape of a run: which step waits for which. Pure; the store keeps the countdown.

use std::collections::HashMap;

/// One step and the steps it needs, by name.
#[derive(Clone, Copy, Debug)]
pub struct Node<'a> {
    /// Unique within the run.
    pub name: &'a str,
    /// Steps that must be completed first.
    pub needs: &'a [String],
}

/// A set of steps that can run to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dag {
    /// Positions of the steps, each after all it needs; among equals as declared.
    pub order: Vec<usize>,
    /// `(needed, dependent)` positions, each pair once.
    pub edges: Vec<(usize, usize)>,
    /// How many steps each one waits for.
    pub pending: Vec<u32>,
}

/// Steps that could never run to their end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DagError {
    /// A run needs something to do.
    #[error("a run has no steps")]
    Empty,
    /// Two steps share a name.
    #[error("step `{0}` is declared twice")]
    Duplicate(String),
    /// A step needs one that isn't there.
    #[error("step `{step}` needs `{need}`, which is not a step")]
    Unknown {
        /// The step.
        step: String,
        /// What it names.
        need: String,
    },
    /// Steps wait for one another; the first is repeated at the end.
    #[error("steps wait for one another: {}", .0.join(" → "))]
    Cycle(Vec<String>),
}

impl Dag {
    /// Plans the steps.
    ///
    /// # Errors
    /// What makes the steps impossible, the first found.
    pub fn plan(nodes: &[Node<'_>]) -> Result<Self, DagError> {
        if nodes.is_empty() {
            return Err(DagError::Empty);
        }
        let edges = edges(nodes)?;
        let mut pending = vec![0_u32; nodes.len()];
        let mut dependents = vec![Vec::new(); nodes.len()];
        for &(needed, dependent) in &edges {
            pending[dependent] += 1;
            dependents[needed].push(dependent);
        }
        let mut left = pending.clone();
        let mut order: Vec<usize> = (0..nodes.len()).filter(|&step| pending[step] == 0).collect();
        let mut next = 0;
        while let Some(&step) = order.get(next) {
            next += 1;
            for &dependent in &dependents[step] {
                left[dependent] -= 1;
                if left[dependent] == 0 {
                    order.push(dependent);
                }
            }
        }
        if order.len() < nodes.len() {
            return Err(DagError::Cycle(cycle(nodes, &edges, &left)));
        }
        Ok(Self { order, edges, pending })
    }
}

fn edges(nodes: &[Node<'_>]) -> Result<Vec<(usize, usize)>, DagError> {
    let mut positions = HashMap::new();
    for (position, node) in nodes.iter().enumerate() {
        if positions.insert(node.name, position).is_some() {
            return Err(DagError::Duplicate(node.name.to_owned()));
        }
    }
    let mut edges = Vec::new();
    for (dependent, node) in nodes.iter().enumerate() {
        for need in node.needs {
            let Some(&needed) = positions.get(need.as_str()) else {
                return Err(DagError::Unknown { step: node.name.to_owned(), need: need.clone() });
            };
            edges.push((needed, dependent));
        }
    }
    edges.sort_unstable();
    edges.dedup();
    Ok(edges)
}

/// Walks back from a step that stays blocked until it meets itself: every blocked step has a blocked need.
fn cycle(nodes: &[Node<'_>], edges: &[(usize, usize)], left: &[u32]) -> Vec<String> {
    let blocked_need = |step: usize| {
        edges
            .iter()
            .find(|&&(needed, dependent)| dependent == step && left[needed] > 0)
            .map(|&(needed, _)| needed)
    };
    let mut path = Vec::new();
    let mut at = left.iter().position(|&count| count > 0);
    while let Some(step) = at {
        if let Some(start) = path.iter().position(|&seen| seen == step) {
            path.drain(..start);
            break;
        }
        path.push(step);
        at = blocked_need(step);
    }
    path.reverse();
    let first = path.first().copied();
    path.into_iter().chain(first).map(|step| nodes[step].name.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn plan(steps: &[(&str, &[&str])]) -> Result<Dag, DagError> {
        let needs: Vec<Vec<String>> =
            steps.iter().map(|(_, needs)| needs.iter().map(|&need| need.to_owned()).collect()).collect();
        let nodes: Vec<_> =
            steps.iter().zip(&needs).map(|(&(name, _), needs)| Node { name, needs }).collect();
        Dag::plan(&nodes)
    }

    #[test]
    fn a_diamond_waits_for_both_sides() {
        let dag = plan(&[("d", &["b", "c"]), ("b", &["a"]), ("c", &["a", "a"]), ("a", &[])]).unwrap();
        assert_eq!(dag.pending, [2, 1, 1, 0]);
        assert_eq!(dag.order, [3, 1, 2, 0]);
    }

    #[test]
    fn impossible_steps_are_named() {
        assert_eq!(plan(&[]), Err(DagError::Empty));
        assert_eq!(plan(&[("a", &[]), ("a", &[])]), Err(DagError::Duplicate("a".into())));
        assert_eq!(plan(&[("a", &["z"])]), Err(DagError::Unknown { step: "a".into(), need: "z".into() }));
        let DagError::Cycle(path) =
            plan(&[("x", &[]), ("a", &["x", "c"]), ("b", &["a"]), ("c", &["b"])]).unwrap_err()
        else {
            panic!("not a cycle")
        };
        assert_eq!(path.len(), 4);
        assert_eq!(path.first(), path.last());
    }

    proptest! {
        #[test]
        fn every_step_follows_all_it_needs(picks in prop::collection::vec(prop::collection::vec(any::<prop::sample::Index>(), 0..4), 1..30)) {
            let names: Vec<String> = (0..picks.len()).map(|n| format!("s{n}")).collect();
            let needs: Vec<Vec<String>> = picks
                .iter()
                .enumerate()
                .map(|(n, picks)| if n == 0 { vec![] } else { picks.iter().map(|pick| names[pick.index(n)].clone()).collect() })
                .collect();
            let nodes: Vec<_> = names.iter().zip(&needs).map(|(name, needs)| Node { name, needs }).collect();
            let dag = Dag::plan(&nodes).unwrap();
            let place: HashMap<_, _> = dag.order.iter().enumerate().map(|(place, &step)| (step, place)).collect();
            prop_assert_eq!(place.len(), nodes.len());
            prop_assert!(dag.edges.iter().all(|(needed, dependent)| place[needed] < place[dependent]));
        }
    }
}
