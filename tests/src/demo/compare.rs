//! Whether the archive is what the relays hold: every claim of the demo, checked against the relays' own stores.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use tokio_postgres::{Client, Error};

use super::{Network, compare_statistics};

/// Something the archive should be, and whether it is.
#[derive(Clone, Debug)]
pub struct Claim {
    /// What is claimed, with the figures.
    pub text: String,
    /// Whether it holds.
    pub holds: bool,
    /// Examples of what does not fit, a few.
    pub examples: Vec<String>,
}

impl Claim {
    fn new(holds: bool, text: impl Into<String>, examples: impl IntoIterator<Item = String>) -> Self {
        Self { text: text.into(), holds, examples: examples.into_iter().take(5).collect() }
    }
}

/// Checks everything the demo claims. Nothing may be written meanwhile.
///
/// # Errors
/// If a query fails.
pub async fn compare(client: &mut Client, network: &Network) -> Result<Vec<Claim>, Error> {
    let mut claims = vec![relays(client, network).await?];
    claims.extend(pairs(client, network).await?);
    if !network.real.is_empty() {
        claims.push(real_events(client, &network.real).await?);
    }
    claims.push(coverage(client, network).await?);
    claims.push(statistics(client).await?);
    claims.push(dead_urls(client, network).await?);
    claims.push(health(client, network).await?);
    Ok(claims)
}

async fn relays(client: &Client, network: &Network) -> Result<Claim, Error> {
    let found: BTreeSet<String> =
        client.query("SELECT url FROM bigbrotr.relay", &[]).await?.iter().map(|row| row.get(0)).collect();
    let wanted: BTreeSet<String> = network.relays.iter().map(|member| member.handle.url()).collect();
    let hidden = network.relays.iter().filter(|member| member.is_hidden).count();
    let text = format!(
        "{} relays found, {} answer ({} from the seeds, {hidden} named by events)",
        found.len(),
        wanted.len(),
        wanted.len() - hidden
    );
    Ok(Claim::new(found == wanted, text, found.symmetric_difference(&wanted).cloned()))
}

async fn pairs(client: &Client, network: &Network) -> Result<[Claim; 2], Error> {
    let mut archived: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let rows = client.query("SELECT relay_url, encode(event_id, 'hex') FROM bigbrotr.event_relay", &[]).await?;
    let pairs = rows.len();
    for row in rows {
        archived.entry(row.get(0)).or_default().insert(row.get(1));
    }
    let distinct_pairs: usize = archived.values().map(BTreeSet::len).sum();
    let mut held: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for member in &network.relays {
        held.insert(member.handle.url(), member.handle.held().into_iter().collect());
    }
    let only = |these: &BTreeMap<String, BTreeSet<String>>, those: &BTreeMap<String, BTreeSet<String>>| {
        let mut only = Vec::new();
        for (url, ids) in these {
            let absent = |id: &&String| those.get(url).is_none_or(|others| !others.contains(*id));
            only.extend(ids.iter().filter(absent).map(|id| format!("{id} on {url}")));
        }
        only
    };
    let (missing, extra) = (only(&held, &archived), only(&archived, &held));
    let text = format!(
        "{pairs} event–relay pairs archived, the relays hold {}: {} missing, {} extra",
        network.pairs(),
        missing.len(),
        extra.len()
    );
    let is_exact = missing.is_empty() && extra.is_empty() && pairs == distinct_pairs;
    let pairs = Claim::new(is_exact, text, missing.into_iter().chain(extra));

    let events: i64 = client.query_one("SELECT count(*) FROM bigbrotr.event", &[]).await?.get(0);
    let distinct = held.values().flatten().collect::<BTreeSet<_>>().len();
    let text = format!("{events} distinct events archived, the relays hold {distinct}");
    let events = Claim::new(usize::try_from(events) == Ok(distinct), text, None);
    Ok([pairs, events])
}

