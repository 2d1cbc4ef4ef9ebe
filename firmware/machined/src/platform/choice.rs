//! Which platform the machine is on, and where a configuration is looked for. Pure.

use super::{
    seed::{self, Seed},
    template::Template,
};
use crate::config::volumes::Label;

/// Platforms that clients know (reference, behaviour (a)) and this version does not.
const OTHERS: [&str; 19] = [
    "akamai",
    "alibabacloud",
    "aws",
    "azure",
    "cloudstack",
    "container",
    "digital-ocean",
    "equinixMetal",
    "exoscale",
    "gcp",
    "hcloud",
    "opennebula",
    "openstack",
    "oracle",
    "packet",
    "scaleway",
    "upcloud",
    "vmware",
    "vultr",
];

/// What kind of place the machine is in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Platform {
    /// Somebody's hardware.
    #[default]
    Metal,
    /// A virtual machine with the NoCloud data source.
    NoCloud,
}

impl Platform {
    /// As on the command line and to clients.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Metal => "metal",
            Self::NoCloud => "nocloud",
        }
    }

    /// The mode that clients know for it: whether there is anything to install to by hand.
    #[must_use]
    pub const fn mode(self) -> &'static str {
        match self {
            Self::Metal => "metal",
            Self::NoCloud => "cloud",
        }
    }
}

/// Where a configuration is looked for when STATE and the command line hold none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seek {
    /// Nowhere: it comes over the API.
    Nothing,
    /// On volumes with these labels, now and whenever one appears.
    Volumes(&'static [Label]),
    /// On a web server.
    Url(Template),
    /// Below a folder of a web server that the machine's serial number names.
    Seed(Seed),
}

/// What follows from the kernel's command line and the firmware.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The platform.
    pub platform: Platform,
    /// Where its configuration is.
    pub seek: Seek,
    /// What was not understood, for people.
    pub problems: Vec<String>,
}

impl Choice {
    /// From the values of `talos.platform` and `talos.config`, and the firmware's serial number of the machine (asked for only
    /// where it matters).
    #[must_use]
    pub fn of(platform: Option<&str>, config: Option<&str>, serial: impl FnOnce() -> String) -> Self {
        let mut problems = Vec::new();
        let platform = match platform.unwrap_or_default() {
            "" | "metal" => Platform::Metal,
            "nocloud" => Platform::NoCloud,
            other => {
                let kind = if OTHERS.contains(&other) { "is not supported by this version" } else { "is not known" };
                let other: String = other.chars().take(40).collect();
                problems.push(format!("talos.platform={other} {kind} (metal and nocloud are); the machine is treated as metal"));
                Platform::Metal
            }
        };
        let seek = match platform {
            Platform::Metal => metal(config.unwrap_or_default(), &mut problems),
            Platform::NoCloud => {
                if config.is_some_and(|config| !config.is_empty()) {
                    problems.push("talos.config is for platform metal and not read on nocloud".to_owned());
                }
                match seed::parse(&serial()) {
                    Ok(Some(seed)) => Seek::Seed(seed),
                    Ok(None) => Seek::Volumes(&[Label::Cidata]),
                    Err(problem) => {
                        problems.push(format!("the machine's serial number: {problem}; a volume labelled cidata is looked for"));
                        Seek::Volumes(&[Label::Cidata])
                    }
                }
            }
        };
        Self { platform, seek, problems }
    }
}

fn metal(config: &str, problems: &mut Vec<String>) -> Seek {
    match config {
        "" => Seek::Volumes(&[Label::Cidata, Label::MetalIso]),
        "none" => Seek::Nothing,
        "metal-iso" => Seek::Volumes(&[Label::MetalIso]),
        url => match Template::parse(url) {
            Ok(template) => Seek::Url(template),
            Err(problem) => {
                problems.push(format!("talos.config: {problem}; a configuration is taken over the API only"));
                Seek::Nothing
            }
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANY: Seek = Seek::Volumes(&[Label::Cidata, Label::MetalIso]);
    const CIDATA: Seek = Seek::Volumes(&[Label::Cidata]);

    #[track_caller]
    fn check(platform: Option<&str>, config: Option<&str>, serial: &str, wanted: (Platform, Seek), problem: Option<&str>) {
        let found = Choice::of(platform, config, || serial.to_owned());
        assert_eq!((found.platform, found.seek), wanted, "{platform:?} {config:?}");
        match problem {
            Some(text) => assert!(found.problems.iter().any(|problem| problem.contains(text)), "{:?}", found.problems),
            None => assert_eq!(found.problems, [""; 0]),
        }
    }

    #[test]
    fn metal_and_what_is_taken_for_it() {
        let url = "http://10.0.2.2:80/c?mac=${mac}";
        check(None, None, "", (Platform::Metal, ANY), None);
        check(Some("metal"), Some("metal-iso"), "", (Platform::Metal, Seek::Volumes(&[Label::MetalIso])), None);
        check(Some("metal"), Some("none"), "", (Platform::Metal, Seek::Nothing), None);
        check(Some("metal"), Some(url), "", (Platform::Metal, Seek::Url(Template::parse(url).unwrap())), None);
        check(Some("metal"), Some("gopher://x"), "", (Platform::Metal, Seek::Nothing), Some("only http and https"));
        check(Some("aws"), None, "", (Platform::Metal, ANY), Some("talos.platform=aws is not supported"));
        check(Some("abacus"), None, "", (Platform::Metal, ANY), Some("talos.platform=abacus is not known"));
        let seed = "ds=nocloud-net;s=http://10.0.2.2/";
        check(None, None, seed, (Platform::Metal, ANY), None);
    }

    #[test]
    fn nocloud_by_volume_and_by_serial_number() {
        check(Some("nocloud"), None, "VM-0815", (Platform::NoCloud, CIDATA), None);
        let seed = "ds=nocloud-net;s=http://10.0.2.2/seed/;h=n1";
        let wanted = Seek::Seed(seed::parse(seed).unwrap().unwrap());
        check(Some("nocloud"), None, seed, (Platform::NoCloud, wanted), None);
        check(Some("nocloud"), None, "ds=nocloud-net;s=x", (Platform::NoCloud, CIDATA), Some("serial number"));
        check(Some("nocloud"), Some("http://x/"), "", (Platform::NoCloud, CIDATA), Some("talos.config is for platform metal"));
    }

    #[test]
    fn names_are_those_of_clients() {
        assert!(OTHERS.is_sorted() && !OTHERS.contains(&Platform::Metal.name()) && !OTHERS.contains(&Platform::NoCloud.name()));
    }
}
