//! Declarations of collections, both ways.

use pannier_proto::records::v1 as pb;

use super::requests::Parser;
use crate::convert::{duration, timestamp};
use crate::json::Path;
use crate::services::records::domain::{Declaration, Declared, Limits};
use crate::services::records::schema::{Bounds, Schema};
use crate::settings::TTL_MS_MAX;

impl Parser<'_> {
    /// What a new collection is declared to be.
    pub(in super::super) fn new_collection(
        &mut self,
        request: &mut pb::CreateCollectionRequest,
    ) -> Declaration {
        self.name("name", &request.name);
        Declaration {
            limits: Some(self.limits(request.limits.unwrap_or_default())),
            schema_json: Some(self.schema(std::mem::take(&mut request.schema_json))),
            index_paths: Some(self.indexes("indexes", std::mem::take(&mut request.indexes))),
            name: std::mem::take(&mut request.name),
        }
    }

    /// What a collection is to be from now on.
    pub(in super::super) fn changed_collection(
        &mut self,
        request: &mut pb::UpdateCollectionRequest,
    ) -> Declaration {
        self.name("name", &request.name);
        let indexes = request.indexes.take().map(|list| self.indexes("indexes.indexes", list.indexes));
        Declaration {
            limits: request.limits.map(|limits| self.limits(limits)),
            schema_json: request.schema_json.take().map(|schema| self.schema(schema)),
            index_paths: indexes,
            name: std::mem::take(&mut request.name),
        }
    }

    fn limits(&mut self, limits: pb::CollectionLimits) -> Limits {
        let bound = |bound: u64| i64::try_from(bound).unwrap_or(i64::MAX);
        let settings = self.settings;
        let mut within = |field: &str, value: Option<i64>, max: i64| {
            if value.is_some_and(|value| !(1..=max).contains(&value)) {
                self.violations.add(format!("limits.{field}"), format!("must be 1 to {max}"));
            }
            value
        };
        let records_max = within("records_max", limits.records_max, 1 << 40);
        let bytes_max = within("bytes_max", limits.bytes_max, 1 << 50);
        let document_bytes_max =
            within("document_bytes_max", limits.document_bytes_max, bound(settings.document_bytes_max));
        let retention_max_us = bound(TTL_MS_MAX).saturating_mul(1_000);
        let retention = limits.tombstone_retention;
        let tombstone_retention_us =
            retention.map(|kept| self.duration_us("limits.tombstone_retention", &kept, 1, retention_max_us));
        Limits { records_max, bytes_max, document_bytes_max, tombstone_retention_us }
    }

    fn schema(&mut self, schema_json: String) -> String {
        let max = self.settings.schema_bytes_max;
        if schema_json.len() as u64 > max {
            self.text("schema_json", &schema_json, 0, max, "records.schema_bytes_max");
        } else if !schema_json.is_empty()
            && let Err(problem) = Schema::compile(&schema_json, Bounds::new(self.settings))
        {
            self.violations.add("schema_json", problem);
        } else if schema_json.contains('\0') {
            // PostgreSQL's text cannot store it.
            self.violations.add("schema_json", "must not contain the character U+0000");
        }
        schema_json
    }

    fn indexes(&mut self, field: &str, indexes: Vec<pb::Index>) -> Vec<String> {
        let max = self.settings.indexes_max;
        if indexes.len() as u64 > max {
            let message = format!("must be at most {max} (records.indexes_max), are {}", indexes.len());
            self.violations.add(field, message);
            return Vec::new();
        }
        let mut paths = Vec::with_capacity(indexes.len());
        for (place, index) in indexes.iter().enumerate() {
            let field = || format!("{field}[{place}].path");
            // In one spelling, whatever was given.
            match Path::parse(&index.path).map(|path| path.to_string()) {
                Err(fault) => self.violations.add(field(), fault.to_string()),
                Ok(path) if paths.contains(&path) => self.violations.add(field(), "is there twice"),
                Ok(path) => paths.push(path),
            }
        }
        paths
    }
}

/// A collection as the wire has it.
pub(in super::super) fn collection(declared: Declared) -> pb::Collection {
    let Declared { collection, schema_json, indexes } = declared;
    let index = |index: crate::services::records::domain::Index| {
        let state = if index.is_ready { pb::IndexState::Ready } else { pb::IndexState::Building };
        pb::Index { path: index.path, state: state.into() }
    };
    pb::Collection {
        name: collection.name,
        revision: collection.revision,
        limits: Some(pb::CollectionLimits {
            records_max: collection.limits.records_max,
            bytes_max: collection.limits.bytes_max,
            document_bytes_max: collection.limits.document_bytes_max,
            tombstone_retention: collection.limits.tombstone_retention_us.map(duration),
        }),
        schema_json,
        indexes: indexes.into_iter().map(index).collect(),
        record_count: collection.record_count,
        tombstone_count: collection.tombstone_count,
        size_bytes: collection.size_bytes,
        create_time: Some(timestamp(collection.create_us)),
        update_time: Some(timestamp(collection.update_us)),
    }
}
