//! The cache service.

mod put_get;
