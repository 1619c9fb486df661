//! Places for connections: so many at all, and so many for one account.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Places of one account that a share of few would leave.
const FEW: usize = 16;

/// The places of one listener.
#[derive(Debug)]
pub struct Places {
    all: Arc<Semaphore>,
    of_one_account: usize,
    taken: Mutex<HashMap<String, usize>>,
}

/// Why there is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoPlace {
    /// All are taken.
    #[error("max_connections are open")]
    AtAll,
    /// The account has as many as one may have.
    #[error("its account has max_connections_per_account open")]
    ForAccount,
}

/// A place that is taken until this is dropped.
#[derive(Debug)]
pub struct Place {
    _permit: OwnedSemaphorePermit,
    _of: Option<OfAccount>,
}

#[derive(Debug)]
struct OfAccount {
    places: Arc<Places>,
    account: String,
}

impl Places {
    /// As many as a configuration says; an account has half of them where it says nothing.
    #[must_use]
    pub fn new(max_connections: usize, of_one_account: Option<usize>) -> Arc<Self> {
        Arc::new(Self {
            all: Arc::new(Semaphore::new(max_connections)),
            of_one_account: of_one_account.unwrap_or_else(|| (max_connections / 2).max(FEW)),
            taken: Mutex::default(),
        })
    }

    /// A place for somebody who is not known yet.
    ///
    /// # Errors
    /// All are taken.
    pub fn take(&self) -> Result<Place, NoPlace> {
        let permit = Arc::clone(&self.all).try_acquire_owned();
        Ok(Place {
            _permit: permit.map_err(|_| NoPlace::AtAll)?,
            _of: None,
        })
    }

    fn taken(&self) -> MutexGuard<'_, HashMap<String, usize>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// It is this account's.
    ///
    /// # Errors
    /// The account has enough; the place is free again.
    pub fn belongs_to(self, account: &str, places: &Arc<Places>) -> Result<Self, NoPlace> {
        let mut taken = places.taken();
        let count = taken.get(account).copied().unwrap_or_default();
        if count >= places.of_one_account {
            return Err(NoPlace::ForAccount);
        }
        taken.insert(account.to_owned(), count.saturating_add(1));
        drop(taken);
        Ok(Self {
            _of: Some(OfAccount {
                places: Arc::clone(places),
                account: account.to_owned(),
            }),
            ..self
        })
    }
}

impl Drop for OfAccount {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        if let Entry::Occupied(mut entry) = taken.entry(std::mem::take(&mut self.account)) {
            match entry.get().saturating_sub(1) {
                0 => drop(entry.remove()),
                left => drop(entry.insert(left)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_account_cannot_take_all_places() {
        let places = Places::new(100, None);
        let take = |account: &str| places.take()?.belongs_to(account, &places);
        let mut open: Vec<_> = (0..50).map(|_| take("S-1-5-21-1").unwrap()).collect();
        assert_eq!(take("S-1-5-21-1").unwrap_err(), NoPlace::ForAccount);
        // Others find room, and what was refused holds none.
        open.extend((0..50).map(|other| take(&format!("S-1-5-21-{}", 2 + other % 4)).unwrap()));
        assert_eq!(take("S-1-5-21-9").unwrap_err(), NoPlace::AtAll);
        open.remove(0);
        open.push(take("S-1-5-21-1").unwrap());
        open.clear();
        assert!(places.taken().is_empty(), "{places:?}");
        assert_eq!(places.all.available_permits(), 100);
    }

    #[test]
    fn where_there_are_few_places_an_account_may_have_them() {
        let most = |all, one| Places::new(all, one).of_one_account;
        assert_eq!(most(2_048, None), 1_024);
        assert_eq!(most(2, None), FEW);
        assert_eq!(most(2_048, Some(3)), 3);
    }
}
