//! The sentence of every setting. `build.rs` gathers them from the comments of the structs in this folder.

use super::units::Unit;

/// A section: its name, its sentence, and the name and sentence of each setting.
pub type Section = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

/// All sections in the order of the structs.
pub const SECTIONS: &[Section] = include!(concat!(env!("OUT_DIR"), "/settings.rs"));

/// The sentence of `section.key`; empty for an unknown one.
pub fn sentence(key: &str) -> &'static str {
    let Some((section, name)) = key.split_once('.') else { return "" };
    let of_section = SECTIONS.iter().filter(|(own, _, _)| *own == section);
    let mut settings = of_section.flat_map(|(_, _, settings)| settings.iter());
    settings.find(|(own, _)| *own == name).map_or("", |(_, sentence)| sentence)
}

/// The value of `section.key` with its unit, such as `30s`; none where that says no more than the number.
pub fn spelled(key: &str, value: &toml::Value) -> Option<String> {
    let number = value.as_integer().and_then(|number| u64::try_from(number).ok())?;
    Unit::of(key)?.spell(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_has_a_sentence() {
        let table = toml::Table::try_from(super::super::Settings::default()).unwrap();
        let mut count = 0;
        for (section, keys) in &table {
            for key in keys.as_table().unwrap().keys() {
                let sentence = sentence(&format!("{section}.{key}"));
                assert!(sentence.len() > 10 && !sentence.contains("///"), "{section}.{key}: {sentence:?}");
                count += 1;
            }
        }
        let described: usize = SECTIONS.iter().map(|(_, _, settings)| settings.len()).sum();
        assert_eq!(count, described);
    }
}
