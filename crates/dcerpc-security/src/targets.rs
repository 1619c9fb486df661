//! Which service names a client may have meant.

use dcerpc_proto::security::SecurityError;

/// Host names that count as ours; an empty list lets every name through.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AcceptedTargets(Vec<String>);

impl AcceptedTargets {
    /// Names are compared without case and without one trailing dot.
    #[must_use]
    pub fn new(hosts: &[String]) -> Self {
        Self(hosts.iter().map(|host| canonical(host)).collect())
    }

    /// Checks a service principal: `service/host`, `service/host@REALM`, `host$@REALM` or empty.
    ///
    /// # Errors
    /// [`SecurityError::Refused`] if it names a host that is not ours.
    pub fn check(&self, principal: &str) -> Result<(), SecurityError> {
        let name = principal.split('@').next().unwrap_or_default();
        if self.0.is_empty() || name.is_empty() {
            return Ok(());
        }
        let host = name
            .split('/')
            .nth(1)
            .unwrap_or_else(|| name.trim_end_matches('$'));
        // A port or service instance may follow the host.
        let host = canonical(host.split(':').next().unwrap_or_default());
        if self.0.contains(&host) {
            Ok(())
        } else {
            Err(SecurityError::Refused(format!(
                "client meant {principal:?}, which is not us"
            )))
        }
    }
}

fn canonical(host: &str) -> String {
    host.strip_suffix('.').unwrap_or(host).to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_own_names_pass() {
        let own = AcceptedTargets::new(&["FS1".to_owned(), "fs1.example.com.".to_owned()]);
        for principal in [
            "",
            "host/fs1",
            "cifs/FS1.example.com",
            "cifs/fs1@EXAMPLE.COM",
            "FS1$@EXAMPLE.COM",
        ] {
            assert_eq!(own.check(principal), Ok(()), "{principal}");
        }
        for principal in [
            "host/fs2",
            "cifs/fs1.evil.example",
            "dc$@EXAMPLE.COM",
            "host/",
        ] {
            assert!(own.check(principal).is_err(), "{principal}");
        }
        assert_eq!(AcceptedTargets::default().check("host/anything"), Ok(()));
    }
}
