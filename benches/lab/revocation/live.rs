//! Devices are connected, some of them are revoked: how soon their connections end, and nobody else's.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use super::Laboratory;
use super::held::{Held, What};
use super::lists::Lists;
use crate::admin;
use crate::client;
use crate::gateway_process::{PKI, Variation};

/// Longest wait for the last connection to end, and for the last answer.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long all are connected and quiet before anybody is revoked.
const IDLE: Duration = Duration::from_secs(1);
/// How often the gateway's metrics are read.
const POLL: Duration = Duration::from_millis(10);

/// What makes the gateway look at its lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Trigger {
    /// SIGHUP, after the list is in its place.
    Signal,
    /// The list comes into its place, and the gateway notices.
    Watch,
}

impl Trigger {
    /// Both.
    pub(super) const ALL: [Trigger; 2] = [Trigger::Signal, Trigger::Watch];

    /// Its name in reports.
    pub(super) fn title(self) -> &'static str {
        match self {
            Trigger::Signal => "by SIGHUP",
            Trigger::Watch => "by watching files",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Trigger::Signal => "signal",
            Trigger::Watch => "watch",
        }
    }
}

/// What was seen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Live {
    /// What made the gateway look.
    pub(crate) trigger: Trigger,
    /// In which round.
    pub(crate) round: usize,
    /// Devices that were connected.
    pub(crate) connected: usize,
    /// Devices of these that were revoked.
    pub(crate) revoked: usize,
    /// Revoked devices that saw their connection end.
    pub(crate) ended: usize,
    /// Until the first did, in milliseconds from the signal, or from the list's coming into its place.
    pub(crate) first_ms: Option<f64>,
    /// Until half of them had.
    pub(crate) half_ms: Option<f64>,
    /// Until the last did; `None` if not all did.
    pub(crate) last_ms: Option<f64>,
    /// Until the gateway's metrics counted them all; `None` if they did not, or counted more.
    pub(crate) counted_ms: Option<f64>,
    /// Devices that were not revoked and lost their connection all the same, or were not answered over it.
    pub(crate) wrongly_ended: usize,
    /// Devices that were not revoked and were answered afterwards, over the connection that they had.
    pub(crate) answered: usize,
}

impl Live {
    /// What is not as it must be, whatever it took.
    pub(super) fn faults(&self) -> Vec<String> {
        let title = self.trigger.title();
        let others = self.connected - self.revoked;
        let mut faults = Vec::new();
        if self.ended < self.revoked {
            faults.push(format!(
                "live revocation {title}: only {} of {} revoked devices were disconnected",
                self.ended, self.revoked
            ));
        }
        if self.counted_ms.is_none() {
            faults.push(format!(
                "live revocation {title}: the gateway did not count {} connections that ended for it",
                self.revoked
            ));
        }
        if self.wrongly_ended > 0 || self.answered < others {
            faults.push(format!(
                "live revocation {title}: of {others} devices that were not revoked {} lost their connection and {} were answered over it",
                self.wrongly_ended, self.answered
            ));
        }
        faults
    }
}

/// Does it once, with a gateway and connections of its own.
pub(super) fn conduct(
    laboratory: &Laboratory<'_>,
    lists: &Lists,
    trigger: Trigger,
    round: usize,
) -> anyhow::Result<Live> {
    let name = format!("{}-{round}", trigger.name());
    let folder = format!("lists-{name}");
    lists.lay_out(&folder)?;
    let staged = lists.stage(&folder)?;
    let variation = Variation {
        lists: Some(folder),
        watch: Some(trigger == Trigger::Watch),
        ..Variation::default()
    };
    let choices = laboratory.choices;
    let fleet = client::fleet(&laboratory.work.join(PKI), choices.devices)?;
    raise_descriptor_limit();
    let gateway = laboratory.gateway(&name, &variation)?;
    let revoked: HashSet<usize> = choices.revoked().into_iter().collect();
    let mut live = Live {
        trigger,
        round,
        connected: choices.devices,
        revoked: revoked.len(),
        ended: 0,
        first_ms: None,
        half_ms: None,
        last_ms: None,
        counted_ms: None,
        wrongly_ended: 0,
        answered: 0,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut held = Held::connect(fleet, gateway.devices).await?;
        // The gateway keeps less of a connection that has been quiet for a quarter of a second.
        tokio::time::sleep(IDLE).await;
        let (admin, count) = (gateway.admin, revoked.len());
        let counting = std::thread::spawn(move || all_counted(admin, count));
        let began = match trigger {
            Trigger::Signal => {
                staged.put_into_place()?;
                let began = Instant::now();
                gateway.reload()?;
                began
            }
            Trigger::Watch => {
                let began = Instant::now();
                staged.put_into_place()?;
                began
            }
        };
        let ends = live.until_all_ended(&mut held, &revoked).await;
        live.times(began, ends);
        let counted = tokio::task::spawn_blocking(|| counting.join()).await?;
        let counted = counted.ok().context("the counting thread ended")??;
        live.counted_ms = counted.map(|at| milliseconds(began, at));
        held.ask_all();
        live.until_all_answered(&mut held, &revoked).await;
        anyhow::Ok(())
    })?;
    Ok(live)
}

