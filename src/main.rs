//! The `tenmil` command.

fn main() -> std::process::ExitCode {
    tenmil::cli::main()
}
