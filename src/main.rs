//! Entry point of the `gatepost` binary.

fn main() -> std::process::ExitCode {
    gatepost::cli::main()
}
