//! The jobs service.

mod calls;
mod life;
