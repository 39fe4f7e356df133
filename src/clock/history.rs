//! The steps of the wall clock against the steady one, and what follows from them for times that are stored.

use super::{Frame, SECOND_US};

/// The wall clock has stepped when its distance from the steady clock changed by so much.
pub(super) const STEP_US: i64 = SECOND_US;

/// What the three clocks showed at one moment, from which on they advance alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// The steady clock.
    pub steady_us: i64,
    /// The serving clock.
    pub serving_us: i64,
    /// The wall clock.
    pub wall_us: i64,
}

impl Step {
    /// How far the wall clock is ahead of the steady one.
    pub fn offset_us(&self) -> i64 {
        self.wall_us.saturating_sub(self.steady_us)
    }

    fn at(&self, frame: Frame) -> i64 {
        match frame {
            Frame::Wall => self.wall_us,
            Frame::Steady => self.steady_us,
            Frame::Serving => self.serving_us,
        }
    }
}

/// What is done about steps.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// A step of more is a jump; a start counts at most so much of the time since the last stamp.
    pub jump_max_us: i64,
    /// After a jump nothing is deleted for so long.
    pub grace_us: i64,
    /// Steps that are remembered; older ones count as one.
    pub steps_max: usize,
    /// A process that did nothing for longer was paused.
    pub pause_max_us: i64,
}

/// The steps that are remembered, the earliest first. There is always one.
#[derive(Debug)]
pub(super) struct History {
    steps: Vec<Step>,
    pub(super) limits: Limits,
    /// Nothing is deleted before this time of the steady clock.
    pub(super) grace_until_us: i64,
}

impl History {
    pub(super) fn new(first: Step, limits: Limits) -> Self {
        Self { steps: vec![first], limits, grace_until_us: i64::MIN }
    }

    pub(super) fn last(&self) -> Step {
        self.steps[self.steps.len() - 1]
    }

    /// Replaces the steps by stored ones. An empty list changes nothing.
    pub(super) fn restore(&mut self, mut steps: Vec<Step>) {
        if !steps.is_empty() {
            steps.sort_by_key(|step| step.steady_us);
            self.steps = steps;
            self.trim();
        }
    }

    pub(super) fn push(&mut self, step: Step) {
        self.steps.push(step);
        self.trim();
    }

    fn trim(&mut self) {
        let over = self.steps.len().saturating_sub(self.limits.steps_max.max(1));
        self.steps.drain(..over);
    }

    /// The time of the wall clock when another one showed `us`.
    pub(super) fn wall_of(&self, frame: Frame, us: i64) -> i64 {
        let step = self.steps.iter().rev().find(|step| step.at(frame) <= us).unwrap_or(&self.steps[0]);
        us.saturating_sub(step.at(frame)).saturating_add(step.wall_us)
    }

    /// The time of the steady clock when the wall clock first showed `wall_us`.
    ///
    /// Example: the wall clock steps from 100 to 60 when the steady clock shows 100: it showed 70 at 70, and again at 110.
    pub(super) fn steady_of(&self, wall_us: i64) -> i64 {
        let shown = self.steps.iter().enumerate().find_map(|(index, step)| {
            let steady_us = wall_us.saturating_sub(step.offset_us());
            let has_begun = index == 0 || steady_us >= step.steady_us;
            let has_ended = self.steps.get(index + 1).is_some_and(|next| steady_us >= next.steady_us);
            (has_begun && !has_ended).then_some(steady_us)
        });
        shown.unwrap_or(wall_us.saturating_sub(self.last().offset_us()))
    }

    /// Wall-clock stamps below the answer were all made before the steady clock showed `cut_us`, whatever the wall clock did since.
    ///
    /// Example: the wall clock steps from 100 to 60 when the steady clock shows 100. At 130, with a cut of 110, stamps of 60 to 69
    /// are old and those of 70 to 89 are young, but 60 to 99 were also given before the step. The answer is 70.
    pub(super) fn wall_cut(&self, cut_us: i64) -> i64 {
        let mut old_until = i64::MIN;
        let mut young_from = i64::MAX;
        for (index, step) in self.steps.iter().enumerate() {
            let start_us = if index == 0 { i64::MIN } else { step.steady_us };
            let end_us = self.steps.get(index + 1).map_or(i64::MAX, |next| next.steady_us);
            if start_us < cut_us {
                old_until = old_until.max(end_us.min(cut_us).saturating_add(step.offset_us()));
            }
            if end_us > cut_us {
                young_from = young_from.min(start_us.max(cut_us).saturating_add(step.offset_us()));
            }
        }
        old_until.min(young_from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(steps: &[(i64, i64)]) -> History {
        let steps = steps.iter().map(|(steady_us, wall_us)| Step {
            steady_us: *steady_us,
            serving_us: *steady_us,
            wall_us: *wall_us,
        });
        let limits = Limits { jump_max_us: 1, grace_us: 1, steps_max: 3, pause_max_us: 1 };
        let mut history = History::new(Step { steady_us: 0, serving_us: 0, wall_us: 0 }, limits);
        history.restore(steps.collect());
        history
    }

    #[test]
    fn a_stamp_is_shown_as_the_wall_clock_was_when_it_was_made() {
        let history = history(&[(0, 0), (100, 60), (200, 1_160)]);
        let shown = [50, 99, 100, 199, 200, 300].map(|us| history.wall_of(Frame::Steady, us));
        assert_eq!(shown, [50, 99, 60, 159, 1_160, 1_260]);
        let first_shown = [50, 70, 120, 500, 1_160].map(|us| history.steady_of(us));
        assert_eq!(first_shown, [50, 70, 160, -460, 200], "500 was never shown");
    }

    #[test]
    fn nothing_young_lies_below_a_cut_and_what_is_old_does_once_the_step_has_passed() {
        // No step: the cut itself.
        assert_eq!(history(&[(0, 0)]).wall_cut(110), 110);
        // Back by 40 at 100.
        let back = history(&[(0, 0), (100, 60)]);
        assert_eq!([90, 100, 110, 150].map(|cut_us| back.wall_cut(cut_us)), [60, 60, 70, 110]);
        // Forward by 1,000 at 100: what was stamped at 90 is not old because of it.
        let ahead = history(&[(0, 0), (100, 1_100)]);
        assert_eq!([90, 100, 110].map(|cut_us| ahead.wall_cut(cut_us)), [90, 100, 1_110]);
        // Forward and back: what is stamped now is swept in its time.
        let both = history(&[(0, 0), (100, 1_100), (110, 110)]);
        assert_eq!([105, 115, 200].map(|cut_us| both.wall_cut(cut_us)), [110, 115, 200]);
    }

    #[test]
    fn of_more_steps_than_are_remembered_the_earliest_go() {
        let mut history = history(&[(0, 0), (10, 20), (20, 40)]);
        history.push(Step { steady_us: 30, serving_us: 30, wall_us: 60 });
        assert_eq!((history.wall_of(Frame::Steady, 5), history.wall_of(Frame::Steady, 35)), (15, 65));
    }
}
