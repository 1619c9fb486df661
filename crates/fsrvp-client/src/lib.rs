//! A typed client of the FileServerVssAgent interface.
