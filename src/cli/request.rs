//! The method and the request of `pannier call`: short names, files, durations as people write them.

use std::io::Read as _;

use prost_reflect::{
    DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, MethodDescriptor,
    ServiceDescriptor,
};
use serde_json::Value;

use super::Failure;
use crate::settings;

/// Bytes of a request: the highest value of server.message_bytes_max.
const REQUEST_BYTES_MAX: u64 = 512 * 1024 * 1024;

/// Finds a method: `pannier.cache.v1.CacheService/Get`, `CacheService/Get`, `cache.Get`, `health`.
pub(super) fn method(name: &str) -> Result<MethodDescriptor, Failure> {
    let damaged = |error: prost_reflect::DescriptorError| {
        Failure::Message(format!("the descriptors are damaged: {error}"))
    };
    let mut pool = DescriptorPool::decode(pannier_proto::FILE_DESCRIPTOR_SET).map_err(damaged)?;
    pool.decode_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET).map_err(damaged)?;
    let name = name.trim_start_matches('/');
    let (wanted, method) = match name.rsplit_once('/').or_else(|| name.rsplit_once('.')) {
        Some(parts) => parts,
        None if name.eq_ignore_ascii_case("health") => (name, "Check"),
        None => (name, ""),
    };
    let Some(service) = pool.services().find(|service| is_named(service, wanted)) else {
        let names: Vec<_> = pool.services().map(|service| short(&service).to_owned()).collect();
        return Err(Failure::Message(format!("no service {wanted}; there are: {}", names.join(", "))));
    };
    service.methods().find(|candidate| candidate.name().eq_ignore_ascii_case(method)).ok_or_else(|| {
        let names: Vec<_> = service.methods().map(|method| method.name().to_owned()).collect();
        let (short, names) = (short(&service), names.join(", "));
        Failure::Message(format!("no method {method:?} in {short}; there are: {names}"))
    })
}

fn is_named(service: &ServiceDescriptor, wanted: &str) -> bool {
    service.full_name() == wanted
        || service.name().eq_ignore_ascii_case(wanted)
        || short(service).eq_ignore_ascii_case(wanted)
}

/// `cache` for `pannier.cache.v1.CacheService`.
fn short(service: &ServiceDescriptor) -> &str {
    let package = service.full_name().split('.');
    package.rev().nth(2).unwrap_or_else(|| service.full_name())
}

/// The request of a method: JSON, a file of JSON, or `-` for stdin.
pub(super) fn request(descriptor: &MessageDescriptor, argument: &str) -> Result<DynamicMessage, Failure> {
    let text = read(argument)?;
    let wrong = |error: serde_json::Error| {
        Failure::Message(format!("the request is no {}: {error}", descriptor.name()))
    };
    let mut deserializer = serde_json::Deserializer::from_str(&text);
    let spelled = spelled(descriptor, &text);
    if let Some(spelled) = &spelled {
        deserializer = serde_json::Deserializer::from_str(spelled);
    }
    let message = DynamicMessage::deserialize(descriptor.clone(), &mut deserializer).map_err(wrong)?;
    deserializer.end().map_err(wrong)?;
    Ok(message)
}

fn read(argument: &str) -> Result<String, Failure> {
    if argument.trim_start().starts_with('{') {
        return Ok(argument.to_owned());
    }
    let path = argument.strip_prefix('@').unwrap_or(argument);
    let mut text = String::new();
    let read = if argument == "-" {
        std::io::stdin().lock().take(REQUEST_BYTES_MAX).read_to_string(&mut text)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(REQUEST_BYTES_MAX).read_to_string(&mut text))
    };
    read.map(|_| text).map_err(|error| {
        Failure::Message(format!("the request is no JSON object, and no file: cannot read {path}: {error}"))
    })
}

/// The request with durations such as `1h` in protobuf's form, `3600s`; none if there are none.
fn spelled(descriptor: &MessageDescriptor, text: &str) -> Option<String> {
    let mut value = serde_json::from_str(text).ok()?;
    spell(descriptor, &mut value).then(|| value.to_string())
}

fn spell(descriptor: &MessageDescriptor, value: &mut Value) -> bool {
    let Value::Object(members) = value else { return false };
    let mut has_changed = false;
    for (name, value) in members {
        let field = descriptor.get_field_by_json_name(name).or_else(|| descriptor.get_field_by_name(name));
        if let Some(field) = field {
            has_changed |= spell_field(&field, value);
        }
    }
    has_changed
}

fn spell_field(field: &FieldDescriptor, value: &mut Value) -> bool {
    let Kind::Message(message) = field.kind() else { return false };
    let value_of_map = message.get_field(2).filter(|_| message.is_map_entry());
    let mut has_changed = false;
    match (value_of_map, value) {
        (Some(entry), Value::Object(members)) => {
            for value in members.values_mut() {
                has_changed |= spell_field(&entry, value);
            }
        }
        (None, Value::Array(items)) => {
            for item in items {
                has_changed |= spell_one(&message, item);
            }
        }
        (None, value) => has_changed = spell_one(&message, value),
        (Some(_), _) => {}
    }
    has_changed
}

fn spell_one(message: &MessageDescriptor, value: &mut Value) -> bool {
    match value {
        Value::String(text) if message.full_name() == "google.protobuf.Duration" => {
            let is_spelled = text.strip_suffix('s').is_some_and(|number| number.parse::<f64>().is_ok());
            let duration = settings::duration(text).ok().filter(|_| !is_spelled);
            if let Some(duration) = duration {
                *text = format!("{}.{:03}s", duration.as_secs(), duration.subsec_millis());
            }
            duration.is_some()
        }
        value => spell(message, value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(name: &str) -> String {
        method(name).unwrap_or_else(|_| panic!("{name}")).full_name().to_owned()
    }

    #[test]
    fn short_names_lead_to_the_method() {
        for name in [
            "pannier.cache.v1.CacheService/Get",
            "/CacheService/Get",
            "cache.Get",
            "cache/get",
            "CacheService.Get",
        ] {
            assert_eq!(found(name), "pannier.cache.v1.CacheService.Get", "{name}");
        }
        assert_eq!(found("settings.List"), "pannier.settings.v1.SettingsService.List");
        assert_eq!(found("health"), "grpc.health.v1.Health.Check");
        assert_eq!(found("Health/Watch"), "grpc.health.v1.Health.Watch");
        for (name, words) in
            [("cash.Get", "no service cash; there are: "), ("cache.Fetch", "no method \"Fetch\" in cache")]
        {
            let Err(Failure::Message(message)) = method(name) else { panic!("{name}") };
            assert!(message.starts_with(words), "{message}");
        }
    }

    #[test]
    fn durations_are_spelled_as_protobuf_wants_them_wherever_they_are() {
        let put = method("cache.BatchPut").ok().unwrap().input();
        let text = r#"{"namespace": "1h", "items": [{"key": "a", "ttl": "1h"}, {"key": "2d", "ttl": "250ms"}, {"ttl": "1.5s"}]}"#;
        let spelled = spelled(&put, text).unwrap();
        let value: Value = serde_json::from_str(&spelled).unwrap();
        assert_eq!(value["namespace"], "1h");
        assert_eq!(value["items"][0]["ttl"], "3600.000s");
        assert_eq!((&value["items"][1]["key"], &value["items"][1]["ttl"]), (&"2d".into(), &"0.250s".into()));
        assert_eq!(value["items"][2]["ttl"], "1.5s");
        assert!(request(&put, text).is_ok());
        assert_eq!(super::spelled(&put, r#"{"items": [{"ttl": "90s"}]}"#), None);
    }
}
