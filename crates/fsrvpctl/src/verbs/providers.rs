//! `fsrvpctl providers`, in the words of `vssadmin list providers`.

use crate::screen::Screen;
use crate::{AdminClient, Failure};
use serde::Deserialize;

#[derive(Debug, Deserialize)]
struct Providers {
    providers: Vec<Provider>,
}

#[derive(Debug, Deserialize)]
struct Provider {
    server: String,
    name: String,
    kind: String,
    id: String,
    version: String,
}

/// Shows the providers of all servers.
pub(crate) fn run(client: &AdminClient, screen: &mut Screen) -> Result<(), Failure> {
    super::ask(
        client,
        screen,
        "/v1/providers",
        |screen, providers: Providers| {
            let mut server = None;
            let several = providers
                .providers
                .windows(2)
                .any(|pair| matches!(pair, [a, b] if a.server != b.server));
            for (number, provider) in providers.providers.into_iter().enumerate() {
                if number > 0 {
                    screen.blank();
                }
                if several && server.as_ref() != Some(&provider.server) {
                    screen.heading(&provider.server);
                    server = Some(provider.server.clone());
                }
                screen.line(format!("Provider name: '{}'", provider.name));
                screen.line(format!("   Provider type: {}", provider.kind));
                screen.line(format!("   Provider Id: {{{}}}", provider.id));
                screen.line(format!("   Version: {}", provider.version));
            }
        },
    )
}
