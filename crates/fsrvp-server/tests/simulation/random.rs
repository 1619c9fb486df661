//! What only the simulation draws from the laboratory's source of chance.

pub(crate) use fsrvp_testkit::Random;
use uuid::{Builder, Uuid};

/// Draws of the simulation.
pub(crate) trait Draw {
    /// True so many times in a hundred.
    fn percent(&mut self, percent: u64) -> bool;

    /// One of some that there are.
    fn one_of<'a, T>(&mut self, some: &'a [T]) -> &'a T;

    /// A random UUID.
    fn uuid(&mut self) -> Uuid;
}

impl Draw for Random {
    fn percent(&mut self, percent: u64) -> bool {
        self.chance(percent, 100)
    }

    fn one_of<'a, T>(&mut self, some: &'a [T]) -> &'a T {
        self.pick(some).expect("something to pick from")
    }

    fn uuid(&mut self) -> Uuid {
        let (high, low) = (self.next(), self.next());
        let bits = (u128::from(high) << 64) | u128::from(low);
        Builder::from_random_bytes(bits.to_be_bytes()).into_uuid()
    }
}
