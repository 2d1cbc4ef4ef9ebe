//! What can go wrong, each with the object it went wrong on.

/// An error of this crate. Messages never carry key material.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Text that should be PEM is not.
    #[error("{what} is not valid PEM")]
    Pem {
        /// Which text.
        what: &'static str,
        /// What the PEM reader says.
        #[source]
        source: pem::PemError,
    },
    /// A PEM text without the block that was looked for.
    #[error("{what} holds no {wanted} block")]
    MissingBlock {
        /// Which text.
        what: &'static str,
        /// The block looked for.
        wanted: &'static str,
    },
    /// A PEM text whose certificates cannot be read.
    #[error("the certificate chain is not readable")]
    Chain(#[source] std::io::Error),
    /// A private key of a form or kind that is not supported.
    #[error("the private key is not supported: {0}")]
    Key(&'static str),
    /// A certificate that is not X.509.
    #[error("the certificate is not valid X.509")]
    Certificate(#[source] x509_parser::error::X509Error),
    /// A request for a certificate that asks for what is not given.
    #[error("the certificate request cannot be granted: {0}")]
    Request(&'static str),
    /// A server's certificate that is not to be trusted.
    #[error("the server's certificate is not usable: {0}")]
    Untrusted(&'static str),
    /// A certificate authority whose key and certificate do not belong together.
    #[error("the private key does not belong to the certificate")]
    KeyMismatch,
    /// The certificate library refused.
    #[error("{doing} failed")]
    Issue {
        /// What was being done.
        doing: &'static str,
        /// Why.
        #[source]
        source: rcgen::Error,
    },
    /// A name that a certificate cannot carry.
    #[error("{name:?} cannot be put into a certificate as a DNS name")]
    Name {
        /// The name.
        name: String,
        /// Why.
        #[source]
        source: rcgen::Error,
    },
    /// Base64 text that is not.
    #[error("{what} is not valid base64")]
    Base64 {
        /// Which value.
        what: String,
        /// Why.
        #[source]
        source: base64::DecodeError,
    },
    /// Base64 that does not hold text.
    #[error("{what} does not hold text")]
    NotText {
        /// Which value.
        what: String,
    },
    /// The system's random generator failed.
    #[error("the system gave no random bytes")]
    Random,
    /// A YAML file that does not have the expected form.
    #[error("the {what} is not valid")]
    Yaml {
        /// Which file.
        what: &'static str,
        /// Line, column and reason.
        #[source]
        source: serde_yaml::Error,
    },
    /// The talosconfig has no such context.
    #[error("the talosconfig has no context {name:?} (it has: {known})")]
    NoContext {
        /// The context asked for.
        name: String,
        /// Those that are there.
        known: String,
    },
    /// The talosconfig names no context and none was asked for.
    #[error("the talosconfig names no current context (choose one with `config context NAME`)")]
    NoCurrentContext,
    /// A talosconfig context without client certificates.
    #[error("context {name:?} has no {missing}")]
    Incomplete {
        /// The context.
        name: String,
        /// `ca`, `crt` or `key`.
        missing: &'static str,
    },
}
