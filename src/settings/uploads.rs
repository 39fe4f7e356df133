//! `[uploads]`: limits, services and the policy of retries.

use serde::{Deserialize, Serialize};

use super::within;

/// Limits, services and the policy of retries.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UploadsSettings {
    /// The services that files are uploaded to, by their names, with commas between them. Files of one that is taken out stay.
    pub services: String,
    /// Bytes of the longest id that a caller may give to a session.
    pub session_id_bytes_max: u64,
    /// Bytes of the longest path, and of the longest name of a file.
    pub path_bytes_max: u64,
    /// Bytes of the longest name of a session.
    pub name_bytes_max: u64,
    /// Bytes of the longest id of a source.
    pub source_bytes_max: u64,
    /// Bytes of the largest metadata of a session.
    pub metadata_bytes_max: u64,
    /// Hashes of one CheckFiles.
    pub check_hashes_max: u64,
    /// Files of one call that registers, reserves or forgets.
    pub batch_files_max: u64,
    /// Sources, ever.
    pub sources_max: u64,
    /// MIME types, ever.
    pub mime_types_max: u64,
    /// How long a reservation holds when the caller does not say.
    pub reservation_ttl_ms: u64,
    /// The longest reservation.
    pub reservation_ttl_ms_max: u64,
    /// How often a file is tried when the caller does not say.
    pub attempts_max: u64,
    /// How long after its first failure a file is tried again when the caller does not say.
    pub backoff_ms: u64,
    /// The longest such time when the caller does not say.
    pub backoff_ms_max: u64,
    /// Files that one Stats reads.
    pub stats_files_max: u64,
    /// Sessions that one Stats reads.
    pub stats_sessions_max: u64,
    /// Exports at once; further ones are refused with OVERLOADED.
    pub exports_max: u64,
    /// Bytes of the files in one message of an export; an eighth of `server.message_bytes_max` bounds them as well.
    pub index_bytes_max: u64,
    /// Lines of an import that are refused and told one by one; further ones are counted only.
    pub import_errors_max: u64,
    /// Lines that an import stores in one transaction.
    pub import_lines_max: u64,
    /// How often reservations that ran out, and what is left of deleted sessions, are removed.
    pub sweep_ms: u64,
}

impl Default for UploadsSettings {
    fn default() -> Self {
        Self {
            services: "photos,drive".into(),
            session_id_bytes_max: 256,
            path_bytes_max: 4_096,
            name_bytes_max: 1_024,
            source_bytes_max: 256,
            metadata_bytes_max: 64 * 1024,
            check_hashes_max: 10_000,
            batch_files_max: 5_000,
            sources_max: 100_000,
            mime_types_max: 10_000,
            reservation_ttl_ms: 5 * 60 * 1_000,
            reservation_ttl_ms_max: 60 * 60 * 1_000,
            attempts_max: 5,
            backoff_ms: 10_000,
            backoff_ms_max: 60 * 60 * 1_000,
            stats_files_max: 1_000_000,
            stats_sessions_max: 100_000,
            exports_max: 16,
            index_bytes_max: 256 * 1024,
            import_errors_max: 100,
            import_lines_max: 1_000,
            sweep_ms: 5_000,
        }
    }
}

impl UploadsSettings {
    /// The services' names.
    pub fn services(&self) -> impl Iterator<Item = &str> {
        self.services.split(',').map(str::trim)
    }

    /// Half of `message_bytes_max` is what the rows of a page may take, and one row must fit.
    pub(super) fn check(&self, found: &mut Vec<(&'static str, String)>, message_bytes_max: u64) {
        self.check_services(found);
        // What an index entry of PostgreSQL can hold.
        within(found, "uploads.session_id_bytes_max", self.session_id_bytes_max, 36..=1_024);
        within(found, "uploads.path_bytes_max", self.path_bytes_max, 1..=8_192);
        within(found, "uploads.name_bytes_max", self.name_bytes_max, 0..=16_384);
        within(found, "uploads.source_bytes_max", self.source_bytes_max, 1..=2_048);
        within(found, "uploads.metadata_bytes_max", self.metadata_bytes_max, 2..=message_bytes_max / 2);
        within(found, "uploads.check_hashes_max", self.check_hashes_max, 1..=100_000);
        within(found, "uploads.batch_files_max", self.batch_files_max, 1..=100_000);
        within(found, "uploads.sources_max", self.sources_max, 1..=1_000_000);
        within(found, "uploads.mime_types_max", self.mime_types_max, 1..=100_000);
        within(
            found,
            "uploads.reservation_ttl_ms_max",
            self.reservation_ttl_ms_max,
            1..=7 * 24 * 60 * 60 * 1_000,
        );
        within(
            found,
            "uploads.reservation_ttl_ms",
            self.reservation_ttl_ms,
            1..=self.reservation_ttl_ms_max.max(1),
        );
        within(found, "uploads.attempts_max", self.attempts_max, 1..=1_000);
        within(found, "uploads.backoff_ms_max", self.backoff_ms_max, 1..=super::TTL_MS_MAX);
        within(found, "uploads.backoff_ms", self.backoff_ms, 1..=self.backoff_ms_max.max(1));
        // A million files of 2^43 bytes each are a sum that an integer holds.
        within(found, "uploads.stats_files_max", self.stats_files_max, 1..=1_000_000);
        within(found, "uploads.stats_sessions_max", self.stats_sessions_max, 1..=1_000_000);
        within(found, "uploads.exports_max", self.exports_max, 0..=1_024);
        // JSON may take six characters for one.
        within(found, "uploads.index_bytes_max", self.index_bytes_max, 1..=1 << 27);
        within(found, "uploads.import_errors_max", self.import_errors_max, 0..=10_000);
        within(found, "uploads.import_lines_max", self.import_lines_max, 1..=100_000);
        within(found, "uploads.sweep_ms", self.sweep_ms, 10..=3_600_000);
    }

    fn check_services(&self, found: &mut Vec<(&'static str, String)>) {
        const SERVICES_MAX: usize = 64;
        const NAME_BYTES_MAX: usize = 64;
        let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-');
        let is_name = |name: &str| (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(allowed);
        let names: Vec<&str> = self.services().collect();
        if names.len() > SERVICES_MAX || !names.iter().all(|name| is_name(name)) {
            let message = format!(
                "must be 1 to {SERVICES_MAX} names with commas between them, each 1 to {NAME_BYTES_MAX} of a-z, 0-9, '.', '_' and '-'"
            );
            found.push(("uploads.services", message));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Settings;
    use super::*;

    #[test]
    fn services_are_names_with_commas_between_them() {
        let wrong = |services: &str| {
            let settings = UploadsSettings { services: services.into(), ..Default::default() };
            let mut found = Vec::new();
            settings.check(&mut found, Settings::default().server.message_bytes_max);
            found.into_iter().map(|(setting, _)| setting).collect::<Vec<_>>()
        };
        for services in ["photos", "photos,drive", "photos, drive , s3", "a.b_c-9"] {
            assert!(wrong(services).is_empty(), "{services}");
        }
        let many = vec!["a"; 65].join(",");
        for services in ["", ",", "photos,", "Photos", "a b", "é", &"a".repeat(65), &many] {
            assert_eq!(wrong(services), ["uploads.services"], "{services}");
        }
    }
}
