//! Where an address is and whose it is, from MaxMind's files, held in memory: never mapped, because a file that is cut short under a mapping kills the
//! process.

use maxminddb::{MaxMindDbError, Reader, geoip2};
use std::{
    fs::{self, File},
    io::{self, Read},
    net::IpAddr,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::error::clip;

/// Largest file read.
const MAX_FILE: u64 = 1 << 30;

/// Where an address is, as far as the city file knows.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Place {
    /// ISO 3166-1 code of the country.
    pub country: Option<String>,
    /// Its English name.
    pub country_name: Option<String>,
    /// Code of the continent, such as `EU`.
    pub continent: Option<String>,
    /// Whether the country is in the European Union.
    pub is_eu: Option<bool>,
    /// English name of the largest subdivision.
    pub region: Option<String>,
    /// English name of the city.
    pub city: Option<String>,
    /// Postal code.
    pub postal: Option<String>,
    /// Degrees north.
    pub latitude: Option<f64>,
    /// Degrees east.
    pub longitude: Option<f64>,
    /// Radius the position is good for, km.
    pub accuracy_km: Option<u16>,
    /// IANA name of the time zone.
    pub time_zone: Option<String>,
    /// GeoNames id of the city, else of the country.
    pub geoname_id: Option<u32>,
}

/// Whose an address is, as far as the ASN file knows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Owner {
    /// Number of the autonomous system.
    pub asn: Option<u32>,
    /// Its organisation.
    pub organization: Option<String>,
    /// The network the address is in, such as `192.0.2.0/24`.
    pub network: Option<String>,
}

/// What a look at the files came to, for the log; each is said once until something else is the case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// A file was read.
    Loaded(String),
    /// A file was not, and why; what was read before stays in use.
    Failed(String),
}

/// The two files; either may be absent. Look-ups are short and never wait for a file.
#[derive(Debug, Default)]
pub struct GeoIp {
    city: Option<Source>,
    asn: Option<Source>,
}

#[derive(Debug)]
struct Source {
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    reader: Option<Arc<Reader<Vec<u8>>>>,
    /// Which file was last tried, so that it is tried again only when it changes.
    tried: Option<Stamp>,
    failure: Option<String>,
}

/// What changes when a file is written or replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    device: u64,
    size: u64,
    modified: (i64, i64),
}

impl GeoIp {
    /// Of these files. Nothing is read before [`GeoIp::refresh`].
    pub fn new(city: Option<&str>, asn: Option<&str>) -> Self {
        let source = |path: Option<&str>| path.map(|path| Source { path: path.into(), state: Mutex::default() });
        Self { city: source(city), asn: source(asn) }
    }

    /// Paths of the city and the ASN file.
    pub fn paths(&self) -> (Option<String>, Option<String>) {
        let path = |source: &Option<Source>| source.as_ref().map(|source| source.path.to_string_lossy().into_owned());
        (path(&self.city), path(&self.asn))
    }

    /// Reads the files that changed since the last call. Blocks: not for a thread of the runtime. `may_take` is asked whether so many bytes may be
    /// taken; while a file is read again, the old one is held too.
    pub fn refresh(&self, may_take: impl Fn(u64) -> bool) -> Vec<Notice> {
        [&self.city, &self.asn].into_iter().flatten().filter_map(|source| source.refresh(&may_take)).collect()
    }

    /// Whether the city file is in use; otherwise why not.
    ///
    /// # Errors
    /// The reason, for people.
    pub fn has_city(&self) -> Result<(), String> {
        usable(self.city.as_ref(), "bigbrotr.geoip_city_file")
    }

    /// Whether the ASN file is in use; otherwise why not.
    ///
    /// # Errors
    /// The reason, for people.
    pub fn has_asn(&self) -> Result<(), String> {
        usable(self.asn.as_ref(), "bigbrotr.geoip_asn_file")
    }

    /// Where `ip` is; `None` if that is not known.
    pub fn place(&self, ip: IpAddr) -> Option<Place> {
        let reader = self.city.as_ref()?.reader()?;
        place(&reader, ip).ok()?
    }

    /// Whose `ip` is; `None` if that is not known.
    pub fn owner(&self, ip: IpAddr) -> Option<Owner> {
        let reader = self.asn.as_ref()?.reader()?;
        owner(&reader, ip).ok()?
    }
}

fn usable(source: Option<&Source>, setting: &str) -> Result<(), String> {
    let Some(source) = source else { return Err(format!("{setting} is not set")) };
    let state = source.lock();
    match (&state.reader, &state.failure) {
        (Some(_), _) => Ok(()),
        (None, Some(failure)) => Err(format!("{setting} cannot be used: {failure}")),
        (None, None) => Err(format!("{setting} is not read yet")),
    }
}

impl Source {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reader(&self) -> Option<Arc<Reader<Vec<u8>>>> {
        self.lock().reader.clone()
    }

