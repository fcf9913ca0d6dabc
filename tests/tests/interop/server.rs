//! Relays of other people as processes of their own on this machine.

use std::{
    ffi::OsStr,
    fs::File,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

const START: Duration = Duration::from_secs(60);

/// A relay that runs. It ends with this, or with the test process, however that ends.
pub struct Server {
    shell: Child,
    address: SocketAddr,
}

impl Server {
    /// Runs a program until it listens on this port; its output goes to `relay.log` in the folder.
    pub fn start(port: u16, dir: &Path, program: impl AsRef<OsStr>, arguments: &[&str]) -> Self {
        // A program in the background would get /dev/null as its input, and some end with their input.
        const SCRIPT: &str = r#"trap '' INT; exec 3<&0; "$@" <&3 3<&- & pid=$!; cat > /dev/null; kill "$pid"; wait"#;
        let log = File::create(dir.join("relay.log")).expect("a log");
        let errors = log.try_clone().expect("a descriptor can be copied");
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", SCRIPT, "relay"]).arg(program).args(arguments).current_dir(dir);
        shell.stdin(Stdio::piped()).stdout(log).stderr(errors);
        let shell = shell.spawn().expect("a shell");
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let started = Instant::now();
        while TcpStream::connect(address).is_err() {
            let log = || std::fs::read_to_string(dir.join("relay.log")).unwrap_or_default();
            assert!(started.elapsed() < START, "nobody listens on {address}:\n{}", log());
            std::thread::sleep(Duration::from_millis(50));
        }
        Self { shell, address }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn url(&self) -> String {
        format!("ws://{}", self.address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        // The shell ends when the relay has.
        let _ = self.shell.wait();
    }
}

/// A port nobody uses now.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    listener.local_addr().expect("bound").port()
}

/// What to do where a relay cannot be had: in CI that is a failure, elsewhere a reason not to run the test.
pub fn unavailable(why: &str) {
    assert!(std::env::var_os("CI").is_none(), "{why}");
    println!("skipped: {why}");
}

/// Runs a step of a preparation; its output if it fails.
pub fn step(command: &mut Command) -> Result<(), String> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let (out, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    Err(format!("{command:?} ended with {}\n{out}\n{errors}", output.status))
}
