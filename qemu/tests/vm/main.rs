//! The VM suites: what a user sees, on the image that a user gets.
//!
//! `cargo xtask vm-test [--tier ci|full] [FILTER]` builds the images and runs this. Names are
//! `<suite>/<board>/...`; any part of a name is a filter.

mod bad_input;
mod calls;
mod cells;
mod changes;
mod coverage;
mod dns;
mod firewall;
mod fleet;
mod hostile;
mod methods;
mod network;
mod node;
mod params;
mod platform;
mod power_cut;
mod reset;
mod resources;
mod sandbox;
mod serial_port;
mod services;
mod sources;
mod time;

use libtest_mimic::{Arguments, Trial};

/// How much is run.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tier {
    /// Both boards, a chosen dozen of cells, short samples: minutes.
    Ci,
    /// Every cell and the long runs: hours.
    Full,
}

fn main() {
    let arguments = Arguments::from_args();
    let tier = match std::env::var("KEELSON_TIER").as_deref() {
        Ok("full") => Tier::Full,
        Ok("ci") | Err(_) => Tier::Ci,
        Ok(other) => panic!("KEELSON_TIER is {other:?}; it may be `ci` or `full`"),
    };
    let mut trials = cells::trials(tier);
    trials.extend(node::trials(tier));
    trials.extend(bad_input::trials(tier));
    trials.extend(calls::trials());
    trials.extend(resources::trials());
    trials.extend(changes::trials());
    trials.extend(coverage::trials());
    trials.extend(sandbox::trials());
    trials.extend(network::trials());
    trials.extend(sources::trials(tier));
    trials.extend(platform::trials(tier));
    trials.extend(power_cut::trials(tier));
    trials.extend(reset::trials(tier));
    trials.extend(serial_port::trials());
    trials.extend(services::trials(tier));
    trials.extend(time::trials());
    trials.extend(dns::trials());
    trials.extend(firewall::trials());
    trials.extend(fleet::trials());
    trials.extend(hostile::trials(tier));
    trials.extend(params::trials());
    trials.extend(methods::trials());
    libtest_mimic::run(&arguments, trials).exit();
}

/// A trial whose error is shown with its chain.
fn trial(name: String, run: impl FnOnce() -> anyhow::Result<()> + Send + 'static) -> Trial {
    Trial::test(name, move || run().map_err(|error| format!("{error:#}").into()))
}
