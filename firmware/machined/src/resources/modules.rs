//! Kernel modules that are loaded.

use reconcile::Output;
use resource::kinds::runtime::{KernelModuleState, KernelModuleStatusSpec, KernelModuleType};

use super::listener::Listener;

/// The kernel's own list (`proc(5)`).
const LIST: &str = "/proc/modules";

pub(super) fn reconciler() -> Listener<String> {
    let read = || Ok(std::fs::read_to_string(LIST)?);
    Listener::new("runtime.modules", "module", vec![Output::exclusive::<KernelModuleStatusSpec>()], read, |list, context| {
        context.keep(list.lines().filter_map(module))?;
        Ok(())
    })
}

/// A line: name, bytes, users, their names with commas, state, address. Nothing for a line that is not one.
fn module(line: &str) -> Option<(String, KernelModuleStatusSpec)> {
    let mut fields = line.split_ascii_whitespace();
    let (name, size, users, names) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    let state = match fields.next()? {
        "Live" => KernelModuleState::Live,
        "Loading" => KernelModuleState::Loading,
        "Unloading" => KernelModuleState::Unloading,
        _ => return None,
    };
    let spec = KernelModuleStatusSpec {
        kind: KernelModuleType::Dynamic,
        size: size.parse().ok()?,
        // `-` in a kernel whose modules cannot be unloaded.
        reference_count: users.parse().unwrap_or(0),
        dependencies: names.split(',').filter(|name| !name.is_empty() && *name != "-").map(str::to_owned).collect(),
        state,
        address: fields.next().unwrap_or_default().to_owned(),
    };
    Some((name.to_owned(), spec))
}

#[cfg(test)]
mod tests {
    use resource::Value;

    use super::*;

    #[test]
    fn lines_are_modules() {
        let (name, spec) = module("crc16 12288 2 xfs,ext4, Live 0x0000000000000000").unwrap();
        assert_eq!(name, "crc16");
        let expect =
            "type: dynamic\nsize: 12288\nreferenceCount: 2\ndependencies:\n- xfs\n- ext4\nstate: live\naddress: '0x0000000000000000'\n";
        assert_eq!(spec.form().to_yaml().unwrap(), expect);
        let (_, alone) = module("loop 40960 - - Unloading 0x0 (O)").unwrap();
        assert_eq!((alone.reference_count, alone.dependencies.len(), alone.state), (0, 0, KernelModuleState::Unloading));
        for line in ["", "loop", "loop x 0 - Live 0x0", "loop 1 0 - Dead 0x0"] {
            assert_eq!(module(line), None, "{line}");
        }
    }
}
