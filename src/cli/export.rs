//! `pannier export`: everything in the database, as a file that `pannier import` reads.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;

use super::ticker::Ticker;
use super::{Failure, Sources, progress, runtime};
use crate::clock::Clock;
use crate::files;
use crate::settings::StorageSettings;
use crate::storage::Storage;
use crate::storage::transfer::{self, Trailer};

#[derive(Debug, Args)]
pub(super) struct Export {
    /// The file to write, once it is whole; - is stdout.
    #[arg(value_name = "FILE", default_value = "-")]
    file: PathBuf,
    #[command(flatten)]
    sources: Sources,
}

impl Export {
    pub(super) fn run(self) -> Result<(), Failure> {
        let settings = self.sources.existing_storage()?;
        let trailer = if self.file.as_os_str() == "-" {
            export(&settings, &mut std::io::stdout().lock())?
        } else {
            let draft = Draft::create(&self.file)?;
            let trailer = export(&settings, &mut &draft.file)?;
            draft.publish()?;
            trailer
        };
        let Trailer { tables, rows, bytes } = trailer;
        progress(&format!("exported {} tables: {rows} rows, {bytes} bytes", tables.len()));
        Ok(())
    }
}

fn export(settings: &StorageSettings, out: &mut dyn Write) -> Result<Trailer, Failure> {
    runtime()?.block_on(async {
        let storage = Storage::open(settings).await?;
        let mut ticker = Ticker::new();
        let outcome = async {
            transfer::refuse_unfinished(&storage).await?;
            transfer::export(&storage, &Clock::system(), out, &mut |at| ticker.tell(at)).await
        };
        let outcome = outcome.await;
        storage.close().await;
        Ok(outcome?)
    })
}

/// A file that takes its name when it is whole and on the disk; until then it lies beside it.
struct Draft {
    file: File,
    path: PathBuf,
    target: PathBuf,
}

impl Draft {
    fn create(target: &Path) -> Result<Self, Failure> {
        if target.exists() && !target.is_file() {
            let target = target.display();
            return Err(Failure::Message(format!("{target} is no regular file: for stdout give -")));
        }
        let unwritable = |path: &Path, error: &std::io::Error| {
            Failure::Message(format!("cannot write {}: {error}", path.display()))
        };
        files::refuse_link(target).map_err(|error| unwritable(target, &error))?;
        let target = target.to_owned();
        let mut path = target.clone().into_os_string();
        path.push(".partial");
        let path = PathBuf::from(path);
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false);
        let file = files::open(&path, &mut options).map_err(|error| unwritable(&path, &error))?;
        // What an export that was killed left is written over, but not what another is writing.
        if file.try_lock().is_err() {
            let path = path.display();
            return Err(Failure::Message(format!("another export writes {path}")));
        }
        file.set_len(0).map_err(|error| unwritable(&path, &error))?;
        Ok(Self { file, path, target })
    }

    fn publish(self) -> Result<(), Failure> {
        self.file
            .sync_all()
            .and_then(|()| std::fs::rename(&self.path, &self.target))
            .map_err(|error| Failure::Message(format!("cannot write {}: {error}", self.target.display())))?;
        // The name lies in the folder, which is written by itself. Not every system opens folders.
        if let Some(Ok(folder)) = self.target.parent().map(|folder| File::open(folder.join("."))) {
            let _ = folder.sync_all();
        }
        Ok(())
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // Published, it has another name by now.
        let _ = std::fs::remove_file(&self.path);
    }
}
