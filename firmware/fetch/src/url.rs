//! What can be asked for. Pure.

use std::fmt;

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderValue, Uri, uri::PathAndQuery};

/// Longest URL, bytes.
const LONGEST: usize = 8192;

/// Why a text is no URL that can be asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Too long.
    #[error("a URL has at most {LONGEST} bytes")]
    TooLong,
    /// Bytes that belong into no URL.
    #[error("it is not plain ASCII")]
    NotAscii,
    /// Not of the form of one.
    #[error("it is not of the form http://HOST/PATH")]
    Form,
    /// Something else than HTTP.
    #[error("only http and https are spoken")]
    Scheme,
}

/// An address of a document on an HTTP server. `Display` and `Debug` leave out passwords and queries, which may hold secrets.
#[derive(Clone, PartialEq, Eq)]
pub struct Url {
    https: bool,
    /// Without brackets.
    host: String,
    port: u16,
    /// `user:password`, percent signs resolved; empty when there are none.
    user: String,
    target: PathAndQuery,
}

impl Url {
    /// Reads a URL.
    ///
    /// # Errors
    /// [`UrlError`].
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        if text.len() > LONGEST {
            return Err(UrlError::TooLong);
        }
        if !text.is_ascii() {
            return Err(UrlError::NotAscii);
        }
        let uri: Uri = text.parse().map_err(|_| UrlError::Form)?;
        let https = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            Some(_) => return Err(UrlError::Scheme),
            None => return Err(UrlError::Form),
        };
        let authority = uri.authority().ok_or(UrlError::Form)?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() {
            return Err(UrlError::Form);
        }
        // A port that is none must not become the usual one.
        let (user, rest) = authority.as_str().rsplit_once('@').unwrap_or(("", authority.as_str()));
        let given = rest.rsplit_once(':').filter(|(before, _)| !before.starts_with('[') || before.ends_with(']')).map(|(_, port)| port);
        let port = match given {
            Some("") | None => {
                if https {
                    443
                } else {
                    80
                }
            }
            Some(port) => port.parse().ok().filter(|port| *port > 0).ok_or(UrlError::Form)?,
        };
        let target = uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
        Ok(Self { https, host: host.to_owned(), port, user: unescaped(user)?, target })
    }

    /// Where a `Location` leads from here (RFC 3986, section 5.2).
    ///
    /// # Errors
    /// [`UrlError`].
    pub fn join(&self, location: &str) -> Result<Self, UrlError> {
        let location = location.split('#').next().unwrap_or_default();
        let before_path = location.split(['/', '?']).next().unwrap_or_default();
        let scheme = if self.https { "https" } else { "http" };
        if before_path.ends_with(':') && location.contains("://") {
            return self.with_own_user(Self::parse(location)?);
        }
        if before_path.contains(':') {
            return Err(UrlError::Scheme);
        }
        if location.starts_with("//") {
            return self.with_own_user(Self::parse(&format!("{scheme}:{location}"))?);
        }
        let path = self.target.path();
        let joined = if location.starts_with('/') {
            location.to_owned()
        } else if location.is_empty() {
            self.target.as_str().to_owned()
        } else if location.starts_with('?') {
            format!("{path}{location}")
        } else {
            let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
            format!("{folder}/{location}")
        };
        let (path, query) = joined.split_once('?').map_or((joined.as_str(), None), |(path, query)| (path, Some(query)));
        let mut target = without_dots(path);
        if let Some(query) = query {
            target.push('?');
            target.push_str(query);
        }
        if target.len() > LONGEST {
            return Err(UrlError::TooLong);
        }
        Ok(Self { target: target.parse().map_err(|_| UrlError::Form)?, ..self.clone() })
    }

    /// The same with something behind its path: a file below a URL that is a folder.
    ///
    /// # Errors
    /// [`UrlError`].
    pub fn below(&self, name: &str) -> Result<Self, UrlError> {
        let path = self.target.path();
        let slash = if path.ends_with('/') { "" } else { "/" };
        self.join(&format!("{path}{slash}{name}"))
    }

    /// Name and password go on to the same server only.
    fn with_own_user(&self, mut other: Self) -> Result<Self, UrlError> {
        if other.user.is_empty() && (other.https, &other.host, other.port) == (self.https, &self.host, self.port) {
            other.user.clone_from(&self.user);
        }
        Ok(other)
    }

    /// Whether it is asked over TLS.
    #[must_use]
    pub const fn is_https(&self) -> bool {
        self.https
    }

    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    /// What the request line says.
    pub(crate) fn target(&self) -> Uri {
        Uri::from(self.target.clone())
    }

    pub(crate) fn host_header(&self) -> HeaderValue {
        // Both parts were of a URL, which is stricter.
        HeaderValue::from_str(&self.origin()).unwrap_or_else(|_| HeaderValue::from_static(""))
    }

    pub(crate) fn authorization(&self) -> Option<HeaderValue> {
        if self.user.is_empty() {
            return None;
        }
        let mut value = HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(&self.user))).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    /// Host, and port when it is not the usual one.
    fn origin(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        match (self.https, self.port) {
            (true, 443) | (false, 80) => host,
            (_, port) => format!("{host}:{port}"),
        }
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, user) = (if self.https { "https" } else { "http" }, if self.user.is_empty() { "" } else { "***@" });
        let query = if self.target.query().is_some() { "?..." } else { "" };
        write!(f, "{scheme}://{user}{}{}{query}", self.origin(), self.target.path())
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Url({self})")
    }
}

