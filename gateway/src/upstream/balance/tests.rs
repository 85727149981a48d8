use proptest::prelude::*;

use super::{Balancer, Candidate, Policy, hash, mix};

fn candidates(weights: &[u32]) -> Vec<Candidate> {
    let candidate = |(index, weight): (usize, &u32)| Candidate {
        weight: *weight,
        in_flight: 0,
        hash: hash(format!("10.0.0.{index}:9000").as_bytes()),
    };
    weights.iter().enumerate().map(candidate).collect()
}

fn key(device: usize) -> Option<u64> {
    Some(hash(format!("device-{device:06}").as_bytes()))
}

/// How often each is chosen for `requests` different devices.
fn counts(policy: Policy, candidates: &[Candidate], requests: usize) -> Vec<usize> {
    let mut balancer = Balancer::new(policy);
    let mut counts = vec![0; candidates.len()];
    for request in 0..requests {
        let chance = mix(request as u64 + 1);
        counts[balancer.choose(candidates, key(request), chance).unwrap()] += 1;
    }
    counts
}

const POLICIES: [Policy; 3] = [Policy::RoundRobin, Policy::LeastRequest, Policy::DeviceHash];

#[test]
fn round_robin_mixes_weights_smoothly() {
    let candidates = candidates(&[5, 1, 1]);
    let mut balancer = Balancer::new(Policy::RoundRobin);
    let order: Vec<usize> = (0..7)
        .map(|_| balancer.choose(&candidates, None, 0).unwrap())
        .collect();
    assert_eq!(order, [0, 0, 1, 0, 2, 0, 0]);
}

#[test]
fn idle_endpoints_are_served_by_weight_whatever_the_policy() {
    for policy in POLICIES {
        let counts = counts(policy, &candidates(&[1, 2, 0, 5]), 40_000);
        for (count, share) in counts.iter().zip([5_000, 10_000, 0, 25_000]) {
            assert!(
                count.abs_diff(share) <= share / 20,
                "{policy:?}: {counts:?}"
            );
        }
    }
}

#[test]
fn a_device_without_identity_is_served_in_turn() {
    let candidates = candidates(&[1, 1]);
    let mut balancer = Balancer::new(Policy::DeviceHash);
    let mut next = || balancer.choose(&candidates, None, 0).unwrap();
    assert_eq!([next(), next(), next(), next()], [0, 1, 0, 1]);
}

#[test]
fn load_counts_for_its_weight() {
    let mut two = candidates(&[3, 1]);
    (two[0].in_flight, two[1].in_flight) = (5, 2);
    for chance in 0..100 {
        let chosen = Balancer::new(Policy::LeastRequest).choose(&two, None, mix(chance));
        assert_eq!(chosen, Some(0), "5 for 3 is less than 2 for 1");
    }
}

#[test]
fn a_hash_is_the_same_in_every_version() {
    assert_eq!(hash(b""), 0xf52a_15e9_a9b5_e89b);
    assert_eq!(hash(b"device-000001"), hash(b"device-000001"));
    assert_ne!(hash(b"device-000001"), hash(b"device-000002"));
}

#[test]
fn other_candidates_start_a_new_round() {
    let mut balancer = Balancer::new(Policy::RoundRobin);
    assert_eq!(balancer.choose(&candidates(&[1, 1, 1]), None, 0), Some(0));
    balancer.reset();
    assert_eq!(balancer.choose(&candidates(&[1, 1]), None, 0), Some(0));
}

proptest! {
    #[test]
    fn who_is_out_is_never_chosen_and_who_is_in_always_found(
        weights in prop::collection::vec(0_u32..4, 0..9),
        in_flight in prop::collection::vec(0_u32..1000, 9),
        device in any::<Option<u64>>(),
        chances in prop::collection::vec(any::<u64>(), 1..30),
    ) {
        let mut all = candidates(&weights);
        for (candidate, in_flight) in all.iter_mut().zip(in_flight) {
            candidate.in_flight = in_flight;
        }
        for policy in POLICIES {
            let mut balancer = Balancer::new(policy);
            for chance in &chances {
                match balancer.choose(&all, device, *chance) {
                    Some(index) => prop_assert!(weights[index] > 0),
                    None => prop_assert!(weights.iter().all(|weight| *weight == 0)),
                }
            }
        }
    }

    #[test]
    fn each_round_serves_everyone_by_weight(weights in prop::collection::vec(0_u32..20, 1..9), rounds in 1_usize..4) {
        let total: u32 = weights.iter().sum();
        prop_assume!(total > 0);
        let counts = counts(Policy::RoundRobin, &candidates(&weights), total as usize * rounds);
        let expected: Vec<usize> = weights.iter().map(|weight| *weight as usize * rounds).collect();
        prop_assert_eq!(counts, expected);
    }

    #[test]
    fn the_less_loaded_of_two_is_chosen(loads in (0_u32..1000, 0_u32..1000), chance in any::<u64>()) {
        let mut two = candidates(&[7, 7]);
        (two[0].in_flight, two[1].in_flight) = loads;
        let chosen = Balancer::new(Policy::LeastRequest).choose(&two, None, chance);
        prop_assert!(loads.0 == loads.1 || chosen == Some(usize::from(loads.1 < loads.0)));
    }

    #[test]
    fn only_devices_of_an_endpoint_that_goes_are_moved(
        weights in prop::collection::vec(1_u32..100, 2..12),
        gone in any::<prop::sample::Index>(),
        devices in prop::collection::vec(any::<u64>(), 1..50),
    ) {
        let before = candidates(&weights);
        let gone = gone.index(before.len());
        let mut out = before.clone();
        out[gone].weight = 0;
        let mut removed = before.clone();
        let hash = removed.remove(gone).hash;
        let mut balancer = Balancer::new(Policy::DeviceHash);
        for device in devices {
            let mut choose = |all: &[Candidate]| all[balancer.choose(all, Some(device), 0).unwrap()].hash;
            let was = choose(&before);
            prop_assert_eq!(choose(&out), choose(&removed));
            if was != hash {
                prop_assert_eq!(choose(&out), was);
            }
        }
    }
}
