//! How a long piece of work reports how far it has come, and learns that nobody wants it any more.

/// Told how the making of devices goes on. Called from several threads at once.
pub trait Progress: Sync {
    /// Devices are about to be made, so many of them.
    fn begin(&self, devices: usize);
    /// One more device is written.
    fn advance(&self);
    /// No more devices follow: all are written, or one failed.
    fn finish(&self);
    /// Whether to stop and leave nothing behind. Asked before each device.
    fn cancelled(&self) -> bool {
        false
    }
}

/// Says nothing and never cancels.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn begin(&self, _devices: usize) {}
    fn advance(&self) {}
    fn finish(&self) {}
}
