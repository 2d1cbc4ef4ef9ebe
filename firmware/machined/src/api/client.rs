//! A client's configuration, made by the node: who has the role for it needs no key of an authority at hand.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use machine_config::{Config, MachineType};
use pki::{Authority, Identity, Role, Secret, Talosconfig};
use tonic::Status;
use wire::machine::{GenerateClientConfiguration, GenerateClientConfigurationRequest, GenerateClientConfigurationResponse};

use super::Context;

/// How long a certificate is valid when the request does not say.
const DEFAULT_LIFE: Duration = pki::YEAR;
/// The longest: as long as an authority is valid.
const LONGEST_LIFE: Duration = Duration::from_secs(10 * pki::YEAR.as_secs());
/// Values in one request: more than there are roles.
const MOST_ROLES: usize = 16;
/// What the names of roles begin with; left out in the name of a context.
const PREFIX: &str = "os:";

/// The caller is an administrator (see `roles`), who may read the authority's key as well: there is no role that it may not give.
pub(super) async fn generate(
    context: &Context,
    request: GenerateClientConfigurationRequest,
) -> Result<GenerateClientConfigurationResponse, Status> {
    let active = context.sources.node.config.borrow().active.clone();
    let active = active.ok_or_else(|| Status::failed_precondition("the node has no configuration, and so no authority"))?;
    if active.config.machine_type() == MachineType::Worker {
        return Err(Status::failed_precondition("client configuration (talosconfig) can't be generated on worker nodes"));
    }
    let (roles, life) = (roles(&request.roles)?, life(request.crt_ttl)?);
    log::info!(target: "api", "a client certificate for {} was asked for, for {} s", names(&roles).join(", "), life.as_secs());
    let active = Arc::clone(&active);
    let made = context.blocking.run(move || make(&active.config, &roles, life, SystemTime::now())).await?;
    let message = made.map_err(|error| Status::internal(format!("make a client certificate: {}", daemon::report(&error))))?;
    Ok(GenerateClientConfigurationResponse { messages: vec![message] })
}

/// Each once, in the order of the request.
fn roles(wanted: &[String]) -> Result<Vec<Role>, Status> {
    if wanted.len() > MOST_ROLES {
        return Err(Status::invalid_argument(format!("{} roles are more than {MOST_ROLES}", wanted.len())));
    }
    let mut roles = Vec::new();
    for name in wanted.iter().filter(|name| !name.is_empty()) {
        let known = || names(&Role::ALL).join(", ");
        let role =
            Role::from_name(name).ok_or_else(|| Status::invalid_argument(format!("role {name:?} is unknown; there are: {}", known())))?;
        if !roles.contains(&role) {
            roles.push(role);
        }
    }
    if roles.is_empty() {
        return Err(Status::invalid_argument("roles are required: a certificate without one may do nothing"));
    }
    Ok(roles)
}

fn names(roles: &[Role]) -> Vec<&'static str> {
    roles.iter().map(|role| role.as_str()).collect()
}

/// Not by the conversion of `prost_types`: the least number of seconds overflows in it.
fn life(wanted: Option<prost_types::Duration>) -> Result<Duration, Status> {
    let Some(prost_types::Duration { seconds, nanos }) = wanted else { return Ok(DEFAULT_LIFE) };
    let parts = u64::try_from(seconds).ok().zip(u32::try_from(nanos).ok().filter(|nanos| *nanos < 1_000_000_000));
    let life = parts.map(|(seconds, nanos)| Duration::new(seconds, nanos)).filter(|life| !life.is_zero());
    match life {
        Some(life) if life <= LONGEST_LIFE => Ok(life),
        Some(_) => Err(Status::invalid_argument(format!("crt_ttl should be at most {} h", LONGEST_LIFE.as_secs() / 3600))),
        None => Err(Status::invalid_argument("crt_ttl should be positive")),
    }
}

/// The reply's only message. Its endpoints are for the client to fill in: it knows how it reaches the node.
fn make(config: &Config, roles: &[Role], life: Duration, now: SystemTime) -> Result<GenerateClientConfiguration, pki::Error> {
    let ca = config.machine_ca();
    let no_key = Secret::default();
    let authority = Authority::from_pem(&ca.cert_pem, ca.key_pem.as_ref().unwrap_or(&no_key))?;
    let identity = authority.issue_client_of(&names(roles), life, now)?;
    let text = Talosconfig::single(&context_name(&config.cluster().name, roles), pki::Context::new(Vec::new(), &ca.cert_pem, &identity));
    let Identity { cert_pem, key_pem } = identity;
    Ok(GenerateClientConfiguration {
        metadata: None,
        ca: ca.cert_pem.as_bytes().to_vec(),
        crt: cert_pem.into_bytes(),
        key: key_pem.expose().as_bytes().to_vec(),
        talosconfig: text.to_yaml()?.expose().as_bytes().to_vec(),
    })
}

