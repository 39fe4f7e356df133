//! Texts as people write them, as far as indexes and compression can tell: in several languages, with a few words that are everywhere
//! and many that are rare (Zipf's law).

use std::sync::OnceLock;

use crate::material::mixed;

/// Words of a language, the rare ones among them.
const VOCABULARY: f64 = 30_000.0;
/// A word stands `1 / rank` times as often as the first.
const SENTENCE_WORDS: std::ops::Range<u64> = 6..22;
const SENTENCES: std::ops::Range<u64> = 2..6;
/// Paragraphs of each language that texts are put together from.
const PARAGRAPHS: u64 = 512;

/// A language: its most frequent words in their order, and what its rare words are made of.
struct Language {
    words: &'static str,
    syllables: &'static str,
    space: &'static str,
    stop: &'static str,
}

const LANGUAGES: [Language; 6] = [
    Language {
        words: "the of and to a in that is for it as with on be this by are from at or an which not have was but they we \
                can if there their more will one all about when what use out so make into time write model please text list \
                how user them other new only should each want some very after code example table short long story email",
        syllables: "ba con de ex form ger hal in jo ket lum men nor ope pro quil re sta ther un ver wick xi yon zel tion ment ing er ly ous ble",
        space: " ",
        stop: ". ",
    },
    Language {
        words: "die der und in zu den das nicht von sie ist des sich mit dem dass er es ein ich auf so eine auch als an nach wie \
                im für man aber aus durch wenn nur war noch werden bei hat wir was wird sein einen über schreibe bitte größe kurze",
        syllables: "ab be schla fen ge lich keit ung ver zer ßen mög über straß wör ter haus bau werk tig heit stel le kön nen",
        space: " ",
        stop: ". ",
    },
    Language {
        words: "de la le et les des en un du une que est pour qui dans a par plus pas au sur ne se ce il sont avec ou mais comme \
                être fait été elle même ces tout nous leur bien peut écrire texte réponse très français où déjà après",
        syllables: "la tion é ment vre au cou leur pré sen té fran çai se ri vière châ teau ment bre voi ture jour nal or gueil",
        space: " ",
        stop: ". ",
    },
    Language {
        words: "de la que el en y a los se del las un por con no una su para es al lo como más o pero sus le ha me si sin sobre \
                este ya entre cuando todo esta ser son dos también fue había era muy años hasta desde está mi porque qué sólo",
        syllables: "ción mien to ca sa per ro ni ño co ra zón ma ña na bue nos pa la bra es cri bir li bro ca mi no len gua je",
        space: " ",
        stop: ". ",
    },
    Language {
        words: "и в не на я быть он с что а по это она этот к но они мы весь который из у то за свой ты год от так о для же все \
                тот мочь вы человек такой его сказать только или ещё бы себя один как уже до время если сам когда другой вот",
        syllables: "при по ста но вле ние тель ность ра бо та го во рить пи сать кни га до ро га сло во при мер мо дель за да ча",
        space: " ",
        stop: ". ",
    },
    Language {
        words: "的 我们 一个 可以 没有 他们 自己 这个 什么 就是 问题 时间 使用 写作 模型 请 文本 如何 以及 需要 进行 例子 回答 中文 \
                语言 简短 故事 邮件 用户 系统 因为 所以 如果 但是 工作 方法 内容 重要 世界 学习",
        syllables: "山 水 火 木 金 土 日 月 天 地 人 大 小 上 下 左 右 前 后 东 西 南 北 春 夏 秋 冬 高 低 长 短 新 旧 黑 白 红 绿 蓝 书 画 琴 棋",
        space: "",
        stop: "。",
    },
];

/// One in so many texts is of which language: the first has 60 of 100.
const SHARES: [u64; 6] = [60, 72, 80, 88, 94, 100];

/// A source of words; the same number gives the same ones.
struct Author {
    state: u64,
    of: &'static Language,
    common: Vec<&'static str>,
    syllables: Vec<&'static str>,
}

impl Author {
    fn new(language: usize) -> Self {
        let of = &LANGUAGES[language];
        let (common, syllables) = (of.words.split_whitespace(), of.syllables.split_whitespace());
        Self { state: (language as u64) << 40, of, common: common.collect(), syllables: syllables.collect() }
    }

    fn within(&mut self, range: std::ops::Range<u64>) -> u64 {
        self.state += 1;
        range.start + mixed(self.state) % (range.end - range.start)
    }

    fn word(&mut self, text: &mut String) {
        let part = self.within(0..1 << 32) as f64 / (1_u64 << 32) as f64;
        // The logarithm of the rank is even: this is Zipf's law.
        let rank = VOCABULARY.powf(part) as usize;
        if let Some(word) = self.common.get(rank - 1) {
            text.push_str(word);
            return;
        }
        // A rare word is made of its rank, so that it is the same wherever it comes.
        let random = mixed(rank as u64 ^ 1 << 50);
        for place in 0..2 + random % 3 {
            let syllable = (random >> (8 * (place + 1))) as usize % self.syllables.len();
            text.push_str(self.syllables[syllable]);
        }
    }

    fn paragraph(&mut self) -> String {
        let mut text = String::new();
        for _ in 0..self.within(SENTENCES) {
            for place in 0..self.within(SENTENCE_WORDS) {
                if place > 0 {
                    text.push_str(self.of.space);
                }
                self.word(&mut text);
            }
            text.push_str(self.of.stop);
        }
        text
    }
}

/// Made once: composing words takes longer than some of the calls that are measured.
fn paragraphs() -> &'static [Vec<String>] {
    static ALL: OnceLock<Vec<Vec<String>>> = OnceLock::new();
    ALL.get_or_init(|| {
        let of = |language| {
            let mut author = Author::new(language);
            (0..PARAGRAPHS).map(|_| author.paragraph()).collect()
        };
        (0..LANGUAGES.len()).map(of).collect()
    })
}

/// The language of a text, by its number. Zero is English.
pub(crate) fn language_of(number: u64) -> usize {
    let share = mixed(number ^ 1 << 52) % 100;
    SHARES.iter().position(|&below| share < below).unwrap_or(0)
}

/// At least so many bytes in a language: whole paragraphs, chosen by the number.
pub(crate) fn text(language: usize, number: u64, bytes: usize) -> String {
    let paragraphs = &paragraphs()[language];
    let mut text = String::with_capacity(bytes + 512);
    let mut place = 0;
    while text.len() < bytes {
        let chosen = mixed(number.wrapping_mul(31) ^ (place << 56)) % PARAGRAPHS;
        text.push_str(&paragraphs[chosen as usize]);
        place += 1;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_words_are_everywhere_and_many_are_rare() {
        let text: String = (0..200).map(|number| text(0, number, 500)).collect();
        let words: Vec<&str> = text.split([' ', '.']).filter(|word| !word.is_empty()).collect();
        let count = |wanted| words.iter().filter(|word| **word == wanted).count();
        assert!(count("the") * 20 > words.len() && count("the") > 5 * count("story"));
        let distinct: std::collections::HashSet<_> = words.iter().collect();
        assert!(distinct.len() > 1_000, "{} words of {}", distinct.len(), words.len());
    }

    #[test]
    fn texts_differ_by_number_and_not_by_time() {
        assert_eq!(text(1, 7, 900), text(1, 7, 900));
        assert_ne!(text(1, 7, 900), text(1, 8, 900));
        assert!(text(5, 1, 900).len() >= 900);
    }

    #[test]
    fn six_of_ten_texts_are_english() {
        let english = (0..10_000).filter(|number| language_of(*number) == 0).count();
        assert!((5_700..6_300).contains(&english), "{english}");
    }
}
