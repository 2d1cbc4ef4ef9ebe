//! Code made by build.rs from `proto/`.
#![allow(missing_docs, clippy::all, clippy::pedantic)]

pub mod google {
    pub mod rpc {
        tonic::include_proto!("google.rpc");
    }
}
/// Package `google.rpc`: the status inside merged replies.
pub use google::rpc as google_rpc;

/// Package `common`: byte streams, reply metadata, container selectors.
pub mod common {
    tonic::include_proto!("common");
}
/// Package `machine`: the node itself.
pub mod machine {
    tonic::include_proto!("machine");
}
/// Package `storage`: disks.
pub mod storage {
    tonic::include_proto!("storage");
}
/// Package `time`: clocks.
pub mod time {
    tonic::include_proto!("time");
}
/// Package `cluster`: health of the cluster.
pub mod cluster {
    tonic::include_proto!("cluster");
}
/// Package `inspect`: dependencies of reconcilers.
pub mod inspect {
    tonic::include_proto!("inspect");
}
/// Package `securityapi`: certificates for joining nodes.
pub mod security {
    tonic::include_proto!("securityapi");
}
/// Package `cosi.resource`: the node's resources.
pub mod cosi {
    tonic::include_proto!("cosi.resource");
}
/// Server code for the methods machined and trustd serve.
pub mod server {
    pub mod machine {
        include!(concat!(env!("OUT_DIR"), "/servers/machine.rs"));
    }
    pub mod cluster {
        include!(concat!(env!("OUT_DIR"), "/servers/cluster.rs"));
    }
    pub mod cosi {
        include!(concat!(env!("OUT_DIR"), "/servers/cosi.resource.rs"));
    }
    pub mod inspect {
        include!(concat!(env!("OUT_DIR"), "/servers/inspect.rs"));
    }
    pub mod storage {
        include!(concat!(env!("OUT_DIR"), "/servers/storage.rs"));
    }
    pub mod security {
        include!(concat!(env!("OUT_DIR"), "/servers/securityapi.rs"));
    }
    pub mod time {
        include!(concat!(env!("OUT_DIR"), "/servers/time.rs"));
    }
}
