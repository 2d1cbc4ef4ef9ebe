//! The API gateway: mTLS on port 50000, forwarded to machined.