impl Live {
    async fn until_all_ended(&mut self, held: &mut Held, revoked: &HashSet<usize>) -> Vec<Instant> {
        let until = Instant::now() + PATIENCE;
        let mut ends = Vec::new();
        while ends.len() < self.revoked
            && let Some(seen) = held.next_until(until).await
        {
            match seen.what {
                What::Ended(at) if revoked.contains(&seen.number) => ends.push(at),
                _ => self.wrongly_ended += 1,
            }
        }
        ends
    }

    fn times(&mut self, began: Instant, mut ends: Vec<Instant>) {
        ends.sort_unstable();
        let after = |at: Option<&Instant>| at.map(|at| milliseconds(began, *at));
        self.ended = ends.len();
        self.first_ms = after(ends.first());
        self.half_ms = after(ends.get(ends.len() / 2));
        self.last_ms = after(ends.last()).filter(|_| self.ended == self.revoked);
    }

    async fn until_all_answered(&mut self, held: &mut Held, revoked: &HashSet<usize>) {
        let until = Instant::now() + PATIENCE;
        let others = self.connected - self.revoked;
        while self.answered + self.wrongly_ended < others
            && let Some(seen) = held.next_until(until).await
        {
            match seen.what {
                _ if revoked.contains(&seen.number) => {}
                What::Answered => self.answered += 1,
                What::Connected | What::Ended(_) | What::Failed(_) => self.wrongly_ended += 1,
            }
        }
    }
}

/// When the gateway had counted `wanted` connections that ended because their device is revoked; `None` if it never did, or
/// counted more.
fn all_counted(admin: SocketAddr, wanted: usize) -> anyhow::Result<Option<Instant>> {
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        let page = admin::metrics(admin)?;
        let now = Instant::now();
        let counted = page.sum("gateway_connections_ended_total", &[("reason", "revoked")]);
        if counted >= wanted as f64 {
            return Ok((counted == wanted as f64).then_some(now));
        }
        std::thread::sleep(POLL);
    }
    Ok(None)
}

fn milliseconds(began: Instant, at: Instant) -> f64 {
    at.saturating_duration_since(began).as_secs_f64() * 1e3
}

/// This process holds the devices' ends, a descriptor each. If it cannot be raised, connecting says what is wrong.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let maximum = getrlimit(Resource::Nofile).maximum;
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    let _ = setrlimit(Resource::Nofile, raised);
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::*;

    #[test]
    fn times_count_from_the_beginning_and_need_everybody() {
        let mut live = fixture::live(Trigger::Signal);
        live.revoked = 3;
        let began = Instant::now();
        let at = |milliseconds| began + Duration::from_millis(milliseconds);
        live.times(began, vec![at(300), at(100), at(200)]);
        assert_eq!(
            (live.first_ms, live.half_ms, live.last_ms),
            (Some(100.0), Some(200.0), Some(300.0))
        );
        live.times(began, vec![at(100), at(200)]);
        assert_eq!((live.ended, live.last_ms), (2, None));
        live.times(began, Vec::new());
        assert_eq!((live.ended, live.first_ms), (0, None));
    }

    #[test]
    fn each_fault_is_named() {
        let good = fixture::live(Trigger::Watch);
        assert_eq!(good.faults(), Vec::<String>::new());
        let found = |change: fn(&mut Live), word: &str| {
            let mut live = good.clone();
            change(&mut live);
            let faults = live.faults();
            assert!(faults.len() == 1 && faults[0].contains(word), "{faults:?}");
        };
        found(|live| live.ended = 999, "only 999 of 1000");
        found(|live| live.counted_ms = None, "did not count 1000");
        found(|live| live.wrongly_ended = 1, "1 lost their connection");
        found(|live| live.answered = 7_999, "7999 were answered");
    }
}
