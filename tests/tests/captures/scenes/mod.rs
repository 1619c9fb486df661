//! What is typed, scene by scene; each has its file in `golden`.

mod acting;
mod alone;
mod damaged;
mod moving;
mod reading;
mod refused;
mod restoring;

use crate::house::House;
use crate::session::{Session, Who};
use libtest_mimic::Failed;

pub(crate) type Play = fn(&mut House, &mut Session) -> Result<(), Failed>;

/// Who plays a scene, and the names of the files: `{}` is the scene's.
type Seats = &'static [(Who, &'static str)];

/// Root and a member of the group are shown the same.
const SAME: Seats = &[(Who::Root, "{}"), (Who::Member, "{}")];
/// What is read or written without the daemon depends on who does it.
const EACH: Seats = &[(Who::Root, "{}"), (Who::Member, "{}-member")];
const STRANGER: Seats = &[(Who::Stranger, "{}")];
/// It concerns nobody's rights.
const ROOT: Seats = &[(Who::Root, "{}")];

pub(crate) struct Scene {
    pub(crate) name: &'static str,
    seats: Seats,
    pub(crate) play: Play,
}

impl Scene {
    pub(crate) const fn seats(&self) -> Seats {
        self.seats
    }
}

const fn scene(name: &'static str, seats: Seats, play: Play) -> Scene {
    Scene { name, seats, play }
}

pub(crate) const SCENES: [Scene; 22] = [
    scene("help", ROOT, alone::help),
    scene("usage", ROOT, alone::usage),
    scene("nothing", SAME, reading::nothing),
    scene("sets", SAME, reading::sets),
    scene("events", SAME, reading::events),
    scene("acts", SAME, acting::acts),
    scene("prune", SAME, acting::prune),
    scene("targets", SAME, acting::targets),
    scene("settings", SAME, acting::settings),
    scene("leftovers", SAME, acting::leftovers),
    scene("refused", SAME, refused::refused),
    scene("config-check", SAME, alone::config_check),
    scene("files", EACH, alone::files),
    scene("backend-check", EACH, alone::backend_check),
    scene("doctor", EACH, damaged::doctor),
    scene("restore", EACH, restoring::restore),
    scene("moved-volume", ROOT, moving::volume),
    scene("moved-server", ROOT, moving::server),
    scene("table-from-backup", ROOT, moving::backup),
    scene("stranger", STRANGER, refused::stranger),
    scene("other-daemon", SAME, damaged::other_daemon),
    scene("stopped", SAME, damaged::stopped),
];
