//! What the kernel says in text, and what firmware and boot loader say through it.

use layout::verity::VerityTable;
use linux::{
    fuzz, kmsg,
    modules::{Index, Wanted},
};
use machined::{
    boot::facts,
    net::cmdline::{CommandLine, Selector},
};

use super::seeds;
use crate::target::{MIB, Target, parts, text, words};

/// The command line.
pub const COMMAND_LINE: Target = Target {
    name: "command-line",
    bytes: "a kernel command line",
    from: "firmware, boot loader, whoever boots it over the network",
    property: "every argument about the network is understood or named as a problem, sixteen of a kind at most; \
               hardware addresses are read as they are written",
    memory: 16 * MIB,
    words: || {
        words(&[
            "ip=",
            "ip=dhcp ",
            "ip=10.0.0.2::10.0.0.1:255.255.255.0:node:eth0:off:1.1.1.1:9.9.9.9:ntp ",
            "vlan=eth0.5:eth0 ",
            "bond=bond0",
            ":eth0,eth1",
            ":mode=802.3ad,miimon=100",
            ":mode=",
            "talos.hostname=",
            "talos.network.interface.ignore=",
            "[fd00::1]",
            "[",
            "]",
            ":",
            "enx525400123456",
            "52-54-00-12-34-56",
            "[52:54:00:12:34:56]",
            "dhcp",
            " -- ",
            "\"",
            "talos.config.inline=",
            "4095",
            "+",
            "/24",
        ])
    },
    seeds: || {
        seeds(&[
            "console=ttyS0 ip=dhcp talos.platform=metal talos.hostname=node-1",
            "ip=10.0.0.2::10.0.0.1:255.255.255.0:node:enx525400123456:off:1.1.1.1::ntp.example ip=[fd00::2]:::64 ip=eth1:dhcp",
            "vlan=eth0.5:eth0 bond=bond0:eth0,eth1:mode=802.3ad,xmit_hash_policy=layer3+4,arp_ip_target=10.0.0.1:9000 a=\"b c\" -- x",
        ])
    },
    check: |input| {
        let text = text(input);
        let line = CommandLine::parse(&text);
        let of =
            |keys: &[&str]| text.split_whitespace().filter(|word| word.split_once('=').is_some_and(|(key, _)| keys.contains(&key))).count();
        assert!(line.ip.len() <= 16 && line.links.len() <= 16);
        let (wanted, read) = (of(&["ip", "vlan", "bond"]), line.ip.len() + line.links.len());
        let hosts = of(&["talos.hostname"]);
        assert!(read + line.problems.len() >= wanted && read + line.problems.len() <= wanted + hosts, "{line:?}");
        for word in text.split([' ', ':', '=']) {
            if let Some(Selector::Mac(mac)) = Selector::parse(word) {
                let digits: String = mac.iter().map(|octet| format!("{octet:02x}")).collect();
                let written: String = word.trim_start_matches("enx").chars().filter(|letter| !"-:".contains(*letter)).collect();
                assert_eq!(written.to_ascii_lowercase(), digits, "another address than written");
            }
        }
        let facts = facts::CommandLine::parse(&text);
        for word in text.split_whitespace().take_while(|word| *word != "--").filter(|word| !text.contains('"') && !word.starts_with('=')) {
            let (key, value) = word.split_once('=').unwrap_or((word, ""));
            assert!(facts.all(key).any(|found| found == value), "{key} is lost");
        }
        let release = facts::Release::parse(&text);
        let _ = (release.build_epoch(), release.get("VERSION"));
    },
    ..Target::PLAIN
};

/// The root's table.
pub const VERITY: Target = Target {
    name: "verity",
    bytes: "a command line with the root's verity table",
    from: "firmware, the loaded kernel image",
    property: "a table that is understood says the same when it is written",
    words: || {
        words(&["dm-mod.create=\"", "root,,,ro,0 ", " verity 1 ", " 4096 4096 ", " sha256 ", " 1 panic_on_corruption", "PARTUUID=", "-"])
    },
    seeds: || {
        let table = VerityTable { root_hash: [7; 32], salt: vec![1; 32], data_blocks: 1000, hash_start: 1000, panic_on_corruption: true };
        vec![table.kernel_arguments().join(" ").into_bytes()]
    },
    check: |input| {
        let text = text(input);
        drop(VerityTable::from_table(&text));
        let Ok(table) = VerityTable::from_cmdline(&text) else { return };
        assert_eq!(VerityTable::from_cmdline(&table.kernel_arguments().join(" ")), Ok(table));
    },
    ..Target::PLAIN
};

