//! What links of each kind are made of: as wanted and as they are.

use std::{net::IpAddr, time::Duration};

use ipnet::IpNet;

use super::ConfigLayer;
use crate::{Code, HardwareAddress, SecretText};

crate::message! {
    /// A VLAN.
    pub struct VlanSpec {
        /// Its number; 0: it is none.
        1 vid: u32 = "vlanID",
        /// How the number is carried.
        2 protocol: Code = "vlanProtocol",
    }

    /// A bond. Names: the kernel's `Documentation/networking/bonding.rst`.
    pub struct BondMasterSpec {
        /// How packets are spread.
        1 mode: Code = "mode",
        /// What the hash is made of.
        2 xmit_hash_policy: Code = "xmitHashPolicy",
        /// How often the partner is asked to speak.
        3 lacp_rate: Code = "lacpRate",
        /// Whose ARP answers are looked at.
        4 arp_validate: Code = "arpValidate",
        /// How many ARP targets must answer.
        5 arp_all_targets: Code = "arpAllTargets",
        /// Index of the link that is used when it works.
        6 primary_index: Option<u32> = "primaryIndex" omitempty,
        /// When it takes over again.
        7 primary_reselect: Code = "primaryReselect",
        /// Whose hardware address is used.
        8 fail_over_mac: Code = "failOverMac",
        /// How one of several partners is chosen.
        9 ad_select: Code = "adSelect" omitempty,
        /// How often carriers are looked at, ms.
        10 miimon: u32 = "miimon" omitempty,
        /// How long a link must be up, ms.
        11 updelay: u32 = "updelay" omitempty,
        /// How long a link must be down, ms.
        12 downdelay: u32 = "downdelay" omitempty,
        /// How often ARP targets are asked, ms.
        13 arp_interval: u32 = "arpInterval" omitempty,
        /// Membership reports after a change of links.
        14 resend_igmp: u32 = "resendIgmp" omitempty,
        /// Links that must be up.
        15 min_links: u32 = "minLinks" omitempty,
        /// Seconds between learning packets.
        16 lp_interval: u32 = "lpInterval" omitempty,
        /// Packets before it is another link's turn.
        17 packets_per_slave: u32 = "packetsPerSlave" omitempty,
        /// Announcements after a change of links.
        18 num_peer_notif: u32 = "numPeerNotif" omitempty,
        /// Flows move with the load.
        19 tlb_dynamic_lb: u32 = "tlbLogicalLb" omitempty,
        /// Packets on links that are not in use are taken, too.
        20 all_slaves_active: u32 = "allSlavesActive" omitempty,
        /// The carrier is asked of the kernel.
        21 use_carrier: bool = "useCarrier" omitempty,
        /// Priority among partners.
        22 ad_actor_sys_prio: u32 = "adActorSysPrio" omitempty,
        /// Upper bits of the port key.
        23 ad_user_port_key: u32 = "adUserPortKey" omitempty,
        /// Time between announcements, ms.
        24 peer_notify_delay: u32 = "peerNotifyDelay" omitempty,
        /// Who is asked by ARP.
        25 arp_ip_targets: Vec<IpAddr> = "arpIpTargets" omitempty,
        /// Who is asked by neighbour solicitation.
        26 ns_ip6_targets: Vec<IpAddr> = "nsIp6Targets" omitempty,
        /// The node speaks LACP unasked.
        27 ad_lacp_active: Option<Code> = "adLacpActive" omitempty,
        /// Answers that may be missed.
        28 missed_max: u32 = "missedMax" omitempty,
        /// Name of the link that is used when it works.
        29 primary: String = "primary" omitempty,
    }

    /// A switch.
    pub struct BridgeMasterSpec {
        /// Spanning tree.
        1 stp: StpSpec = "stp" omitempty,
        /// VLAN numbers.
        2 vlan: BridgeVlanSpec = "vlan" omitempty,
    }

    /// The spanning tree protocol.
    pub struct StpSpec {
        /// It is spoken.
        1 enabled: bool = "enabled",
    }

    /// VLANs of a switch.
    pub struct BridgeVlanSpec {
        /// Their numbers are looked at.
        1 filtering_enabled: bool = "filteringEnabled",
    }

    /// Links with a table of routes of their own.
    pub struct VrfMasterSpec {
        /// The table.
        1 table: Code = "table",
    }

    /// One end of a cable.
    pub struct VethSpec {
        /// The other one.
        1 peer_name: String = "peerName" omitempty,
    }

    /// An encrypted tunnel.
    pub struct WireguardSpec {
        /// The node's key; never shown of a tunnel as it is.
        1 private_key: SecretText = "privateKey" omitempty,
        /// What others know of it.
        2 public_key: String = "publicKey" omitempty,
        /// UDP port; 0: any.
        3 listen_port: i64 = "listenPort",
        /// Mark of the tunnel's own packets; 0: none.
        4 firewall_mark: i64 = "firewallMark",
        /// The other ends.
        5 peers: Vec<WireguardPeer> = "peers",
    }

    /// The other end of a tunnel.
    pub struct WireguardPeer {
        /// Its key.
        1 public_key: String = "publicKey",
        /// A key that both have.
        2 preshared_key: SecretText = "presharedKey",
        /// Where it is.
        3 endpoint: String = "endpoint",
        /// How often it is sent something; 0: never.
        4 persistent_keepalive: Duration = "persistentKeepaliveInterval",
        /// Addresses that it may use.
        5 allowed_ips: Vec<IpNet> = "allowedIPs",
    }

    /// Membership in a bond.
    pub struct BondSlave {
        /// The bond.
        1 master_name: String = "masterName" omitempty,
        /// Place among its links.
        2 slave_index: i64 = "slaveIndex" omitempty,
    }

    /// Membership in a switch or a VRF.
    pub struct PortSpec {
        /// What it is part of.
        1 master_name: String = "masterName" omitempty,
    }

    /// A link as it is wanted.
    pub struct LinkSpecSpec {
        /// Its name.
        1 name: String = "name",
        /// The node makes it.
        2 logical: bool = "logical",
        /// It is to be up.
        3 up: bool = "up",
        /// Largest packet, bytes; 0: nobody says.
        4 mtu: u32 = "mtu",
        /// What makes it; empty for one that is there already.
        5 kind: String = "kind",
        /// Its hardware.
        6 kind_of_hardware: Code = "type",
        /// Its address, if somebody says.
        15 hardware_addr: HardwareAddress = "hardwareAddr" omitempty,
        /// The link that it stands on.
        7 parent_name: String = "parentName" omitempty,
        /// The bond that it is part of.
        8 bond_slave: BondSlave = "" omitempty,
        /// The switch that it is part of.
        9 bridge_slave: PortSpec = "bridgeSlave" omitempty,
        /// The VRF that it is part of.
        18 vrf_slave: PortSpec = "vrfSlave" omitempty,
        /// As a VLAN.
        10 vlan: VlanSpec = "vlan" omitempty,
        /// As a bond.
        11 bond_master: BondMasterSpec = "bondMaster" omitempty,
        /// As a switch.
        12 bridge_master: BridgeMasterSpec = "bridgeMaster" omitempty,
        /// As a VRF.
        17 vrf_master: VrfMasterSpec = "vrfMaster" omitempty,
        /// As a tunnel.
        13 wireguard: WireguardSpec = "wireguard" omitempty,
        /// As one end of a cable.
        19 veth: VethSpec = "veth" omitempty,
        /// Who wants it.
        14 layer: ConfigLayer = "layer",
        /// Takes part in multicast, if somebody says.
        16 multicast: Option<bool> = "multicast" omitempty,
    }
}
