//! Figures about the kernel and about `loadgen` by which facts are judged.

/// Descriptors that a run needs beside its connections: what `drive` asks for, with four shards.
pub(super) const OTHER_DESCRIPTORS: u64 = 96;
/// Time for which a closed connection keeps its port, in seconds (Linux: `TCP_TIMEWAIT_LEN`, which cannot be changed).
pub(super) const TIME_WAIT_SECONDS: u64 = 60;
/// Memory that an open, simulated device takes in bytes: loadgen's own 16 KiB, its identity and the kernel's socket.
pub(super) const DEVICE_BYTES: u64 = 28 << 10;
/// Memory that is left to everything else, in bytes.
pub(super) const OTHER_BYTES: u64 = 256 << 20;
/// CPU time of a connection and its one request beside the handshake, in microseconds: sockets, the kernel's TCP, HTTP.
pub(super) const CONNECTION_US: f64 = 110.0;
/// Share of its cores that a generator can use and still be on time.
pub(super) const USABLE_SHARE: f64 = 0.8;
/// Clock sources that take a system call or worse for every look at the clock.
pub(super) const SLOW_CLOCKS: [&str; 4] = ["hpet", "acpi_pm", "jiffies", "pit"];
