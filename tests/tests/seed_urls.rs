//! What becomes of 8,865 relay URLs as an observatory collected them: by the URL rules, and by the finder in a real server.
//! The data is no part of the repository; without it these tests say so and pass. The table is in docs/relay-urls.md.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::Ipv4Addr,
    time::Duration,
};

use bigbrotr_models::{
    AddressPolicy, AddressRejection, Network, RelayUrl,
    relay_url::{Host, RelayUrlError, UrlFlag, extract},
};
use bigbrotr_tests::{Cluster, ClusterOptions, paths::data_dir};

const STRICT: AddressPolicy = AddressPolicy { allow_private: false };

fn lines() -> Option<Vec<String>> {
    let text = fs::read_to_string(data_dir()?.join("seed-relays.txt")).expect("the data folder has it");
    Some(text.lines().map(str::to_owned).collect())
}

/// A count and the first of what was counted.
#[derive(Default)]
struct Class {
    count: usize,
    example: String,
}

#[derive(Default)]
struct Table(BTreeMap<(u8, String), Class>);

impl Table {
    fn add(&mut self, group: u8, class: String, example: &str) {
        let entry = self.0.entry((group, class)).or_default();
        entry.count += 1;
        if entry.example.is_empty() {
            entry.example = example.chars().take(80).collect();
        }
    }

    fn sum(&self, group: u8) -> usize {
        self.0.range((group, String::new())..(group + 1, String::new())).map(|(_, class)| class.count).sum()
    }

    fn count(&self, group: u8, class: &str) -> usize {
        self.0.get(&(group, class.to_owned())).map_or(0, |class| class.count)
    }

    fn print(&self, group: u8, title: &str) {
        println!("\n| {title} | URLs | for example |\n|---|---|---|");
        for ((_, class), entry) in self.0.range((group, String::new())..(group + 1, String::new())) {
            println!("| {class} | {} | `{}` |", entry.count, entry.example.replace('|', "\\|"));
        }
        println!("| together | {} | |", self.sum(group));
    }
}

const OUTCOME: u8 = 0;
const REJECTED: u8 = 1;
const DIALED: u8 = 2;

const NON_GLOBAL: RelayUrlError = RelayUrlError::Address(AddressRejection::NonGlobal);

/// Which addresses these are: of the data, not of the rules.
fn block_of(line: &str) -> &'static str {
    let host = line.split("://").nth(1).and_then(|rest| rest.split([':', '/']).next()).unwrap_or_default();
    match host.parse::<Ipv4Addr>().map(|address| address.octets()) {
        Ok([127, ..]) => ": loopback",
        Ok([10, ..] | [192, 168, ..] | [172, 16..=31, ..]) => ": private (RFC 1918)",
        Ok([100, 64..=127, ..]) => ": shared (CGNAT, Tailscale)",
        Ok([0, ..]) => ": this host",
        _ => ": other",
    }
}

/// How the validator tries a key at default settings, and with every proxy there is.
fn dialed(url: &RelayUrl) -> String {
    let scheme = if url.is_tls() { "wss" } else { "ws" };
    let network = url.network();
    match (network, url.is_tls()) {
        (Network::Clearnet, false) if url.port() == 80 => "clearnet: wss of the same URL first, then ws".into(),
        (Network::Clearnet, _) => match url.host() {
            Host::Ip(_) => format!("clearnet: {scheme}, an address"),
            Host::Name(_) if matches!((url.is_tls(), url.port()), (true, 443)) => "clearnet: wss".into(),
            Host::Name(_) => format!("clearnet: {scheme}, with a port"),
        },
        _ => format!("{network}: {scheme}, through the proxy; without one it waits"),
    }
}

