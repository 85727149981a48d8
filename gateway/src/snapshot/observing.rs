//! Who is told of requests and connections: the access log and the tracer that a configuration wants.
//!
//! A reload goes on with the same ones as long as they are to do the same. Nothing is opened before a configuration comes into
//! force: checking one must not touch a log.

use std::sync::Arc;

use super::BuildError;
use crate::access_log::AccessLog;
use crate::config::Config;
use crate::metrics::Metrics;
use crate::trace::Tracer;

/// The access log and the tracer in force, where there are any.
#[derive(Debug, Clone, Default)]
pub struct Observing {
    /// The access log.
    pub access_log: Option<Arc<AccessLog>>,
    /// Gives requests their place in a trace.
    pub tracer: Option<Arc<Tracer>>,
}

impl Observing {
    /// What `config` wants, with what there is already where that is the same.
    ///
    /// # Errors
    /// The log cannot be opened, or there is no thread to be had.
    pub fn renewed(&self, config: &Config, metrics: &Metrics) -> Result<Self, BuildError> {
        let open = |settings: &crate::access_log::Settings| {
            let known = self.access_log.as_ref();
            match known.filter(|log| log.settings() == settings) {
                Some(log) => {
                    log.reopen();
                    Ok(Arc::clone(log))
                }
                None => AccessLog::open(settings.clone(), metrics.access_log_lost().clone()),
            }
        };
        let start = |settings: &crate::trace::Settings| {
            let known = self.tracer.as_ref();
            match known.filter(|tracer| tracer.settings() == settings) {
                Some(tracer) => Ok(Arc::clone(tracer)),
                None => Tracer::start(settings.clone(), metrics.spans().clone()),
            }
        };
        let access_log = config.access_log.as_ref().map(open).transpose();
        let tracer = config.traces.as_ref().map(start).transpose();
        Ok(Self {
            access_log: access_log.map_err(BuildError::AccessLog)?,
            tracer: tracer.map_err(BuildError::Traces)?,
        })
    }
}
