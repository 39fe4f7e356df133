//! The test's side of shim.c: builds it, and steers it through the file that both know.

use std::ffi::OsString;
use std::fs::File;
use std::os::unix::fs::{FileExt as _, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::sidecar::{Launch, Place};

const SOURCE: &str = include_str!("shim.c");

/// Numbers in the control file, in the order of `struct control`.
#[derive(Clone, Copy)]
enum Field {
    Armed,
    Kinds,
    Error,
    Sticky,
    Countdown,
    Torn,
    StallMs,
    Matched,
    Failed,
    FirstKind,
    FirstFile,
    WalSyncs,
    Writes,
}

/// All of them.
const FIELDS: u64 = Field::Writes as u64 + 1;

/// `write` and its kin.
pub(crate) const WRITES: u64 = 1;
/// `fsync` and `fdatasync`.
pub(crate) const SYNCS: u64 = 2;
/// `ftruncate` and `fallocate`.
pub(crate) const RESIZES: u64 = 4;

/// What fails, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// Which calls count.
    pub(crate) kinds: u64,
    /// The errno.
    pub(crate) error: i32,
    /// Whether it goes on until it is lifted.
    pub(crate) sticky: bool,
    /// Whether half of a failing write arrives.
    pub(crate) torn: bool,
}

/// The files of the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Which {
    Database,
    Wal,
    Index,
    Other,
}

/// The first call that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Failed {
    pub(crate) kind: u64,
    pub(crate) file: Which,
}

/// The shim in the temporary folder of a test.
pub(crate) struct Shim {
    library: PathBuf,
    path: PathBuf,
    control: File,
}

impl Shim {
    /// Compiles it with the system's C compiler.
    pub(crate) fn build(place: &Place) -> Self {
        Self::build_in(&place.path(""))
    }

    /// The same in a folder.
    pub(crate) fn build_in(folder: &Path) -> Self {
        let (source, library, path) =
            (folder.join("shim.c"), folder.join("shim.so"), folder.join("shim.control"));
        std::fs::write(&source, SOURCE).expect("a source file");
        let compiled = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"])
            .args([&library, &source])
            .arg("-ldl")
            .output()
            .expect("a C compiler named cc");
        assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
        std::fs::write(&path, vec![0; FIELDS as usize * 8]).expect("a control file");
        let control = File::options().read(true).write(true).open(&path).expect("the control file");
        // A database's server runs as a user of its own.
        control.set_permissions(PermissionsExt::from_mode(0o666)).expect("its own file");
        Self { library, path, control }
    }

    /// A start of a process that has it loaded. It touches the files named pannier.db and so on.
    pub(crate) fn load_into(&self, launch: Launch) -> Launch {
        let variables = self.variables("/pannier.db");
        variables.into_iter().fold(launch, |launch, (name, value)| launch.variable(name, value))
    }

    /// The environment of a process that has it loaded. It touches the files whose path contains `marker`.
    pub(crate) fn variables(&self, marker: &str) -> [(&'static str, OsString); 3] {
        [
            ("LD_PRELOAD", self.library.clone().into()),
            ("PANNIERSHIM_CONTROL", self.path.clone().into()),
            ("PANNIERSHIM_MARKER", marker.into()),
        ]
    }

    /// Lets the call of this number fail, from 1 on; 0 only counts.
    pub(crate) fn arm(&self, plan: Plan, countdown: u64) {
        self.disarm();
        self.write(Field::Kinds, plan.kinds);
        self.write(Field::Error, plan.error as u64);
        self.write(Field::Sticky, plan.sticky.into());
        self.write(Field::Torn, plan.torn.into());
        self.write(Field::Countdown, countdown);
        for counter in [Field::Matched, Field::Failed, Field::FirstKind, Field::FirstFile] {
            self.write(counter, 0);
        }
        self.write(Field::Armed, 1);
    }

    /// Lifts the fault; the counts stay.
    pub(crate) fn disarm(&self) {
        self.write(Field::Armed, 0);
    }

    /// Makes every sync take so long.
    pub(crate) fn stall_syncs(&self, milliseconds: u64) {
        self.write(Field::StallMs, milliseconds);
    }

    /// Calls that counted since the shim was armed.
    pub(crate) fn matched(&self) -> u64 {
        self.read(Field::Matched)
    }

    /// The first call that failed since then.
    pub(crate) fn failed(&self) -> Option<Failed> {
        let file = match self.read(Field::FirstFile) {
            0 => return None,
            1 => Which::Database,
            2 => Which::Wal,
            3 => Which::Index,
            _ => Which::Other,
        };
        Some(Failed { kind: self.read(Field::FirstKind), file })
    }

    /// Syncs of the WAL so far.
    pub(crate) fn wal_syncs(&self) -> u64 {
        self.read(Field::WalSyncs)
    }

    /// Writes so far.
    pub(crate) fn writes(&self) -> u64 {
        self.read(Field::Writes)
    }

    fn write(&self, field: Field, value: u64) {
        self.control.write_all_at(&value.to_ne_bytes(), field as u64 * 8).expect("the control file");
    }

    fn read(&self, field: Field) -> u64 {
        let mut bytes = [0; 8];
        self.control.read_exact_at(&mut bytes, field as u64 * 8).expect("the control file");
        u64::from_ne_bytes(bytes)
    }
}
