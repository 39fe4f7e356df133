//! A sequence applied to the reference and to a fresh sidecar, and what is left of one that fails when all is taken out that
//! it does not need.

use std::fmt::Write as _;

use super::answers::Answer;
use super::operations::{Operation, Terms};
use super::reference::{Fault, Reference};
use super::sidecar::Sidecar;

/// How often a failing sequence is tried with a part taken out.
const TRIES_MAX: usize = 400;

/// The first operation whose answers differ.
#[derive(Debug)]
pub struct Difference {
    /// Where it is in the sequence.
    pub index: usize,
    /// Resolved.
    pub operation: Operation,
    pub expected: Answer,
    pub got: Answer,
}

/// A failing sequence from which nothing can be taken any more, as far as tried.
pub struct Minimal {
    pub operations: Vec<Operation>,
    pub difference: Difference,
    /// How often a part was taken out.
    pub tries: usize,
}

/// Applies the operations; answers with the first difference.
pub async fn replay(terms: &Terms, operations: &[Operation], fault: Option<Fault>) -> Option<Difference> {
    let mut reference = Reference::new(terms, fault);
    let mut sidecar = Sidecar::start(terms).await;
    for (index, operation) in operations.iter().enumerate() {
        let operation = reference.resolved(operation);
        let expected = reference.apply(&operation);
        let got = sidecar.apply(&operation, &expected).await;
        if expected != got {
            return Some(Difference { index, operation, expected, got });
        }
    }
    None
}

/// Makes a failing sequence smaller while it still fails: takes out halves, quarters, at last single operations, then makes
/// each that is left as plain as it can be.
pub async fn shrink(
    terms: &Terms,
    operations: &[Operation],
    difference: Difference,
    fault: Option<Fault>,
) -> Minimal {
    // What comes after the difference is not needed.
    let operations = operations[..=difference.index].to_vec();
    let mut shrinking = Shrinking { terms, fault, minimal: Minimal { operations, difference, tries: 0 } };
    loop {
        let mut part = shrinking.minimal.operations.len().div_ceil(2);
        // Taking one out may make another superfluous: single ones are tried until all are needed.
        while shrinking.take_out_parts(part).await || part > 1 {
            part = (part / 2).max(1);
        }
        if !shrinking.make_plain().await {
            return shrinking.minimal;
        }
    }
}

struct Shrinking<'t> {
    terms: &'t Terms,
    fault: Option<Fault>,
    minimal: Minimal,
}

impl Shrinking<'_> {
    /// Tries a sequence in the place of the smallest so far; tells whether it fails as well.
    async fn is_enough(&mut self, mut operations: Vec<Operation>) -> bool {
        if self.minimal.tries >= TRIES_MAX {
            return false;
        }
        self.minimal.tries += 1;
        let Some(difference) = replay(self.terms, &operations, self.fault).await else { return false };
        operations.truncate(difference.index + 1);
        (self.minimal.operations, self.minimal.difference) = (operations, difference);
        true
    }

    /// Tries each part of that size from the end on; tells whether any could be taken out.
    async fn take_out_parts(&mut self, part: usize) -> bool {
        let before = self.minimal.operations.len();
        let mut end = before;
        while end > 0 {
            let start = end.saturating_sub(part);
            let mut rest = self.minimal.operations.clone();
            rest.drain(start..end);
            self.is_enough(rest).await;
            end = start.min(self.minimal.operations.len());
        }
        self.minimal.operations.len() < before
    }

    /// Tries to make operations plainer; tells whether any could be.
    async fn make_plain(&mut self) -> bool {
        let mut is_plainer = false;
        let mut index = 0;
        while let Some(operation) = self.minimal.operations.get(index) {
            let mut found = false;
            for plainer in operation.plainer() {
                let mut operations = self.minimal.operations.clone();
                operations[index] = plainer;
                found = self.is_enough(operations).await;
                if found {
                    break;
                }
            }
            is_plainer |= found;
            index += usize::from(!found);
        }
        is_plainer
    }
}

impl Minimal {
    /// What a person needs to see.
    pub fn report(&self, seed: u64, terms: &Terms) -> String {
        let mut report = format!("the sidecar and the model differ: seed {seed}, {terms:?}\n");
        let tries = self.tries;
        writeln!(report, "{} operations are left after {tries} tries:", self.operations.len()).unwrap();
        for operation in &self.operations {
            writeln!(report, "    {operation:?},").unwrap();
        }
        let Difference { operation, expected, got, .. } = &self.difference;
        writeln!(report, "the last of them, resolved: {operation:?}").unwrap();
        writeln!(report, "expected: {expected:#?}").unwrap();
        writeln!(report, "got:      {got:#?}").unwrap();
        report
    }
}