async fn real_events(client: &Client, real: &[String]) -> Result<Claim, Error> {
    let rows = client.query("SELECT bigbrotr.event_json(e) FROM bigbrotr.event AS e", &[]).await?;
    let parse = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_default();
    let id = |event: &Value| event["id"].as_str().unwrap_or_default().to_owned();
    let archived: BTreeMap<String, Value> =
        rows.iter().map(|row| parse(row.get(0))).map(|event| (id(&event), event)).collect();
    let wrong: Vec<_> = real
        .iter()
        .map(|text| parse(text))
        .filter(|event| archived.get(&id(event)) != Some(event))
        .map(|event| id(&event))
        .collect();
    let text = format!("{} of {} real events archived, member by member equal", real.len() - wrong.len(), real.len());
    Ok(Claim::new(wrong.is_empty(), text, wrong))
}

async fn coverage(client: &Client, network: &Network) -> Result<Claim, Error> {
    let rows = client.query("SELECT relay_url, gap::text FROM bigbrotr.coverage_gap", &[]).await?;
    let gaps: Vec<_> = rows
        .iter()
        .map(|row| (row.get::<_, String>(0), row.get::<_, String>(1)))
        .filter(|(_, gap)| gap != "{}")
        .map(|(url, gap)| format!("{url}: {gap}"))
        .collect();
    let text =
        format!("{} of {} relays complete: range − complete is empty", rows.len() - gaps.len(), network.relays.len());
    Ok(Claim::new(gaps.is_empty() && rows.len() == network.relays.len(), text, gaps))
}

async fn statistics(client: &mut Client) -> Result<Claim, Error> {
    let differences = compare_statistics(client).await?;
    let wrong: Vec<_> = differences
        .iter()
        .filter(|difference| difference.differing > 0)
        .map(|difference| format!("{}: {} rows differ", difference.name, difference.differing))
        .collect();
    let text = format!(
        "{} of {} statistics equal to independent SQL over the base tables",
        differences.len() - wrong.len(),
        differences.len()
    );
    Ok(Claim::new(wrong.is_empty() && differences.len() == 13, text, wrong))
}

async fn dead_urls(client: &Client, network: &Network) -> Result<Claim, Error> {
    let mut wrong = Vec::new();
    let mut errors = Vec::new();
    for (url, what) in &network.dead {
        let sql = "SELECT failures, last_error FROM bigbrotr.candidate WHERE url = $1";
        match client.query_opt(sql, &[url]).await? {
            Some(row) if row.get::<_, i32>(0) > 0 && row.get::<_, Option<String>>(1).is_some() => {
                errors.push(format!("{what}: {}", row.get::<_, String>(1)));
            }
            Some(_) => wrong.push(format!("{url} ({what}) was not tried")),
            None => wrong.push(format!("{url} ({what}) is no candidate")),
        }
    }
    let text =
        format!("{} of {} URLs of no relay are still candidates, with a reason", errors.len(), network.dead.len());
    let holds = wrong.is_empty();
    Ok(Claim::new(holds, text, if holds { errors } else { wrong }))
}

async fn health(client: &Client, network: &Network) -> Result<Claim, Error> {
    let mut wrong = Vec::new();
    for member in &network.relays {
        let url = member.handle.url();
        let sql = "SELECT coalesce(online AND rtt_open_ms > 0 AND rtt_read_ms >= 0, false), name IS NOT NULL
                   FROM bigbrotr.relay_status WHERE url = $1";
        let row = client.query_opt(sql, &[&url]).await?;
        let (online, named) = row.map_or((false, false), |row| (row.get(0), row.get(1)));
        if !online || named != member.has_document {
            wrong.push(format!("{url}: online {online}, NIP-11 {named}"));
        }
    }
    let total = network.relays.len();
    let text =
        format!("{} of {total} relays online by the monitor's check, with their NIP-11 names", total - wrong.len());
    Ok(Claim::new(wrong.is_empty(), text, wrong))
}
