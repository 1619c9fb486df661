//! `named_pipe_auth_req`, from bytes.

use super::claims::{self, Pending};
use super::reader::Reader;
use super::{
    AuthRequest, Claim, DecodeError, Level, MAX_FRAME, SecurityToken, SessionInfo,
    TransportSession, UnixNames, UnixToken, UserInfo, WireEndpoint,
};

/// Shortest encoding of a SID: no sub-authorities.
const MIN_SID: usize = 8;
/// Shortest fixed part of a claim.
const MIN_CLAIM: usize = 16;

impl AuthRequest {
    /// Decodes a whole frame, its four length bytes included.
    ///
    /// # Errors
    /// Any difference from what Samba writes, trailing bytes included.
    pub fn decode(frame: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(frame);
        let announced = u32::from_be_bytes(reader.array("length")?);
        if announced > MAX_FRAME || usize::try_from(announced) != Ok(reader.remaining()) {
            return Err(DecodeError::Length {
                announced,
                found: reader.remaining(),
            });
        }
        let magic = reader.array("magic")?;
        if &magic != b"NPAM" {
            return Err(DecodeError::Magic(magic));
        }
        let level = Level::try_from(reader.u32("level")?)?;
        let switch = reader.u32("union level")?;
        if switch != level as u32 {
            return Err(DecodeError::Level(switch));
        }
        let request = info(&mut reader, level)?;
        match reader.remaining() {
            0 => Ok(request),
            trailing => Err(DecodeError::Trailing(trailing)),
        }
    }
}

fn info(reader: &mut Reader<'_>, level: Level) -> Result<AuthRequest, DecodeError> {
    reader.align(4);
    let transport = reader.u8("transport")?;
    let remote_name = reader.pointer("remote_client_name")?;
    let remote_addr = reader.pointer("remote_client_addr")?;
    let remote_port = reader.u16("remote_client_port")?;
    let local_name = reader.pointer("local_server_name")?;
    let local_addr = reader.pointer("local_server_addr")?;
    let local_port = reader.u16("local_server_port")?;
    let has_session = reader.pointer("session_info")?;
    Ok(AuthRequest {
        level,
        transport,
        remote: WireEndpoint {
            name: string(reader, remote_name, "remote_client_name")?,
            address: string(reader, remote_addr, "remote_client_addr")?,
            port: remote_port,
        },
        local: WireEndpoint {
            name: string(reader, local_name, "local_server_name")?,
            address: string(reader, local_addr, "local_server_addr")?,
            port: local_port,
        },
        session: optional(reader, has_session, |reader| {
            transport_session(reader, level)
        })?,
    })
}

fn transport_session(
    reader: &mut Reader<'_>,
    level: Level,
) -> Result<TransportSession, DecodeError> {
    let has_info = reader.pointer("session_info")?;
    let gssapi_credentials = reader.blob("exported_gssapi_credentials")?;
    Ok(TransportSession {
        gssapi_credentials,
        info: optional(reader, has_info, |reader| session_info(reader, level))?,
    })
}

fn session_info(reader: &mut Reader<'_>, level: Level) -> Result<SessionInfo, DecodeError> {
    let has_token = reader.pointer("security_token")?;
    let has_unix_token = reader.pointer("unix_token")?;
    let has_user = reader.pointer("info")?;
    let has_unix_names = reader.pointer("unix_info")?;
    reader.null("torture")?;
    let session_key = reader.blob("session_key")?;
    reader.null("credentials")?;
    reader.align(4);
    let unique_session_token = reader.array("unique_session_token")?;
    let ticket_type = reader.u16("ticket_type")?;
    Ok(SessionInfo {
        security_token: optional(reader, has_token, |reader| security_token(reader, level))?,
        unix_token: optional(reader, has_unix_token, unix_token)?,
        user: optional(reader, has_user, |reader| user_info(reader, level))?,
        unix_names: optional(reader, has_unix_names, unix_names)?,
        session_key,
        unique_session_token,
        ticket_type,
    })
}

fn security_token(reader: &mut Reader<'_>, level: Level) -> Result<SecurityToken, DecodeError> {
    reader.align(8);
    let count = reader.count("num_sids", MIN_SID)?;
    reader.conformance("sids", count)?;
    let sids = (0..count)
        .map(|_| reader.sid("sids"))
        .collect::<Result<_, _>>()?;
    let mut token = SecurityToken {
        sids,
        privilege_mask: reader.hyper("privilege_mask")?,
        rights_mask: reader.u32("rights_mask")?,
        ..SecurityToken::default()
    };
    if level == Level::Eight {
        claims_and_device(reader, &mut token)?;
    }
    Ok(token)
}

