//! Numbers as exact decimals of any length.

/// Digits of the largest exponent: more would not fit into a sort key, and no one counts so far.
const EXPONENT_DIGITS_MAX: usize = 9;

/// A JSON number other than zero: `0.digits × 10^exponent`, with neither zeros before the digits nor after them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decimal {
    /// Whether it is less than zero.
    pub is_negative: bool,
    /// The power of ten.
    pub exponent: i64,
    /// ASCII digits.
    pub digits: Vec<u8>,
}

/// Whether a number, as it is written, has a place in the order of numbers.
pub fn has_order(written: &str) -> bool {
    let exponent = written.split_once(['e', 'E']).map_or("", |(_, exponent)| exponent);
    exponent.trim_start_matches(['+', '-']).trim_start_matches('0').len() <= EXPONENT_DIGITS_MAX
}

/// The value of a number as it is written; none for zero.
pub fn decimal(written: &str) -> Option<Decimal> {
    let (mantissa, exponent) = written.split_once(['e', 'E']).unwrap_or((written, "0"));
    let (is_negative, mantissa) = match mantissa.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, mantissa),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = [whole, fraction].concat();
    let significant = digits.trim_start_matches('0');
    let zeros = digits.len() - significant.len();
    let significant = significant.trim_end_matches('0');
    if significant.is_empty() {
        return None;
    }
    let shift = i64::try_from(whole.len()).ok()? - i64::try_from(zeros).ok()?;
    let exponent = exponent.parse::<i64>().ok()?.checked_add(shift)?;
    Some(Decimal { is_negative, exponent, digits: significant.as_bytes().to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_number_has_one_decimal_however_it_is_written() {
        for texts in [
            &["1", "1.0", "1e0", "0.1E1", "10e-1", "100.00e-02"][..],
            &["-120", "-1.2e+2", "-0.0012e5"],
            &["9007199254740993", "9007199254740993.000"],
        ] {
            for text in texts {
                assert_eq!(decimal(text), decimal(texts[0]), "{text}");
                assert!(decimal(text).is_some());
            }
        }
        for zero in ["0", "-0", "0.000", "-0e9", "0E-5"] {
            assert_eq!(decimal(zero), None, "{zero}");
        }
        assert_ne!(decimal("9007199254740993"), decimal("9007199254740992"));
    }

    #[test]
    fn exponents_of_more_than_nine_digits_have_no_place() {
        assert!(
            has_order("1e999999999") && has_order("1E-0000000000001") && has_order("12345678901234567890")
        );
        assert!(!has_order("1e1000000000") && !has_order("0e-99999999999999999999"));
    }
}
