//! META's keys as resources.

use reconcile::Output;
use resource::kinds::runtime::{META_LOADED, MetaKeySpec, MetaLoadedSpec};

use super::mirror::Mirror;
use crate::node::{MetaStatus, Node};

pub(super) fn reconciler(node: &Node) -> Mirror<MetaStatus> {
    let outputs = vec![Output::exclusive::<MetaKeySpec>(), Output::exclusive::<MetaLoadedSpec>()];
    Mirror::new("runtime.meta", &node.meta, outputs, |meta: &MetaStatus, context| {
        context.keep(meta.keys.iter().map(|(key, value)| (id(*key), spec(value))))?;
        context.keep(meta.loaded.then(|| (META_LOADED.to_owned(), MetaLoadedSpec { done: true })))?;
        Ok(())
    })
}

/// The key as clients write it.
fn id(key: u8) -> String {
    format!("0x{key:02x}")
}

/// Values are bytes, resources hold text: what is none is shown as far as it is.
fn spec(value: &[u8]) -> MetaKeySpec {
    MetaKeySpec { value: String::from_utf8_lossy(value).into_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_the_ids_that_clients_ask_for() {
        assert_eq!([0, 10, 255].map(id), ["0x00", "0x0a", "0xff"]);
        assert_eq!(spec(b"a\xffb").value, "a\u{fffd}b");
    }
}
