//! Which mutations of one commit cannot be done together, whatever is stored. No I/O.

use std::collections::HashMap;

/// What a mutation asks of, and does to, an entry, a job or a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What it is about.
    pub thing: Thing,
    /// What must hold before.
    pub needs: Needs,
    /// What holds after.
    pub leaves: Leaves,
}

/// What a mutation is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Thing {
    /// The entry of a namespace and key.
    Entry(String, String),
    /// The job of an id.
    Job(String),
    /// The setting of a key.
    Setting(String),
    /// The session of uploads of an id.
    Session(String),
    /// The record of a collection and key.
    Record(String, String),
}

/// What must hold before a mutation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Nothing.
    Nothing,
    /// There is none.
    Absent,
    /// There is one.
    Present,
    /// There is one of this etag or revision.
    Version(String),
}

/// What holds after a mutation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaves {
    /// What held before, with the same version.
    AsItIs,
    /// There is one, with a version that nobody knew before.
    Changed,
    /// There is one, perhaps with the version that it had, or with one that could be told beforehand.
    There,
    /// There is none.
    Gone,
}

/// What is known of a thing in the middle of a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Known {
    Absent,
    Present,
    Version(String),
    /// It is there, with a version that was given in this commit.
    Changed,
}

/// What the mutations so far have left, each with the mutation that says so.
#[derive(Debug, Default)]
pub struct Sequence(HashMap<Thing, (Known, usize)>);

impl Sequence {
    /// Goes on with the mutation `index`. If it cannot succeed after those before, answers with the one that it contradicts.
    pub fn follow(&mut self, index: usize, step: Step) -> Result<(), usize> {
        let Step { thing, needs, leaves } = step;
        if let Some((known, by)) = self.0.get(&thing)
            && !may_hold(known, &needs)
        {
            return Err(*by);
        }
        let after = match (leaves, needs) {
            (Leaves::Changed, _) => Some(Known::Changed),
            (Leaves::There, _) => Some(Known::Present),
            (Leaves::Gone, _) | (Leaves::AsItIs, Needs::Absent) => Some(Known::Absent),
            (Leaves::AsItIs, Needs::Version(version)) => Some(Known::Version(version)),
            (Leaves::AsItIs, Needs::Present) if !self.0.contains_key(&thing) => Some(Known::Present),
            // What is known already says as much, or more.
            (Leaves::AsItIs, Needs::Present | Needs::Nothing) => None,
        };
        if let Some(after) = after {
            self.0.insert(thing, (after, index));
        }
        Ok(())
    }
}

fn may_hold(known: &Known, needs: &Needs) -> bool {
    match (known, needs) {
        (_, Needs::Nothing)
        | (Known::Absent, Needs::Absent)
        | (Known::Present | Known::Version(_) | Known::Changed, Needs::Present)
        | (Known::Present, Needs::Version(_)) => true,
        (Known::Version(known), Needs::Version(needed)) => known == needed,
        (Known::Absent, Needs::Present | Needs::Version(_))
        | (Known::Present | Known::Version(_) | Known::Changed, Needs::Absent)
        | (Known::Changed, Needs::Version(_)) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn follow(steps: &[(Needs, Leaves)]) -> Result<(), (usize, usize)> {
        let mut sequence = Sequence::default();
        for (index, (needs, leaves)) in steps.iter().cloned().enumerate() {
            let step = Step { thing: Thing::Setting("a".into()), needs, leaves };
            sequence.follow(index, step).map_err(|by| (index, by))?;
        }
        Ok(())
    }

    #[test]
    fn steps_in_their_order_are_no_contradiction() {
        let version = || Needs::Version("7".into());
        for steps in [
            [(Needs::Nothing, Leaves::Changed), (Needs::Nothing, Leaves::Gone)],
            [(Needs::Absent, Leaves::Changed), (Needs::Present, Leaves::Changed)],
            [(Needs::Nothing, Leaves::Gone), (Needs::Absent, Leaves::Changed)],
            [(version(), Leaves::AsItIs), (version(), Leaves::Changed)],
            [(Needs::Present, Leaves::AsItIs), (version(), Leaves::Gone)],
            [(Needs::Absent, Leaves::AsItIs), (Needs::Absent, Leaves::Changed)],
        ] {
            assert_eq!(follow(&steps), Ok(()), "{steps:?}");
        }
    }

    #[test]
    fn what_was_ruled_out_cannot_be_asked_for() {
        let version = |text: &str| Needs::Version(text.into());
        for steps in [
            [(Needs::Absent, Leaves::Changed), (Needs::Absent, Leaves::Changed)],
            [(version("7"), Leaves::Changed), (version("7"), Leaves::Gone)],
            [(version("7"), Leaves::AsItIs), (version("8"), Leaves::Changed)],
            [(Needs::Nothing, Leaves::Gone), (Needs::Present, Leaves::Changed)],
            [(Needs::Present, Leaves::AsItIs), (Needs::Absent, Leaves::AsItIs)],
            [(Needs::Absent, Leaves::AsItIs), (version("7"), Leaves::AsItIs)],
        ] {
            assert_eq!(follow(&steps), Err((1, 0)), "{steps:?}");
        }
        let between = [
            (version("7"), Leaves::AsItIs),
            (Needs::Present, Leaves::AsItIs),
            (Needs::Absent, Leaves::AsItIs),
        ];
        assert_eq!(follow(&between), Err((2, 0)), "a weaker check takes nothing away");
    }
}
