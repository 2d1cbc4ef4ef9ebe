//! Links that the kernel command line makes: `vlan=<name>:<parent>` and `bond=<name>[:<links>[:<options>[:<mtu>]]]`. Pure.
//!
//! A VLAN's number is at the end of its name, `eth0.5` or `vlan5`. A bond without links has `eth0` and `eth1`; its options are the
//! kernel's, `mode=active-backup,miimon=100`.

use machine_config::network::{
    AdSelect, Bond, BondMode, FailOverMac, LacpRate, Link, LinkKind, PrimaryReselect, VlanProtocol, Which, XmitHashPolicy, is_link_name,
};

/// Links of a bond that names none.
const PORTS: &str = "eth0,eth1";
/// Most links of a bond.
const MOST: usize = 64;

/// Reads the value of `vlan=`.
pub(super) fn vlan(value: &str) -> Result<Link, String> {
    let (own, parent) = value.split_once(':').ok_or("a VLAN is NAME:PARENT")?;
    let digits = own.rsplit_once('.').map(|(_, digits)| digits).or_else(|| own.strip_prefix("vlan"));
    let id = digits.and_then(|digits| digits.parse().ok()).filter(|id| (1..=4094).contains(id));
    let id = id.ok_or_else(|| format!("`{own}` does not end in a number from 1 to 4094 (eth0.5 or vlan5)"))?;
    let parent = Which::Named(name(parent)?);
    Ok(Link::new(Which::Named(name(own)?), LinkKind::Vlan { parent, id, protocol: VlanProtocol::Dot1Q }))
}

/// Reads the value of `bond=`.
pub(super) fn bond(value: &str) -> Result<Link, String> {
    let mut fields = value.split(':');
    let own = name(fields.next().unwrap_or_default())?;
    let mut field = || fields.next().filter(|field| !field.is_empty());
    let ports: Vec<Which> = field().unwrap_or(PORTS).split(',').map(|port| name(port).map(Which::Named)).collect::<Result<_, _>>()?;
    if ports.len() > MOST {
        return Err(format!("more than {MOST} links"));
    }
    let mut settings = Bond::default();
    for one in field().into_iter().flat_map(|options| options.split(',')) {
        let (key, value) = one.split_once('=').ok_or_else(|| format!("`{one}` is no OPTION=VALUE"))?;
        option(&mut settings, key, value).ok_or_else(|| format!("`{one}` is not an option that is understood"))?;
    }
    let mtu = field().map(|text| text.parse().map_err(|_| format!("`{text}` is no MTU"))).transpose()?;
    Ok(Link { ports, mtu, ..Link::new(Which::Named(own), LinkKind::Bond(Box::new(settings))) })
}

/// Sets an option; `None` for one that is not known or a value that does not fit.
fn option(bond: &mut Bond, key: &str, value: &str) -> Option<()> {
    let number = || value.parse::<u32>().ok();
    match key {
        "mode" => bond.mode = BondMode::parse(value)?,
        "miimon" => bond.miimon_ms = Some(number()?),
        "updelay" => bond.updelay_ms = Some(number()?),
        "downdelay" => bond.downdelay_ms = Some(number()?),
        "min_links" => bond.min_links = Some(number()?),
        "arp_interval" => bond.arp_interval_ms = Some(number()?),
        "arp_ip_target" => bond.arp_ip_targets.push(value.parse().ok()?),
        "xmit_hash_policy" => bond.xmit_hash_policy = Some(XmitHashPolicy::parse(value)?),
        "lacp_rate" => bond.lacp_rate = Some(LacpRate::parse(value)?),
        "fail_over_mac" => bond.fail_over_mac = Some(FailOverMac::parse(value)?),
        "ad_select" => bond.ad_select = Some(AdSelect::parse(value)?),
        "primary" => bond.primary = Some(name(value).ok()?),
        "primary_reselect" => bond.primary_reselect = Some(PrimaryReselect::parse(value)?),
        _ => return None,
    }
    Some(())
}

fn name(text: &str) -> Result<String, String> {
    if is_link_name(text) { Ok(text.to_owned()) } else { Err(format!("`{text}` is not a link name")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_as_they_are_written() {
        let link = vlan("eth0.5:eth0").unwrap();
        let parent = Which::Named("eth0".into());
        assert_eq!(link.kind, LinkKind::Vlan { parent: parent.clone(), id: 5, protocol: VlanProtocol::Dot1Q });
        assert!(matches!(vlan("vlan4094:bond0").unwrap().kind, LinkKind::Vlan { id: 4094, .. }));
        let link = bond("bond0").unwrap();
        assert_eq!((link.ports, link.kind), (vec![parent, Which::Named("eth1".into())], LinkKind::Bond(Box::default())));
        let link = bond("b:eth2:mode=802.3ad,miimon=50,lacp_rate=fast:9000").unwrap();
        let settings = Bond { mode: BondMode::Lacp, miimon_ms: Some(50), lacp_rate: Some(LacpRate::Fast), ..Bond::default() };
        assert_eq!((link.ports.len(), link.mtu, link.kind), (1, Some(9000), LinkKind::Bond(Box::new(settings))));
    }

    #[test]
    fn mistakes_are_named() {
        for (found, wanted) in [
            (vlan("eth0"), "a VLAN is NAME:PARENT"),
            (vlan("eth0.4095:eth0"), "`eth0.4095` does not end in a number from 1 to 4094 (eth0.5 or vlan5)"),
            (vlan("five:eth0"), "`five` does not end in a number from 1 to 4094 (eth0.5 or vlan5)"),
            (bond("b:eth0:mode=fast"), "`mode=fast` is not an option that is understood"),
            (bond("b:eth0:mode"), "`mode` is no OPTION=VALUE"),
            (bond("b:eth0,,"), "`` is not a link name"),
            (bond("b:::big"), "`big` is no MTU"),
        ] {
            assert_eq!(found.unwrap_err(), wanted);
        }
    }
}
