//! The machine that made the load.

use std::fs;

use serde::{Deserialize, Serialize};

/// Facts about a machine that bear on its numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// Cores that this process may use.
    pub cores: usize,
    /// The processor's model.
    pub processor: Option<String>,
    /// Kernel release.
    pub kernel: Option<String>,
    /// Memory in bytes.
    pub memory_bytes: Option<u64>,
    /// Descriptors that this process may have.
    pub descriptor_limit: Option<u64>,
}

impl Host {
    /// This machine.
    pub fn here() -> Host {
        let processor = fs::read_to_string("/proc/cpuinfo").ok();
        let memory = fs::read_to_string("/proc/meminfo").ok();
        Host {
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            processor: processor.and_then(|text| value_of(&text, "model name")),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease")
                .ok()
                .map(|text| text.trim().to_owned()),
            memory_bytes: memory
                .and_then(|text| value_of(&text, "MemTotal"))
                .and_then(|value| value.split_ascii_whitespace().next()?.parse::<u64>().ok())
                .map(|kibibytes| kibibytes * 1024),
            descriptor_limit: rustix::process::getrlimit(rustix::process::Resource::Nofile).current,
        }
    }
}

fn value_of(text: &str, key: &str) -> Option<String> {
    let line = text.lines().find(|line| line.starts_with(key))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}