/// The cluster's name, with the role in front of it when there is one only.
fn context_name(cluster: &str, roles: &[Role]) -> String {
    match roles {
        [role] => format!("{}@{cluster}", role.as_str().trim_start_matches(PREFIX)),
        _ => cluster.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use pki::SecretsBundle;
    use tonic::Code;

    use super::*;

    #[track_caller]
    fn check_roles(wanted: &[&str], expect: Result<&[Role], &str>) {
        let wanted: Vec<String> = wanted.iter().map(|role| (*role).to_owned()).collect();
        match (roles(&wanted), expect) {
            (Ok(roles), Ok(expect)) => assert_eq!(roles, expect),
            (Err(status), Err(text)) => assert!(status.code() == Code::InvalidArgument && status.message().contains(text), "{status}"),
            (found, _) => panic!("{wanted:?}: {found:?}"),
        }
    }

    #[test]
    fn roles_are_known_ones_each_once() {
        check_roles(&["os:reader"], Ok(&[Role::Reader]));
        check_roles(&["os:etcd:backup", "", "os:reader", "os:etcd:backup"], Ok(&[Role::EtcdBackup, Role::Reader]));
        check_roles(&["os:reader", "os:root"], Err("\"os:root\" is unknown; there are: os:admin, "));
        check_roles(&["reader"], Err("unknown"));
        check_roles(&[], Err("required"));
        check_roles(&["", ""], Err("required"));
        check_roles(&["os:reader"; MOST_ROLES + 1], Err("more than"));
    }

    #[test]
    fn lives_are_positive_and_end() {
        let of = |seconds, nanos| life(Some(prost_types::Duration { seconds, nanos })).map_err(|status| status.code());
        let most = i64::try_from(LONGEST_LIFE.as_secs()).expect("small");
        assert_eq!(life(None).ok(), Some(DEFAULT_LIFE));
        assert_eq!(of(90, 0), Ok(Duration::from_secs(90)));
        assert_eq!(of(0, 1), Ok(Duration::from_nanos(1)));
        assert_eq!(of(most, 0), Ok(LONGEST_LIFE));
        for (seconds, nanos) in [(0, 0), (-1, 0), (0, -1), (i64::MIN, i32::MIN), (0, i32::MAX), (most, 1), (i64::MAX, 0)] {
            assert_eq!(of(seconds, nanos), Err(Code::InvalidArgument), "{seconds} {nanos}");
        }
    }

    #[test]
    fn the_message_is_a_usable_client_configuration() {
        let now = SystemTime::now();
        let secrets = SecretsBundle::generate(now).expect("secrets");
        let input = machine_config::GenerateInput::new("alpha", "https://10.0.0.1:6443", &secrets, now);
        let generated = machine_config::generate(&input).expect("generated");
        let config = Config::parse(generated.controlplane.expose()).expect("valid").config;
        for (roles, name) in [(&[Role::EtcdBackup][..], "etcd:backup@alpha"), (&[Role::Reader, Role::Operator], "alpha")] {
            let made = make(&config, roles, Duration::from_secs(60), now).expect("made");
            let file = Talosconfig::from_yaml(std::str::from_utf8(&made.talosconfig).expect("text")).expect("a talosconfig");
            let (current, context) = file.get(None).expect("a context");
            assert_eq!((current, context.endpoints.len()), (name, 0));
            let identity = context.identity(current).expect("an identity");
            assert_eq!((identity.cert_pem.as_bytes(), identity.key_pem.expose().as_bytes()), (&made.crt[..], &made.key[..]));
            assert_eq!(context.ca_pem(current).expect("a ca").as_bytes(), &made.ca[..]);
            let leaf = &pki::read_chain(&identity.cert_pem).expect("a chain")[0];
            assert_eq!(pki::roles(leaf).expect("roles"), names(roles));
        }
        let worker = Config::parse(generated.worker.expose()).expect("valid").config;
        assert!(make(&worker, &[Role::Reader], DEFAULT_LIFE, now).is_err(), "without a key");
    }
}
