//! Runs the fuzz targets: `FUZZ_INPUTS` (1,000,000) inputs each, `FUZZ_TARGET` alone, mutations chosen by `FUZZ_SEED` (1). Files given
//! as arguments are inputs to be repeated with `FUZZ_TARGET`. Failing inputs are kept in `FUZZ_FAILURES` (fuzz-failures).

use std::{env, fs, path::PathBuf, process::ExitCode};

use bigbrotr_tests::fuzz::{TARGETS, run, target};

fn number(name: &str, default: u64) -> u64 {
    env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Greatest resident memory so far, in MB.
fn peak_memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) / 1024
}

fn main() -> ExitCode {
    let (inputs, seed) = (number("FUZZ_INPUTS", 1_000_000), number("FUZZ_SEED", 1));
    let wanted = env::var("FUZZ_TARGET").unwrap_or_default();
    let files: Vec<_> = env::args_os().skip(1).collect();
    if !files.is_empty() {
        let Some(target) = target(&wanted) else {
            eprintln!("FUZZ_TARGET says whose inputs these are");
            return ExitCode::FAILURE;
        };
        for file in files {
            match fs::read(&file) {
                Ok(bytes) => (target.run)(&bytes),
                Err(error) => eprintln!("{}: {error}", file.to_string_lossy()),
            }
        }
        return ExitCode::SUCCESS;
    }
    // What a target says is told once, below.
    std::panic::set_hook(Box::new(|_| {}));
    let folder = env::var_os("FUZZ_FAILURES").map_or_else(|| PathBuf::from("fuzz-failures"), PathBuf::from);
    let mut failed = false;
    for target in TARGETS.iter().filter(|target| wanted.is_empty() || target.name == wanted) {
        match run(target, inputs, seed) {
            Ok(done) => {
                let (rate, slowest) = (done.inputs as f64 / done.took.as_secs_f64(), done.slowest.as_secs_f64() * 1e3);
                println!(
                    "{:<16} {:>9} inputs  {rate:>9.0}/s  slowest {slowest:>7.1} ms  {:>4} MB",
                    target.name,
                    done.inputs,
                    peak_memory()
                );
            }
            Err(failure) => {
                failed = true;
                let kept =
                    failure.save(&folder).map_or_else(|error| error.to_string(), |path| path.display().to_string());
                println!("{:<16} FAILED: {}; input in {kept}", failure.target, failure.text);
            }
        }
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