/// Files below /proc.
pub const PROC: Target = Target {
    name: "proc",
    bytes: "a file of /proc: of counters, or the mount table",
    from: "the kernel; mount tables also whoever names mount points",
    property: "every line of the right shape is there; names come out as they went in",
    memory: 32 * MIB,
    words: || {
        words(&[
            "cpu0 ",
            "intr ",
            "softirq ",
            "MemTotal: ",
            "processor\t: ",
            "flags\t: ",
            " 254 0 vda ",
            "eth0: ",
            "\\040",
            "\\134",
            " - ",
            " kB\n",
            "NaN",
            "1e999",
            "18446744073709551615",
        ])
    },
    seeds: || {
        seeds(&[
            "22 1 254:0 / /a\\040b rw,noexec shared:1 - xfs /dev/vda5 rw\n",
            "cpu  100 0 50 200\ncpu0 1 2 3\nintr 9 1 2\nsoftirq 5 1\nctxt 7\n",
            "MemTotal:   2014 kB\nprocessor : 0\nflags : a b\n 254 0 vda 1 2 3 4 5 6 7\n  eth0: 1 2 3\n",
        ])
    },
    check: |input| {
        let text = text(input);
        drop(machined::fuzz::proc(&text));
        drop(fuzz::mounts(&text));
        // As the kernel writes it.
        let escape = |text: &str| {
            let hidden = |letter: char| matches!(letter, ' ' | '\t' | '\n' | '\\' | '#');
            text.chars()
                .map(|letter| if hidden(letter) { format!("\\{:03o}", u32::from(letter)) } else { letter.to_string() })
                .collect::<String>()
        };
        let table = format!("22 1 254:0 / /{} rw - xfs {} rw\n", escape(&text), escape(&text));
        // The kernel lets no other line break through, and neither do names that go into one.
        if !text.contains('\r') {
            let mounts = fuzz::mounts(&table);
            assert_eq!(mounts.len(), 1);
            assert_eq!((mounts[0].target.to_str(), mounts[0].device.as_str()), (Some(format!("/{text}").as_str()), &*text), "{table}");
        }
    },
    ..Target::PLAIN
};

/// Tables of sockets.
pub const SOCKETS: Target = Target {
    name: "sockets",
    bytes: "a table of sockets in /proc/net",
    from: "the kernel; addresses and ports in it from whoever connects",
    property: "both ends come out as they went in; lines of another shape are passed over",
    memory: 32 * MIB,
    words: || {
        words(&[
            "   0: 0100007F:C350 00000000:0000 0A 00000000:00000000 00:00000000 00000000    50        0 20537 1 0000000000000000 100 0 0 10 0\n",
            "00000000000000000000000000000000:C350 ",
            "0000000000000000FFFF0000",
            " 07 ",
            " -1 ",
            ":",
            "\n",
        ])
    },
    seeds: || {
        seeds(&[
            "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   0: 0100007F:C350 0F02000A:01BB 01 \
             00000001:0000000A 02:00001234 00000002 50 0 20537 1 0000000000000000 100 0 0 10 0\n",
            "  1: 000080FE00000000FF005450123456FE:003A 00000000000000000000000000000000:0000 07 0:0 00:0 0 0 -1 5 2 0 0\n",
        ])
    },
    check: |input| {
        let text = text(input);
        assert!(machined::fuzz::sockets(&text).len() <= 8 * text.lines().count());
        // As the kernel writes it, for IPv6 and for IPv4: words in the machine's order.
        let Some((bytes, _)) = input.split_first_chunk::<20>() else { return };
        let words: Vec<String> =
            bytes.chunks_exact(4).map(|word| format!("{:08X}", u32::from_ne_bytes([word[0], word[1], word[2], word[3]]))).collect();
        let port = u32::from(bytes[16]) << 8 | u32::from(bytes[17]);
        let (six, four) = (<[u8; 16]>::try_from(&bytes[..16]).expect("16 bytes"), [bytes[0], bytes[1], bytes[2], bytes[3]]);
        for (written, address) in [
            (words[..4].concat(), std::net::Ipv6Addr::from(six).to_string()),
            (words[0].clone(), std::net::Ipv4Addr::from(four).to_string()),
        ] {
            let line = format!("0: {written}:{port:04X} {written}:0000 0A 0:0 0:0 0 0 0 1 1 0\n");
            let expect = [(address.clone(), port), (address, 0)];
            assert!(
                machined::fuzz::sockets(&line).iter().all(|ends| *ends == expect) && !machined::fuzz::sockets(&line).is_empty(),
                "{line}"
            );
        }
    },
    ..Target::PLAIN
};

