//! How numbers are distributed, in little room: a histogram whose buckets grow with the numbers.
//!
//! Numbers below 128 have a bucket each; above, every doubling is cut into 64, so a bucket is at most 1/64 of its numbers wide and its
//! middle is wrong by less than 1 %. Counts are exact and may be below zero: sketches are added and subtracted in any order, and
//! what is left is the sketch of what is left. After HdrHistogram (Tene) and DDSketch (Masson, Rim, Lee, 2019), in whole numbers.

use std::cmp::Ordering;

/// Bits of a number that count, behind its first one.
const BITS: u64 = 6;

/// Numbers below have a bucket each.
const EXACT: u64 = 1 << (BITS + 1);

/// What every stored sketch begins with.
const FORMAT: u8 = 1;

/// Counts by bucket, in the order of buckets; none is zero. Numbers are not negative.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sketch(Vec<(u64, i64)>);

impl Sketch {
    /// Adds a number so many times; takes it away if that is negative.
    pub fn add(&mut self, number: i64, count: i64) {
        self.add_to(bucket(u64::try_from(number).unwrap_or(0)), count);
    }

    /// Adds all of another one.
    pub fn merge(&mut self, other: &Self) {
        // A few are found by halving; of many, both are gone through once.
        if other.0.len() < self.0.len() / 16 {
            return other.0.iter().for_each(|(bucket, count)| self.add_to(*bucket, *count));
        }
        let mut sum = Vec::with_capacity(self.0.len() + other.0.len());
        let (mut ours, mut others) = (self.0.iter().peekable(), other.0.iter().peekable());
        while let (Some(&&(our, count)), Some(&&(their, more))) = (ours.peek(), others.peek()) {
            let (bucket, count) = match our.cmp(&their) {
                Ordering::Less => (our, count),
                Ordering::Greater => (their, more),
                Ordering::Equal => (our, count.saturating_add(more)),
            };
            ours.next_if(|(of, _)| *of == bucket);
            others.next_if(|(of, _)| *of == bucket);
            sum.extend((count != 0).then_some((bucket, count)));
        }
        sum.extend(ours.chain(others));
        self.0 = sum;
    }

    fn add_to(&mut self, bucket: u64, count: i64) {
        match self.0.binary_search_by_key(&bucket, |(of, _)| *of) {
            Ok(at) => {
                self.0[at].1 = self.0[at].1.saturating_add(count);
                if self.0[at].1 == 0 {
                    self.0.remove(at);
                }
            }
            Err(at) if count != 0 => self.0.insert(at, (bucket, count)),
            Err(_) => {}
        }
    }

    /// How many numbers it holds.
    pub fn count(&self) -> i64 {
        self.0.iter().fold(0, |sum, (_, count)| sum.saturating_add((*count).max(0)))
    }

    /// The number below or at which this share of all lies, within 1 %: nearest rank. None of an empty one.
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let count = self.count();
        let wanted = ((count as f64) * share.clamp(0.0, 1.0)).ceil().max(1.0);
        let mut seen = 0;
        for (bucket, in_bucket) in self.0.iter().filter(|(_, in_bucket)| *in_bucket > 0) {
            seen += *in_bucket;
            if seen as f64 >= wanted {
                return Some(middle(*bucket));
            }
        }
        None
    }

    /// As it is stored: pairs of a bucket's distance from the last one and its count, as variable-length integers.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![FORMAT];
        let mut last = 0;
        for (bucket, count) in &self.0 {
            push(&mut bytes, bucket - last);
            // Small counts of either sign are short.
            push(&mut bytes, ((count << 1) ^ (count >> 63)).cast_unsigned());
            last = *bucket;
        }
        bytes
    }

    /// From what was stored; an empty slice is an empty sketch. None if it is damaged.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let Some((format, mut rest)) = bytes.split_first() else { return Some(Self::default()) };
        if *format != FORMAT {
            return None;
        }
        let mut sketch = Self::default();
        let mut bucket: u64 = 0;
        while !rest.is_empty() {
            let distance = pull(&mut rest)?;
            bucket = bucket.checked_add(distance)?;
            let count = pull(&mut rest)?;
            let is_in_order = distance > 0 || sketch.0.is_empty();
            if !is_in_order || count == 0 || bucket > self::bucket(u64::MAX) {
                return None;
            }
            sketch.0.push((bucket, (count >> 1).cast_signed() ^ -(count & 1).cast_signed()));
        }
        Some(sketch)
    }
}

