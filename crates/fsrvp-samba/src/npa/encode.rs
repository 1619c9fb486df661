//! `named_pipe_auth_req`, to bytes: what smbd would have sent.

use super::writer::Writer;
use super::{
    AuthRequest, Claim, Level, SecurityToken, SessionInfo, TransportSession, UnixNames, UnixToken,
    UserInfo, claims,
};

impl AuthRequest {
    /// The whole frame, its four length bytes included, byte for byte as Samba writes it.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.u32(0);
        writer.bytes(b"NPAM");
        writer.u32(self.level as u32);
        writer.u32(self.level as u32);
        writer.u8(self.transport);
        writer.pointer(self.remote.name.as_ref());
        writer.pointer(self.remote.address.as_ref());
        writer.u16(self.remote.port);
        writer.pointer(self.local.name.as_ref());
        writer.pointer(self.local.address.as_ref());
        writer.u16(self.local.port);
        writer.pointer(self.session.as_ref());
        writer.string(self.remote.name.as_ref());
        writer.string(self.remote.address.as_ref());
        writer.string(self.local.name.as_ref());
        writer.string(self.local.address.as_ref());
        if let Some(session) = &self.session {
            transport_session(&mut writer, self.level, session);
        }
        writer.finish()
    }
}

fn transport_session(writer: &mut Writer, level: Level, session: &TransportSession) {
    writer.pointer(session.info.as_ref());
    writer.blob(session.gssapi_credentials.expose());
    if let Some(info) = &session.info {
        session_info(writer, level, info);
    }
}

fn session_info(writer: &mut Writer, level: Level, info: &SessionInfo) {
    writer.pointer(info.security_token.as_ref());
    writer.pointer(info.unix_token.as_ref());
    writer.pointer(info.user.as_ref());
    writer.pointer(info.unix_names.as_ref());
    writer.u32(0); // torture
    writer.blob(info.session_key.expose());
    writer.u32(0); // credentials
    writer.bytes(&info.unique_session_token);
    writer.u16(info.ticket_type);
    if let Some(token) = &info.security_token {
        security_token(writer, level, token);
    }
    if let Some(token) = &info.unix_token {
        unix_token(writer, token);
    }
    if let Some(user) = &info.user {
        user_info(writer, level, user);
    }
    if let Some(names) = &info.unix_names {
        unix_names(writer, names);
    }
}

fn security_token(writer: &mut Writer, level: Level, token: &SecurityToken) {
    writer.align(8);
    writer.count(token.sids.len());
    writer.count(token.sids.len());
    token.sids.iter().for_each(|sid| writer.sid(sid));
    writer.hyper(token.privilege_mask);
    writer.u32(token.rights_mask);
    if level == Level::Eight {
        claims_and_device(writer, token);
    }
}

fn claims_and_device(writer: &mut Writer, token: &SecurityToken) {
    let kinds = [
        &token.local_claims,
        &token.user_claims,
        &token.device_claims,
    ];
    kinds.iter().for_each(|claims| writer.count(claims.len()));
    writer.count(token.device_sids.len());
    let mut pointers: Vec<(&Claim, Vec<usize>)> = Vec::new();
    for claims in kinds {
        writer.count(claims.len());
        for claim in claims {
            pointers.push((claim, claims::write_scalars(writer, claim)));
        }
    }
    writer.count(token.device_sids.len());
    token.device_sids.iter().for_each(|sid| writer.sid(sid));
    writer.u16(token.evaluate_claims);
    for (claim, positions) in pointers {
        claims::write_referents(writer, claim, &positions);
    }
}

fn unix_token(writer: &mut Writer, token: &UnixToken) {
    writer.count(token.groups.len());
    writer.hyper(token.uid);
    writer.hyper(token.gid);
    writer.count(token.groups.len());
    token.groups.iter().for_each(|group| writer.hyper(*group));
}

fn user_info(writer: &mut Writer, level: Level, user: &UserInfo) {
    let later = [
        &user.domain_name,
        &user.dns_domain_name,
        &user.full_name,
        &user.logon_script,
        &user.profile_path,
        &user.home_directory,
        &user.home_drive,
        &user.logon_server,
    ];
    writer.pointer(user.account_name.as_ref());
    writer.pointer(user.user_principal_name.as_ref());
    writer.u8(user.user_principal_constructed);
    later.iter().for_each(|name| writer.pointer(name.as_ref()));
    writer.nttime(user.last_logon);
    writer.nttime(user.last_logoff);
    writer.nttime(user.acct_expiry);
    writer.nttime(user.last_password_change);
    writer.nttime(user.allow_password_change);
    writer.nttime(user.force_password_change);
    writer.u16(user.logon_count);
    writer.u16(user.bad_password_count);
    writer.u32(user.acct_flags);
    match level {
        Level::Seven => writer.u8(u8::try_from(user.user_flags).unwrap_or(1)),
        Level::Eight => writer.u32(user.user_flags),
    }
    writer.string(user.account_name.as_ref());
    writer.string(user.user_principal_name.as_ref());
    later.iter().for_each(|name| writer.string(name.as_ref()));
}

fn unix_names(writer: &mut Writer, names: &UnixNames) {
    writer.pointer(names.unix_name.as_ref());
    writer.pointer(names.sanitized_username.as_ref());
    writer.string(names.unix_name.as_ref());
    writer.string(names.sanitized_username.as_ref());
}
