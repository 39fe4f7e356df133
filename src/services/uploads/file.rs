//! A file: its hash, what is known of it, and what becomes of a wish to reserve or to register it. No I/O.

use std::fmt;

use uuid::Uuid;

/// Bytes of the largest file: eight tebibytes.
pub const SIZE_BYTES_MAX: i64 = 1 << 43;

/// The SHA-256 of a file's bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sha256(pub [u8; 32]);

impl Sha256 {
    /// Reads 64 hexadecimal digits, in either case.
    pub fn parse(text: &str) -> Option<Self> {
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        if pairs.len() != 32 || !rest.is_empty() {
            return None;
        }
        let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        let mut bytes = [0; 32];
        for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
            *byte = digit(*high)? << 4 | digit(*low)?;
        }
        Some(Self(bytes))
    }
}

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble)]);
        let text: String = self.0.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect();
        f.write_str(&text)
    }
}

impl fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What stands behind the last separator of a path.
pub fn base_name(path: &str) -> &str {
    path.rsplit(['/', '\\']).next().unwrap_or(path)
}

/// A file that is known, or is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Where it is.
    pub service: String,
    /// Its hash.
    pub hash: Sha256,
    /// The path that it was uploaded from.
    pub path: String,
    /// Its name; of a new one empty for the path's.
    pub name: String,
    /// Its bytes.
    pub size_bytes: i64,
    /// What it holds, or empty.
    pub mime_type: String,
    /// The service's own id, or empty.
    pub service_file_id: String,
    /// What it belongs to, or empty.
    pub source_id: String,
    /// The session that registered it, if it is there.
    pub session_id: Option<String>,
    /// When it was uploaded.
    pub upload_us: i64,
}

/// How a file came to be uploaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// Without a reservation.
    Unreserved,
    /// Under the reservation of this token.
    Reserved(Uuid),
    /// An index says so; whoever has it reserved will find it known.
    Elsewhere,
}

/// A file to register.
#[derive(Clone, Debug)]
pub struct NewFile {
    /// The file.
    pub file: File,
    /// How it came to be uploaded.
    pub sent: Sent,
}

/// What became of a file that was registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is known from now on.
    Registered,
    /// It was known so.
    Duplicate(Box<File>),
}

/// What is known of a hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileState {
    /// Nothing.
    Unknown,
    /// Somebody sends it, until then.
    Reserved(i64),
    /// It is there; what each service knows of it, if that was asked for.
    Uploaded(Vec<File>),
}

/// What became of a wish to reserve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// It is the caller's, by this token.
    Granted(Uuid),
    /// It is there.
    Uploaded(Box<File>),
    /// It is another's, until then.
    Held(i64),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_read_in_either_case_and_written_in_lower() {
        let lower = "00ff".repeat(16);
        for text in [lower.clone(), lower.to_uppercase(), "00fF".repeat(16)] {
            assert_eq!(Sha256::parse(&text).unwrap().to_string(), lower);
        }
        for wrong in
            ["", &lower[1..], &format!("{lower}0"), &"0g".repeat(32), &"+1".repeat(32), &"é".repeat(32)]
        {
            assert_eq!(Sha256::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_path_is_named_by_what_stands_behind_its_last_separator() {
        for (path, name) in [("a/b/c.jpg", "c.jpg"), (r"C:\x\y.png", "y.png"), ("plain", "plain"), ("a/", "")]
        {
            assert_eq!(base_name(path), name);
        }
    }
}
