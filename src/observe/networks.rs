//! Where networks begin: the table in which an address's origin is looked up.
//!
//! Owns the table that a database is unrolled into when it is read. The file is a tree with a step for
//! each bit of an address, and with visitors from everywhere each of the lower steps waits for memory.
//! Here an address's first 16 bits say between which beginnings, mostly a handful, to look. Beside a walk
//! through the tree that saves a scan 890 of its 5,450 instructions, and 0.1 to 0.3 µs. (Unrolling a file
//! of countries takes 20 ms, one of IPv4's and one of IPv6's cities 0.8 s.)

use std::ops::Range;

use crate::system::memory;

/// A number for every address, the same throughout a network; 0 for an address in no network.
#[derive(Debug)]
pub(super) struct Networks<A> {
    /// For each prefix of 16 bits, how many networks begin below it; behind these, how many there are.
    below: Vec<u32>,
    /// Where each begins, and its number.
    networks: Vec<(A, u16)>,
}

/// An address as a number.
pub(super) trait Address: Copy + Ord + Default {
    /// Its first 16 bits.
    fn prefix(self) -> u16;
}

impl Address for u32 {
    fn prefix(self) -> u16 {
        (self >> 16) as u16
    }
}

impl Address for u128 {
    fn prefix(self) -> u16 {
        (self >> 112) as u16
    }
}

impl<A: Address> Networks<A> {
    /// Has the first fetched of what is looked at for an address.
    #[inline]
    pub fn prefetch_index(&self, address: A) {
        memory::prefetch(&self.below[usize::from(address.prefix())]);
    }

    /// Has the second fetched, once the first is there.
    #[inline]
    pub fn prefetch(&self, address: A) {
        let Range { start, end } = self.beginnings(address);
        if let Some(middle) = self.networks.get(start.midpoint(end)) {
            memory::prefetch(middle);
        }
    }

    /// Those below an address's prefix.
    #[inline]
    fn beginnings(&self, address: A) -> Range<usize> {
        let prefix = usize::from(address.prefix());
        self.below[prefix] as usize..self.below[prefix + 1] as usize
    }

    /// The number of an address.
    #[inline]
    pub fn get(&self, address: A) -> u16 {
        let beginnings = self.beginnings(address);
        let later = self.networks[beginnings.clone()].partition_point(|&(begin, _)| begin <= address);
        // There is one: the first network begins at the lowest of all addresses.
        self.networks[beginnings.start + later - 1].1
    }
}

/// A table under construction: networks are added in the order of their addresses.
pub(super) struct Builder<A> {
    networks: Vec<(A, u16)>,
    /// The first address after those that were added, `None` after the last of all.
    next: Option<A>,
}

impl<A: Address> Builder<A> {
    pub fn new() -> Self {
        Self { networks: Vec::new(), next: Some(A::default()) }
    }

    /// Adds a network; `after` is the first address that is not in it. Returns whether it begins where it
    /// may: at or after the end of the last.
    #[must_use]
    pub fn add(&mut self, first: A, after: Option<A>, number: u16) -> bool {
        let Some(next) = self.next.filter(|&next| next <= first) else { return false };
        if next < first {
            self.begin(next, 0);
        }
        self.begin(first, number);
        self.next = after;
        true
    }

    /// The table. A file of 2 GiB, the largest
    /// that is read, has fewer than 2^29 leaves, and each makes at most two networks.
    #[allow(clippy::cast_possible_truncation, reason = "fewer than 2^30 networks")]
    pub fn build(mut self) -> Networks<A> {
        if let Some(next) = self.next {
            self.begin(next, 0);
        }
        let mut below = Vec::with_capacity((1 << 16) + 1);
        let mut number = 0;
        for each in 0..=u16::MAX {
            below.push(number as u32);
            number += self.networks[number..].iter().take_while(|(begin, _)| begin.prefix() == each).count();
        }
        below.push(number as u32);
        let mut networks = memory::table(self.networks.len());
        networks.append(&mut self.networks);
        Networks { below, networks }
    }

    /// Neighbours with one number are one network.
    fn begin(&mut self, first: A, number: u16) {
        if self.networks.last().is_none_or(|&(_, last)| last != number) {
            self.networks.push((first, number));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_address_has_the_number_of_its_network(
            mut cuts in prop::collection::btree_set(any::<u32>(), 2..40),
            numbers in prop::collection::vec(0u16..4, 40),
            ends: bool,
            others in prop::collection::vec(any::<u32>(), 20),
        ) {
            cuts.insert(0x1234_0000);
            let cuts: Vec<u32> = cuts.into_iter().collect();
            let mut builder = Builder::new();
            // Every other stretch is a network.
            let networks: Vec<(u32, Option<u32>, u16)> = cuts
                .chunks(2)
                .zip(&numbers)
                .filter_map(|(cut, &number)| match *cut {
                    [first, after] => Some((first, Some(after), number)),
                    [first] if ends => Some((first, None, number)),
                    _ => None,
                })
                .collect();
            for &(first, after, number) in &networks {
                prop_assert!(builder.add(first, after, number));
            }
            prop_assert!(!builder.add(networks[0].0, None, 1), "it is there already");
            let table = builder.build();
            let around = cuts.iter().flat_map(|&cut| [cut.saturating_sub(1), cut, cut.saturating_add(1)]);
            for address in around.chain(others).chain([0, u32::MAX]) {
                let holds = |&&(first, after, _): &&(u32, Option<u32>, u16)| {
                    first <= address && after.is_none_or(|after| address < after)
                };
                let expected = networks.iter().find(holds).map_or(0, |&(_, _, number)| number);
                prop_assert_eq!(table.get(address), expected, "{:08x}", address);
            }
        }
    }
}
