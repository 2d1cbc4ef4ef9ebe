//! What becomes of the system disk: its tables and META are judged, and the decision is carried out.

use std::collections::BTreeMap;

use layout::{
    Arch, Uuid,
    meta::{Found, Life, Record, Store},
    plan::{self, Care, Decision, Facts},
    spec::{PartitionSet, STATE},
    table::Tables,
};
use log::info;

use super::{
    find::Booted,
    medium::Medium,
    provision::{Provision, StepError},
    reset,
    store::MetaPlace,
    table,
    volumes::{self, Mounter},
};
use crate::node::PartitionStatus;

/// What came out, for the node's status.
#[derive(Debug, Default)]
pub struct Outcome {
    /// The partitions as they are now.
    pub partitions: Vec<PartitionStatus>,
    /// What people must be told.
    pub problems: Vec<String>,
    /// STATE existed, or may have, but cannot be used.
    pub state_lost: bool,
    /// META's keys with their values; `None` when it cannot be read.
    pub keys: Option<BTreeMap<u8, Vec<u8>>>,
    /// The disk was wiped whole, and the machine is to be restarted (`true`) or switched off.
    pub gone: Option<bool>,
}

/// The booted system as far as its disk goes.
pub struct System<'a> {
    /// The image's partitions.
    pub set: &'a PartitionSet,
    /// The image's architecture.
    pub arch: Arch,
    /// How it was booted.
    pub booted: &'a Booted,
    /// Takes warnings for people.
    pub warn: &'a dyn Fn(String),
    /// Told as soon as it is known what became of STATE; says whether the rest is to be mounted.
    pub told: &'a dyn Fn(&Outcome) -> bool,
}

/// A disk that is being brought up.
#[derive(Clone, Copy)]
struct Target<'a> {
    disk: &'a dyn Medium,
    tables: &'a Tables,
    mounter: &'a dyn Mounter,
}

