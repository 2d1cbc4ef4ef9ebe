//! The API on the wire.
//!
//! - generated from `proto/`: [`common`], [`machine`], [`storage`], [`time`], [`cluster`], [`cosi`],
//!   [`inspect`], [`security`], [`google_rpc`]: messages and a client for each service; [`server`]: the services machined and trustd serve;
//! - [`methods`]: every method with its path and whether it streams, for proxies and role checks;
//! - [`raw`]: a codec that passes frames through untouched;
//! - [`orders`]: what machined tells the daemons that it starts; [`apid_config`], [`trustd_config`]: what it tells each of them;
//! - [`dnsd`]: what machined and dnsd tell each other;
//! - [`tls`]: TLS 1.3 settings and connections for both sides; [`unix`]: connections to machined's socket.
//!
//! Absent on purpose: handlers, roles and routing (machined and apid decide those), JSON forms.
#![forbid(unsafe_code)]

pub mod apid_config;
pub mod dnsd;
pub mod methods;
pub mod orders;
pub mod raw;
pub mod tls;
pub mod trustd_config;
pub mod unix;

mod generated;

pub use generated::{cluster, common, cosi, google_rpc, inspect, machine, security, server, storage, time};

/// Largest message in either direction, bytes; the clients' own limit.
pub const MAX_MESSAGE: usize = 32 * 1024 * 1024;

/// Metadata key that carries the caller's roles from apid to machined, one value a role.
pub const ROLE_KEY: &str = "talos-role";

/// machined's socket.
pub const MACHINED_SOCKET: &str = "/run/machined/machined.sock";

/// TCP port of apid.
pub const APID_PORT: u16 = 50000;

/// TCP port of trustd.
pub const TRUSTD_PORT: u16 = 50001;

/// Metadata key that carries the token of a joining node to trustd.
pub const TOKEN_KEY: &str = "token";

/// Type URL prefix of event payloads; the full message name follows (`machine.PhaseEvent`).
pub const EVENT_TYPE_PREFIX: &str = "talos/runtime/";
