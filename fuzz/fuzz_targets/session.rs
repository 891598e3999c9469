#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| turnchat_fuzz::session::run(data));
