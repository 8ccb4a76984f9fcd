//! A Redis with settings of the test's own.

use std::process::Command;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::{Process, eventually, free_port};

/// A server that was started with arguments; ends with this value.
pub struct RedisServer {
    port: u16,
    process: Process,
}

impl RedisServer {
    /// Where it listens on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The process, for signals.
    pub fn process(&self) -> &Process {
        &self.process
    }
}

/// Starts `redis-server` with these arguments, in which `PORT` stands for a free port; without `--port` or `--tls-port`
/// among them it listens there in the clear.
pub async fn redis_server(arguments: &[&str]) -> RedisServer {
    let port = free_port();
    let mut command = Command::new("redis-server");
    let directory = std::env::temp_dir();
    for argument in arguments {
        command.arg(argument.replace("PORT", &port.to_string()));
    }
    if !arguments.iter().any(|argument| argument.ends_with("-port") || argument.ends_with("--port")) {
        command.args(["--port", &port.to_string()]);
    }
    if !arguments.contains(&"--sentinel") {
        command.args(["--save", "", "--appendonly", "no"]);
    }
    command.args(["--bind", "127.0.0.1", "--dir"]).arg(directory);
    let process = Process::spawn("redis-server", command);
    let is_tls = arguments.contains(&"--tls-port");
    eventually(Duration::from_secs(20), || async {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.map_err(|error| error.to_string())?;
        if is_tls {
            return Ok(());
        }
        stream.write_all(b"PING\r\n").await.map_err(|error| error.to_string())?;
        let mut answer = [0; 1];
        stream.read_exact(&mut answer).await.map(drop).map_err(|error| error.to_string())
    })
    .await;
    RedisServer { port, process }
}
