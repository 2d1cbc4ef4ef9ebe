//! Services.

crate::message! {
    /// How a service does.
    pub struct ServiceSpec {
        /// It runs.
        1 running: bool = "running",
        /// Its health check passes.
        2 healthy: bool = "healthy",
        /// No health check has answered yet.
        3 unknown: bool = "unknown",
    }
}

kinds! {
    ServiceSpec: "Services.v1alpha1.talos.dev" in "runtime", ["svc"],
        ["Running" = "{.running}", "Healthy" = "{.healthy}", "Health Unknown" = "{.unknown}"];
}
