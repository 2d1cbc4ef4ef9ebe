//! The API on the wire: protobuf messages, services and clients.
