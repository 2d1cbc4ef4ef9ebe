//! Options of bonds: what is wanted, what the kernel has, and what to tell it. Pure.
//!
//! Defaults and which mode takes what: `drivers/net/bonding/bond_options.c` and `bond_main.c` of Linux 6.12.

use std::net::IpAddr;

use machine_config::network::{Bond, BondMode};
use resource::kinds::network::{
    BondMasterSpec, ad_lacp_active, ad_select, arp_all_targets, arp_validate, bond_mode, fail_over_mac, lacp_rate, primary_reselect,
    xmit_hash_policy,
};
use rtnetlink::packet_route::link::{
    BondAdSelect, BondAllPortActive, BondArpAllTargets, BondArpValidate, BondFailOverMac, BondLacpRate, BondMode as Mode,
    BondPrimaryReselect, BondXmitHashPolicy, InfoBond,
};

/// What the kernel takes when a mode cannot do without and nobody says, ms.
const MIIMON: u32 = 100;
/// `AD_ACTOR_SYS_PRIO`'s default.
const SYS_PRIO: u32 = 65_535;

/// A bond as the kernel makes it when nobody says anything.
pub(super) fn as_made(mode: BondMode) -> BondMasterSpec {
    let needs_carrier = matches!(mode, BondMode::Lacp | BondMode::Tlb | BondMode::Alb);
    BondMasterSpec {
        mode: bond_mode(mode.number()),
        xmit_hash_policy: xmit_hash_policy(0_u32),
        lacp_rate: lacp_rate(0_u32),
        arp_validate: arp_validate(0_u32),
        arp_all_targets: arp_all_targets(0_u32),
        primary_reselect: primary_reselect(0_u32),
        fail_over_mac: fail_over_mac(0_u32),
        ad_select: ad_select(0_u32),
        miimon: if needs_carrier { MIIMON } else { 0 },
        resend_igmp: 1,
        lp_interval: 1,
        packets_per_slave: 1,
        num_peer_notif: 1,
        tlb_dynamic_lb: 1,
        use_carrier: true,
        ad_actor_sys_prio: SYS_PRIO,
        ad_lacp_active: Some(ad_lacp_active(1_u32)),
        missed_max: 2,
        ..BondMasterSpec::default()
    }
}

/// A bond as the configuration wants it; what it does not say is as the kernel makes it.
pub(super) fn spec(bond: &Bond) -> BondMasterSpec {
    let made = as_made(bond.mode);
    let number = |option: Option<u32>, made: u32| option.unwrap_or(made);
    let miimon = if bond.arp_interval_ms.is_some_and(|time| time > 0) { 0 } else { number(bond.miimon_ms, made.miimon) };
    // The kernel counts these in turns of miimon.
    let whole = |time: Option<u32>| time.unwrap_or(0).checked_div(miimon).map_or(0, |turns| turns * miimon);
    BondMasterSpec {
        xmit_hash_policy: bond.xmit_hash_policy.map_or(made.xmit_hash_policy, |option| xmit_hash_policy(option.number())),
        lacp_rate: bond.lacp_rate.map_or(made.lacp_rate, |option| lacp_rate(option.number())),
        arp_validate: bond.arp_validate.map_or(made.arp_validate, |option| arp_validate(option.number())),
        arp_all_targets: bond.arp_all_targets.map_or(made.arp_all_targets, |option| arp_all_targets(option.number())),
        primary_reselect: bond.primary_reselect.map_or(made.primary_reselect, |option| primary_reselect(option.number())),
        fail_over_mac: bond.fail_over_mac.map_or(made.fail_over_mac, |option| fail_over_mac(option.number())),
        ad_select: bond.ad_select.map_or(made.ad_select, |option| ad_select(option.number())),
        miimon,
        updelay: whole(bond.updelay_ms),
        downdelay: whole(bond.downdelay_ms),
        arp_interval: number(bond.arp_interval_ms, 0),
        resend_igmp: number(bond.resend_igmp, made.resend_igmp),
        min_links: number(bond.min_links, 0),
        lp_interval: number(bond.lp_interval_s, made.lp_interval),
        packets_per_slave: number(bond.packets_per_port, made.packets_per_slave),
        num_peer_notif: number(bond.num_peer_notif.map(u32::from), made.num_peer_notif),
        tlb_dynamic_lb: number(bond.tlb_dynamic_lb.map(u32::from), made.tlb_dynamic_lb),
        all_slaves_active: number(bond.all_ports_active.map(u32::from), 0),
        use_carrier: bond.use_carrier.unwrap_or(made.use_carrier),
        ad_actor_sys_prio: number(bond.ad_actor_sys_prio.map(u32::from), made.ad_actor_sys_prio),
        ad_user_port_key: number(bond.ad_user_port_key.map(u32::from), 0),
        peer_notify_delay: whole(bond.peer_notif_delay_ms),
        arp_ip_targets: bond.arp_ip_targets.iter().copied().map(IpAddr::V4).collect(),
        ns_ip6_targets: bond.ns_ip6_targets.iter().copied().map(IpAddr::V6).collect(),
        ad_lacp_active: Some(ad_lacp_active(u32::from(bond.ad_lacp_active.unwrap_or(true)))),
        missed_max: number(bond.missed_max.map(u32::from), made.missed_max),
        primary: bond.primary.clone().unwrap_or_default(),
        primary_index: None,
        mode: made.mode,
    }
}

