//! All that knows Samba: the named pipe hand-over and the share directory.
