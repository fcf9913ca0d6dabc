//! What a text setting may hold. A hook only looks; the value is parsed again where it is used.

use std::ffi::{CStr, CString, c_char, c_void};
use std::net::{IpAddr, SocketAddr};

use bigbrotr_models::{AddressPolicy, Filter, Network, PortPolicy, RelayUrl};
use bigbrotr_nips::nip66;
use pgrx::{pg_guard, pg_sys};

use super::parse_list;
use crate::shmem::MAX_DATABASES;

const DNS_PORT: u16 = 53;
/// As many as resolv.conf may name, and some.
const MAX_NAME_SERVERS: usize = 8;
const CHECKS: [&str; 7] = ["nip11", "rtt", "ssl", "dns", "geo", "net", "http"];

/// Runs `check` on the new value and hands its complaint to PostgreSQL as DETAIL.
///
/// # Safety
/// `value` is the first argument of a GUC check hook: a valid pointer to a C string or to NULL.
unsafe fn judge(value: *mut *mut c_char, check: impl FnOnce(&str) -> Result<(), String>) -> bool {
    // SAFETY: the caller's promise.
    let Some(text) = (unsafe { (*value).as_ref().map(|text| CStr::from_ptr(text)) }) else { return true };
    let verdict = match text.to_str() {
        Ok(text) => check(text),
        Err(_) => Err("it is not valid UTF-8".to_owned()),
    };
    let Err(complaint) = verdict else { return true };
    let complaint = CString::new(complaint.replace('\0', "")).unwrap_or_default();
    // SAFETY: GUC_check_errdetail() of guc.h does the same: a copy that lives in ErrorContext until it is reported.
    unsafe {
        pg_sys::GUC_check_errdetail_string = pg_sys::MemoryContextStrdup(pg_sys::ErrorContext, complaint.as_ptr());
    }
    false
}

macro_rules! hook {
    ($name:ident, $check:expr) => {
        #[pg_guard]
        pub unsafe extern "C-unwind" fn $name(
            value: *mut *mut c_char,
            _extra: *mut *mut c_void,
            _source: pg_sys::GucSource::Type,
        ) -> bool {
            // SAFETY: PostgreSQL calls this as a check hook.
            unsafe { judge(value, $check) }
        }
    };
}

hook!(databases, |text| {
    let names = parse_list(text)?;
    if names.len() > MAX_DATABASES {
        return Err(format!("at most {MAX_DATABASES} databases can be served, {} are named", names.len()));
    }
    match names.iter().find(|name| name.len() >= pg_sys::NAMEDATALEN as usize) {
        Some(name) => Err(format!("{name} is longer than a database name can be")),
        None => Ok(()),
    }
});

hook!(networks, |text| {
    let names = parse_list(text)?;
    match names.iter().find(|name| name.parse::<Network>().is_err()) {
        Some(name) => Err(format!("{name} is none of clearnet, tor, i2p, loki")),
        None => Ok(()),
    }
});

hook!(monitor_checks, |text| {
    let names = parse_list(text)?;
    match names.iter().find(|name| !CHECKS.contains(&name.as_str())) {
        Some(name) => Err(format!("{name} is none of {}", CHECKS.join(", "))),
        None => Ok(()),
    }
});

hook!(proxy, |text| if text.is_empty() { Ok(()) } else { parse_proxy(text).map(drop) });

hook!(name_servers, |text| parse_name_servers(text).map(drop));

hook!(blocked_ports, |text| text.parse::<PortPolicy>().map(drop).map_err(|error| error.to_string()));

hook!(user_agent, |text| {
    let is_visible = text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
    match text.len() {
        _ if !is_visible => Err("only visible ASCII can stand in a request".to_owned()),
        257.. => Err("it is longer than 256 bytes".to_owned()),
        _ => Ok(()),
    }
});

hook!(retention_kinds, |text| bigbrotr_core::retention::parse_rules(text).map(drop));

hook!(sync_filter, |text| {
    let filter = Filter::from_json(text).map_err(|error| error.to_string())?;
    if filter.since.is_some() || filter.until.is_some() || filter.limit.is_some() {
        return Err("since, until and limit are the synchronizer's own; see bigbrotr.sync_since".to_owned());
    }
    Ok(())
});

hook!(relay_urls, |text| {
    let urls = parse_list(text)?;
    // Whether a private address is admitted is another setting's matter.
    let policy = AddressPolicy { allow_private: true };
    for url in urls {
        RelayUrl::parse(&url, policy).map_err(|error| format!("{url} is no relay URL: {error}"))?;
    }
    Ok(())
});

/// The addresses of a list of name servers; the port is 53 where none is given.
pub fn parse_name_servers(text: &str) -> Result<Vec<SocketAddr>, String> {
    let server = |text: &String| {
        let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
        let parsed = text.parse().or_else(|_| bare.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, DNS_PORT)));
        parsed
            .ok()
            .filter(|address| address.port() > 0)
            .ok_or_else(|| format!("{text} is not an IP address, with a port or without"))
    };
    let servers = parse_list(text)?;
    if servers.len() > MAX_NAME_SERVERS {
        return Err(format!("at most {MAX_NAME_SERVERS} name servers can be asked, {} are named", servers.len()));
    }
    servers.iter().map(server).collect()
}

hook!(monitor_profile, |text| match text {
    "" => Ok(()),
    text => nip66::check_profile(text).map_err(|error| error.to_string()),
});

hook!(monitor_geohash, |text| match text {
    "" => Ok(()),
    text => nip66::check_geohash(text).map_err(|error| error.to_string()),
});

/// `host:port` of a `socks5://host:port` (or `socks5h://`) URL.
pub fn parse_proxy(text: &str) -> Result<String, String> {
    let wanted = || format!("{text} is not of the form socks5://host:port");
    let authority = text.strip_prefix("socks5://").or_else(|| text.strip_prefix("socks5h://")).ok_or_else(wanted)?;
    let authority = authority.strip_suffix('/').unwrap_or(authority);
    let (host, port) = authority.rsplit_once(':').ok_or_else(wanted)?;
    let port_is_valid =
        port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0);
    let host_is_valid = !host.is_empty() && !host.contains(['/', '@', ' ', '?', '#']);
    if port_is_valid && host_is_valid { Ok(authority.to_owned()) } else { Err(wanted()) }
}
