//! The boot matrix: every cell that can exist, and the dozen that CI runs.

use crate::{Arch, Boot, Bus, Machine, Sector};

const BOOTS: [Boot; 2] = [Boot::Firmware, Boot::Fast];
const BUSES: [Bus; 5] = [Bus::VirtioBlk, Bus::VirtioScsi, Bus::Nvme, Bus::Usb, Bus::Ahci];
const SECTORS: [Sector; 2] = [Sector::B512, Sector::B4096];

/// Every machine of {architecture} x {boot path} x {bus} x {sector size} that QEMU and its firmware can boot.
#[must_use]
pub fn all() -> Vec<Machine> {
    let mut cells = Vec::new();
    for arch in Arch::ALL {
        for boot in BOOTS {
            for bus in BUSES {
                for sector in SECTORS {
                    let cell = Machine { boot, bus, sector, ..Machine::new(arch) };
                    if cell.impossible().is_none() {
                        cells.push(cell);
                    }
                }
            }
        }
    }
    cells
}

/// The cells that CI boots: each value of each axis on each board, and firmware with every bus once.
#[must_use]
pub fn ci() -> Vec<Machine> {
    use {Boot::*, Bus::*, Sector::*};
    let chosen = [
        (Arch::X86_64, Firmware, VirtioBlk, B512),
        (Arch::X86_64, Firmware, Nvme, B4096),
        (Arch::X86_64, Firmware, Usb, B512),
        (Arch::X86_64, Firmware, Ahci, B512),
        (Arch::X86_64, Fast, VirtioScsi, B512),
        (Arch::X86_64, Fast, VirtioBlk, B4096),
        (Arch::Arm64, Firmware, VirtioBlk, B512),
        (Arch::Arm64, Firmware, VirtioScsi, B4096),
        (Arch::Arm64, Firmware, Usb, B512),
        (Arch::Arm64, Fast, Nvme, B512),
        (Arch::Arm64, Fast, Ahci, B512),
        (Arch::Arm64, Fast, VirtioBlk, B4096),
    ];
    chosen.map(|(arch, boot, bus, sector)| Machine { boot, bus, sector, ..Machine::new(arch) }).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cell_is_there_once() {
        let mut names: Vec<String> = all().iter().map(ToString::to_string).collect();
        assert_eq!(names.len(), 2 * 2 * 4 * 2 + 3, "two boards, two paths, four buses, two sizes; AHCI where it exists");
        names.sort();
        names.dedup();
        assert_eq!(names.len(), 35);
    }

    #[test]
    fn ci_runs_a_dozen_possible_cells_with_every_value() {
        let (all, ci) = (all(), ci());
        assert_eq!(ci.len(), 12);
        for cell in &ci {
            assert!(all.iter().any(|other| other.to_string() == cell.to_string()), "{cell} cannot exist");
        }
        for bus in BUSES {
            for arch in Arch::ALL {
                assert!(ci.iter().any(|cell| cell.bus == bus && cell.arch == arch), "{bus} on {arch} is never booted");
            }
        }
    }
}
