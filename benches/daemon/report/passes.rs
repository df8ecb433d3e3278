//! What several passes of one row say together: the median of each figure by itself, and how far apart they lay.

use crate::line::{Line, Measured};

/// The same line, once per pass; never empty.
pub struct Row {
    pub passes: Vec<Line>,
}

impl Row {
    /// Whether a line is another pass of this row.
    pub fn is_of(&self, line: &Line) -> bool {
        self.passes[0].number == line.number && self.passes[0].work == line.work
    }

    /// The median of each figure; targets are judged by the median of what they ask for.
    pub fn median(&self) -> Line {
        let mut line = self.passes[0].clone();
        line.ours = self.median_of(|line| Some(&line.ours)).unwrap_or_default();
        line.other = self.median_of(|line| line.other.as_ref());
        line.peer = self.median_of(|line| line.peer.as_ref());
        line.floor = self.median_of(|line| line.floor.as_ref());
        for (place, target) in line.targets.iter_mut().enumerate() {
            target.judge(median(self.passes.iter().map(|pass| pass.targets.get(place)?.found)));
        }
        line
    }

    /// The distance of the largest from the smallest, in parts of the median; `None` of a single pass.
    pub fn spread(&self, figure: impl Fn(&Line) -> Option<f64>) -> Option<f64> {
        let found: Vec<f64> = self.passes.iter().filter_map(figure).collect();
        let (first, rest) = found.split_first().filter(|(_, rest)| !rest.is_empty())?;
        let (least, most) = rest.iter().fold((*first, *first), |(least, most), one| (least.min(*one), most.max(*one)));
        Some((most - least) / median(found.into_iter().map(Some))?)
    }

    fn median_of(&self, side: impl Fn(&Line) -> Option<&Measured>) -> Option<Measured> {
        let mut found: Vec<Measured> = self.passes.iter().filter_map(side).cloned().collect();
        let mut median = found.first()?.clone();
        for (place, figure) in median.figures().into_iter().enumerate() {
            *figure = self::median(found.iter_mut().map(|one| *one.figures()[place]));
        }
        Some(median)
    }
}

/// Of what was found; of an even number the mean of the middle two.
fn median(found: impl Iterator<Item = Option<f64>>) -> Option<f64> {
    let mut found: Vec<f64> = found.flatten().collect();
    found.sort_by(f64::total_cmp);
    let (below, above) = (found.get(found.len().checked_sub(1)? / 2)?, found.get(found.len() / 2)?);
    Some((below + above) / 2.0)
}
