//! What may hang in a system call, on threads for that: bounded, so that requests which never end
//! leave room for others.

use super::ApiError;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Looks at shares and snapshots at a time.
const LOOKS: usize = 8;
/// Looks at all files of shares at a time.
const SURVEYS: usize = 2;
/// Measurements of space at a time.
const MEASUREMENTS: usize = 2;
/// Acts at a time.
const ACTS: usize = 16;
/// Longest time that a look may take, and that an act may wait for its turn.
const PATIENCE: Duration = Duration::from_secs(30);

/// Longest time that space is measured and that the files of shares are looked at: many take minutes.
const MEASURING: Duration = Duration::from_secs(600);

/// The places of requests that may block.
#[derive(Debug, Clone)]
pub(super) struct Blocking {
    looks: Arc<Semaphore>,
    surveys: Arc<Semaphore>,
    measurements: Arc<Semaphore>,
    acts: Arc<Semaphore>,
}

impl Default for Blocking {
    fn default() -> Self {
        Self {
            looks: Arc::new(Semaphore::new(LOOKS)),
            surveys: Arc::new(Semaphore::new(SURVEYS)),
            measurements: Arc::new(Semaphore::new(MEASUREMENTS)),
            acts: Arc::new(Semaphore::new(ACTS)),
        }
    }
}

impl Blocking {
    /// Looks at something. A look that does not end in time keeps its place until it does.
    ///
    /// # Errors
    /// It has not ended in time, or those before it have not.
    pub(super) async fn look<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ApiError> {
        within(PATIENCE, &self.looks, work).await
    }

    /// Looks at shares as Prepare does: a backend that clones looks at every file. Otherwise as [`Self::look`].
    ///
    /// # Errors
    /// As [`Self::look`].
    pub(super) async fn survey<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ApiError> {
        within(MEASURING, &self.surveys, work).await
    }

    /// Measures space. Otherwise as [`Self::look`].
    ///
    /// # Errors
    /// As [`Self::look`].
    pub(super) async fn measure<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ApiError> {
        within(MEASURING, &self.measurements, work).await
    }

    /// Does something, for as long as that takes: it cannot be taken back.
    ///
    /// # Errors
    /// Too many acts have not ended.
    pub(super) async fn act<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ApiError> {
        let place = Arc::clone(&self.acts).acquire_owned();
        match tokio::time::timeout(PATIENCE, place).await {
            Ok(place) => run(place.map_err(|_| lost())?, work).await,
            Err(_) => Err(busy(
                PATIENCE,
                "nothing was done: acts before this one have not ended, because a volume or \
                 Samba's registry hangs",
            )),
        }
    }
}

async fn within<T: Send + 'static>(
    limit: Duration,
    places: &Arc<Semaphore>,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ApiError> {
    let done = async {
        let place = Arc::clone(places).acquire_owned().await;
        run(place.map_err(|_| lost())?, work).await
    };
    match tokio::time::timeout(limit, done).await {
        Ok(done) => done,
        Err(_) => Err(busy(
            limit,
            "no answer in time: a volume or Samba's registry hangs",
        )),
    }
}

/// The place is free again when the work has ended, whether anybody waits for it or not.
async fn run<T: Send + 'static>(
    place: OwnedSemaphorePermit,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ApiError> {
    let done = tokio::task::spawn_blocking(move || {
        let _place = place;
        work()
    });
    done.await.map_err(|_| lost())
}

fn lost() -> ApiError {
    ApiError::internal("the work was lost; see the log")
}

fn busy(waited: Duration, message: &str) -> ApiError {
    ApiError::busy(format!(
        "{message} (waited {} seconds); fsrvpctl doctor looks for it",
        waited.as_secs()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    /// Time does not pass by itself while a thread works.
    async fn pass(time: Duration) {
        tokio::task::yield_now().await;
        tokio::time::advance(time).await;
    }

    /// A dashboard that asks again and again while a volume hangs.
    #[tokio::test(start_paused = true)]
    async fn looks_that_hang_take_no_place_from_acts() {
        let blocking = Blocking::default();
        let (release, hung) = mpsc::channel::<()>();
        let hung = Arc::new(std::sync::Mutex::new(hung));
        for _ in 0..LOOKS * 2 {
            let hung = Arc::clone(&hung);
            let look = blocking.look(move || drop(hung.lock().map(|hung| hung.recv())));
            let (looked, ()) = tokio::join!(look, pass(PATIENCE));
            let error = looked.unwrap_err().to_string();
            assert!(error.contains("hangs"), "{error}");
        }
        assert_eq!(blocking.looks.available_permits(), 0);
        assert_eq!(blocking.act(|| 7).await.unwrap(), 7);
        drop(release);
        while blocking.looks.available_permits() < LOOKS {
            tokio::task::yield_now().await;
        }
        assert_eq!(blocking.look(|| 8).await.unwrap(), 8);
    }

    /// A million files with a cold cache.
    #[tokio::test(start_paused = true)]
    async fn a_survey_may_take_minutes_and_no_place_of_a_look() {
        let blocking = Blocking::default();
        let (release, slow) = mpsc::channel::<()>();
        let survey = blocking.survey(move || slow.recv().is_ok());
        let rest = async {
            pass(PATIENCE * 3).await;
            assert_eq!(blocking.looks.available_permits(), LOOKS);
            release.send(()).unwrap();
        };
        let (surveyed, ()) = tokio::join!(survey, rest);
        assert!(surveyed.unwrap());
    }

    /// However long an act takes, it is waited for; those beyond the places are told.
    #[tokio::test(start_paused = true)]
    async fn acts_that_hang_are_bounded() {
        let blocking = Blocking::default();
        let (release, hung) = mpsc::channel::<()>();
        let hung = Arc::new(std::sync::Mutex::new(hung));
        let acts: Vec<_> = (0..ACTS)
            .map(|_| {
                let (blocking, hung) = (blocking.clone(), Arc::clone(&hung));
                let work = move || drop(hung.lock().map(|hung| hung.recv()));
                tokio::spawn(async move { blocking.act(work).await })
            })
            .collect();
        while blocking.acts.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        let (refused, ()) = tokio::join!(blocking.act(|| ()), pass(PATIENCE));
        let error = refused.unwrap_err().to_string();
        assert!(error.contains("nothing was done"), "{error}");
        assert!(acts.iter().all(|act| !act.is_finished()));
        drop(release);
        for act in acts {
            act.await.unwrap().unwrap();
        }
    }
}
