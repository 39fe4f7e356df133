//! The server around all services: what it admits, what it holds, what it sends.

mod admission;
mod answers;
