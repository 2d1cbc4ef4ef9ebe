//! The machine's hardware.

/// The only id of [`SystemInformationSpec`].
pub const SYSTEM_INFORMATION: &str = "systeminformation";

crate::message! {
    /// What the firmware says of the machine (SMBIOS).
    pub struct SystemInformationSpec {
        /// Who made it.
        1 manufacturer: String = "manufacturer" omitempty,
        /// What it is.
        2 product_name: String = "productName" omitempty,
        /// Which one of these.
        3 version: String = "version" omitempty,
        /// Version of the firmware.
        8 bios_version: String = "biosVersion" omitempty,
        /// Serial number.
        4 serial_number: String = "serialnumber" omitempty,
        /// UUID.
        5 uuid: String = "uuid" omitempty,
        /// Number in the maker's catalogue.
        7 sku_number: String = "skuNumber" omitempty,
    }
}

kinds! {
    SystemInformationSpec: "SystemInformations.hardware.talos.dev" in "hardware", ["systeminformation"],
        ["Manufacturer" = "{.manufacturer}", "ProductName" = "{.productName}", "Version" = "{.version}",
         "SerialNumber" = "{.serialnumber}", "UUID" = "{.uuid}", "WakeUpType" = "{.wakeUpType}", "SKUNumber" = "{.skuNumber}"];
}