/// Removes `.` and `..` (RFC 3986, section 5.2.4).
fn without_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut ends_in_folder = false;
    for part in path.split('/').skip(1) {
        ends_in_folder = matches!(part, "." | ".." | "");
        match part {
            "." => {}
            ".." => {
                kept.pop();
            }
            part => kept.push(part),
        }
    }
    if ends_in_folder && kept.last().is_none_or(|last| !last.is_empty()) {
        kept.push("");
    }
    format!("/{}", kept.join("/"))
}

fn unescaped(text: &str) -> Result<String, UrlError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || rest.next().and_then(|digit| char::from(digit).to_digit(16));
        let (Some(high), Some(low)) = (digit(), digit()) else { return Err(UrlError::Form) };
        bytes.push(u8::try_from(high << 4 | low).unwrap_or_default());
    }
    String::from_utf8(bytes).map_err(|_| UrlError::NotAscii)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(text: &str, host: &str, port: u16, target: &str, shown: &str) {
        let url = Url::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!((url.host(), url.port(), url.target().to_string().as_str(), url.to_string().as_str()), (host, port, target, shown));
    }

    #[test]
    fn urls() {
        check("http://a.example", "a.example", 80, "/", "http://a.example/");
        check("https://a.example:8443/x/y?b=c#d", "a.example", 8443, "/x/y?b=c", "https://a.example:8443/x/y?...");
        check("https://[2001:db8::1]/", "2001:db8::1", 443, "/", "https://[2001:db8::1]/");
        check("http://[2001:db8::1]:81/", "2001:db8::1", 81, "/", "http://[2001:db8::1]:81/");
        check("http://u:p%40@a/", "a", 80, "/", "http://***@a/");
        let url = Url::parse("http://u:p%40@a/").unwrap();
        assert_eq!(url.authorization().unwrap(), "Basic dTpwQA==");
        for (text, wanted) in [
            ("ftp://a/", UrlError::Scheme),
            ("a.example", UrlError::Form),
            ("/x", UrlError::Form),
            ("http://", UrlError::Form),
            ("http://a:99999/", UrlError::Form),
            ("http://a:0/", UrlError::Form),
            ("http://a b/", UrlError::Form),
            ("http://ä/", UrlError::NotAscii),
            ("http://u:%zz@a/", UrlError::Form),
        ] {
            assert_eq!(Url::parse(text), Err(wanted), "{text}");
        }
        assert_eq!(Url::parse(&format!("http://a/{}", "b".repeat(LONGEST))), Err(UrlError::TooLong));
    }

    #[track_caller]
    fn leads(location: &str, wanted: &str) {
        let url = Url::parse("http://u:p@a:81/b/c/d?q=1").unwrap();
        let found = url.join(location).map(|url| format!("{}{}", url.origin(), url.target()));
        assert_eq!(found.as_deref(), Ok(wanted), "{location}");
    }

    #[test]
    fn locations() {
        leads("https://other/x", "other/x");
        leads("//other/x?y", "other/x?y");
        leads("/x", "a:81/x");
        leads("x", "a:81/b/c/x");
        leads("./x/../y/", "a:81/b/c/y/");
        leads("../../../x", "a:81/x");
        leads("..", "a:81/b/");
        leads("?z=2", "a:81/b/c/d?z=2");
        leads("", "a:81/b/c/d?q=1");
        leads("x?u=http://z/", "a:81/b/c/x?u=http://z/");
        let url = Url::parse("http://u:p@a:81/b").unwrap();
        assert_eq!(url.join("ftp://x/"), Err(UrlError::Scheme));
        assert_eq!(url.join("javascript:1"), Err(UrlError::Scheme));
        let known = |location: &str| url.join(location).unwrap().authorization().is_some();
        assert!(known("/x") && known("http://a:81/x") && !known("http://a/x") && !known("https://a:81/") && !known("//b:81/"));
        let folder = |text: &str| Url::parse(text).unwrap().below("meta-data").unwrap().target().to_string();
        assert_eq!(
            (folder("http://a"), folder("http://a/b"), folder("http://a/b/?c")),
            ("/meta-data".into(), "/b/meta-data".into(), "/b/meta-data".into())
        );
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in "(https?://)?\\PC{0,60}", location in "\\PC{0,60}") {
            if let Ok(url) = Url::parse(&text) {
                let _ = (url.join(&location), url.below("x"), url.authorization());
                let shown = url.to_string();
                prop_assert!(shown.starts_with("http"));
            }
        }

        #[test]
        fn dots_are_gone(path in "(/[.a]{0,3}){1,6}") {
            let clean = without_dots(&path);
            prop_assert!(clean.starts_with('/') && clean.split('/').all(|part| part != "." && part != ".."), "{} {}", path, clean);
        }
    }
}
