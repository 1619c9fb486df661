//! fsrvpd, the File Share Shadow Copy Agent daemon.
