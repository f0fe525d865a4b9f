//! Graphics adapters: found where continuous integration says there must be one.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use fenchel::engine::{DeviceChoice, device};

#[test]
#[allow(clippy::print_stdout, reason = "says why it was skipped")]
fn adapters_describe_themselves() {
    let adapters = device::adapters();
    if adapters.is_empty() {
        let required = std::env::var_os("FENCHEL_REQUIRE_GPU").is_some();
        assert!(!required, "FENCHEL_REQUIRE_GPU is set and no graphics adapter was found");
        println!("skipped: no graphics adapter");
        return;
    }
    for (number, adapter) in adapters.iter().enumerate() {
        assert_eq!(adapter.number, number);
        assert!(!adapter.name.is_empty() && adapter.largest_binding >= 1 << 20, "{adapter:?}");
        assert_eq!(adapter.software, adapter.kind == "software");
    }
}

#[test]
fn the_gpu_is_refused_by_name_until_there_is_an_engine_for_it() {
    let error = DeviceChoice::Gpu(Some(1)).require_cpu().unwrap_err();
    assert!(error.to_string().contains("--device gpu:1"), "{error}");
}
