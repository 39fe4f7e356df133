//! JSON documents in collections.

#[allow(dead_code, unused_imports, reason = "the service that uses it is on its way")]
mod json;
#[allow(dead_code, unused_imports, reason = "the service that uses it is on its way")]
mod schema;
