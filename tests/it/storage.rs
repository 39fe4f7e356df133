//! The engine, through the API.