/// The bucket of a number; greater numbers have no smaller ones.
fn bucket(number: u64) -> u64 {
    if number < EXACT {
        return number;
    }
    let shift = u64::from(number.ilog2()) - BITS;
    (shift << BITS) + (number >> shift)
}

/// The middle of a bucket.
fn middle(bucket: u64) -> f64 {
    if bucket < EXACT {
        return bucket as f64;
    }
    let shift = (bucket >> BITS) - 1;
    let first = (bucket - (shift << BITS)) << shift;
    let width = 1u64 << shift;
    first as f64 + (width - 1) as f64 / 2.0
}

fn push(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push((number & 0x7F) as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn pull(bytes: &mut &[u8]) -> Option<u64> {
    let mut number: u64 = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7F).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers that are the same in every run, over many orders of magnitude.
    fn numbers(count: usize) -> Vec<i64> {
        let mut state: u64 = 7;
        let next = |state: &mut u64| {
            *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *state >> 33
        };
        (0..count).map(|_| ((next(&mut state) % 1_000) << (next(&mut state) % 40)).cast_signed()).collect()
    }

    fn of(numbers: &[i64]) -> Sketch {
        let mut sketch = Sketch::default();
        numbers.iter().for_each(|number| sketch.add(*number, 1));
        sketch
    }

    #[test]
    fn every_number_is_told_within_one_percent_and_in_order() {
        let mut last = 0;
        for number in (0..10_000)
            .chain((5..62).flat_map(|bit| (0..32).map(move |part| (1 << bit) + part * ((1 << bit) / 32))))
        {
            let told = middle(bucket(number));
            assert!((told - number as f64).abs() <= number as f64 / 100.0, "{number} is told as {told}");
        }
        for number in 0..100_000 {
            assert!(bucket(number) == last || bucket(number) == last + 1, "{number}");
            last = bucket(number);
        }
        assert!(middle(bucket(u64::MAX)).is_finite());
    }

    #[test]
    fn quantiles_are_within_one_percent_of_the_exact_ones() {
        for count in [1, 2, 3, 10, 999, 10_000] {
            let mut all = numbers(count);
            let sketch = of(&all);
            all.sort_unstable();
            for share in [0.0, 0.5, 0.95, 0.99, 1.0] {
                let rank = ((count as f64 * share).ceil() as usize).clamp(1, count);
                let (exact, told) = (all[rank - 1] as f64, sketch.quantile(share).unwrap());
                assert!((told - exact).abs() <= exact / 100.0, "{share} of {count}: {told} for {exact}");
            }
        }
        assert_eq!(Sketch::default().quantile(0.5), None);
    }

    #[test]
    fn parts_add_up_to_the_whole_and_can_be_taken_away_in_any_order() {
        let all = numbers(5_000);
        let (one, other) = all.split_at(1_234);
        let mut sum = of(other);
        sum.merge(&of(one));
        assert_eq!(sum, of(&all));
        sum = of(&all[..4_990]);
        sum.merge(&of(&all[4_990..]));
        assert_eq!(sum, of(&all));
        let mut rest = Sketch::default();
        one.iter().for_each(|number| rest.add(*number, -1));
        assert_eq!(rest.count(), 0);
        rest.merge(&of(&all));
        assert_eq!(rest, of(other));
        other.iter().for_each(|number| rest.add(*number, -1));
        assert_eq!(rest, Sketch::default());
    }

    #[test]
    fn what_is_stored_is_read_again_and_what_is_damaged_is_told() {
        let mut sketch = of(&numbers(5_000));
        sketch.add(i64::MAX, 1);
        sketch.add(3, -7);
        sketch.add(4, i64::MIN + 1);
        assert_eq!(Sketch::from_bytes(&sketch.to_bytes()), Some(sketch));
        assert_eq!(Sketch::from_bytes(&[]), Some(Sketch::default()));
        assert_eq!(of(&[250_000]).to_bytes().len(), 4);
        for damaged in [
            &[0][..],
            &[1, 5, 2, 0, 2],
            &[1, 5, 0],
            &[2, 1, 2],
            &[1, 0x80],
            &[1, 1],
            &[1, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1, 2],
        ] {
            assert_eq!(Sketch::from_bytes(damaged), None, "{damaged:?}");
        }
    }
}
