//! What is wrong in a catalogue: told one by one up to a bound, beyond it counted.

use crate::rules::Problem;

/// Problems told one by one; the rest is counted.
const PROBLEMS_MAX: usize = 100;

/// Problems, up to a bound, and how many more there were.
#[derive(Default)]
pub(super) struct Findings {
    told: Vec<Problem>,
    /// Errors and warnings.
    left: [usize; 2],
}

impl Findings {
    pub(super) fn push(&mut self, problem: Problem) {
        let same = self.told.iter().filter(|told| told.warning == problem.warning).count();
        if same < PROBLEMS_MAX {
            self.told.push(problem);
        } else {
            self.left[usize::from(problem.warning)] += 1;
        }
    }

    pub(super) fn finish(mut self) -> Vec<Problem> {
        for (warning, left) in [(false, self.left[0]), (true, self.left[1])] {
            if left > 0 {
                let message = format!("and {left} more of services");
                self.told.push(Problem { path: "services".to_owned(), message, warning });
            }
        }
        self.told
    }
}
