//! Other processes that read the database: they hold locks on the WAL's index, which Linux lists in /proc/locks.

use std::path::Path;

/// Bytes of the index that readers lock: 120 (`UNIX_SHM_BASE`) + 3 (`WAL_READ_LOCK`) and the four behind it.
#[cfg(target_os = "linux")]
const READ_LOCKS: std::ops::RangeInclusive<u64> = 123..=127;

/// Processes that are named at most.
#[cfg(target_os = "linux")]
const NAMED_MAX: usize = 8;

/// The numbers of the processes that read through the index at `shm`, without this one. Empty where the system does not tell.
#[cfg(target_os = "linux")]
pub(super) fn others(shm: &Path) -> Vec<u32> {
    use std::os::unix::fs::MetadataExt as _;

    let Ok(metadata) = std::fs::metadata(shm) else { return Vec::new() };
    let locks = std::fs::read_to_string("/proc/locks").unwrap_or_default();
    let mut found: Vec<u32> = locks.lines().filter_map(|line| reader(line, metadata.ino())).collect();
    found.sort_unstable();
    found.dedup();
    found.retain(|process| *process != std::process::id());
    found.truncate(NAMED_MAX);
    found
}

#[cfg(not(target_os = "linux"))]
pub(super) fn others(_shm: &Path) -> Vec<u32> {
    Vec::new()
}

/// The process of a line such as `7: POSIX  ADVISORY  READ 4711 fd:01:131087 124 124`, if that is a lock of a reader of the file.
#[cfg(target_os = "linux")]
fn reader(line: &str, inode: u64) -> Option<u32> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let [_, _, _, "READ", process, file, first, last] = fields[..] else { return None };
    let (first, last) = (first.parse::<u64>().ok()?, last.parse::<u64>().unwrap_or(u64::MAX));
    let is_of_file = file.rsplit(':').next()?.parse::<u64>().ok() == Some(inode);
    let is_of_reader = first <= *READ_LOCKS.end() && last >= *READ_LOCKS.start();
    process.parse().ok().filter(|_| is_of_file && is_of_reader)
}

/// `process 4711 (sqlite3), process 4712 (python3)`; none for no processes.
pub(super) fn named(processes: &[u32]) -> Option<String> {
    let name = |process: &u32| match std::fs::read_to_string(format!("/proc/{process}/comm")) {
        Ok(name) => format!("process {process} ({})", name.trim()),
        Err(_) => format!("process {process}"),
    };
    (!processes.is_empty()).then(|| processes.iter().map(name).collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::*;

    #[test]
    fn the_locks_of_readers_are_told_from_others() {
        assert_eq!(reader("7: POSIX  ADVISORY  READ  4711 fd:01:131087 124 124", 131_087), Some(4_711));
        assert_eq!(reader("7: POSIX  ADVISORY  READ  4711 fd:01:131087 123 EOF", 131_087), Some(4_711));
        for other in [
            "7: POSIX  ADVISORY  WRITE 4711 fd:01:131087 120 120",
            "7: POSIX  ADVISORY  READ  4711 fd:01:131087 128 128",
            "7: POSIX  ADVISORY  READ  4711 fd:01:131088 124 124",
            "7: -> POSIX  ADVISORY  READ  4711 fd:01:131087 124 124",
            "",
        ] {
            assert_eq!(reader(other, 131_087), None, "{other}");
        }
    }

    #[test]
    fn a_process_is_named_by_its_number_and_program() {
        let own = std::process::id();
        assert!(named(&[own]).unwrap().starts_with(&format!("process {own} (")));
        assert_eq!(named(&[]), None);
    }
}
