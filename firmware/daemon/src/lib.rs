//! What every daemon shares: logging, error reports, task ownership, shutdown.