impl System<'_> {
    /// Judges the disk by its tables, carries out the decision and says what came out.
    ///
    /// # Errors
    /// [`StepError`]: the step that failed; everything up to it can be resumed.
    pub fn bring_up(&self, disk: &dyn Medium, tables: &Tables, mounter: &dyn Mounter) -> Result<Outcome, StepError> {
        let facts = self.facts(disk, tables);
        let located = match plan::locate(&facts) {
            Ok(located) => located,
            Err(reason) => return Ok(self.refused(tables, reason.to_string(), true)),
        };
        let target = Target { disk, tables, mounter };
        let mut meta = MetaPlace::new(disk, located.meta);
        let found = meta.read()?;
        match plan::decide(&facts, &found, &mut Uuid::new_v4) {
            Decision::Refuse { reason, state_lost } => Ok(self.refused(tables, reason.to_string(), state_lost)),
            Decision::Run { care, problems } => {
                let store = self.mend_meta(&mut meta, found)?;
                self.care(disk, tables, care)?;
                let set_up = store.is_some();
                let partitions = volumes::list(self.set, located.table, disk);
                let mut outcome = Outcome { partitions, keys: store.as_ref().map(keys), ..Outcome::default() };
                outcome.problems = problems.iter().map(ToString::to_string).collect();
                for problem in &outcome.problems {
                    (self.warn)(problem.clone());
                }
                info!("disk: {} is set up{}", self.booted.disk.name, if set_up { "" } else { " as far as its table says" });
                Ok(self.mounted(mounter, outcome))
            }
            Decision::Provision(record) => {
                info!("disk: first boot: setting up {}", self.booted.disk.name);
                self.first_boot(target, meta, found, record)
            }
            Decision::Resume(record) => {
                (self.warn)("first boot was interrupted; it is resumed from its record".to_owned());
                self.first_boot(target, meta, found, record)
            }
            Decision::Reset { reset, record, then } => {
                let store = self.mend_meta(&mut meta, found)?.ok_or(StepError::NoMeta)?;
                let store = if reset.erased {
                    info!("disk: a reset ends: what it wiped is made anew");
                    store
                } else {
                    (self.warn)("a reset was interrupted; it is brought to its end".to_owned());
                    reset::erase_all(disk, &mut meta, store, &record, self.warn)?
                };
                let (open, close) = match then {
                    Life::Provisioning(_) => (then, Life::Provisioned(record.clone())),
                    close => (store.meta.life.clone(), close),
                };
                self.carry_out(target, meta, store, record, open, close)
            }
            Decision::WipeDisk { restart } => {
                (self.warn)("a reset of the whole disk was interrupted; it is brought to its end".to_owned());
                reset::wipe_disk(disk, &located, self.booted.root.range, self.warn)?;
                let problem = "this disk was reset: no system is on it any more, and the machine goes down".to_owned();
                Ok(Outcome { problems: vec![problem], state_lost: true, gone: Some(restart), ..Outcome::default() })
            }
        }
    }

    /// All that is known of the disk before META is read.
    pub(super) fn facts<'a>(&'a self, disk: &dyn Medium, tables: &'a Tables) -> Facts<'a> {
        Facts {
            set: self.set,
            arch: self.arch,
            disk_size: disk.size(),
            sector: disk.sector(),
            tables,
            root: self.booted.root,
            twins: &self.booted.twins,
            loader: &self.booted.loader,
        }
    }

    fn first_boot(&self, target: Target<'_>, mut meta: MetaPlace<'_>, found: Found, record: Record) -> Result<Outcome, StepError> {
        let store = self.mend_meta(&mut meta, found)?.ok_or(StepError::NoMeta)?;
        let (open, close) = (Life::Provisioning(record.clone()), Life::Provisioned(record.clone()));
        self.carry_out(target, meta, store, record, open, close)
    }

    /// Makes what the record makes, and mounts it.
    fn carry_out(
        &self,
        target: Target<'_>,
        mut meta: MetaPlace<'_>,
        store: Store,
        record: Record,
        open: Life,
        close: Life,
    ) -> Result<Outcome, StepError> {
        let Target { disk, tables, mounter } = target;
        let keys = keys(&store);
        let table = Provision { disk, mounter, tables, record, open, close }.run(&mut meta, store, self.set)?;
        let outcome = Outcome { partitions: volumes::list(self.set, &table, disk), keys: Some(keys), ..Outcome::default() };
        Ok(self.mounted(mounter, outcome))
    }

    /// STATE first: the configuration is on it, and the rest of boot waits for that.
    fn mounted(&self, mounter: &dyn Mounter, mut outcome: Outcome) -> Outcome {
        volumes::mount(self.set, mounter, &mut outcome, self.warn, |label| label == STATE);
        if (self.told)(&outcome) {
            volumes::mount(self.set, mounter, &mut outcome, self.warn, |label| label != STATE);
        }
        outcome
    }

    /// Brings both copies of META in step; `None` when neither is good.
    pub(super) fn mend_meta(&self, meta: &mut MetaPlace<'_>, found: Found) -> Result<Option<Store>, StepError> {
        let Found::Valid(mut store) = found else { return Ok(None) };
        if let Some(damage) = &store.damaged {
            (self.warn)(format!("one copy of META was damaged ({damage}) and is written again from the other"));
        }
        meta.repair(&mut store)?;
        Ok(Some(store))
    }

    fn care(&self, disk: &dyn Medium, tables: &Tables, care: Care) -> Result<(), StepError> {
        let text = match care {
            Care::None => return Ok(()),
            Care::RepairPrimary => "the primary partition table was damaged and is written again from the backup",
            Care::RepairBackup => "the backup partition table was damaged and is written again from the primary",
        };
        (self.warn)(format!("{text} ({})", table::describe(tables)));
        table::repair(disk, tables)
    }

    fn refused(&self, tables: &Tables, reason: String, state_lost: bool) -> Outcome {
        (self.warn)(reason.clone());
        let partitions = tables.table().map(|table| volumes::list_plain(self.set, table)).unwrap_or_default();
        Outcome { partitions, problems: vec![reason], state_lost, ..Outcome::default() }
    }
}

fn keys(store: &Store) -> BTreeMap<u8, Vec<u8>> {
    store.meta.keys().map(|(key, value)| (key, value.to_vec())).collect()
}