#[test]
fn every_seed_is_accepted_or_rejected_for_a_reason() {
    let Some(lines) = lines() else { return };
    let (mut table, mut seen) = (Table::default(), BTreeSet::new());
    let (mut pieces, mut cut) = (0, 0);
    for line in &lines {
        let found = extract(line, STRICT);
        pieces += found.len();
        cut += usize::from(found.len() > 1);
        for piece in found {
            let url = match piece.url {
                Ok(url) => url,
                Err(reason) => {
                    table.add(OUTCOME, "4 rejected".into(), line);
                    let block = if reason == NON_GLOBAL { block_of(line) } else { "" };
                    table.add(REJECTED, format!("{reason}{block}"), line);
                    continue;
                }
            };
            assert_eq!(RelayUrl::from_key(url.as_str()).as_ref(), Ok(&url), "{line}");
            assert_eq!(RelayUrl::parse(url.as_str(), STRICT).as_ref(), Ok(&url), "{line}");
            assert!(!url.registrable_domain().is_empty(), "{line}");
            if piece.flags.contains(&UrlFlag::PerUserPath) {
                table.add(OUTCOME, "3 a user's view of a relay: not enrolled".into(), line);
            } else if !seen.insert(url.clone()) {
                table.add(OUTCOME, "2 the same key as an earlier one".into(), line);
            } else {
                let dropped = piece.flags.iter().map(|flag| flag.as_str()).collect::<Vec<_>>().join(", ");
                let how = match (piece.recovered, dropped.as_str()) {
                    (true, "") => "trimmed or cut out of something longer",
                    (_, "") if url.as_str() == line => "as written",
                    (_, "") => "with another slash, case or port",
                    (_, dropped) => dropped,
                };
                table.add(OUTCOME, format!("1 {}, {how}", url.network()), line);
                table.add(DIALED, dialed(&url), url.as_str());
            }
        }
    }
    table.print(OUTCOME, "outcome");
    table.print(REJECTED, "rejected because");
    table.print(DIALED, "how the validator tries it");
    println!("\n{} lines, {cut} of them with several pieces, {pieces} pieces, {} keys", lines.len(), seen.len());

    assert_eq!(lines.len(), 8_865);
    assert_eq!(table.sum(OUTCOME), pieces, "each piece has one outcome");
    assert_eq!(table.sum(REJECTED), table.count(OUTCOME, "4 rejected"));
    assert_eq!(table.sum(DIALED), seen.len());
    assert!(seen.len() > 7_000, "{}", seen.len());
}

#[tokio::test]
async fn the_finder_makes_candidates_of_exactly_the_accepted_ones() {
    let Some(lines) = lines() else { return };
    let mut options =
        ClusterOptions::preloaded().with("bigbrotr.databases", "postgres").with("bigbrotr.finder_interval", "1");
    for service in ["seeder", "validator", "monitor", "synchronizer", "refresher"] {
        options = options.with(&format!("bigbrotr.{service}_enabled"), "off");
    }
    let cluster = Cluster::start(options);
    let client = cluster.connect("postgres").await;
    client.batch_execute("CREATE EXTENSION bigbrotr").await.expect("the extension can be created");
    // Each as the hint of an event of one of a hundred authors.
    let insert = "INSERT INTO bigbrotr.event (id, pubkey, created_at, kind, tags, content, sig)
         SELECT sha256(('id' || n)::bytea), sha256((n % 100)::text::bytea), 1600000000 + n, 1,
                jsonb_build_array(jsonb_build_array('r', u.line)), '', sha512('')
         FROM unnest($1::text[]) WITH ORDINALITY AS u(line, n)";
    client.execute(insert, &[&lines]).await.expect("archived");
    let caught_up = "SELECT EXISTS (SELECT FROM bigbrotr.service_state AS s WHERE s.service = 'finder' \
         AND (s.state ->> 'seq')::bigint = (SELECT max(seq) FROM bigbrotr.stored_event))";
    cluster.wait_for(&client, caught_up, Duration::from_secs(60), "the finder's watermark").await;

    let mut wanted = BTreeMap::<String, i64>::new();
    for line in &lines {
        for piece in extract(line, STRICT) {
            if let Ok(url) = piece.url
                && !piece.flags.contains(&UrlFlag::PerUserPath)
            {
                *wanted.entry(url.as_str().to_owned()).or_default() += 1;
            }
        }
    }
    let rows =
        client.query("SELECT url, events, network::text FROM bigbrotr.candidate_status", &[]).await.expect("rows");
    let found: BTreeMap<String, i64> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    assert_eq!(found, wanted);
    for row in &rows {
        let url = RelayUrl::from_key(row.get(0)).expect("a key");
        assert_eq!(url.network().as_str(), row.get::<_, &str>(2), "{url}");
    }
    let refused: i64 =
        client.query_one("SELECT count(*) FROM bigbrotr.candidate_refusal", &[]).await.expect("rows").get(0);
    assert_eq!(refused, 0, "no real domain or author comes near the limits");
}
