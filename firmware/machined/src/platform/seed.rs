//! The machine's serial number as NoCloud uses it: `ds=nocloud-net;s=URL;h=HOST;i=ID`. Pure.

use fetch::Url;

use crate::net::cmdline::hostname;

/// Longest serial number read.
const LONGEST: usize = 4096;

/// Where a machine is described.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seed {
    /// A folder: `user-data`, `meta-data` and `network-config` are below it.
    pub url: Url,
    /// Host name, unless `meta-data` has one; empty when it is not given.
    pub hostname: String,
    /// Instance id, unless `meta-data` has one; empty when it is not given.
    pub instance_id: String,
}

/// Reads a serial number; `None` for one that is just a number, or that speaks of no URL.
///
/// # Errors
/// What is wrong with one that is meant so.
pub fn parse(serial: &str) -> Result<Option<Seed>, String> {
    let serial = serial.trim();
    let mut parts = serial.split(';');
    let network = matches!(parts.next(), Some("ds=nocloud-net" | "ds=nocloud"));
    if !network {
        return Ok(None);
    }
    if serial.len() > LONGEST {
        return Err(format!("it has more than {LONGEST} bytes"));
    }
    let (mut url, mut name, mut instance_id) = (None, String::new(), String::new());
    for part in parts.filter(|part| !part.is_empty()) {
        match part.split_once('=') {
            Some(("s" | "seedfrom", text)) => url = Some(Url::parse(text).map_err(|error| format!("s=URL: {error}"))?),
            Some(("h" | "local-hostname", text)) if hostname(text) => text.clone_into(&mut name),
            Some(("h" | "local-hostname", text)) => return Err(format!("h={text} is not a host name")),
            Some(("i" | "instance-id", text)) => text.clone_into(&mut instance_id),
            // It may hold a password in a place of its own.
            _ => return Err("a part of it is not understood (s=URL, h=HOST and i=ID are)".to_owned()),
        }
    }
    Ok(url.map(|url| Seed { url, hostname: name, instance_id }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(serial: &str, wanted: Result<Option<(&str, &str, &str)>, &str>) {
        let found = parse(serial);
        let shown =
            found.as_ref().map(|seed| seed.as_ref().map(|seed| (seed.url.to_string(), seed.hostname.as_str(), seed.instance_id.as_str())));
        match (&shown, wanted) {
            (Ok(found), Ok(wanted)) => assert_eq!(found.as_ref().map(|(url, h, i)| (url.as_str(), *h, *i)), wanted, "{serial}"),
            (Err(error), Err(wanted)) => assert!(error.contains(wanted), "{error}"),
            _ => panic!("{serial}: {shown:?}"),
        }
    }

    #[test]
    fn serial_numbers() {
        check("ds=nocloud-net;s=http://10.0.2.2:80/a/;h=n1;i=i-1\n", Ok(Some(("http://10.0.2.2/a/", "n1", "i-1"))));
        check("ds=nocloud;s=https://x", Ok(Some(("https://x/", "", ""))));
        check("ds=nocloud;h=n1", Ok(None));
        for plain in ["", "VM-0815", "ds=nocloudy;s=http://x/", "0"] {
            check(plain, Ok(None));
        }
        check("ds=nocloud-net;s=x", Err("s=URL: it is not of the form"));
        check("ds=nocloud-net;s=http://x/;h=a_b", Err("not a host name"));
        check("ds=nocloud-net;z=1", Err("not understood"));
        check(&format!("ds=nocloud;i={}", "a".repeat(LONGEST)), Err("more than"));
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in "(ds=nocloud(-net)?;)?([shi]=)?\\PC{0,60}") {
            let _ = parse(&text);
        }
    }
}
