//! Changes to DER that keep lengths right, so that what is changed is read and not stumbled over.
//!
//! A tree is made of the input, one element of it is changed, and it is written again. Every other time the bytes are
//! changed as libFuzzer does, because broken lengths are worth a try as well.

use libfuzzer_sys::fuzzer_mutate;

use crate::der::{self, OCTET_STRING};

/// For `fuzz_mutator!`: changes `data[..size]` in place, and returns the new size.
pub fn mutate(data: &mut [u8], size: usize, max_size: usize, seed: u32) -> usize {
    let mut random = Random(u64::from(seed));
    if random.below(2) == 0 {
        return fuzzer_mutate(data, size, max_size);
    }
    let Some(mut list) = List::read(&data[..size], 0) else {
        return fuzzer_mutate(data, size, max_size);
    };
    for _ in 0..=random.below(3) {
        list.change(&mut random);
    }
    let bytes = list.write();
    if bytes.len() > max_size {
        return fuzzer_mutate(data, size, max_size);
    }
    data[..bytes.len()].copy_from_slice(&bytes);
    bytes.len()
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut value = self.0;
        value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ (value >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
}

/// Deeper than any document here. More is left as bytes.
const MAX_DEPTH: usize = 24;

#[derive(Clone)]
struct Element {
    tag: u8,
    value: Value,
}

#[derive(Clone)]
enum Value {
    Bytes(Vec<u8>),
    List(List),
}

/// Elements that follow one another.
#[derive(Clone)]
struct List(Vec<Element>);

impl List {
    fn read(bytes: &[u8], depth: usize) -> Option<Self> {
        der::elements(bytes)?
            .into_iter()
            .map(|element| Element::read(element, depth))
            .collect::<Option<_>>()
            .map(Self)
    }

    fn write(&self) -> Vec<u8> {
        self.0.iter().flat_map(Element::write).collect()
    }

    /// How many elements it has, those inside of others included.
    fn count(&self) -> usize {
        self.0.iter().map(Element::count).sum()
    }

    /// A copy of the element at `place`, counted from the outside in.
    fn get(&self, mut place: usize) -> Option<&Element> {
        for element in &self.0 {
            let count = element.count();
            match (place, &element.value) {
                (0, _) => return Some(element),
                (_, Value::List(list)) if place < count => return list.get(place - 1),
                _ => place -= count.min(place),
            }
        }
        None
    }

    fn change(&mut self, random: &mut Random) {
        let count = self.count();
        if count > 0 {
            let other = self.get(random.below(count)).cloned();
            self.change_at(random.below(count), other, random);
        }
    }

    fn change_at(&mut self, mut place: usize, other: Option<Element>, random: &mut Random) {
        for index in 0..self.0.len() {
            let element = &mut self.0[index];
            let count = element.count();
            if place > 0 && place < count {
                if let Value::List(list) = &mut element.value {
                    list.change_at(place - 1, other, random);
                }
                return;
            }
            if place > 0 {
                place -= count;
                continue;
            }
            match random.below(10) {
                0 => {
                    self.0.remove(index);
                }
                1 => self.0.insert(index, self.0[index].clone()),
                2 => {
                    let with = random.below(self.0.len());
                    self.0.swap(index, with);
                }
                3 => self.0.extend(other),
                4 => element.tag = random.next() as u8,
                // Near misses: another number of the same class.
                5 => element.tag ^= 1 << random.below(4),
                6 => {
                    if let Some(other) = other {
                        *element = other;
                    }
                }
                _ => element.value.change(),
            }
            return;
        }
    }
}

impl Element {
    fn read(element: &[u8], depth: usize) -> Option<Self> {
        let (tag, contents) = (*element.first()?, der::contents(element)?);
        let nested = tag & 0x20 != 0 || (tag == OCTET_STRING && contents.len() > 1);
        let list = (nested && depth < MAX_DEPTH)
            .then(|| List::read(contents, depth + 1))
            .flatten();
        let value = match list {
            Some(list) => Value::List(list),
            None => Value::Bytes(contents.to_vec()),
        };
        Some(Self { tag, value })
    }

    fn write(&self) -> Vec<u8> {
        der::encode(self.tag, &[&self.value.write()])
    }

    fn count(&self) -> usize {
        match &self.value {
            Value::Bytes(_) => 1,
            Value::List(list) => 1 + list.count(),
        }
    }
}

impl Value {
    fn write(&self) -> Vec<u8> {
        match self {
            Self::Bytes(bytes) => bytes.clone(),
            Self::List(list) => list.write(),
        }
    }

    /// Changes it as libFuzzer does.
    fn change(&mut self) {
        let mut bytes = self.write();
        let size = bytes.len();
        let max_size = size + 16;
        bytes.resize(max_size, 0);
        let size = fuzzer_mutate(&mut bytes, size, max_size);
        bytes.truncate(size);
        *self = Self::Bytes(bytes);
    }
}
