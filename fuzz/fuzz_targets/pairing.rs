#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| turnchat_fuzz::pairing::run(data));
