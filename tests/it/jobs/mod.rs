//! The jobs service.

mod calls;
mod life;
mod progress;
mod results;
mod transitions;
