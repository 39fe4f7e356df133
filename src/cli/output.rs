//! Writes to stdout and stderr that survive a reader who has left.
//!
//! `println!` panics when the pipe is closed, and so would `pannier config print | head`.

use std::io::{ErrorKind, Write as _};

use super::Failure;

/// Prints a line of data on stdout.
pub(super) fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{text}").and_then(|()| stdout.flush()).map_err(|error| match error.kind() {
        ErrorKind::BrokenPipe => Failure::Closed,
        _ => Failure::Message(format!("cannot write to stdout: {error}")),
    })
}

/// Prints a line about the progress on stderr.
pub(super) fn progress(text: &str) {
    tell(&format!("{text}\n"));
}

/// Prints text on stderr as it is.
pub(super) fn tell(text: &str) {
    // Without a reader there is nobody to report the failure to.
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

/// Prints the error of a command on stderr, in one line.
pub(super) fn error(message: &str) {
    progress(&format!("error: {}", message.trim_end().replace('\n', " ")));
}
