#![no_main]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fenchel_fuzz::survive("npy", bytes));