/// Records of the kernel log, and what it says of devices.
pub const LOG_RECORD: Target = Target {
    name: "kernel-log",
    bytes: "a record of /dev/kmsg; a message about a device",
    from: "the kernel; any program that writes to its log",
    property: "texts come out as they went in",
    memory: 8 * MIB,
    words: || words(&["6,1,100,-;", ",caller=T1;", "\\x0a", "\\x5c", "\\x", "\n SUBSYSTEM=block", "\0SUBSYSTEM=block\0", ";"]),
    seeds: || {
        seeds(&["6,1,100,-;Linux version\n SUBSYSTEM=x\n", "30,7,9,-,caller=T1;a\\x0ab\\x5cx\n", "add@/d\0SUBSYSTEM=block\0SEQNUM=7\0"])
    },
    check: |input| {
        let _ = fuzz::uevent(input, "block");
        if let Some(record) = kmsg::parse(input) {
            assert!(record.level < 8);
        }
        // As the kernel writes it: what cannot be printed, and the backslash, as `\xNN`.
        let printable = |byte: u8| (0x20..0x7f).contains(&byte) && byte != b'\\';
        let escape = |byte: &u8| if printable(*byte) { char::from(*byte).to_string() } else { format!("\\x{byte:02x}") };
        let written: String = input.iter().map(escape).collect();
        let record = kmsg::parse(format!("6,1,100,-;{written}\n").as_bytes()).expect("a record");
        assert_eq!(record.text, text(input));
    },
    ..Target::PLAIN
};

/// What modules there are and what they need.
pub const MODULES: Target = Target {
    name: "modules",
    bytes: "a name, and the four files of a modules' folder, `%%` between them",
    from: "uevents and the kernel (the name); the image (the files)",
    property: "each file comes once, after those it needs; in bounded time, also when they need each other",
    memory: 16 * MIB,
    words: || {
        words(&["%%\n", "a.ko: b.ko c.ko\n", "alias pci:v*d* a\n", "softdep a pre: b post: c\n", "kernel/a.ko\n", "[0-9]", "*", "?", "-"])
    },
    seeds: || seeds(&["pci:v1d2\n%%\na.ko: b.ko\nb.ko:\nc.ko:\n%%\nalias pci:v*d[0-9] a\n%%\nsoftdep a pre: c post: b\n%%\nkernel/d.ko\n"]),
    check: |input| {
        let text = text(input);
        let [name, dep, alias, softdep, builtin] = parts::<5>(&text);
        let index = Index::parse(dep, alias, softdep, builtin);
        let names = name.lines().take(2).chain(["a"]);
        for name in names {
            let Wanted::Files(files) = index.resolve(name) else { continue };
            for (at, file) in files.iter().enumerate() {
                assert!(!files[..at].contains(file), "{file} comes twice");
            }
        }
    },
    ..Target::PLAIN
};

/// The device mapper's answer.
pub const DEVICE_MAPPER: Target = Target {
    name: "device-mapper",
    bytes: "how many targets (a byte), then the device mapper's answer",
    from: "the kernel",
    property: "as many targets as there are, with names of at most 15 letters",
    words: || words(&["verity\0\0", "linear\0\0"]),
    seeds: || vec![b"\x01\0\0\0\0\0\0\0\0\x50\0\0\0\0\0\0\0\0\0\0\0\x40\0\0\0verity\0\0\0\0\0\0\0\0\0\0V\0".to_vec()],
    check: |input| {
        let Some((count, answer)) = input.split_first() else { return };
        if let Some(targets) = fuzz::targets(answer, u32::from(*count)) {
            assert_eq!(targets.len(), usize::from(*count));
            assert!(targets.iter().all(|(kind, _)| kind.chars().count() < 16));
        }
    },
    memory: 2 * MIB,
    ..Target::PLAIN
};
