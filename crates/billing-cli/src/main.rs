//! The one binary, `billing`.

use std::process::ExitCode;

use billing_cli::{cli, exit};

#[expect(clippy::print_stderr, reason = "the last word of the process, whether or not logging has started")]
fn main() -> ExitCode {
    let cli = match cli::parse(std::env::args_os()) {
        Ok(cli) => cli,
        Err(told) if !told.use_stderr() => told.exit(),
        Err(wrong) => {
            eprint!("{}", wrong.render());
            return ExitCode::from(cli::status_of_usage(std::env::args_os()));
        }
    };
    if let Err(exit) = billing_cli::prepare(&cli) {
        eprintln!("billing: {}", exit.told());
        return exit.code();
    }
    // The libraries here could use either of two TLS providers and panic unless one is chosen.
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        eprintln!("billing: the TLS provider was installed twice");
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("billing: cannot start: {error}");
            return ExitCode::from(exit::SOFTWARE);
        }
    };
    let code = match runtime.block_on(billing_cli::run(cli)) {
        Ok(status) => ExitCode::from(status),
        Err(exit) => {
            eprintln!("billing: {}", exit.told());
            exit.code()
        }
    };
    // The process ends with it: a connection's own thread must not stumble over a runtime that is half gone.
    std::mem::forget(runtime);
    code
}
