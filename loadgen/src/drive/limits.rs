//! Descriptors: one per connection, checked before the first is opened.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors needed beside the connections: runtimes, timers, files.
const OTHERS_PER_SHARD: u64 = 8;
const OTHERS: u64 = 64;

/// Raises the soft limit as far as it may go.
///
/// # Errors
///
/// The hard limit when it is too low for `connections`.
pub(crate) fn descriptors_for(connections: usize, shards: usize) -> Result<(), u64> {
    let limit = getrlimit(Resource::Nofile);
    // `None` means without limit.
    let hard = limit.maximum.unwrap_or(u64::MAX);
    let needed = connections as u64 + OTHERS + OTHERS_PER_SHARD * shards as u64;
    if needed > hard {
        return Err(hard);
    }
    if limit.current.is_some_and(|soft| soft < hard) {
        let raised = Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        };
        // If it cannot be raised the attempts will say so: a local failure each.
        let _ = setrlimit(Resource::Nofile, raised);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_many_connections_are_refused_with_the_limit() {
        assert_eq!(descriptors_for(10, 1), Ok(()));
        if let Some(hard) = getrlimit(Resource::Nofile).maximum {
            assert_eq!(
                descriptors_for(usize::try_from(hard).unwrap(), 1),
                Err(hard)
            );
        }
    }
}
