#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| vm_devices::testing::garbage::torture(data));
