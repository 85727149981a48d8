//! Attempts that start when a schedule says so.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use super::Load;
use crate::drive::alarm::Alarm;
use crate::drive::task;

impl Load {
    /// One attempt at each of `times`, until the scenario ends or its `count` of measured attempts is reached.
    pub(super) async fn on_schedule(
        self,
        times: impl Iterator<Item = Duration>,
        count: Option<u64>,
    ) -> io::Result<()> {
        let alarm = Alarm::new()?;
        let mut actions = self.cast.actions();
        let mut left = count.map(|count| self.cast.part(count));
        for time in times {
            let intended = self.begin + time;
            let measured = self.is_measured(intended);
            if self.is_over(intended) || (measured && left == Some(0)) {
                break;
            }
            alarm.until(intended).await?;
            if self.shard.stopping.get() {
                break;
            }
            if let Some(left) = left.as_mut().filter(|_| measured) {
                *left -= 1;
            }
            let action = actions.draw();
            match self.shard.take_device(&self.cast) {
                Some(device) => {
                    let order = self.order(device, action, intended);
                    task::spawn(Rc::clone(&self.shard).attempt(order));
                }
                None => self.shard.overflow(&self.cast, measured),
            }
        }
        Ok(())
    }
}
