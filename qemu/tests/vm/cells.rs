//! The boot matrix: each cell on a disk three times the image, first boot and second boot.

use libtest_mimic::Trial;
use qemu::{Machine, cells, node::configured};

use crate::{
    Tier,
    node::{boots_well, expect_healthy_node, expect_table},
    trial,
};

pub fn trials(tier: Tier) -> Vec<Trial> {
    let cells = if tier == Tier::Full { cells::all() } else { cells::ci() };
    cells.into_iter().map(|cell| trial(format!("cells/{cell}"), move || boots_twice(cell))).collect()
}

fn boots_twice(cell: Machine) -> anyhow::Result<()> {
    let (mut vm, api, access) = configured(cell)?;
    expect_healthy_node(&vm, &api)?;
    api.shutdown()?;
    vm.wait_power_off()?;
    expect_table(&vm)?;

    boots_well(&mut vm, &access)
}
