//! The command from its first line to its exit code.

use std::process::ExitCode;

use clap::Parser as _;
use tracing::Level;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::{EnvFilter, Layer as _};

use crate::cli::{Cli, Command, Login};
use crate::commands::{self, Context, Done};
use crate::env::{self, Environment};
use crate::report::{Failure, Report};
use crate::settings::{Again, Settings};
use crate::ui::Printer;

/// Reads the command line, does what it says, and reports how that went.
pub(crate) fn run() -> ExitCode {
    let environment = Environment::read();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help goes to stdout, mistakes to stderr; whoever closed the stream does not want to read it.
            let _closed = error.print();
            return u8::try_from(error.exit_code()).map_or(ExitCode::FAILURE, ExitCode::from);
        }
    };
    let flags = &cli.global;
    let mut printer =
        Printer::new(flags.color.unwrap_or_default(), flags.json, flags.quiet, flags.verbose, &environment);
    match prepared(cli, &mut printer, environment) {
        Ok(Done::Ok) => ExitCode::SUCCESS,
        Ok(Done::Code(code)) => ExitCode::from(code),
        Err(failure) => {
            let report = Report::of(&failure);
            report.show(&printer);
            ExitCode::from(report.exit)
        }
    }
}

fn prepared(cli: Cli, printer: &mut Printer, environment: Environment) -> Result<Done, Failure> {
    // What is made from the command line alone works whatever the settings say.
    match &cli.command {
        Command::Completions(args) => {
            printer.bytes(&commands::generate::completions(args.shell))?;
            return Ok(Done::Ok);
        }
        Command::Man(args) => {
            return commands::generate::man(&args.dir).map(|()| Done::Ok).map_err(Failure::writing(&args.dir));
        }
        Command::Generate(args) => {
            return commands::generate::tree(&args.dir).map(|()| Done::Ok).map_err(Failure::writing(&args.dir));
        }
        _ => {}
    }
    log(cli.global.verbose, printer, &environment)?;
    let piped = matches!(&cli.command, Command::Stdio(_));
    let mut settings = Settings::resolve(&cli.global, &environment)?;
    if let Command::Login(Login { gateway: Some(gateway), .. }) = &cli.command {
        settings.set_gateway(gateway);
    }
    let flags = &cli.global;
    *printer = Printer::new(settings.color, flags.json, flags.quiet, flags.verbose, &environment)
        .with_again(Again::of(&settings));
    // One thread carries everything, so that no tunnel wakes another thread for its bytes
    // (docs/reference/performance.md).
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().build().map_err(|source| Failure::Io { what: "start".to_owned(), source })?;
    let context = Context { settings, printer: printer.clone(), environment, piped };
    let done = runtime.block_on(commands::run(cli.command, context));
    // A thread that waits for stdin or for a locked key store must not hold up the end.
    runtime.shutdown_background();
    done
}

/// Starts logging to stderr, as `ZTSA_LOG` or `-v` say.
fn log(verbose: u8, printer: &Printer, environment: &Environment) -> Result<(), Failure> {
    let text = environment.text(env::LOG).unwrap_or(match verbose {
        0 => "error",
        1 => "warn,ztsa=info,ztsa_core=info,ztsa_net=info",
        2 => "info,ztsa=debug,ztsa_core=debug,ztsa_net=debug",
        _ => "debug,ztsa=trace,ztsa_core=trace,ztsa_net=trace",
    });
    let filter = EnvFilter::builder().parse(text).map_err(|error| Failure::Usage {
        message: format!("ZTSA_LOG is not a log filter: {error}"),
        hint: "ZTSA_LOG=info, or ZTSA_LOG=ztsa_core=debug".to_owned(),
    })?;
    // At debug this library writes what passes through it; no filter may ask for that.
    let capped = tracing_subscriber::filter::filter_fn(|metadata| {
        !metadata.target().starts_with("fast_socks5") || *metadata.level() <= Level::INFO
    });
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(printer.err_style().is_colored())
        .with_filter(capped);
    let subscriber = tracing_subscriber::registry().with(filter).with(lines);
    tracing::subscriber::set_global_default(subscriber)
        .map_err(|error| Failure::Io { what: "start logging".to_owned(), source: std::io::Error::other(error) })
}
