//! Documents as the records' workloads store them, each by its number: results of a scraper, about 2 KiB of JSON.

use serde_json::json;

use crate::material::mixed;
use crate::words::{language_of, text};

/// Documents of one channel are so many; a query by channel finds them.
pub(crate) const OF_CHANNEL: u64 = 20;
const SOURCES: [&str; 3] = ["channel_scrape", "trending_scrape", "keyword_search"];
const TAGS: [&str; 12] = [
    "music", "news", "gaming", "how-to", "travel", "science", "sport", "review", "live", "short", "vlog",
    "tutorial",
];
const DESCRIPTION_BYTES: usize = 1_250;

/// The path that is indexed, and its twin with the same value that is not.
pub(crate) const INDEXED: &str = "channel.id";
pub(crate) const UNINDEXED: &str = "channel.handle";
/// The path of the numbers that are ordered by; it is indexed as well.
pub(crate) const ORDERED: &str = "metrics.views";

/// A document. Its number says all of it.
#[derive(Clone, Copy)]
pub(crate) struct Document(pub(crate) u64);

impl Document {
    pub(crate) fn key(self) -> String {
        format!("channel_scrape:{:016x}", mixed(self.0))
    }

    /// Channels have their documents apart from each other, as results come in.
    pub(crate) fn channel(number: u64) -> String {
        format!("UC{:016x}", mixed(number ^ 1 << 51))
    }

    /// About 2 KiB, in the order in which a scraper writes it.
    pub(crate) fn json(self, documents: u64) -> String {
        let random = |what: u64| mixed(self.0 ^ (what << 57));
        let channel = Self::channel(self.0 % channels(documents));
        let views = random(1) % 10_000_000;
        let tags: Vec<_> =
            (0..3 + random(2) % 6).map(|place| TAGS[((random(3) >> (4 * place)) % 12) as usize]).collect();
        let language = language_of(self.0);
        let title: String = text(language, random(4), 60).chars().take(70).collect();
        // Not a map of serde_json, which would sort the names.
        format!(
            "{{\"source\":{},\"source_id\":\"{:016x}\",\"title\":{},\"description\":{},\"tags\":{},\"channel\":{},\"metrics\":{},\
             \"thumbnails\":{},\"published_at\":\"2026-{:02}-{:02}T{:02}:{:02}:{:02}Z\",\"duration_seconds\":{},\"language\":{}}}",
            json!(SOURCES[(random(5) % 3) as usize]),
            mixed(self.0),
            json!(title),
            json!(text(language, random(6), DESCRIPTION_BYTES)),
            json!(tags),
            json!({ "id": channel, "handle": channel, "subscribers": random(7) % 1_000_000 }),
            json!({ "views": views, "likes": views / (20 + random(8) % 50), "comments": views / (300 + random(9) % 900),
                "engagement": (random(10) % 10_000) as f64 / 100_000.0 }),
            json!({ "default": format!("https://images.example/vi/{:016x}/default.jpg", mixed(self.0)),
                "high": format!("https://images.example/vi/{:016x}/hqdefault.jpg", mixed(self.0)) }),
            1 + random(11) % 12,
            1 + random(12) % 28,
            random(13) % 24,
            random(14) % 60,
            random(15) % 60,
            30 + random(16) % 3_600,
            json!(["en", "de", "fr", "es", "ru", "zh"][language]),
        )
    }
}

/// How many channels so many documents are of.
pub(crate) fn channels(documents: u64) -> u64 {
    (documents / OF_CHANNEL).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_json_of_about_two_kilobytes_and_differ() {
        let texts: Vec<String> = (0..300).map(|number| Document(number).json(300)).collect();
        let average = texts.iter().map(String::len).sum::<usize>() / texts.len();
        assert!((1_900..2_300).contains(&average), "{average}");
        let parsed: serde_json::Value = serde_json::from_str(&texts[0]).unwrap();
        assert!(parsed["metrics"]["views"].is_u64() && parsed["tags"].is_array());
        assert_ne!(texts[0], texts[1]);
    }

    #[test]
    fn a_channel_has_as_many_as_is_said() {
        let of_first = (0..200)
            .map(|number| Document(number).json(200))
            .filter(|text| text.contains(&Document::channel(0)));
        assert_eq!(of_first.count() as u64, OF_CHANNEL);
    }
}
