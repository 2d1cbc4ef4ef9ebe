//! What a new configuration does to what runs, for a dry run. Pure.

use machine_config::Config;

/// What restarts or has to be renewed, a line each; never empty.
pub(super) fn effects(active: Option<&Config>, new: &Config) -> Vec<&'static str> {
    let Some(active) = active else {
        return vec!["apid is started anew: maintenance ends, clients need a certificate of the configured authority"];
    };
    let mut effects = Vec::new();
    if active.machine_ca().cert_pem != new.machine_ca().cert_pem {
        effects.push("apid serves certificates of another authority, without a restart: clients need a new talosconfig");
    } else if (active.cert_sans(), active.hostname()) != (new.cert_sans(), new.hostname()) {
        effects.push("apid takes a new certificate, without a restart");
    }
    match (active.host_dns().enabled, new.host_dns().enabled) {
        (true, false) => effects.push("dnsd ends: programs ask the name servers themselves"),
        (false, true) => effects.push("dnsd starts: programs ask it for names"),
        _ => {}
    }
    if effects.is_empty() {
        effects.push("nothing restarts");
    }
    effects
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(active: Option<&str>, new: &str, wanted: &str) {
        let parse = |text: &str| Config::parse(text).expect("valid").config;
        let found = effects(active.map(parse).as_ref(), &parse(new)).join("; ");
        assert!(found.contains(wanted), "{found:?}, not {wanted:?}");
    }

    #[test]
    fn what_a_change_means() {
        let now = std::time::SystemTime::now();
        let made = || {
            let bundle = pki::SecretsBundle::generate(now).expect("secrets");
            let input = machine_config::GenerateInput::new("test", "https://10.0.0.1:6443", &bundle, now);
            machine_config::generate(&input).expect("generated").controlplane.expose().to_owned()
        };
        let (one, other) = (made(), made());
        let named = one.replacen("certSANs: []", "certSANs: [node.example.org]", 1);
        check(None, &one, "maintenance ends");
        check(Some(&one), &one, "nothing restarts");
        check(Some(&one), &other, "another authority");
        check(Some(&one), &named, "a new certificate");
        let quiet = one.split("---\n").filter(|document| !document.contains("kind: ResolverConfig")).collect::<Vec<_>>().join("---\n");
        check(Some(&one), &quiet, "dnsd ends");
        check(Some(&quiet), &one, "dnsd starts");
    }
}
