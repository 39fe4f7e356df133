//! Values as they stand in an export: one text for one value, whichever database it lies in.

use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use sea_orm::Value;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use uuid::Uuid;

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    Integer,
    Boolean,
    Real,
    Text,
    Bytes,
    Uuid,
    Json,
}

impl Kind {
    /// The kind of a column that either database says is declared so; none for types that no migration uses.
    pub(super) fn of(declared: &str) -> Option<Self> {
        let name = declared.split('(').next().unwrap_or(declared).trim().to_ascii_lowercase();
        Some(match name.as_str() {
            "bigint" | "integer" | "smallint" | "tinyint" => Self::Integer,
            "boolean" => Self::Boolean,
            "double" | "double precision" | "real" | "float" => Self::Real,
            "text" | "varchar" | "character varying" => Self::Text,
            "blob" | "varbinary_blob" | "bytea" => Self::Bytes,
            "uuid_text" | "uuid" => Self::Uuid,
            "json_text" | "jsonb_text" | "json" | "jsonb" => Self::Json,
            _ => return None,
        })
    }

    /// Whether values of this kind can be long.
    pub(super) fn is_long(self) -> bool {
        matches!(self, Self::Text | Self::Bytes | Self::Json)
    }
}

/// Appends `value` of a column of `kind`; an error says what it is instead.
pub(super) fn encode(out: &mut Vec<u8>, kind: Kind, value: &Value) -> Result<(), String> {
    match (kind, value) {
        (Kind::Integer, Value::BigInt(Some(number))) => text(out, format_args!("{number}")),
        (Kind::Integer, Value::Int(Some(number))) => text(out, format_args!("{number}")),
        (Kind::Integer, Value::SmallInt(Some(number))) => text(out, format_args!("{number}")),
        (Kind::Boolean, Value::Bool(Some(is))) => text(out, format_args!("{is}")),
        (Kind::Real, Value::Double(Some(number))) => real(out, *number),
        (Kind::Real, Value::Float(Some(number))) => real(out, f64::from(*number)),
        (Kind::Text, Value::String(Some(words))) => quoted(out, words),
        (Kind::Bytes, Value::Bytes(Some(bytes))) => text(out, format_args!("\"{}\"", BASE64.encode(bytes))),
        (Kind::Uuid, Value::Uuid(Some(uuid))) => text(out, format_args!("\"{uuid}\"")),
        // As text, so that its own null is not taken for NULL.
        (Kind::Json, Value::Json(Some(json))) => quoted(out, &json.to_string()),
        (kind, value) if *value == value.as_null() && is_of(kind, value) => text(out, format_args!("null")),
        (kind, value) => Err(format!("{} in a column of kind {kind:?}", name(value))),
    }
}

/// The value that `json` stands for in a column of `kind`; an error says what it should be.
pub(super) fn decode(kind: Kind, json: Json) -> Result<Value, String> {
    let value = match (kind, json) {
        (kind, Json::Null) => Some(null(kind)),
        (Kind::Integer, json) => json.as_i64().map(|number| Value::BigInt(Some(number))),
        (Kind::Boolean, json) => json.as_bool().map(|is| Value::Bool(Some(is))),
        (Kind::Real, Json::String(words)) => words.parse().ok().map(|number| Value::Double(Some(number))),
        (Kind::Text, Json::String(words)) => Some(Value::String(Some(words))),
        (Kind::Bytes, Json::String(words)) => {
            BASE64.decode(words).ok().map(|bytes| Value::Bytes(Some(bytes)))
        }
        (Kind::Uuid, Json::String(words)) => Uuid::try_parse(&words).ok().map(|uuid| Value::Uuid(Some(uuid))),
        (Kind::Json, Json::String(words)) => {
            serde_json::from_str(&words).ok().map(|json| Value::Json(Some(Box::new(json))))
        }
        _ => None,
    };
    value.ok_or_else(|| {
        let should_be = match kind {
            Kind::Integer => "an integer of 64 bits",
            Kind::Boolean => "true or false",
            Kind::Real => "a real number in a string",
            Kind::Text => "a string",
            Kind::Bytes => "base64 in a string",
            Kind::Uuid => "a UUID in a string",
            Kind::Json => "JSON in a string",
        };
        format!("should be {should_be}")
    })
}

fn null(kind: Kind) -> Value {
    match kind {
        Kind::Integer => Value::BigInt(None),
        Kind::Boolean => Value::Bool(None),
        Kind::Real => Value::Double(None),
        Kind::Text => Value::String(None),
        Kind::Bytes => Value::Bytes(None),
        Kind::Uuid => Value::Uuid(None),
        Kind::Json => Value::Json(None),
    }
}

fn is_of(kind: Kind, value: &Value) -> bool {
    matches!(
        (kind, value),
        (Kind::Integer, Value::BigInt(_) | Value::Int(_) | Value::SmallInt(_))
            | (Kind::Boolean, Value::Bool(_))
            | (Kind::Real, Value::Double(_) | Value::Float(_))
            | (Kind::Text, Value::String(_))
            | (Kind::Bytes, Value::Bytes(_))
            | (Kind::Uuid, Value::Uuid(_))
            | (Kind::Json, Value::Json(_))
    )
}

fn text(out: &mut Vec<u8>, words: std::fmt::Arguments<'_>) -> Result<(), String> {
    out.write_fmt(words).map_err(|error| error.to_string())
}

/// In a string: readers of JSON differ in the last bit of a number, and JSON has no infinity.
fn real(out: &mut Vec<u8>, number: f64) -> Result<(), String> {
    // SQLite keeps no sign of a zero.
    let number = if number == 0.0 { 0.0 } else { number };
    text(out, format_args!("\"{number:?}\""))
}

