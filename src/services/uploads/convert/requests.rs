//! Requests to domain types, with all that is wrong told at once.

use pannier_proto::uploads::v1 as pb;
use prost_types::Duration;
use uuid::Uuid;

use super::super::domain::{COUNT_MAX, RetryPolicy, Status};
use super::super::file::{File, NewFile, SIZE_BYTES_MAX, Sent, Sha256};
use crate::batch::{Batch, Failing};
use crate::clock::ms_to_us;
use crate::settings::{TTL_MS_MAX, UploadsSettings};

const MIME_TYPE_BYTES_MAX: u64 = 255;
const SERVICE_FILE_ID_BYTES_MAX: u64 = 1_024;
const ERROR_TYPE_BYTES_MAX: u64 = 128;

/// Types that a policy of retries may name.
const POLICY_TYPES_MAX: u64 = 100;

/// Attempts that a policy of retries may allow.
const ATTEMPTS_MAX: i32 = 1_000;

/// Requests of the uploads, checked against their settings.
pub type Parser<'s> = crate::convert::Parser<'s, UploadsSettings>;

impl Parser<'_> {
    /// Checks that a service is one of the settings'.
    pub(in super::super) fn service(&mut self, field: &dyn Fn() -> String, service: &str) {
        if !self.settings.services().any(|known| known == service) {
            let known: Vec<&str> = self.settings.services().collect();
            let message = format!("must be one of {} (uploads.services)", known.join(", "));
            self.violations.add(field(), message);
        }
    }

    /// A hash; zeros where it is wrong.
    pub(in super::super) fn sha256(&mut self, field: &dyn Fn() -> String, text: &str) -> Sha256 {
        Sha256::parse(text).unwrap_or_else(|| {
            let message = match text.chars().count() {
                64 => "must be 64 hexadecimal digits, has other characters".to_owned(),
                count => format!("must be 64 hexadecimal digits, has {count} characters"),
            };
            self.violations.add(field(), message);
            Sha256([0; 32])
        })
    }

    /// The hashes of a call. An item that is wrong names no field: the item itself is wrong.
    pub(in super::super) fn hashes(
        &mut self,
        texts: Vec<String>,
        limit: (u64, &str),
        failing: Failing,
    ) -> Batch<Sha256> {
        self.items("sha256", texts, limit, failing, |parser, text| parser.sha256(&String::new, &text))
    }

    /// The hashes of a call that reserves or forgets.
    pub(in super::super) fn changed_hashes(&mut self, texts: Vec<String>, failing: Failing) -> Batch<Sha256> {
        let limit = (self.settings.batch_files_max, "uploads.batch_files_max");
        self.hashes(texts, limit, failing)
    }

    /// The id of a session: the caller's own text.
    pub(in super::super) fn session_id(&mut self, id: String) -> String {
        self.a_session_id("session_id", &id, 1);
        id
    }

    /// The same, or none for an empty text.
    pub(in super::super) fn optional_session_id(&mut self, id: String) -> Option<String> {
        self.a_session_id("session_id", &id, 0);
        Some(id).filter(|id| !id.is_empty())
    }

    fn a_session_id(&mut self, field: &str, id: &str, min: u64) {
        self.text(field, id, min, self.settings.session_id_bytes_max, "uploads.session_id_bytes_max");
    }

    /// A status that is none of the unknown, if one is given.
    pub(in super::super) fn status(&mut self, field: &str, value: i32) -> Option<Status> {
        use pb::UploadSessionStatus as S;
        match S::try_from(value) {
            Ok(S::Unspecified) => None,
            Ok(S::Running) => Some(Status::Running),
            Ok(S::Paused) => Some(Status::Paused),
            Ok(S::Completed) => Some(Status::Completed),
            Ok(S::Failed) => Some(Status::Failed),
            Err(_) => {
                self.violations.add(field, format!("{value} is no UploadSessionStatus"));
                None
            }
        }
    }

    /// Checks what a source is called.
    pub(in super::super) fn source(&mut self, field: &dyn Fn() -> String, source: &str, min: u64) {
        self.short(field, source, min, self.settings.source_bytes_max, "uploads.source_bytes_max");
    }

    /// Checks what people call a session.
    pub(in super::super) fn session_name(&mut self, name: &str) {
        self.text("name", name, 0, self.settings.name_bytes_max, "uploads.name_bytes_max");
    }

    /// Checks how many files a session has.
    pub(in super::super) fn total(&mut self, total: Option<i64>) -> Option<i64> {
        if let Some(total) = total.filter(|total| !(0..=COUNT_MAX).contains(total)) {
            self.violations.add("total_count", format!("must be 0 to {COUNT_MAX}, is {total}"));
        }
        total
    }

    pub(in super::super) fn metadata(&mut self, text: &str) {
        if !text.is_empty() {
            let max = self.settings.metadata_bytes_max;
            self.json_object(&|| "metadata_json".to_owned(), text, max, "uploads.metadata_bytes_max");
        }
    }

    /// Checks where a session is to be resumed.
    pub(in super::super) fn resume_at(&mut self, path: Option<&str>) {
        if let Some(path) = path {
            self.path(&|| "last_processed_file".to_owned(), path, 0);
        }
    }

    /// Checks a path.
    pub(in super::super) fn path(&mut self, field: &dyn Fn() -> String, path: &str, min: u64) {
        self.short(field, path, min, self.settings.path_bytes_max, "uploads.path_bytes_max");
    }

    /// Checks the kind of an error.
    pub(in super::super) fn error_type(&mut self, field: &dyn Fn() -> String, text: &str, min: u64) {
        self.short(field, text, min, ERROR_TYPE_BYTES_MAX, "");
    }

    /// A file to register; its fields are named relative to it.
    pub(in super::super) fn new_file(&mut self, new: pb::NewFile, now_us: i64) -> NewFile {
        let at = &|name: &str| name.to_owned();
        self.service(&|| at("service"), &new.service);
        let hash = self.sha256(&|| at("sha256"), &new.sha256);
        self.path(&|| at("path"), &new.path, 1);
        self.path(&|| at("name"), &new.name, 0);
        if !(0..=SIZE_BYTES_MAX).contains(&new.size_bytes) {
            let message = format!("must be 0 to {SIZE_BYTES_MAX}, is {}", new.size_bytes);
            self.violations.add(at("size_bytes"), message);
        }
        self.short(&|| at("mime_type"), &new.mime_type, 0, MIME_TYPE_BYTES_MAX, "");
        self.short(&|| at("service_file_id"), &new.service_file_id, 0, SERVICE_FILE_ID_BYTES_MAX, "");
        self.source(&|| at("source_id"), &new.source_id, 0);
        let upload_us = new.upload_time.map_or(now_us, |time| self.time_us(&at("upload_time"), &time));
        let sent = match new.reservation_token.as_str() {
            "" => Sent::Unreserved,
            token => Sent::Reserved(self.token(&|| at("reservation_token"), token)),
        };
        let file = File {
            service: new.service,
            hash,
            path: new.path,
            name: new.name,
            size_bytes: new.size_bytes,
            mime_type: new.mime_type,
            service_file_id: new.service_file_id,
            source_id: new.source_id,
            session_id: None,
            upload_us,
        };
        NewFile { file, sent }
    }

    /// The token of a reservation; nil where it is wrong.
    fn token(&mut self, field: &dyn Fn() -> String, text: &str) -> Uuid {
        Uuid::try_parse(text).unwrap_or_else(|_| {
            self.violations.add(field(), "must be the token of a reservation, as it was given");
            Uuid::nil()
        })
    }

    /// Reservations as their holder names them.
    pub(in super::super) fn reservations(
        &mut self,
        held: Vec<pb::HeldReservation>,
        failing: Failing,
    ) -> Batch<(Sha256, Uuid)> {
        let limit = (self.settings.batch_files_max, "uploads.batch_files_max");
        self.items("reservations", held, limit, failing, |parser, held| {
            let hash = parser.sha256(&|| "sha256".to_owned(), &held.sha256);
            (hash, parser.token(&|| "token".to_owned(), &held.token))
        })
    }

    /// How long a reservation holds.
    pub(in super::super) fn ttl_us(&mut self, ttl: Option<&Duration>) -> i64 {
        let max = ms_to_us(self.settings.reservation_ttl_ms_max);
        match ttl {
            Some(ttl) => self.duration_us("ttl", ttl, 1, max),
            None => ms_to_us(self.settings.reservation_ttl_ms),
        }
    }

    /// Which files are to be tried again, and when.
    pub(in super::super) fn policy(&mut self, policy: pb::RetryPolicy) -> RetryPolicy {
        let longest_us = ms_to_us(TTL_MS_MAX);
        let attempts_max = match policy.attempts_max {
            0 => i64::try_from(self.settings.attempts_max).unwrap_or(i64::MAX),
            attempts => i64::from(attempts),
        };
        if !(0..=ATTEMPTS_MAX).contains(&policy.attempts_max) {
            let message = format!("must be 0 to {ATTEMPTS_MAX}, is {}", policy.attempts_max);
            self.violations.add("policy.attempts_max", message);
        }
        let backoff_us = match &policy.backoff {
            Some(backoff) => self.duration_us("policy.backoff", backoff, 0, longest_us),
            None => ms_to_us(self.settings.backoff_ms),
        };
        let backoff_us_max = match &policy.backoff_max {
            Some(max) => self.duration_us("policy.backoff_max", max, 0, longest_us),
            None => ms_to_us(self.settings.backoff_ms_max),
        };
        if policy.types.len() as u64 > POLICY_TYPES_MAX {
            self.violations.add("policy.types", format!("must have at most {POLICY_TYPES_MAX} types"));
        } else {
            for (index, error_type) in policy.types.iter().enumerate() {
                self.error_type(&|| format!("policy.types[{index}]"), error_type, 1);
            }
        }
        RetryPolicy { attempts_max, backoff_us, backoff_us_max, types: policy.types }
    }

    /// The field is named only where something is wrong: a batch has thousands of texts.
    fn short(&mut self, field: &dyn Fn() -> String, text: &str, min: u64, max: u64, setting: &str) {
        if !(min..=max).contains(&(text.len() as u64)) || text.contains('\0') {
            self.text(&field(), text, min, max, setting);
        }
    }
}
