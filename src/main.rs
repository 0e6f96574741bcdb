//! The `tenmil` command.

fn main() {}
