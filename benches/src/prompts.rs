//! Prompts as the prompts' workloads save them, each by its number: what is in it, and what lists, searches and statistics must
//! find of it.

use crate::material::mixed;
use crate::words::{language_of, text};

pub(crate) const BACKENDS: [&str; 4] = ["anthropic", "openai", "ollama", "gemini"];
const MODELS: [&str; 8] = [
    "claude-large",
    "claude-small",
    "gpt-large",
    "gpt-small",
    "llama-70b",
    "llama-8b",
    "gemini-pro",
    "gemini-flash",
];
const FRAMEWORKS: [&str; 6] =
    ["chain-of-thought", "few-shot", "role-play", "structured", "tree-of-thought", "plain"];
const PROVIDERS: [&str; 5] = ["first-party", "bedrock", "vertex", "azure", "local"];
/// Over which the prompts are spread, up to the start of the benchmark.
const DAYS: i64 = 90;
const DAY_US: i64 = 86_400_000_000;
/// As the statistics of a month ask.
pub(crate) const MONTH_US: i64 = 30 * DAY_US;
/// What makes half of a confident list a matter of looking at rows.
pub(crate) const CONFIDENT: f64 = 0.8;

/// What is searched for. Which prompts have it is known, but for the common word.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Sought {
    Rare,
    Common,
    Phrase,
    Prefix,
}

impl Sought {
    pub(crate) const ALL: [Self; 4] = [Self::Rare, Self::Common, Self::Phrase, Self::Prefix];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Rare => "rare word",
            Self::Common => "common word",
            Self::Phrase => "phrase",
            Self::Prefix => "prefix",
        }
    }

    pub(crate) fn query(self) -> &'static str {
        match self {
            Self::Rare => "zephyrine",
            Self::Common => "the",
            Self::Phrase => "\"blue heron crossing\"",
            Self::Prefix => "quokka*",
        }
    }

    /// One prompt in so many has it.
    fn every(self) -> Option<u64> {
        match self {
            Self::Rare => Some(1_000),
            Self::Common => None,
            Self::Phrase => Some(200),
            Self::Prefix => Some(100),
        }
    }

    /// How many of the first so many prompts have it, where that is known.
    pub(crate) fn count(self, prompts: u64) -> Option<u64> {
        self.every().map(|every| (0..prompts).filter(|number| number % every == every / 2).count() as u64)
    }

    fn words(self, number: u64) -> Option<String> {
        let every = self.every()?;
        (number % every == every / 2).then(|| match self {
            Self::Prefix => format!("quokka{} ", number / every % 50),
            _ => format!("{} ", self.query().trim_matches('"')),
        })
    }
}

/// A prompt. Its number and the start of the benchmark say all of it.
#[derive(Clone, Copy)]
pub(crate) struct Entry(pub(crate) u64);

impl Entry {
    fn random(self, what: u64) -> u64 {
        mixed(self.0 ^ (what << 57))
    }

    pub(crate) fn backend(self) -> &'static str {
        BACKENDS[(self.random(1) % 4) as usize]
    }

    pub(crate) fn model(self) -> &'static str {
        // Two models of each backend.
        let backend = (self.random(1) % 4) as usize;
        MODELS[2 * backend + (self.random(2) % 2) as usize]
    }

    pub(crate) fn framework(self) -> &'static str {
        FRAMEWORKS[(self.random(3) % 6) as usize]
    }

    pub(crate) fn provider(self) -> &'static str {
        PROVIDERS[(self.random(4) % 5) as usize]
    }

    /// Unix microseconds.
    pub(crate) fn time_us(self, start_us: i64) -> i64 {
        start_us - (self.random(5) % (DAYS * DAY_US) as u64) as i64
    }

    /// Known of nine in ten.
    pub(crate) fn confidence(self) -> Option<f64> {
        (!self.random(6).is_multiple_of(10)).then(|| (self.random(7) % 1_001) as f64 / 1_000.0)
    }

    /// 200 ms to 26 s, the long ones rare.
    pub(crate) fn latency_us(self) -> i64 {
        200_000 + (100_000 << (self.random(8) % 8)) + (self.random(9) % 100_000) as i64
    }

    pub(crate) fn tokens(self) -> (i64, i64) {
        (100 + (self.random(10) % 900) as i64, 200 + (self.random(11) % 1_800) as i64)
    }

    /// One in twenty.
    pub(crate) fn is_failed(self) -> bool {
        self.random(12).is_multiple_of(20)
    }

    /// Ten of a conversation.
    pub(crate) fn conversation_id(self) -> String {
        format!("conversation-{:010}", self.0 / 10)
    }

    pub(crate) fn tag(self) -> &'static str {
        ["work", "draft", "customer", "private"][(self.random(13) % 4) as usize]
    }

    pub(crate) fn import_key(self) -> String {
        format!("bench-{:012}", self.0)
    }

    /// The idea, with what is searched for.
    pub(crate) fn idea(self) -> String {
        let marks: String = Sought::ALL.iter().filter_map(|sought| sought.words(self.0)).collect();
        marks + &text(language_of(self.0), self.random(14), 80)
    }

    /// Half have one.
    pub(crate) fn context(self) -> String {
        let bytes = if self.0.is_multiple_of(2) { 300 } else { 0 };
        text(language_of(self.0), self.random(15), bytes)
    }

    /// 0.5 to 2 KiB.
    pub(crate) fn improved_prompt(self) -> String {
        text(language_of(self.0), self.random(16), 500 + (self.random(17) % 1_400) as usize)
    }

    /// 200 bytes and more.
    pub(crate) fn reasoning(self) -> String {
        text(language_of(self.0), self.random(18), 200)
    }
}

/// The times of the newest so many of the first `stored` prompts that are chosen, the newest first.
pub(crate) fn newest(stored: u64, start_us: i64, count: usize, choose: impl Fn(Entry) -> bool) -> Vec<i64> {
    let chosen = (0..stored).map(Entry).filter(|entry| choose(*entry));
    let mut times: Vec<i64> = chosen.map(|entry| entry.time_us(start_us)).collect();
    times.sort_unstable_by(|a, b| b.cmp(a));
    times.truncate(count);
    times
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_have_one_to_three_kilobytes() {
        let bytes = |number| {
            let entry = Entry(number);
            entry.idea().len()
                + entry.context().len()
                + entry.improved_prompt().len()
                + entry.reasoning().len()
        };
        let all: Vec<usize> = (0..500).map(bytes).collect();
        let average = all.iter().sum::<usize>() / all.len();
        assert!((1_500..2_800).contains(&average), "{average}");
        assert!(all.iter().all(|bytes| (800..5_000).contains(bytes)));
    }

    #[test]
    fn what_is_searched_for_is_in_as_many_as_is_said() {
        for sought in [Sought::Rare, Sought::Phrase, Sought::Prefix] {
            let word = sought.query().trim_matches(['"', '*']);
            let having = (0..2_000).filter(|number| Entry(*number).idea().contains(word)).count();
            assert_eq!(Some(having as u64), sought.count(2_000), "{}", sought.name());
        }
    }

    #[test]
    fn the_newest_come_first_and_are_those_chosen() {
        let times = newest(1_000, 0, 100, |entry| entry.backend() == BACKENDS[0]);
        assert_eq!(times.len(), 100);
        assert!(times.is_sorted_by(|a, b| a >= b) && times[0] <= 0);
    }
}
