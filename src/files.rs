//! Files for their owner only, and never through a symbolic link.
//!
//! Modes: 0600 for files, 0700 for directories. A directory that exists already keeps its mode.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions};
use std::io;
use std::path::Path;

/// Which file a path leads to: device and inode. Equal on systems that have neither.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity(u64, u64);

/// Makes a directory and its parents.
pub fn create_directories(path: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    system::make_private(&mut builder);
    builder.create(path)
}

/// Makes a directory. Error: it exists.
pub fn create_directory(path: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    system::make_private(&mut builder);
    builder.create(path)
}

/// Opens a file and narrows its mode. Error: the path is a symbolic link or no regular file.
pub fn open(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    refuse_link(path)?;
    let file = system::without_links(options).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    system::narrow(&file, &metadata)?;
    Ok(file)
}

/// Error: the path is a symbolic link. A path without a file is none.
pub fn refuse_link(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.file_type().is_symlink() => {
            Err(io::Error::other("it is a symbolic link: give the path that it leads to"))
        }
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The file at a path; none without one.
pub fn identity(path: &Path) -> Option<Identity> {
    fs::symlink_metadata(path).ok().map(|metadata| system::identity(&metadata))
}

/// Whether the file at a path belongs to this process's user. Links are not followed.
pub fn is_own(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| system::is_own(&metadata))
}

/// Whether a path is a directory of this process's user, and no link to one.
pub fn is_own_directory(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir() && system::is_own(&metadata))
}

/// Whether a lock file is there and no process holds it.
pub fn lock_is_free(path: &Path) -> bool {
    refuse_link(path).is_ok() && File::open(path).is_ok_and(|file| file.try_lock_shared().is_ok())
}

#[cfg(unix)]
mod system {
    use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};

    use super::{DirBuilder, File, Identity, Metadata, OpenOptions, fs, io};

    pub(super) fn make_private(builder: &mut DirBuilder) {
        builder.mode(0o700);
    }

    pub(super) fn without_links(options: &mut OpenOptions) -> &mut OpenOptions {
        let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::CLOEXEC;
        options.mode(0o600).custom_flags(flags.bits().cast_signed())
    }

    pub(super) fn narrow(file: &File, metadata: &Metadata) -> io::Result<()> {
        if metadata.mode() & 0o077 == 0 || !is_own(metadata) {
            return Ok(());
        }
        file.set_permissions(fs::Permissions::from_mode(0o600))
    }

    pub(super) fn identity(metadata: &Metadata) -> Identity {
        Identity(metadata.dev(), metadata.ino())
    }

    /// Where the system does not tell the process's user, removing what is another's fails by itself.
    pub(super) fn is_own(metadata: &Metadata) -> bool {
        fs::metadata("/proc/self").map_or(true, |process| process.uid() == metadata.uid())
    }
}

#[cfg(not(unix))]
mod system {
    use super::{DirBuilder, File, Identity, Metadata, OpenOptions, io};

    pub(super) fn make_private(_builder: &mut DirBuilder) {}

    pub(super) fn without_links(options: &mut OpenOptions) -> &mut OpenOptions {
        options
    }

    pub(super) fn narrow(_file: &File, _metadata: &Metadata) -> io::Result<()> {
        Ok(())
    }

    pub(super) fn identity(_metadata: &Metadata) -> Identity {
        Identity(0, 0)
    }

    pub(super) fn is_own(_metadata: &Metadata) -> bool {
        true
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn files_and_directories_are_their_owners_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b");
        create_directories(&path).unwrap();
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o700, 0o700));
        assert!(create_directory(&path).is_err(), "it exists");

        let file = path.join("file");
        fs::write(&file, b"x").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        open(&file, OpenOptions::new().read(true)).unwrap();
        assert_eq!(mode(&file), 0o600);
        let made = path.join("made");
        open(&made, OpenOptions::new().write(true).create(true).truncate(false)).unwrap();
        assert_eq!(mode(&made), 0o600);
    }

    #[test]
    fn a_symbolic_link_is_refused_and_what_it_leads_to_stays() {
        let folder = tempfile::tempdir().unwrap();
        let (target, link) = (folder.path().join("target"), folder.path().join("link"));
        std::os::unix::fs::symlink(&target, &link).unwrap();
        let refused = open(&link, OpenOptions::new().write(true).create(true).truncate(false));
        assert!(refused.unwrap_err().to_string().contains("symbolic link"));
        assert!(!target.exists(), "a link to nothing makes no file");
        assert!(open(folder.path(), OpenOptions::new().read(true)).is_err(), "a directory is no file");
    }
}
