#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tcp_forwarder_fuzz::dns_message::run(data));
