//! Machine configuration: parse, validate, generate.
#![forbid(unsafe_code)]

/// A parsed machine configuration.
#[derive(Clone, Debug, Default)]
pub struct Config {}
