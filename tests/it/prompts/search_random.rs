//! Random queries on random texts find what a plain search through all texts finds, on either database.

use super::found::texts;
use crate::harness::pannier;

struct Dice(u64);

impl Dice {
    fn below(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }

    fn word(&mut self) -> &'static str {
        const WORDS: [&str; 9] = ["ab", "abc", "abd", "b", "bc", "x", "xy", "cde", "d"];
        WORDS[usize::try_from(self.below(9)).unwrap()]
    }

    fn words(&mut self, most: u64) -> Vec<&'static str> {
        (0..=self.below(most)).map(|_| self.word()).collect()
    }
}

/// Words side by side; the last one may be a beginning.
struct Phrase(Vec<&'static str>, bool);

impl Phrase {
    fn is_in(&self, text: &[&str]) -> bool {
        let Self(words, is_prefix) = self;
        let (last, before) = words.split_last().unwrap();
        text.windows(words.len()).any(|window| {
            let (found, first) = window.split_last().unwrap();
            first == before && (found == last || (*is_prefix && found.starts_with(last)))
        })
    }

    fn text(&self) -> String {
        format!("\"{}\"{}", self.0.join(" "), if self.1 { "*" } else { "" })
    }
}

#[tokio::test]
async fn random_queries_find_what_a_plain_search_finds() {
    let pannier = pannier().await;
    let mut dice = Dice(7);
    let all: Vec<[Vec<&str>; 3]> = (0..150).map(|_| [6, 12, 4].map(|most| dice.words(most))).collect();
    let new = |of: &[Vec<&str>; 3]| texts(&of[0].join(" "), &of[1].join(", "), &of[2].join("\n"));
    let saved = pannier.saved(all.iter().map(new).collect()).await;
    let mut found_count = 0;
    for _ in 0..300 {
        let mut phrases = |count: u64| -> Vec<Phrase> {
            (0..count).map(|_| Phrase(dice.words(2), dice.below(3) == 0)).collect()
        };
        let (wanted, unwanted) = (phrases(2), phrases(1));
        let unwanted = if dice.below(2) == 0 { unwanted } else { Vec::new() };
        let wanted = &wanted[..usize::try_from(1 + dice.below(2)).unwrap()];
        let terms = wanted.iter().map(Phrase::text);
        let query = terms.chain(unwanted.iter().map(|phrase| format!("-{}", phrase.text())));
        let query = query.collect::<Vec<_>>().join(" ");
        let has = |of: &[Vec<&str>; 3], phrase: &Phrase| of.iter().any(|text| phrase.is_in(text));
        let expected: Vec<i64> = all
            .iter()
            .zip(&saved)
            .filter(|(of, _)| wanted.iter().all(|phrase| has(of, phrase)))
            .filter(|(of, _)| !unwanted.iter().any(|phrase| has(of, phrase)))
            .map(|(_, id)| *id)
            .collect();
        assert_eq!(pannier.found(&query).await, expected, "{query}");
        found_count += expected.len();
    }
    assert!(found_count > 1_000, "queries that find nothing show nothing: {found_count}");
}