/// A bond as the kernel says that it is.
pub(super) fn read(options: &[InfoBond]) -> BondMasterSpec {
    let mut spec = BondMasterSpec { ad_actor_sys_prio: SYS_PRIO, ad_lacp_active: Some(ad_lacp_active(1_u32)), ..BondMasterSpec::default() };
    for option in options {
        match option {
            InfoBond::Mode(mode) => spec.mode = bond_mode(u8::from(*mode)),
            InfoBond::MiiMon(value) => spec.miimon = *value,
            InfoBond::UpDelay(value) => spec.updelay = *value,
            InfoBond::DownDelay(value) => spec.downdelay = *value,
            InfoBond::UseCarrier(value) => spec.use_carrier = *value,
            InfoBond::ArpInterval(value) => spec.arp_interval = *value,
            InfoBond::ArpIpTarget(targets) => spec.arp_ip_targets = targets.iter().copied().map(IpAddr::V4).collect(),
            InfoBond::ArpValidate(value) => spec.arp_validate = arp_validate(u32::from(*value)),
            InfoBond::ArpAllTargets(value) => spec.arp_all_targets = arp_all_targets(u32::from(*value)),
            InfoBond::Primary(index) => spec.primary_index = Some(*index),
            InfoBond::PrimaryReselect(value) => spec.primary_reselect = primary_reselect(u8::from(*value)),
            InfoBond::FailOverMac(value) => spec.fail_over_mac = fail_over_mac(u8::from(*value)),
            InfoBond::XmitHashPolicy(value) => spec.xmit_hash_policy = xmit_hash_policy(u8::from(*value)),
            InfoBond::ResendIgmp(value) => spec.resend_igmp = *value,
            InfoBond::NumPeerNotif(value) => spec.num_peer_notif = u32::from(*value),
            InfoBond::AllPortsActive(value) => spec.all_slaves_active = u32::from(u8::from(*value)),
            InfoBond::MinLinks(value) => spec.min_links = *value,
            InfoBond::LpInterval(value) => spec.lp_interval = *value,
            InfoBond::PacketsPerPort(value) => spec.packets_per_slave = *value,
            InfoBond::AdLacpRate(value) => spec.lacp_rate = lacp_rate(u8::from(*value)),
            InfoBond::AdSelect(value) => spec.ad_select = ad_select(u8::from(*value)),
            InfoBond::AdActorSysPrio(value) => spec.ad_actor_sys_prio = u32::from(*value),
            InfoBond::AdUserPortKey(value) => spec.ad_user_port_key = u32::from(*value),
            InfoBond::TlbDynamicLb(value) => spec.tlb_dynamic_lb = u32::from(*value),
            InfoBond::PeerNotifDelay(value) => spec.peer_notify_delay = *value,
            InfoBond::AdLacpActive(value) => spec.ad_lacp_active = Some(ad_lacp_active(u32::from(*value))),
            InfoBond::MissedMax(value) => spec.missed_max = u32::from(*value),
            InfoBond::NsIp6Target(targets) => spec.ns_ip6_targets = targets.iter().copied().map(IpAddr::V6).collect(),
            _ => {}
        }
    }
    spec
}

/// Whether the kernel would have to make it anew: it takes these only from a bond without links.
pub(super) fn is_another(from: &BondMasterSpec, to: &BondMasterSpec) -> bool {
    from.mode.number != to.mode.number || from.fail_over_mac.number != to.fail_over_mac.number
}