fn quoted(out: &mut Vec<u8>, words: &str) -> Result<(), String> {
    serde_json::to_writer(out, words).map_err(|error| error.to_string())
}

/// The name of a value's type, without the value.
fn name(value: &Value) -> String {
    let debug = format!("{:?}", value.as_null());
    debug.split('(').next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const UUID: Uuid = Uuid::from_u128(0x0102_0304_0506_0708_090A_0B0C_0D0E_0F10);

    fn encoded(kind: Kind, value: &Value) -> String {
        let mut out = Vec::new();
        encode(&mut out, kind, value).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn json(text: &str) -> Json {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn every_kind_has_one_text_for_a_value_and_comes_back_from_it() {
        let object = r#"{"z":[1,null],"a":"ü"}"#;
        let cases = [
            (Kind::Integer, Value::BigInt(Some(i64::MIN)), "-9223372036854775808"),
            (Kind::Integer, Value::BigInt(Some(i64::MAX)), "9223372036854775807"),
            (Kind::Boolean, Value::Bool(Some(true)), "true"),
            (Kind::Boolean, Value::Bool(Some(false)), "false"),
            (Kind::Real, Value::Double(Some(3.0)), r#""3.0""#),
            (Kind::Real, Value::Double(Some(0.1 + 0.2)), r#""0.30000000000000004""#),
            (Kind::Real, Value::Double(Some(f64::MIN_POSITIVE)), r#""2.2250738585072014e-308""#),
            (Kind::Real, Value::Double(Some(f64::NEG_INFINITY)), r#""-inf""#),
            (Kind::Text, Value::String(Some(String::new())), r#""""#),
            (Kind::Text, Value::String(Some("é\"\\\n\u{1F}\u{7F}\u{1F600}".into())), {
                "\"é\\\"\\\\\\n\\u001f\u{7F}\u{1F600}\""
            }),
            (Kind::Bytes, Value::Bytes(Some(Vec::new())), r#""""#),
            (Kind::Bytes, Value::Bytes(Some(vec![0, 255, 0, 7])), r#""AP8ABw==""#),
            (Kind::Uuid, Value::Uuid(Some(UUID)), r#""01020304-0506-0708-090a-0b0c0d0e0f10""#),
            (Kind::Json, Value::Json(Some(Box::new(json(object)))), r#""{\"a\":\"ü\",\"z\":[1,null]}""#),
            (Kind::Json, Value::Json(Some(Box::new(Json::Null))), r#""null""#),
        ];
        for (kind, value, text) in cases {
            assert_eq!(encoded(kind, &value), text);
            assert_eq!(decode(kind, json(text)), Ok(value));
        }
    }

    #[test]
    fn every_kind_of_null_is_null_and_comes_back_with_its_kind() {
        let nulls = [
            (Kind::Integer, Value::BigInt(None)),
            (Kind::Boolean, Value::Bool(None)),
            (Kind::Real, Value::Double(None)),
            (Kind::Text, Value::String(None)),
            (Kind::Bytes, Value::Bytes(None)),
            (Kind::Uuid, Value::Uuid(None)),
            (Kind::Json, Value::Json(None)),
        ];
        for (kind, null) in nulls {
            assert_eq!(encoded(kind, &null), "null");
            assert_eq!(decode(kind, Json::Null), Ok(null));
        }
    }

    #[test]
    fn what_the_databases_tell_apart_is_the_same_text() {
        assert_eq!(encoded(Kind::Integer, &Value::Int(Some(-7))), "-7");
        assert_eq!(encoded(Kind::Integer, &Value::SmallInt(Some(7))), "7");
        assert_eq!(encoded(Kind::Integer, &Value::Int(None)), "null");
        assert_eq!(encoded(Kind::Real, &Value::Float(Some(0.5))), "\"0.5\"");
        assert_eq!(encoded(Kind::Real, &Value::Double(Some(-0.0))), "\"0.0\"");
        for (of_one, of_other) in [
            ("bigint", "BIGINT"),
            ("double", "double precision"),
            ("varchar(255)", "character varying"),
            ("varbinary_blob(16)", "bytea"),
            ("uuid_text", "uuid"),
            ("jsonb_text", "jsonb"),
        ] {
            assert_eq!(Kind::of(of_one), Kind::of(of_other));
            assert!(Kind::of(of_one).is_some());
        }
        assert_eq!(Kind::of("tsvector"), None);
    }

    #[test]
    fn a_value_of_another_kind_is_refused_both_ways() {
        let mut out = Vec::new();
        let told = encode(&mut out, Kind::Integer, &Value::String(Some("secret".into()))).unwrap_err();
        assert_eq!(told, "String in a column of kind Integer");
        assert!(encode(&mut out, Kind::Text, &Value::Bytes(None)).is_err());
        for (kind, text) in [
            (Kind::Integer, "1.0"),
            (Kind::Integer, "9223372036854775808"),
            (Kind::Integer, "\"1\""),
            (Kind::Boolean, "1"),
            (Kind::Real, "0.5"),
            (Kind::Real, "\"half\""),
            (Kind::Text, "1"),
            (Kind::Bytes, "\"a\""),
            (Kind::Bytes, "[1]"),
            (Kind::Uuid, "\"0102\""),
            (Kind::Json, "{}"),
            (Kind::Json, "\"{\""),
        ] {
            assert!(decode(kind, json(text)).is_err(), "{kind:?} from {text}");
        }
    }
}
