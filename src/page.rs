//! Page tokens: where the next page of a query begins; and the range of keys that a prefix is.
//!
//! A token carries a fingerprint of its query, so that it cannot be used for another one, and a checksum over both.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};

const FINGERPRINT_BYTES: usize = 8;
const CHECKSUM_BYTES: usize = 4;

/// What a query asks for, apart from page size and token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Query([u8; FINGERPRINT_BYTES]);

impl Query {
    /// The fingerprint of a query, from the method's name and everything that filters or orders its rows.
    pub fn of(method: &str, parts: &[&str]) -> Self {
        let mut hash = Sha256::new();
        for part in std::iter::once(&method).chain(parts) {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part.as_bytes());
        }
        let mut fingerprint = [0; FINGERPRINT_BYTES];
        fingerprint.copy_from_slice(&hash.finalize()[..FINGERPRINT_BYTES]);
        Self(fingerprint)
    }

    /// The token of the page that begins after the row `key`.
    pub fn token(self, key: &str) -> String {
        let mut bytes = Vec::with_capacity(FINGERPRINT_BYTES + key.len() + CHECKSUM_BYTES);
        bytes.extend_from_slice(&self.0);
        bytes.extend_from_slice(key.as_bytes());
        let checksum = checksum(&bytes);
        bytes.extend_from_slice(&checksum);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The key after which the page begins; none for the first page.
    pub fn key_of(self, token: &str) -> Result<Option<String>> {
        if token.is_empty() {
            return Ok(None);
        }
        let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| Error::PageTokenInvalid)?;
        let (body, sum) = bytes.split_last_chunk::<CHECKSUM_BYTES>().ok_or(Error::PageTokenInvalid)?;
        let (fingerprint, key) =
            body.split_first_chunk::<FINGERPRINT_BYTES>().ok_or(Error::PageTokenInvalid)?;
        if *sum != checksum(body) || *fingerprint != self.0 {
            return Err(Error::PageTokenInvalid);
        }
        String::from_utf8(key.to_vec()).map(Some).map_err(|_| Error::PageTokenInvalid)
    }
}

fn checksum(bytes: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let mut sum = [0; CHECKSUM_BYTES];
    sum.copy_from_slice(&Sha256::digest(bytes)[..CHECKSUM_BYTES]);
    sum
}

/// The smallest text that is greater than all texts that begin with `prefix`; none if there is no such text.
pub fn after_prefix(prefix: &str) -> Option<String> {
    let mut chars: Vec<char> = prefix.chars().collect();
    while let Some(last) = chars.pop() {
        let next = match last {
            '\u{D7FF}' => Some('\u{E000}'),
            other => char::from_u32(u32::from(other) + 1),
        };
        if let Some(next) = next {
            chars.push(next);
            return Some(chars.into_iter().collect());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_leads_back_to_its_key_in_its_own_query_only() {
        let query = Query::of("List", &["videos", "a"]);
        let token = query.token("abc");
        assert_eq!(query.key_of(&token).unwrap().as_deref(), Some("abc"));
        assert!(query.key_of("").unwrap().is_none());
        let others = [Query::of("List", &["video", "sa"]), Query::of("Lists", &["videos", "a"])];
        for other in others {
            assert!(matches!(other.key_of(&token), Err(Error::PageTokenInvalid)));
        }
    }

    #[test]
    fn damaged_tokens_are_refused() {
        let query = Query::of("List", &[]);
        let token = query.token("key");
        for damaged in ["x", "====", &token[1..], &token.replace(&token[2..3], "_"), &format!("{token}AAAA")]
        {
            assert!(matches!(query.key_of(damaged), Err(Error::PageTokenInvalid)), "{damaged}");
        }
    }

    #[test]
    fn after_prefix_is_above_every_text_with_the_prefix_and_not_above_the_next() {
        assert_eq!(after_prefix("ab").as_deref(), Some("ac"));
        assert_eq!(after_prefix("a\u{10FFFF}").as_deref(), Some("b"));
        assert_eq!(after_prefix("\u{D7FF}").as_deref(), Some("\u{E000}"));
        assert_eq!(after_prefix("\u{10FFFF}"), None);
        for prefix in ["v:", "ü", "日本", "z\u{7F}"] {
            let end = after_prefix(prefix).unwrap();
            assert!(format!("{prefix}\u{10FFFF}\u{10FFFF}").as_bytes() < end.as_bytes());
            assert!(prefix.as_bytes() < end.as_bytes());
        }
    }
}