/// What to tell the kernel to get from one to the other, and whether the bond must be down for it. `primary` is the index of
/// the primary link, if it is there. Only what the mode takes is told.
pub(super) fn changes(from: &BondMasterSpec, to: &BondMasterSpec, primary: Option<u32>) -> (Vec<InfoBond>, bool) {
    let mode = to.mode.number;
    let (lacp, backs_up, watches) = (mode == 4, matches!(mode, 1 | 5 | 6), mode < 4);
    let mut out = Vec::new();
    let mut tell = |differs: bool, option: InfoBond| {
        if differs {
            out.push(option)
        }
    };
    let small = |number: u32| u8::try_from(number).unwrap_or(u8::MAX);
    let short = |number: u32| u16::try_from(number).unwrap_or(u16::MAX);

    let rate = lacp && from.lacp_rate.number != to.lacp_rate.number;
    let select = lacp && from.ad_select.number != to.ad_select.number;
    let priority = lacp && from.ad_actor_sys_prio != to.ad_actor_sys_prio;
    let key = lacp && from.ad_user_port_key != to.ad_user_port_key;
    let active = lacp && to.ad_lacp_active.is_some() && from.ad_lacp_active != to.ad_lacp_active;
    let load = mode == 5 && from.tlb_dynamic_lb != to.tlb_dynamic_lb;
    let down = rate || select || priority || key || active || load;
    tell(rate, InfoBond::AdLacpRate(BondLacpRate::from(small(to.lacp_rate.number))));
    tell(select, InfoBond::AdSelect(BondAdSelect::from(small(to.ad_select.number))));
    tell(priority, InfoBond::AdActorSysPrio(short(to.ad_actor_sys_prio)));
    tell(key, InfoBond::AdUserPortKey(short(to.ad_user_port_key)));
    tell(active, InfoBond::AdLacpActive(to.ad_lacp_active.is_some_and(|code| code.number == 1)));
    tell(load, InfoBond::TlbDynamicLb(to.tlb_dynamic_lb != 0));

    tell(from.miimon != to.miimon, InfoBond::MiiMon(to.miimon));
    tell(from.updelay != to.updelay, InfoBond::UpDelay(to.updelay));
    tell(from.downdelay != to.downdelay, InfoBond::DownDelay(to.downdelay));
    tell(from.peer_notify_delay != to.peer_notify_delay, InfoBond::PeerNotifDelay(to.peer_notify_delay));
    tell(from.use_carrier != to.use_carrier, InfoBond::UseCarrier(to.use_carrier));
    tell(from.xmit_hash_policy.number != to.xmit_hash_policy.number, {
        InfoBond::XmitHashPolicy(BondXmitHashPolicy::from(small(to.xmit_hash_policy.number)))
    });
    tell(watches && from.arp_ip_targets != to.arp_ip_targets, InfoBond::ArpIpTarget(fours(&to.arp_ip_targets)));
    tell(watches && from.ns_ip6_targets != to.ns_ip6_targets, InfoBond::NsIp6Target(sixes(&to.ns_ip6_targets)));
    tell(watches && from.arp_interval != to.arp_interval, InfoBond::ArpInterval(to.arp_interval));
    tell(watches && from.arp_validate.number != to.arp_validate.number, {
        InfoBond::ArpValidate(BondArpValidate::from(to.arp_validate.number))
    });
    tell(watches && from.arp_all_targets.number != to.arp_all_targets.number, {
        InfoBond::ArpAllTargets(BondArpAllTargets::from(to.arp_all_targets.number))
    });
    tell(backs_up && from.primary_reselect.number != to.primary_reselect.number, {
        InfoBond::PrimaryReselect(BondPrimaryReselect::from(small(to.primary_reselect.number)))
    });
    let wanted = if to.primary.is_empty() { Some(0) } else { primary };
    if let Some(index) = wanted.filter(|index| backs_up && *index != from.primary_index.unwrap_or(0)) {
        tell(true, InfoBond::Primary(index));
    }
    tell(mode == 0 && from.packets_per_slave != to.packets_per_slave, InfoBond::PacketsPerPort(to.packets_per_slave));
    tell(from.all_slaves_active != to.all_slaves_active, {
        InfoBond::AllPortsActive(BondAllPortActive::from(small(to.all_slaves_active)))
    });
    tell(from.resend_igmp != to.resend_igmp, InfoBond::ResendIgmp(to.resend_igmp));
    tell(from.num_peer_notif != to.num_peer_notif, InfoBond::NumPeerNotif(small(to.num_peer_notif)));
    tell(from.min_links != to.min_links, InfoBond::MinLinks(to.min_links));
    tell(from.lp_interval != to.lp_interval, InfoBond::LpInterval(to.lp_interval));
    tell(from.missed_max != to.missed_max, InfoBond::MissedMax(small(to.missed_max)));
    (out, down)
}

/// What to tell the kernel to make one.
pub(super) fn making(to: &BondMasterSpec) -> Vec<InfoBond> {
    let mode = match to.mode.number {
        1 => BondMode::ActiveBackup,
        2 => BondMode::Xor,
        3 => BondMode::Broadcast,
        4 => BondMode::Lacp,
        5 => BondMode::Tlb,
        6 => BondMode::Alb,
        _ => BondMode::RoundRobin,
    };
    let mut options = vec![InfoBond::Mode(Mode::from(mode.number()))];
    if to.fail_over_mac.number != 0 {
        let number = u8::try_from(to.fail_over_mac.number).unwrap_or(0);
        options.push(InfoBond::FailOverMac(BondFailOverMac::from(number)));
    }
    let (more, _) = changes(&as_made(mode), to, None);
    options.extend(more);
    options
}

fn fours(targets: &[IpAddr]) -> Vec<std::net::Ipv4Addr> {
    targets.iter().filter_map(|target| if let IpAddr::V4(target) = target { Some(*target) } else { None }).collect()
}

fn sixes(targets: &[IpAddr]) -> Vec<std::net::Ipv6Addr> {
    targets.iter().filter_map(|target| if let IpAddr::V6(target) = target { Some(*target) } else { None }).collect()
}
