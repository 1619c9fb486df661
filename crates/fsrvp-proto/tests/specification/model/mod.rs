//! The agent against a reference model, under random calls, job outcomes, time, store failures
//! and restarts.

mod chaos;
mod judge;
mod reference;
mod steps;

use fsrvp_proto::Profile;
use judge::Judge;
use proptest::prelude::*;
use steps::{Step, step};

fn judge(profile: Profile, steps: &[Step]) {
    let mut judge = Judge::new(profile);
    for step in steps {
        judge.step(*step);
    }
    judge.settle();
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn agent_and_model_agree_under_spec(steps in prop::collection::vec(step(), 1..80)) {
        judge(Profile::Spec, &steps);
    }

    #[test]
    fn agent_and_model_agree_under_ws2012(steps in prop::collection::vec(step(), 1..80)) {
        judge(Profile::Ws2012, &steps);
    }

    #[test]
    fn nothing_is_lost_or_left_over_under_spec(
        events in prop::collection::vec(chaos::event(), 1..120)
    ) {
        chaos::run(Profile::Spec, &events);
    }

    #[test]
    fn nothing_is_lost_or_left_over_under_ws2012(
        events in prop::collection::vec(chaos::event(), 1..120)
    ) {
        chaos::run(Profile::Ws2012, &events);
    }
}
