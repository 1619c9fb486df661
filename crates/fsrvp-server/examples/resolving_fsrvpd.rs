//! The control of the test against ShadowCoerce: fsrvpd, except that it does what it must not do and
//! connects to the host of every UNC name that it is given.

use clap::Parser;
use fsrvp_idl::Request;
use fsrvp_server::daemon::{self, Options};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::path::PathBuf;
use std::time::Duration;

#[derive(Debug, Parser)]
struct Arguments {
    #[arg(long)]
    config: PathBuf,
}

fn main() {
    let options = Options {
        config: Arguments::parse().config,
        check_only: false,
        boot_id: None,
        begin_anew: false,
        finish_within: Duration::ZERO,
        inspect: Some(ask),
    };
    if let Err(error) = daemon::run(&options) {
        eprintln!("{error}");
    }
}

fn ask(request: &Request) {
    let (Request::AddToShadowCopySet { share_name, .. }
    | Request::IsPathSupported { share_name }
    | Request::IsPathShadowCopied { share_name }
    | Request::GetShareMapping { share_name, .. }
    | Request::DeleteShareMapping { share_name, .. }) = request
    else {
        return;
    };
    let host = share_name.trim_start_matches('\\');
    let host = host.split(['\\', '@']).next().unwrap_or_default();
    let host = host.trim_matches(['[', ']']).to_owned();
    // On a thread that begins now: whoever watches has to see those too.
    let asked = std::thread::spawn(move || {
        for address in (host, 445).to_socket_addrs().into_iter().flatten() {
            let _ = TcpStream::connect(address);
        }
    });
    let _ = asked.join();
}
