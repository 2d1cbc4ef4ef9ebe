//! What to do about an error: one sentence for each kind that has an answer.

use tonic::Code;

use crate::ClientError;

/// Methods that need no administrator, by who may call them. Rule: the role table of the API.
const READERS: &[&str] = &[
    "CPUFreqStats",
    "CPUInfo",
    "Containers",
    "ControllerRuntimeDependencies",
    "DiskStats",
    "DiskUsage",
    "Disks",
    "Dmesg",
    "Events",
    "Get",
    "HealthCheck",
    "Hostname",
    "ImageService/List",
    "List",
    "LoadAvg",
    "Logs",
    "LogsContainers",
    "Memory",
    "Mounts",
    "Netstat",
    "NetworkDeviceStats",
    "Processes",
    "ServiceList",
    "Statfs",
    "Stats",
    "SystemStat",
    "Time",
    "TimeCheck",
    "Version",
    "Watch",
];
const OPERATORS: &[&str] = &[
    "EtcdAlarmDisarm",
    "EtcdDefragment",
    "ImageService/Pull",
    "PacketCapture",
    "Reboot",
    "Restart",
    "ServiceRestart",
    "ServiceStart",
    "ServiceStop",
    "Shutdown",
];
const BACKUP: &[&str] = &["EtcdAlarmList", "EtcdMemberList", "EtcdSnapshot", "EtcdStatus"];
const META: &[&str] = &["MetaDelete", "MetaWrite"];

/// The roles of which a method needs one.
pub fn roles(method: &str) -> &'static str {
    if READERS.contains(&method) {
        "os:reader, os:operator or os:admin"
    } else if OPERATORS.contains(&method) {
        "os:operator or os:admin"
    } else if BACKUP.contains(&method) {
        "os:etcd:backup, os:operator or os:admin"
    } else if META.contains(&method) {
        "os:meta:writer or os:admin"
    } else {
        "os:admin"
    }
}

/// The way out of an error, where there is one to name.
pub fn advice(error: &anyhow::Error) -> Option<String> {
    let error = error.chain().find_map(|cause| cause.downcast_ref::<ClientError>())?;
    match error {
        ClientError::Unreachable(failures) => transport(&failures.to_string()).map(str::to_owned),
        ClientError::Call { method, status } => call(method, status.code(), status.message(), &causes(status)),
        _ => None,
    }
}

/// What lies under a status: the transport's own words.
fn causes(status: &tonic::Status) -> String {
    let mut text = String::new();
    let mut cause = std::error::Error::source(status);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

fn call(method: &str, code: Code, message: &str, causes: &str) -> Option<String> {
    let plain = |text: &str| Some(text.to_owned());
    match code {
        Code::PermissionDenied if message.contains("request forwarding") => {
            plain("a worker passes nothing on to other nodes: give a control-plane node with --endpoints")
        }
        Code::PermissionDenied => Some(format!("{method} needs the role {}; `keelctl config info` shows yours", roles(method))),
        Code::Unimplemented => plain("the node's version does not do this; `keelctl version` shows which one it is"),
        Code::Unauthenticated => plain("the node does not know this client: `keelctl config info` shows the context in use"),
        Code::DeadlineExceeded => plain("the node took too long: `keelctl dmesg` and `keelctl services` may tell why"),
        Code::Unavailable | Code::Unknown | Code::Internal | Code::Cancelled => {
            transport(&format!("{message}{causes}")).map(str::to_owned).or_else(|| {
                let text =
                    "the node, or the endpoint on the way to it, does not answer: is it up? `keelctl version -e ADDRESS` asks one directly";
                (code == Code::Unavailable).then(|| text.to_owned())
            })
        }
        _ => None,
    }
}

/// The way out of a failed connection, from the words of the libraries below.
fn transport(text: &str) -> Option<&'static str> {
    let text = text.to_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| text.contains(word));
    Some(if has(&["certificaterequired", "certificate required"]) {
        "the node wants a client certificate: it has a configuration already, so leave out --insecure"
    } else if has(&["received fatal alert"]) && has(&["unknownca", "badcertificate", "decrypterror", "certificateunknown"]) {
        "the node does not accept this client's certificate: is this the context of its cluster? `keelctl config contexts` lists them"
    } else if has(&["certificateexpired", "certexpired"]) && has(&["received fatal alert"]) {
        "this client's certificate has expired: `keelctl config info` shows when; make a new one with `keelctl config new` where a valid one is"
    } else if has(&["unknownissuer", "badsignature"]) {
        "the certificate there is another authority's: is it the right endpoint and context? A node without a configuration is reached with --insecure"
    } else if has(&["notvalidforname"]) {
        "the certificate there is for other names: use an address that it names, or add this one to machine.certSANs"
    } else if has(&["expired"]) {
        "the certificate there has expired, or a clock is wrong: compare `date` with the node's console"
    } else if has(&["notvalidyet"]) {
        "the certificate there is not valid yet: a clock is wrong, here or there; compare `date` with the node's console"
    } else if has(&["connection refused"]) {
        "nothing listens there: is the address right, and is the node up? The node's console shows its addresses"
    } else if has(&["timed out", "deadline has elapsed", "no route to host", "network is unreachable"]) {
        "no answer from there: is the address right, the node up, and no firewall in between?"
    } else if has(&["failed to lookup address", "name or service not known", "no such host"]) {
        "the name is not known: is it spelled right? An address works without a name server"
    } else {
        return None;
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_way_out() {
        let check = |method, code, message: &str, wanted: &str| {
            let text = call(method, code, message, "").unwrap_or_default();
            assert!(text.contains(wanted) && wanted.is_empty() == text.is_empty(), "{code:?} {message}: {text}");
        };
        check("Read", Code::PermissionDenied, "not authorized", "role os:admin;");
        check("Reboot", Code::PermissionDenied, "not authorized", "os:operator or os:admin");
        check("Version", Code::PermissionDenied, "not authorized", "os:reader");
        check("Version", Code::PermissionDenied, "no request forwarding", "control-plane node");
        check("Bootstrap", Code::Unimplemented, "machine.MachineService/Bootstrap is not in this version", "keelctl version");
        check("Version", Code::Unavailable, "tcp connect error: Connection refused (os error 111)", "nothing listens");
        check("Version", Code::Unavailable, "gone", "does not answer");
        check("Version", Code::Unknown, "transport error: received fatal alert: CertificateRequired", "leave out --insecure");
        check("Version", Code::Unknown, "transport error: received fatal alert: UnknownCA", "config contexts");
        check("Version", Code::Unknown, "received fatal alert: CertificateExpired", "config new");
        check("Version", Code::Unknown, "lstat /nowhere: no such file or directory", "");
        check("Read", Code::NotFound, "no such file", "");
        for (text, wanted) in [
            ("invalid peer certificate: UnknownIssuer", "--insecure"),
            ("invalid peer certificate: certificate not valid for name: NotValidForNameContext", "certSANs"),
            ("invalid peer certificate: Expired", "date"),
            ("Connection timed out", "firewall"),
        ] {
            assert!(transport(text).is_some_and(|text| text.contains(wanted)), "{text}");
        }
    }

    #[test]
    fn roles_name_methods_of_the_api() {
        for label in READERS.iter().chain(OPERATORS).chain(BACKUP).chain(META) {
            let known = wire::methods::METHODS
                .iter()
                .any(|method| method.path.ends_with(&format!("/{label}")) || method.path.ends_with(&format!(".{label}")));
            assert!(known, "{label} is no method");
        }
    }
}
