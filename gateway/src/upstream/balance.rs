//! Which of an upstream's endpoints serves a request.
//!
//! Pure: weights, counts, hashes and chance come in, an index goes out. Who is out is a weight of zero; why it is out, and
//! what happens when all are, is decided by who asks.

/// How requests are spread over endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Policy {
    /// In turn, each as often as its weight says, evenly mixed.
    #[default]
    RoundRobin,
    /// Of two drawn by weight, the one with fewer requests in flight for its weight.
    LeastRequest,
    /// A device's requests go to one endpoint, as long as that is there; who has no device is served in turn.
    DeviceHash,
}

impl Policy {
    /// The names in the configuration and in views.
    pub const NAMES: [(&'static str, Self); 3] = [
        ("round_robin", Self::RoundRobin),
        ("least_request", Self::LeastRequest),
        ("device_hash", Self::DeviceHash),
    ];
}

/// An endpoint as the choice sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// Its share of the requests; 0 is not to be chosen. All weights together are less than 2³².
    pub weight: u32,
    /// Requests that it has not answered yet.
    pub in_flight: u32,
    /// [`hash`] of its address.
    pub hash: u64,
}

/// Chooses by one policy, and remembers whose turn it is.
#[derive(Debug, Default)]
pub struct Balancer {
    policy: Policy,
    /// What round robin owes to each candidate; the sum does not change from turn to turn.
    owed: Vec<i64>,
}

impl Balancer {
    /// One that has chosen nothing yet.
    pub fn new(policy: Policy) -> Self {
        Self {
            policy,
            owed: Vec::new(),
        }
    }

    /// The index of the candidate for a request of the device whose [`hash`] is `key`. `chance` is any random number.
    /// `None` where every weight is zero.
    pub fn choose(
        &mut self,
        candidates: &[Candidate],
        key: Option<u64>,
        chance: u64,
    ) -> Option<usize> {
        match (self.policy, key) {
            (Policy::DeviceHash, Some(key)) => by_hash(candidates, key),
            (Policy::LeastRequest, _) => least_loaded_of_two(candidates, chance),
            (Policy::RoundRobin | Policy::DeviceHash, _) => self.in_turn(candidates),
        }
    }

    /// Forgets whose turn it is, for other candidates than before.
    pub fn reset(&mut self) {
        self.owed.clear();
    }

    /// Smooth weighted round robin, as nginx does it: everyone is owed its weight at each turn, and who is owed most pays the
    /// whole round. Heavy ones come often but not in a row.
    fn in_turn(&mut self, candidates: &[Candidate]) -> Option<usize> {
        self.owed.resize(candidates.len(), 0);
        let mut total = 0;
        let mut chosen: Option<(usize, i64)> = None;
        for (index, (owed, candidate)) in self.owed.iter_mut().zip(candidates).enumerate() {
            if candidate.weight == 0 {
                continue;
            }
            let weight = i64::from(candidate.weight);
            total += weight;
            *owed += weight;
            if chosen.is_none_or(|(_, most)| *owed > most) {
                chosen = Some((index, *owed));
            }
        }
        let (index, _) = chosen?;
        if let Some(owed) = self.owed.get_mut(index) {
            *owed -= total;
        }
        Some(index)
    }
}

/// Power of two choices. Both are drawn by weight, so that idle endpoints are served by weight too.
fn least_loaded_of_two(candidates: &[Candidate], chance: u64) -> Option<usize> {
    let total: u64 = candidates.iter().map(|one| u64::from(one.weight)).sum();
    let (low, high) = (chance & u64::from(u32::MAX), chance >> 32);
    let (first, one) = draw(candidates, None, (low * total) >> 32)?;
    let rest = total - u64::from(one.weight);
    let Some((second, other)) = draw(candidates, Some(first), (high * rest) >> 32) else {
        return Some(first);
    };
    let load = |of: &Candidate, weight_of: &Candidate| {
        u64::from(of.in_flight) * u64::from(weight_of.weight)
    };
    Some(if load(other, one) < load(one, other) {
        second
    } else {
        first
    })
}

/// The candidate at `point` of the line on which all but `except` lie one after the other, each as long as its weight.
fn draw(
    candidates: &[Candidate],
    except: Option<usize>,
    mut point: u64,
) -> Option<(usize, &Candidate)> {
    for (index, candidate) in candidates.iter().enumerate() {
        let weight = u64::from(candidate.weight);
        if Some(index) == except || weight == 0 {
            continue;
        }
        if point < weight {
            return Some((index, candidate));
        }
        point -= weight;
    }
    None
}

/// Weighted rendezvous hashing: every candidate draws a number from its own hash and the key, and the best wins. When one goes
/// only its own devices move, when one comes only those that it wins, shares are exactly by weight, and every worker and
/// every gateway comes to the same answer. A ring has none of that exactly, and costs memory; this costs a few nanoseconds for
/// each endpoint.
fn by_hash(candidates: &[Candidate], key: u64) -> Option<usize> {
    let mut best: Option<(usize, f64)> = None;
    for (index, candidate) in candidates.iter().enumerate() {
        if candidate.weight == 0 {
            continue;
        }
        // 53 bits as a number between 0 and 1, neither included.
        let drawn = ((mix(key ^ candidate.hash) >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
        // Exponentially distributed with the weight as its rate: the least of several is the one's with probability
        // weight ÷ total.
        let cost = -drawn.ln() / f64::from(candidate.weight);
        if best.is_none_or(|(_, least)| cost < least) {
            best = Some((index, cost));
        }
    }
    best.map(|(index, _)| index)
}

/// A hash that is the same in every worker, process and version (FNV-1a, mixed). It withstands no attacker: device ids are
/// what certificates say.
pub fn hash(bytes: &[u8]) -> u64 {
    let fnv = bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    mix(fnv)
}

/// Spreads every bit over all others (the finalizer of SplitMix64).
pub fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests;