    fn refresh(&self, may_take: impl Fn(u64) -> bool) -> Option<Notice> {
        let stamp = stamp(&self.path);
        let tried = self.lock().tried;
        let loaded = match stamp {
            Ok(stamp) if tried == Some(stamp) => return None,
            Ok(stamp) => load(&self.path, stamp, may_take).map(|reader| (reader, stamp)),
            Err(ref error) => Err(Trouble::Passing(error.to_string())),
        };
        let path = self.path.display();
        let mut state = self.lock();
        match loaded {
            Ok((reader, stamp)) => {
                let made = reader.metadata().build_epoch;
                let line = format!("\"{path}\" ({}, made at {made}) is in use", clip(&reader.metadata().database_type));
                *state = State { reader: Some(Arc::new(reader)), tried: Some(stamp), failure: None };
                Some(Notice::Loaded(line))
            }
            Err(trouble) => {
                let text = match trouble {
                    Trouble::Lasting(text) => {
                        state.tried = stamp.as_ref().ok().copied();
                        text
                    }
                    Trouble::Passing(text) => text,
                };
                let is_new = state.failure.as_ref() != Some(&text);
                let notice = is_new.then(|| Notice::Failed(format!("\"{path}\" cannot be used: {text}")));
                // Without the path, which is not for everybody.
                state.failure = Some(text);
                notice
            }
        }
    }
}

/// Why a file was not read.
enum Trouble {
    /// It is bad until it changes.
    Lasting(String),
    /// It may be better the next time.
    Passing(String),
}

fn stamp(path: &Path) -> io::Result<Stamp> {
    stamp_of(&fs::metadata(path)?)
}

fn stamp_of(metadata: &fs::Metadata) -> io::Result<Stamp> {
    if !metadata.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    Ok(Stamp {
        inode: metadata.ino(),
        device: metadata.dev(),
        size: metadata.size(),
        modified: (metadata.mtime(), metadata.mtime_nsec()),
    })
}

fn load(path: &Path, stamp: Stamp, may_take: impl Fn(u64) -> bool) -> Result<Reader<Vec<u8>>, Trouble> {
    let passing = |error: io::Error| Trouble::Passing(error.to_string());
    if stamp.size > MAX_FILE {
        return Err(Trouble::Lasting(format!("it has {} bytes, more than {MAX_FILE}", stamp.size)));
    }
    if !may_take(stamp.size) {
        let megabytes = stamp.size >> 20;
        return Err(Trouble::Passing(format!("its {megabytes} MB do not fit; raise bigbrotr.worker_memory")));
    }
    let mut file = File::open(path).map_err(passing)?;
    let size = usize::try_from(stamp.size).map_err(|_| Trouble::Lasting("too large".to_owned()))?;
    let mut bytes = Vec::with_capacity(size.saturating_add(1));
    (&mut file).take(stamp.size.saturating_add(1)).read_to_end(&mut bytes).map_err(passing)?;
    let after = file.metadata().and_then(|metadata| stamp_of(&metadata)).map_err(passing)?;
    if after != stamp || bytes.len() != size {
        return Err(Trouble::Passing("it is being written".to_owned()));
    }
    let bad = |error: MaxMindDbError| Trouble::Lasting(clip(&error.to_string()));
    let reader = Reader::from_source(bytes).map_err(bad)?;
    // A file whose tree leads nowhere is found out here and not with every relay.
    for ip in [IpAddr::from([1, 1, 1, 1]), IpAddr::from([0x2606, 0x4700, 0, 0, 0, 0, 0, 1])] {
        match reader.lookup(ip) {
            Err(MaxMindDbError::InvalidInput { .. }) | Ok(_) => {}
            Err(error) => return Err(bad(error)),
        }
    }
    Ok(reader)
}

fn place(reader: &Reader<Vec<u8>>, ip: IpAddr) -> Result<Option<Place>, MaxMindDbError> {
    let Some(found) = reader.lookup(ip)?.decode::<geoip2::City>()? else { return Ok(None) };
    let text = |text: Option<&str>| text.map(clip);
    // Some networks are nobody's in particular: where they are registered says nothing about where they are.
    let place = Place {
        country: text(found.country.iso_code),
        country_name: text(found.country.names.english),
        continent: text(found.continent.code),
        is_eu: found.country.iso_code.map(|_| found.country.is_in_european_union.unwrap_or(false)),
        region: text(found.subdivisions.first().and_then(|region| region.names.english)),
        city: text(found.city.names.english),
        postal: text(found.postal.code),
        latitude: found.location.latitude.filter(|degrees| degrees.abs() <= 90.0),
        longitude: found.location.longitude.filter(|degrees| degrees.abs() <= 180.0),
        accuracy_km: found.location.accuracy_radius,
        time_zone: text(found.location.time_zone),
        geoname_id: found.city.geoname_id.or(found.country.geoname_id),
    };
    Ok((place != Place::default()).then_some(place))
}

fn owner(reader: &Reader<Vec<u8>>, ip: IpAddr) -> Result<Option<Owner>, MaxMindDbError> {
    let result = reader.lookup(ip)?;
    let Some(found) = result.decode::<geoip2::Asn>()? else { return Ok(None) };
    Ok(Some(Owner {
        asn: found.autonomous_system_number,
        organization: found.autonomous_system_organization.map(clip),
        network: result.network().ok().map(|network| network.to_string()),
    }))
}
