//! A document as it was given, and as it is stored: compressed where that makes it smaller.

/// Fast; the next levels save little on documents of some KiB.
const ZSTD_LEVEL: i32 = 1;

/// A document that is checked and ready to be stored.
#[derive(Clone, Debug)]
pub struct Document {
    json: String,
    compressed: Option<Vec<u8>>,
}

impl Document {
    /// The document `json`, which is compressed if it has `compress_bytes_min` bytes and gets smaller by it.
    pub fn new(json: String, compress_bytes_min: u64) -> Self {
        let is_long = json.len() as u64 >= compress_bytes_min;
        let compressed = is_long.then(|| zstd::bulk::compress(json.as_bytes(), ZSTD_LEVEL).ok()).flatten();
        let compressed = compressed.filter(|compressed| compressed.len() < json.len());
        Self { json, compressed }
    }

    /// As it was given.
    pub fn json(&self) -> &str {
        &self.json
    }

    /// As it was given, for good.
    pub fn into_json(self) -> String {
        self.json
    }

    /// Bytes as it was given.
    pub fn size_bytes(&self) -> i64 {
        i64::try_from(self.json.len()).unwrap_or(i64::MAX)
    }

    /// As it is stored.
    pub fn stored(&self) -> &[u8] {
        self.compressed.as_deref().unwrap_or(self.json.as_bytes())
    }

    /// Whether it is stored compressed.
    pub fn is_compressed(&self) -> bool {
        self.compressed.is_some()
    }
}

/// The document of `size_bytes` that is `stored`. Error: what is wrong with it.
pub fn unpack(stored: Vec<u8>, is_compressed: bool, size_bytes: i64) -> Result<String, String> {
    let size = usize::try_from(size_bytes).map_err(|_| "has a negative size".to_owned())?;
    let bytes = match is_compressed {
        true => zstd::bulk::decompress(&stored, size).map_err(|error| error.to_string())?,
        false => stored,
    };
    if bytes.len() != size {
        return Err(format!("has {} bytes instead of {size}", bytes.len()));
    }
    String::from_utf8(bytes).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_is_what_was_given() {
        let long = format!("{{\"a\":\"{}\"}}", "long ".repeat(200));
        for (json, is_compressed) in [("{}", false), (long.as_str(), true)] {
            let document = Document::new(json.to_owned(), 512);
            assert_eq!(document.is_compressed(), is_compressed);
            let stored = document.stored().to_vec();
            assert_eq!(unpack(stored.clone(), is_compressed, document.size_bytes()).as_deref(), Ok(json));
            assert!(unpack(stored, is_compressed, document.size_bytes() - 1).is_err());
        }
        assert!(!Document::new(long, 1 << 20).is_compressed());
    }
}
