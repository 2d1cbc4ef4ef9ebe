//! Certificates, the secrets bundle and the talosconfig.
