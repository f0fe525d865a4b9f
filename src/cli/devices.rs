//! `fenchel devices`: where one could compute.

use std::fmt::Write as _;

use serde_json::json;

use crate::Result;
use crate::engine::{Cpu, DeviceChoice, Engine, device};

use super::session::Session;

pub(super) fn devices(session: &Session) -> Result<()> {
    let cpu = Cpu::<f32>::new();
    let simd = simd();
    let adapters = device::adapters();
    let auto =
        DeviceChoice::Auto.resolve(&adapters)?.map_or("cpu".to_owned(), |number| format!("gpu:{number}"));
    let document = json!({
        "cpu": { "threads": cpu.parallelism(), "simd": simd },
        "adapters": adapters,
        "auto": auto,
    });
    session.print(&document, || {
        let mut text = format!("cpu    {} threads, {simd}\n", cpu.parallelism());
        for adapter in &adapters {
            let mebibytes = |bytes: u64| bytes >> 20;
            let _ = writeln!(
                text,
                "gpu:{}  {} ({}, {}), driver {}, bindings to {} MiB, buffers to {} MiB, {} workgroups in a dimension, {} KiB \
                 of memory in each{}{}",
                adapter.number,
                adapter.name,
                adapter.backend,
                adapter.kind,
                adapter.driver,
                mebibytes(adapter.largest_binding),
                mebibytes(adapter.largest_buffer),
                adapter.workgroups,
                adapter.workgroup_memory >> 10,
                if adapter.features.is_empty() { "" } else { ", " },
                adapter.features.join(", "),
            );
        }
        if adapters.is_empty() {
            text.push_str("no graphics adapter found\n");
        }
        let _ = writeln!(text, "auto takes {auto}");
        text
    })
}

/// The instruction set that kernels run with, as the processor offers it.
fn simd() -> &'static str {
    match pulp::Arch::new() {
        #[cfg(target_arch = "x86_64")]
        pulp::Arch::V4(_) => "AVX-512",
        #[cfg(target_arch = "x86_64")]
        pulp::Arch::V3(_) => "AVX2 and FMA",
        #[cfg(target_arch = "aarch64")]
        pulp::Arch::Neon(_) => "NEON",
        _ => "baseline instructions",
    }
}
