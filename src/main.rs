//! Arguments -> configuration -> app -> exit status; nothing else.

fn main() {}