fn claims_and_device(
    reader: &mut Reader<'_>,
    token: &mut SecurityToken,
) -> Result<(), DecodeError> {
    let local = reader.count("num_local_claims", MIN_CLAIM)?;
    let user = reader.count("num_user_claims", MIN_CLAIM)?;
    let device = reader.count("num_device_claims", MIN_CLAIM)?;
    let device_sids = reader.count("num_device_sids", MIN_SID)?;
    let mut scalars = |field, count| {
        reader.conformance(field, count)?;
        claims::read_scalars(reader, count)
    };
    let local = scalars("local_claims", local)?;
    let user = scalars("user_claims", user)?;
    let device = scalars("device_claims", device)?;
    reader.conformance("device_sids", device_sids)?;
    token.device_sids = (0..device_sids)
        .map(|_| reader.sid("device_sids"))
        .collect::<Result<_, _>>()?;
    token.evaluate_claims = reader.u16("evaluate_claims")?;

    let mut referents = |pending: Vec<Pending>| -> Result<Vec<Claim>, DecodeError> {
        pending
            .into_iter()
            .map(|claim| claims::read_referents(reader, claim))
            .collect()
    };
    token.local_claims = referents(local)?;
    token.user_claims = referents(user)?;
    token.device_claims = referents(device)?;
    Ok(())
}

fn unix_token(reader: &mut Reader<'_>) -> Result<UnixToken, DecodeError> {
    let count = reader.count("groups", 8)?;
    let uid = reader.hyper("uid")?;
    let gid = reader.hyper("gid")?;
    reader.conformance("ngroups", count)?;
    let groups = (0..count)
        .map(|_| reader.hyper("groups"))
        .collect::<Result<_, _>>()?;
    Ok(UnixToken { uid, gid, groups })
}

fn user_info(reader: &mut Reader<'_>, level: Level) -> Result<UserInfo, DecodeError> {
    let has_account = reader.pointer("account_name")?;
    let has_principal = reader.pointer("user_principal_name")?;
    let user_principal_constructed = reader.u8("user_principal_constructed")?;
    let mut names = [false; 8];
    for name in &mut names {
        *name = reader.pointer("user info name")?;
    }
    let mut times = [0; 6];
    for time in &mut times {
        *time = reader.nttime("user info time")?;
    }
    let logon_count = reader.u16("logon_count")?;
    let bad_password_count = reader.u16("bad_password_count")?;
    let acct_flags = reader.u32("acct_flags")?;
    let user_flags = match level {
        Level::Seven => u32::from(reader.u8("authenticated")?),
        Level::Eight => reader.u32("user_flags")?,
    };

    let [
        domain,
        dns_domain,
        full,
        script,
        profile,
        directory,
        drive,
        server,
    ] = names;
    let [
        logon,
        logoff,
        expiry,
        last_change,
        allow_change,
        force_change,
    ] = times;
    Ok(UserInfo {
        account_name: string(reader, has_account, "account_name")?,
        user_principal_name: string(reader, has_principal, "user_principal_name")?,
        user_principal_constructed,
        domain_name: string(reader, domain, "domain_name")?,
        dns_domain_name: string(reader, dns_domain, "dns_domain_name")?,
        full_name: string(reader, full, "full_name")?,
        logon_script: string(reader, script, "logon_script")?,
        profile_path: string(reader, profile, "profile_path")?,
        home_directory: string(reader, directory, "home_directory")?,
        home_drive: string(reader, drive, "home_drive")?,
        logon_server: string(reader, server, "logon_server")?,
        last_logon: logon,
        last_logoff: logoff,
        acct_expiry: expiry,
        last_password_change: last_change,
        allow_password_change: allow_change,
        force_password_change: force_change,
        logon_count,
        bad_password_count,
        acct_flags,
        user_flags,
    })
}

fn unix_names(reader: &mut Reader<'_>) -> Result<UnixNames, DecodeError> {
    let unix_name = reader.pointer("unix_name")?;
    let sanitized = reader.pointer("sanitized_username")?;
    Ok(UnixNames {
        unix_name: string(reader, unix_name, "unix_name")?,
        sanitized_username: string(reader, sanitized, "sanitized_username")?,
    })
}

fn string(
    reader: &mut Reader<'_>,
    present: bool,
    field: &'static str,
) -> Result<Option<String>, DecodeError> {
    optional(reader, present, |reader| reader.string(field))
}

/// Reads the referent of a pointer that was not NULL.
fn optional<'a, T>(
    reader: &mut Reader<'a>,
    present: bool,
    read: impl FnOnce(&mut Reader<'a>) -> Result<T, DecodeError>,
) -> Result<Option<T>, DecodeError> {
    if present {
        read(reader).map(Some)
    } else {
        Ok(None)
    }
}
